"""`make demo`: the whole pipeline on real handwritten digits, to a valid submission, a page of the runs and a held-back
test score.

The 1,797 scans of scikit-learn's digits (UCI, 8x8, 17 grey levels) are written out as a competition folder with PNG files;
a third of them is the test set, whose labels the pipeline never sees.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from competition import artifacts, board, config, stages

NAME = "digits"
DATA = Path("data") / NAME
BLEND = f"{NAME}/blend"
TEST_SHARE, SEED = 1 / 3, 0


def demo() -> None:
    from competition.inspect.start import start
    from competition.report.page import report

    truth = write_digits(DATA)
    start(str(DATA), NAME)
    with board.board():
        path = stages.submission(config.load_run(BLEND))
    report(NAME)
    written = pd.read_csv(path, dtype=str).set_index("id")["label"]
    accuracy = float((written == truth.loc[written.index]).mean())
    cv = artifacts.read_json(artifacts.run_folder(BLEND) / "score.json")["score"]
    board.say(f"held-back test accuracy {accuracy:.4f} on {len(written)} digits; CV had said {cv:.4f}")


def write_digits(folder: Path) -> pd.Series:
    """Writes the competition folder, unless it is there, and returns the labels of the test rows by id."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    ids = pd.Index([f"{n:04d}" for n in range(len(digits.target))], name="id")
    labels = pd.Series(digits.target.astype(str), index=ids, name="label")
    train, test = train_test_split(ids.to_numpy(), test_size=TEST_SHARE, random_state=SEED, stratify=labels.to_numpy())
    if not (folder / "sample_submission.csv").exists():
        for name, pixels in zip(ids, digits.images, strict=True):
            artifacts.write_bytes(folder / "images" / f"{name}.png", png(pixels))
        tables = {
            "train.csv": labels.loc[sorted(train)].reset_index(),
            "test.csv": pd.DataFrame({"id": sorted(test)}),
            "sample_submission.csv": pd.DataFrame({"id": sorted(test), "label": "0"}),
        }
        for name, table in tables.items():
            artifacts.write_text(folder / name, table.to_csv(index=False, lineterminator="\n"))
        board.say(f"wrote {folder}: {len(train)} training and {len(test)} test pictures")
    return labels.loc[sorted(test)]


def png(pixels) -> bytes:
    """[8, 8] of 0..16 -> a grey PNG."""
    import io

    import numpy as np
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.round(pixels * (255 / 16)).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()
