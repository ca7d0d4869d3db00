"""`read:` (tables that no single CSV holds, and pictures made from them), and DICOM pictures."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import RUNS, write
from PIL import Image
from zoo.making import dicom

from competition import artifacts, config, data, decoding, settings
from competition.cli import main
from competition.decoding import BadPicture
from competition.errors import Fault
from competition.inspect import infer

HOOK = """
import json
import cv2, numpy as np, pandas as pd

def read(data, into):
    tables = [pd.DataFrame(json.loads((data / f"{part}.json").read_text())) for part in ("train", "test")]
    for table in tables:
        for id, band in zip(table["id"], table.pop("band")):
            cv2.imwrite(str(into / f"{id}.png"), np.array(band, np.uint8).reshape(16, 16))
    return *tables, pd.DataFrame({"id": tables[1]["id"], "ice": 0.5})
"""


def bands(folder: Path) -> None:
    """Pictures as lists of numbers in JSON, dark for 0 and light for 1."""
    rng = np.random.default_rng(0)
    rows = [
        {"id": f"0{n:02d}", "band": (rng.integers(0, 60, 256) + 150 * (n % 2)).tolist(), "ice": n % 2}
        for n in range(40)
    ]
    folder.mkdir(parents=True)
    (folder / "train.json").write_text(json.dumps(rows[:30]))
    (folder / "test.json").write_text(json.dumps([{k: row[k] for k in ("id", "band")} for row in rows[30:]]))


def hooked(text: str = HOOK) -> None:
    artifacts.write_text(artifacts.CONFIGS / "ice" / "tables.py", text)


def test_init_reads_by_the_function_and_the_chain_ends_in_a_submission(workspace: Path) -> None:
    bands(Path("raw"))
    hooked()
    guesses = infer.infer(Path("raw"), "ice", "logloss", settings.parse("read=tables.py:read folds.n=2"))
    artifacts.write_text(artifacts.competition_yaml("ice"), infer.to_yaml(guesses))
    written = config.load_competition("ice")
    assert (written.data, written.read, written.image and written.image.train) == ("raw", "tables.py:read", "{id}.png")
    write("configs/ice/tiny.yaml", RUNS["image"] | {"epochs": 1, "views": ["plain"]})
    assert main(["submission", "ice/tiny"]) == 0
    submitted = pd.read_csv(artifacts.submission_csv("ice/tiny"), dtype=str)
    assert submitted["id"].tolist() == [f"0{n}" for n in range(30, 40)]


def test_the_function_is_called_again_only_when_it_or_the_folder_has_changed(workspace: Path) -> None:
    bands(Path("raw"))
    Path("raw/gone").symlink_to("/nowhere")
    hooked(HOOK + "\n    # ")
    write("configs/ice/competition.yaml", {"data": "raw", "read": "tables.py:read", "id": "id", "target": "ice",
                                           "kind": "binary", "metric": "auc", "image": "{id}.png"})  # fmt: skip
    first = data.load("ice")
    picture = artifacts.cache_folder("ice") / "read" / "000.png"
    made = picture.stat().st_mtime_ns
    data.load.cache_clear()
    assert data.load("ice").hash == first.hash and picture.stat().st_mtime_ns == made
    Path("raw/new.txt").write_text("")
    data.load.cache_clear()
    assert data.load("ice").hash == first.hash and picture.stat().st_mtime_ns > made


def test_pictures_as_downloaded_are_reached_by_data(workspace: Path) -> None:
    bands(Path("raw"))
    cv2.imwrite("raw/000.png", np.zeros((16, 16), np.uint8))
    hooked()
    write("configs/ice/competition.yaml", {"data": "raw", "read": "tables.py:read", "id": "id", "target": "ice",
                                           "kind": "binary", "metric": "auc", "image": "data/{id}.png"})  # fmt: skip
    found = data.load("ice").train.pictures
    assert found is not None and Path(found["000"]).resolve() == Path("raw/000.png").resolve()


@pytest.mark.parametrize(
    "text, code, said",
    [
        ("def read(data, into):\n    return open(data / 'none.csv')", "HOOK-ERROR", "tables.py, line 2"),
        ("def read(data, into):\n    return 1, 2", "HOOK-READ", "int, int"),
        ("def reed(data, into): ...", "HOOK-NAME", "did you mean 'reed'"),
    ],
)
def test_a_function_that_fails_is_told(text: str, code: str, said: str, workspace: Path) -> None:
    bands(Path("raw"))
    hooked(text)
    write("configs/ice/competition.yaml", {"data": "raw", "read": "tables.py:read", "id": "id", "target": "ice",
                                           "kind": "binary", "metric": "auc"})  # fmt: skip
    with pytest.raises(Fault, match=code) as caught:
        data.load("ice")
    assert said in str(caught.value)
    assert not (artifacts.cache_folder("ice") / "read" / "done.json").exists()


def test_tables_are_read_or_named_not_both(workspace: Path) -> None:
    hooked()
    write("configs/ice/competition.yaml", {"data": "raw", "read": "tables.py:read", "train": "train.csv", "id": "id",
                                           "target": "ice", "kind": "binary", "metric": "auc"})  # fmt: skip
    with pytest.raises(Fault, match="leave out train"):
        config.load_competition("ice")


def test_dicom_is_scaled_from_its_lowest_to_its_highest_value() -> None:
    values = np.linspace(100, 4000, 64, dtype=np.uint16).reshape(8, 8)
    expected = ((values - 100.0) * (255 / 3900)).round().astype(np.uint8)
    assert np.array_equal(decoding.decode(dicom(values), 1)[..., 1], expected)
    turned = decoding.decode(dicom(values, PhotometricInterpretation="MONOCHROME1"), 1)
    assert np.array_equal(turned[..., 0], 255 - expected)


def test_a_window_of_the_dicom_file_counts_after_its_rescaling() -> None:
    values = np.array([[0, 1000, 1100, 4000]] * 4, dtype=np.uint16)
    window = dicom(values, RescaleSlope=1, RescaleIntercept=-1000, WindowCenter=50.5, WindowWidth=101)
    assert decoding.decode(window, 1)[0, :, 0].tolist() == [0, 0, 255, 255]


def test_colours_and_sizes_of_dicom(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (6, 9, 3)).astype(np.uint8)
    assert np.array_equal(decoding.decode(dicom(values), 1), values)
    (tmp_path / "a.dcm").write_bytes(dicom(values))
    with Image.open(tmp_path / "a.dcm") as picture:
        assert (picture.format, picture.size) == ("DICOM", (9, 6))


def test_a_dicom_file_that_is_cut_short_is_told() -> None:
    content = dicom(np.full((32, 32), 7, np.uint16))
    with pytest.raises(BadPicture) as caught:
        decoding.decode(content[:-100], 1)
    assert caught.value.code == "IMG-CORRUPT" and "DICOM" in caught.value.found
