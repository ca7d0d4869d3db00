"""`make demo-detect`: the pipeline on scenes with boxes, from made pictures to a submission and a held-back test score.

Scikit-learn's handwritten digits 0, 1 and 7 (UCI, 8x8, 17 grey levels), enlarged and bright, lie on dimmed crops of its two
real photos. Test has digits and parts of the photos of its own; its boxes the pipeline never sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from competition import artifacts, board, config, stages
from competition.boxes.geometry import iou
from competition.boxes.table import EDGES, TRUTH

NAME = "scenes"
DATA = Path("data") / NAME
RUN = f"{NAME}/baseline"
CLASSES = {0: "zero", 1: "one", 7: "seven"}  # ten classes need more steps than a demo has
TRAIN, TEST, SEED = 240, 60, 0
WIDTH, HEIGHT, MOST = 160, 120, 4  # of a picture: pixels, and digits on it
SCALES = (3.0, 4.5)  # of a digit's 8x8 pixels
DIM = 0.4  # of the photos' light is left, and digits are bright: what can be learned from 160 pictures in two minutes
INK = 0.3  # share of the digit's colour from which on a pixel counts as ink
OVERLAP = 0.1  # IoU of two digits' boxes stays below
TEST_DIGITS = 1 / 3
SEAM = 448  # photos are 640 wide: training crops lie left of it, test crops right

Box = tuple[int, int, int, int]  # x_min, y_min, x_max, y_max in pixels; ink in columns x_min to x_max - 1


@dataclass(frozen=True)
class Part:
    """What one part is made of. photos: [h, w, 3] RGB, uint8. digits: indices into `target` and `images` [n, 8, 8]."""

    photos: list[np.ndarray]
    digits: np.ndarray
    images: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class Scene:
    """picture: [HEIGHT, WIDTH, 3] RGB, uint8. boxes: class name and box. digits: which ones of `Part.digits` they are."""

    picture: np.ndarray
    boxes: list[tuple[str, Box]]
    digits: list[int]


def demo_detect() -> None:
    from competition.data import load
    from competition.inspect.start import start
    from competition.report.page import report

    truth = write_scenes(DATA)
    start(str(DATA), NAME)
    with board.board():
        stages.submission(config.load_run(RUN))
    report(NAME)
    folder = artifacts.run_folder(RUN)
    metric = load(NAME).problem.metric
    held_back = metric.shown(metric.score(truth, artifacts.read_table(folder / "test.parquet")))
    cv = artifacts.read_json(folder / "score.json")["score"]
    board.say(f"held-back test {metric.name} {held_back:.4f} on {TEST} scenes; CV had said {cv:.4f}")


def write_scenes(folder: Path) -> pd.DataFrame:
    """Writes the competition folder, unless it is there, and returns the table of boxes of the test pictures."""
    train, test = parts()
    scenes = [draw(train, n) for n in range(TRAIN)] + [draw(test, n) for n in range(TRAIN, TRAIN + TEST)]
    ids = [f"{n:04d}" for n in range(TRAIN + TEST)]
    if not (folder / "sample_submission.csv").exists():
        for name, scene in zip(ids, scenes, strict=True):
            artifacts.write_bytes(folder / "images" / f"{name}.jpg", jpeg(scene.picture))
        tables = {
            "train.csv": listed(ids[:TRAIN], scenes[:TRAIN]),
            "test.csv": pd.DataFrame({"image_id": ids[TRAIN:]}),
            "sample_submission.csv": pd.DataFrame({"image_id": ids[TRAIN:], "PredictionString": "zero 0.5 0 0 20 20"}),
        }
        for name, table in tables.items():
            artifacts.write_text(folder / name, table.to_csv(index=False, lineterminator="\n"))
        board.say(f"wrote {folder}: {TRAIN} training and {TEST} test pictures")
    return truth(ids[TRAIN:], scenes[TRAIN:])


def parts() -> tuple[Part, Part]:
    """Train and test, which share no digit and no pixel of a photo."""
    from sklearn.datasets import load_digits, load_sample_images
    from sklearn.model_selection import train_test_split

    digits, photos = load_digits(), load_sample_images().images
    known = np.flatnonzero(np.isin(digits.target, list(CLASSES)))
    train, test = train_test_split(known, test_size=TEST_DIGITS, random_state=SEED, stratify=digits.target[known])
    return (
        Part([photo[:, :SEAM] for photo in photos], train, digits.images, digits.target),
        Part([photo[:, SEAM:] for photo in photos], test, digits.images, digits.target),
    )


def draw(part: Part, n: int) -> Scene:
    """Scene number n: 0 to MOST digits on a crop, each a number as likely."""
    rng = np.random.default_rng((SEED, n))
    scene = Scene(crop(part, rng), [], [])
    for digit in rng.choice(part.digits, rng.integers(MOST + 1), replace=False):
        ink = enlarged(part.images[digit], rng.uniform(*SCALES))
        box = free_place(ink.shape[1], ink.shape[0], [box for _, box in scene.boxes], rng)
        paint(scene.picture, ink, box, rng)
        scene.boxes.append((CLASSES[int(part.target[digit])], box))
        scene.digits.append(int(digit))
    return scene


def crop(part: Part, rng: np.random.Generator) -> np.ndarray:
    """[HEIGHT, WIDTH, 3] from anywhere on one of the photos, dimmed."""
    photo = part.photos[rng.integers(len(part.photos))]
    top, left = rng.integers(photo.shape[0] - HEIGHT + 1), rng.integers(photo.shape[1] - WIDTH + 1)
    return np.round(photo[top : top + HEIGHT, left : left + WIDTH] * DIM).astype(np.uint8)


def enlarged(image: np.ndarray, scale: float) -> np.ndarray:
    """[8, 8] of 0..16 -> [h, w] of 0..1, cut to its ink: each outer row and column has some."""
    ink = cv2.resize(image / 16, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC).clip(0, 1)
    rows, columns = (np.flatnonzero((ink >= INK).any(axis=axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def free_place(width: int, height: int, taken: list[Box], rng: np.random.Generator) -> Box:
    """A place of that size that hardly overlaps the others; four digits fill a quarter of a scene, so one is soon found."""
    while True:
        x, y = int(rng.integers(WIDTH - width + 1)), int(rng.integers(HEIGHT - height + 1))
        box = (x, y, x + width, y + height)
        if all(iou(np.array(box), np.array(other)) < OVERLAP for other in taken):
            return box


def paint(picture: np.ndarray, ink: np.ndarray, box: Box, rng: np.random.Generator) -> None:
    """Lays the ink over the picture, in place, in a random bright colour."""
    x_min, y_min, x_max, y_max = box
    ground = picture[y_min:y_max, x_min:x_max]
    colour, share = rng.uniform(185, 255, 3), ink[:, :, None]
    ground[:] = np.round(ground * (1 - share) + colour * share)


def jpeg(picture: np.ndarray) -> bytes:
    """[h, w, 3] RGB -> a JPEG file."""
    return cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def truth(ids: list[str], scenes: list[Scene]) -> pd.DataFrame:
    """The scenes' table of boxes."""
    rows = [(name, label, *box, False) for name, scene in zip(ids, scenes, strict=True) for label, box in scene.boxes]
    table = pd.DataFrame(rows, columns=["id", *TRUTH]).set_index("id")
    return table.astype(dict.fromkeys(EDGES, float))


def listed(ids: list[str], scenes: list[Scene]) -> pd.DataFrame:
    """train.csv: a row a box, and one with empty cells for a picture without any."""
    rows = [
        (name, *box, label)
        for name, scene in zip(ids, scenes, strict=True)
        for label, box in scene.boxes or [("", ("",) * 4)]
    ]
    return pd.DataFrame(rows, columns=["image_id", *EDGES, "class"])
