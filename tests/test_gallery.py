"""The page's galleries, on made predictions of toy pictures: what tiles say, and pictures that can't be shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import KINDS

from competition import artifacts, data, folds
from competition.boxes.table import PREDICTED
from competition.decoding import decode
from competition.report import gallery, thumbnails
from competition.report.blocks import Gallery, Grid
from competition.report.subject import Subject
from competition.standings import Standing
from competition.task import pick

Make = Callable[..., str]
SMALL = 250_000 // (gallery.MOST + gallery.IN_TURN)  # bytes of a tile
SLOW_KINDS = [pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind != "multiclass"]
NASTY = "<script>alert('1')</script> \"מה\" 🐈"


@pytest.fixture(autouse=True)
def few_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered of other tests, and noise takes its time to be encoded."""
    thumbnails.of_file.cache_clear()
    for name, number in {"MOST": 6, "IN_TURN": 3, "DOUBTED": 8}.items():
        monkeypatch.setattr(gallery, name, number)


def subject_of(runs: int = 1) -> Subject:
    """The toy competition with runs whose predictions are the truth and noise, as run folders hold them."""
    toy = data.load("toy")
    table, _ = folds.make(toy)
    standings = [Standing(f"toy/run{n}", "image", "scored", scored=ADJUSTED) for n in range(runs)]
    subject = Subject(toy, table, standings, standings)
    for seed, standing in enumerate(standings):
        artifacts.write_table(subject.folder(standing) / "oof.parquet", predicted(subject, seed))
    return subject


ADJUSTED = {"adjustments_by_fold": {"fold0": None, "fold1": None}}


def predicted(subject: Subject, seed: int) -> pd.DataFrame:
    rng, truth = np.random.default_rng(seed), subject.truth
    if subject.problem.kind == "boxes":
        moved = truth.assign(score=rng.random(len(truth)), x_max=truth["x_max"] + rng.integers(0, 20, len(truth)))
        return moved[list(PREDICTED)]
    if subject.problem.kind == "regression":
        return truth + rng.normal(0, 30, truth.shape)
    said = (truth + 1.5 * rng.random(truth.shape)).clip(0.01)
    return said / (said.to_numpy().sum(axis=1, keepdims=True) if truth.shape[1] > 2 else 2.6)


def galleries(subject: Subject) -> list[Gallery]:
    found = [*gallery.sections(subject, subject.chosen[0]), *gallery.suspects(subject)]
    return [block for section in found for block in section.blocks if isinstance(block, Gallery)]


@pytest.mark.parametrize("kind", [*SLOW_KINDS, "multiclass", "boxes"])
def test_each_kind_has_tiles_with_pictures(competition: Make, kind: str):
    competition(kind)
    subject = subject_of()
    section = next(gallery.sections(subject, subject.chosen[0]))
    shown = section.blocks[0]
    assert isinstance(shown, Gallery) and section.key == "mistakes" and section.run == "toy/run0"
    assert gallery.MOST <= len(shown.tiles) <= gallery.MOST + gallery.IN_TURN
    assert len({tile.id for tile in shown.tiles}) == len(shown.tiles)
    for tile in shown.tiles:
        assert tile.picture and decode(tile.picture, 16).shape[1] in (168, 256) and not tile.missing
        assert tile.truth and tile.predicted and tile.kinds
        assert dict(tile.facts)["Fold"] == str(subject.fold[tile.id])
        assert len(tile.picture) <= SMALL
    assert any(isinstance(block, Grid) for block in section.blocks) == (kind in ("multiclass", "ordinal", "binary"))


def test_rows_without_pictures_show_their_cells(competition: Make):
    competition("multiclass", task="tabular", columns=True, image=None)
    subject = subject_of()
    section = next(gallery.sections(subject, subject.chosen[0]))
    table, _ = section.blocks
    assert isinstance(table, Grid) and not galleries(subject)
    first = dict(zip([column.name for column in table.columns], table.rows[0], strict=True))
    row = subject.data.train.table.loc[first["id"]]
    assert {"size": row["size"], "colour": row["colour"], "day": row["day"]}.items() <= first.items()
    worst = gallery.mistakes.worst(subject.problem, subject.truth, predicted(subject, 0), subject.fold, 99).iloc[0]
    assert {key: first[key] for key in ("truth", "predicted", "confidence", "fold", "log loss")} == {
        key: worst[key] for key in ("truth", "predicted", "confidence", "fold")} | {"log loss": worst["loss"]}  # fmt: skip
    assert first["kind"] == worst["kind"] and len(table.rows) >= gallery.MOST


def test_values_without_pictures_are_numbers_that_sort(competition: Make):
    competition("regression", task="tabular", columns=True, image=None)
    subject = subject_of(2)
    (table,) = next(gallery.sections(subject, subject.chosen[0])).blocks
    (both,) = next(gallery.suspects(subject)).blocks
    assert isinstance(table, Grid) and isinstance(both, Grid)
    runs = [predicted(subject, seed).iloc[:, 0] for seed in (0, 1)]
    for found, said in ((table, runs[0]), (both, (runs[0] + runs[1]) / 2)):
        for name, true, value, *_ in found.rows:
            assert true == subject.truth.loc[name].item() and value == pytest.approx(said[name])


def test_a_picture_that_cannot_be_shown_leaves_its_reason(competition: Make):
    competition()
    subject = subject_of()
    pictures = subject.data.train.pictures
    assert pictures is not None
    spoil = [
        ("IMG-MISSING", lambda path: path.unlink()),
        ("IMG-TRUNC", lambda path: path.write_bytes(path.read_bytes()[:300])),
        ("IMG-NOTIMAGE", lambda path: path.write_text("<!doctype html><script>alert(1)</script>")),
        ("IMG-HUGE", lambda path: path.write_bytes(bomb())),
        ("IMG-EMPTY", lambda path: path.write_bytes(b"")),
        ("IMG-NOTFILE", lambda path: (path.unlink(), path.mkdir())),
    ]
    worst = [tile.id for tile in galleries(subject)[0].tiles]
    thumbnails.of_file.cache_clear()
    for name, (_, how) in zip(worst, spoil, strict=False):
        how(Path(pictures[name]))
    tiles = galleries(subject)[0].tiles
    assert [tile.id for tile in tiles] == worst
    for tile, (code, _) in zip(tiles, spoil, strict=False):
        assert tile.picture is None and tile.missing.startswith(code) and "/tmp" not in tile.missing
    assert all(tile.picture for tile in tiles[len(spoil) :])


def bomb() -> bytes:
    """A PNG of 30,000 x 30,000 pixels by its header."""
    import struct
    import zlib

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_names_stay_plain_text_and_long_ones_are_shortened(competition: Make):
    competition()
    for name in ("train", "sample_submission"):
        path = Path(f"data/{name}.csv")
        table = pd.read_csv(path, dtype=str)
        table.assign(label=table["label"].replace({"dark": NASTY, "grey": "g" * 500})).to_csv(path, index=False)
    tiles = galleries(subject_of())[0].tiles
    assert NASTY in {tile.truth for tile in tiles} and NASTY in {tile.predicted for tile in tiles}
    assert all(len(text) <= gallery.LETTERS for tile in tiles for text in (tile.truth, tile.predicted))


def test_runs_share_their_thumbnails(competition: Make):
    competition()
    subject = subject_of(2)
    artifacts.write_table(subject.folder(subject.chosen[1]) / "oof.parquet", predicted(subject, 0))
    shown = [next(gallery.sections(subject, standing)).blocks[0].tiles for standing in subject.chosen]  # ty: ignore[unresolved-attribute]
    assert shown[0] == shown[1] and thumbnails.of_file.cache_info().misses == len(shown[0])


def test_what_the_model_looked_at_lies_over_the_picture(competition: Make):
    competition()
    subject = subject_of()
    folder = subject.folder(subject.chosen[0])
    shown = galleries(subject)[0]
    assert "describe" not in shown.note  # no network, nothing to describe
    (folder / "fold0").mkdir()
    (folder / "fold0" / "model.safetensors").touch()
    assert "make describe RUN=toy/run0" in galleries(subject)[0].note
    red = cv2.imencode(".png", np.full((30, 40, 3), (0, 0, 255), np.uint8))[1].tobytes()
    ids = [tile.id for tile in shown.tiles]
    artifacts.write_table(
        folder / "maps.parquet", pd.DataFrame({"image": [red, b"none"]}, pd.Index(ids[:2], name="id"))
    )
    tiles = galleries(subject)[0].tiles
    assert tiles[0].layer and tiles[0].picture and tiles[1].layer is None and tiles[2].layer is None
    over, under = decode(tiles[0].layer, 16), decode(tiles[0].picture, 16)
    assert over.shape == under.shape and over[..., 0].mean() > 200 > 50 > over[..., 2].mean()
    (folder / "maps.parquet").write_bytes(b"PAR1")
    assert "can't be read" in galleries(subject)[0].note


@pytest.mark.parametrize("kind", ["multilabel", "boxes", pytest.param("multiclass", marks=pytest.mark.slow)])
def test_labels_that_every_run_doubts(competition: Make, kind: str):
    competition(kind)
    assert not [*gallery.suspects(subject_of(1))]
    subject = subject_of(2)
    same = predicted(subject, 0)
    artifacts.write_table(subject.folder(subject.chosen[1]) / "oof.parquet", same)
    subject.oof.cache_clear()
    (section,) = gallery.suspects(subject)
    shown = section.blocks[0]
    assert isinstance(shown, Gallery) and section.run is None and section.key == "suspects"
    worst = gallery.mistakes.worst(subject.problem, subject.truth, same, subject.fold, 99)
    wrong = worst[~worst["kind"].isin(["right", "unsure"])]
    assert {tile.id for tile in shown.tiles} <= set(wrong.index) and len(shown.tiles) == min(8, len(wrong)) > 0
    assert all(tile.picture and "Fold" in dict(tile.facts) for tile in shown.tiles)


def test_runs_that_are_right_doubt_nothing(competition: Make):
    competition()
    subject = subject_of(2)
    artifacts.write_table(subject.folder(subject.chosen[0]) / "oof.parquet", pick(subject.truth, subject.fold.index))
    (section,) = gallery.suspects(subject)
    assert "no row" in section.blocks[0].lines[0]  # ty: ignore[unresolved-attribute]


def test_a_thumbnail_is_small_whatever_the_picture():
    noise = np.random.default_rng(0).integers(0, 256, (400, 300, 3), dtype=np.uint8)
    small = thumbnails.scaled(noise, thumbnails.SIDE)
    assert small.shape == (176, 132, 3)
    assert (
        len(thumbnails.webp(small, thumbnails.BYTES))
        <= thumbnails.BYTES
        < thumbnails.BYTES + thumbnails.LAYER_BYTES
        < SMALL
    )
    assert thumbnails.scaled(noise[:8, :8], 176).shape == (176, 176, 3)
    assert thumbnails.scaled(noise[:1, :], 176).shape == (1, 176, 3)
