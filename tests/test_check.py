"""`make check`: every picture fault once, with its code and severity; copies, twins, groups, ids, drift; going on."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import roc_auc_score

from competition import artifacts, chart, cli, data, folds
from competition.check import copies, doubles, facts, groups, ids, labels, leaks, pictures, sheet, shift
from competition.check.notes import Note, about, ordered
from competition.data import load
from competition.decoding import PLAIN
from competition.errors import DataFault, Stopped
from competition.inspect import columns
from competition.split import inner

Make = Callable[..., str]
quiet = lambda *_: None  # noqa: E731


def photo(n: int, side: int = 96) -> np.ndarray:
    """[side, side + 16, 3] a picture like no other: colours that flow, and shapes."""
    rng = np.random.default_rng([7, n])
    size = (side + 16, side)
    picture = cv2.resize(rng.integers(0, 256, (5, 5, 3)).astype(np.uint8), size, interpolation=cv2.INTER_CUBIC)
    for _ in range(14):
        at, extent = rng.integers(0, side, 2), rng.integers(2, side // 3, 2)
        colour = tuple(map(int, rng.integers(0, 256, 3)))
        cv2.ellipse(picture, tuple(map(int, at)), tuple(map(int, extent)), float(rng.integers(180)), 0, 360, colour, -1)
    return picture


def save(picture: np.ndarray, path: Path, quality: int = 90) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return str(path.absolute())


def written(form: str, mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(photo(3)[..., ::-1]).convert(mode).save(out, form, **options)
    return out.getvalue()


def turned() -> bytes:
    note = Image.Exif()
    note[274] = 6
    return written("JPEG", exif=note)


def clear() -> bytes:
    picture = Image.fromarray(photo(3)).convert("RGBA")
    picture.putalpha(Image.fromarray(np.tile(np.uint8([0, 255]), (96, 56))))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def moving() -> bytes:
    out = io.BytesIO()
    frames = [Image.fromarray(photo(n)) for n in range(3)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


def deep() -> bytes:
    done, content = cv2.imencode(".png", np.full((40, 40), 40_000, np.uint16))
    assert done
    return content.tobytes()


def sized(height: int, width: int) -> bytes:
    done, content = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8))
    assert done
    return content.tobytes()


FAULTS: dict[str, tuple[str, str, str, Callable[[], bytes]]] = {  # code -> severity, file name, content
    "IMG-EMPTY": ("error", "empty.jpg", "", lambda: b""),
    "IMG-NOTIMAGE": ("error", "page.jpg", "", lambda: b"<html>not found</html>"),
    "IMG-TRUNC": ("error", "cut.jpg", "", lambda: written("JPEG")[:-900]),
    "IMG-DEPTH": ("error", "deep.png", "", deep),
    "IMG-EXT": ("warn", "other.jpg", ".jpg holding PNG", lambda: written("PNG")),
    "IMG-CMYK": ("warn", "print.jpg", "CMYK", lambda: written("JPEG", "CMYK")),
    "IMG-FRAMES": ("warn", "moving.gif", "3 frames", moving),
    "IMG-ALPHA": ("warn", "clear.png", "50% clear", clear),
    "IMG-TINY": ("warn", "tiny.png", "9 x 9", lambda: sized(9, 9)),
    "IMG-ASPECT": ("warn", "long.png", "600 x 40", lambda: sized(40, 600)),
    "IMG-EXIF": ("info", "turned.jpg", "EXIF 6", turned),
    "IMG-PALETTE": ("info", "palette.png", "P", lambda: written("PNG", "P")),
    "IMG-GREY": ("info", "grey.jpg", "L", lambda: written("JPEG", "L")),
}


@pytest.fixture
def photos(workspace: Path) -> Callable[..., str]:
    """Makes the competition `toy` of pictures by name: (train, test) names, of which some have another content."""

    def make(train: dict[str, str], test: list[str], content: dict[str, bytes] | None = None, **keys: object) -> str:
        folder = workspace / "data" / "images"
        for n, name in enumerate([*train, *test]):
            if name not in (content or {}):
                save(photo(n), folder / name)
        for name, own in (content or {}).items():
            (folder / name).write_bytes(own)
        pd.DataFrame({"id": list(train), "label": list(train.values())}).to_csv("data/train.csv", index=False)
        pd.DataFrame({"id": test}).to_csv("data/test.csv", index=False)
        pd.DataFrame({"id": test, "label": "a"}).to_csv("data/sample_submission.csv", index=False)
        values = {"data": "data", "id": "id", "target": "label", "kind": "multiclass", "metric": "accuracy",
                  "image": "images/{id}", "folds": {"n": 2}}  # fmt: skip
        artifacts.write_text(artifacts.competition_yaml("toy"), json.dumps(values | keys))
        data.load.cache_clear()
        return "toy"

    return make


def rows(n: int) -> dict[str, str]:
    return {f"p{i:03d}.jpg": "ab"[i % 2] for i in range(n)}


def findings() -> dict[str, dict]:
    found = json.loads(Path("runs/.check/toy/findings.json").read_text())["findings"]
    return {note["code"]: note for note in found}


def test_every_picture_fault_is_told_once(photos: Make, capsys: pytest.CaptureFixture):
    content = {name: make() for _, name, _, make in FAULTS.values()}
    photos(rows(16) | {name: "ab"[n % 2] for n, name in enumerate(content)} | {"gone.jpg": "a"}, ["t.jpg"], content)
    Path("data/images/gone.jpg").unlink()
    for stray in ("stray.jpg", "p003.JPG", ".hidden.jpg"):
        save(photo(99), Path("data/images") / stray)
    assert cli.main(["check", "toy"]) == 3
    screen = capsys.readouterr()
    found = findings()
    for code, (severity, name, caption, _) in FAULTS.items():
        note = found[code]
        assert (note["severity"], note["count"], note["examples"]) == (severity, 1, [f"images/{name}"]), code
        assert note["mend"] and (severity == "error" or note["tiles"][0][1].endswith(caption)), code
        assert (f"error {code}" in screen.err) == (severity == "error")
        assert screen.out.count(f" {code} (1)") == 1
    assert found["IMG-MISSING"]["examples"] == ["images/gone.jpg"] and "error IMG-MISSING" in screen.err
    assert found["IMG-ORPHAN"]["count"] == 2 and found["FS-HIDDEN"]["examples"] == ["images/.hidden.jpg"]
    told = {code for code in found if code.startswith("IMG")} - {"IMG-MISSING", "IMG-ORPHAN"}
    assert told == set(FAULTS), "nothing else is raised"
    picture = cv2.imread("runs/.check/toy/check.png")
    assert picture is not None and picture.std() > 20


def test_sound_pictures_raise_nothing(photos: Make):
    photos(rows(20), ["t0.jpg", "t1.jpg"])
    assert cli.main(["check", "toy"]) == 0
    assert findings() == {}


def test_names_that_other_systems_mix_up_are_told(photos: Make):
    photos(rows(8) | {"P000.jpg": "a", "ä.jpg": "a", "a\u0308.jpg": "b"}, ["t.jpg"])
    found = {note.code: note for note in pictures.notes(load("toy"), groups.seen(load("toy")))}
    assert found["IMG-CASE"].examples == ("images/P000.jpg", "images/p000.jpg") and found["IMG-UNICODE"].count == 2


def variants(picture: np.ndarray) -> dict[str, np.ndarray]:
    h, w = picture.shape[:2]
    return {
        "scaled": cv2.resize(picture, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),
        "brighter": np.clip(picture * 1.12 + 8.0, 0, 255).astype(np.uint8),
        "cropped": picture[int(0.1 * h) : int(0.95 * h), int(0.04 * w) : int(0.9 * w)],
        "mirrored": picture[:, ::-1],
    }


def test_copies_are_found_and_others_are_not(tmp_path: Path):
    paths = [save(photo(n), tmp_path / f"{n:03d}.jpg") for n in range(60)]
    shutil.copy(paths[20], tmp_path / "020-equal.jpg")
    want = {(paths[20], str(tmp_path / "020-equal.jpg"))}
    for n, source in enumerate(paths[:12]):
        name, picture = list(variants(photo(n)).items())[n % 4]
        want.add((source, save(picture, tmp_path / f"{n:03d}-{name}.jpg", 75)))
    known = facts.read([*paths, *(copy for _, copy in want)], tmp_path / "facts", quiet, PLAIN)
    pairs = copies.find(known, quiet)
    ends = zip(pairs["first"], pairs["second"], pairs["likeness"], pairs["mirrored"], strict=True)
    found = {
        tuple(sorted((one, other), key=lambda p: "-" in Path(p).stem)): (like, flip) for one, other, like, flip in ends
    }
    assert set(found) >= want
    assert all(Path(a).name[:3] == Path(b).name[:3] for a, b in found), "no pair of different pictures"
    for (_, copy), (like, flip) in found.items():
        assert (like == 1) == ("equal" in copy) and flip == ("mirrored" in copy)
    assert copies.find(known, lambda *_: pytest.fail("kept")).equals(pairs)


def test_equal_small_or_flat_pictures_are_no_near_copies(tmp_path: Path):
    small = [save(photo(n, 24), tmp_path / f"small{n}.png") for n in (1, 1, 2)]
    grey = [save(np.full((64, 64, 3), level, np.uint8), tmp_path / f"grey{level}.png") for level in (100, 104, 108)]
    save(variants(photo(1, 24))["brighter"], Path(small[2]))
    assert not len(copies.find(facts.read([*small, *grey], tmp_path / "facts", quiet, PLAIN), quiet))


def test_a_look_up_in_piles_is_the_whole_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Few pictures a pile and all piles visited: the same pairs as by one product, in blocks of any size."""
    paths = [
        save(photo(n // 2) if n % 2 else variants(photo(n // 2))["cropped"], tmp_path / f"{n:02d}.jpg")
        for n in range(40)
    ]
    known = facts.read(paths, tmp_path / "facts", quiet, PLAIN)
    whole = copies._candidates(known, known.whole.index, quiet)
    monkeypatch.setattr(copies, "PILE", 6)
    monkeypatch.setattr(copies, "BLOCK", 7)
    some = copies._candidates(known, known.whole.index, quiet)
    pd.testing.assert_frame_equal(whole, some)


def test_a_check_that_is_cut_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = [save(photo(n, 32), tmp_path / f"{n:03d}.png") for n in range(23)]
    whole = facts.read(paths, tmp_path / "whole", quiet, PLAIN)
    monkeypatch.setattr(facts, "PART", 5)
    looked: list[str] = []
    look = facts.look
    monkeypatch.setattr(facts, "look", lambda path, **how: (looked.append(path), look(path, **how))[1])
    monkeypatch.setattr(facts, "DEPTH", 2)

    def stop(done: int, total: int, text: str) -> None:
        if done == 12:
            raise Stopped("now")

    with pytest.raises(Stopped):
        facts.read(paths, tmp_path / "parts", stop, PLAIN)
    assert len(looked) < 23 and len(list((tmp_path / "parts").glob("*.parquet"))) == 3
    (tmp_path / "parts" / "00003.npy").write_bytes(b"half")  # as a kill leaves it
    done = set(looked[:12])
    looked.clear()
    resumed = facts.read(paths, tmp_path / "parts", quiet, PLAIN)
    assert not done & set(looked)
    columns = [c for c in whole.table if c not in ("part", "row")]
    pd.testing.assert_frame_equal(resumed.table[columns], whole.table[columns])
    assert (resumed.thumbnails(paths) == whole.thumbnails(paths)).all()
    save(photo(77, 32), Path(paths[0]))
    os.utime(paths[1], ns=(1, 1))
    Path(paths[2]).chmod(0o400)  # what could not be read may be readable now
    looked.clear()
    assert (
        facts.read(paths, tmp_path / "parts", quiet, PLAIN).thumbnails(paths[:1]) != whole.thumbnails(paths[:1])
    ).any()
    assert looked == paths[:3]


def test_few_pictures_are_in_memory_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = [save(photo(n % 3, 32), tmp_path / f"{n:03d}.png") for n in range(90)]
    monkeypatch.setattr(facts, "PART", 10)
    monkeypatch.setattr(facts, "DEPTH", 8)
    begun, seen = [], []
    look = facts.look
    monkeypatch.setattr(facts, "look", lambda path, **how: (begun.append(path), look(path, **how))[1])
    facts.read(paths, tmp_path / "facts", lambda done, *_: seen.append(len(begun) - done), PLAIN)
    assert max(seen) <= 8 and len(seen) == 90


def test_groups_hold_copies_together_by_whatever_link():
    pairs = pd.DataFrame(
        [("t", "a", 1.0, False), ("t", "b", 1.0, False), ("t", "c", 0.97, False), ("d", "u", 0.95, False),
         ("u", "e", 0.95, False)], columns=copies.COLUMNS)  # fmt: skip
    rows = pd.Series(list("abcdefa"), index=["3", "1", "2", "4", "5", "6", "7"])
    assert copies.groups(rows, pairs).to_dict() == {
        "3": "1",
        "1": "1",
        "2": "1",
        "7": "1",
        "4": "4",
        "5": "5",
        "6": "6",
    }


def test_copies_share_a_fold_where_that_is_asked_for(photos: Make, capsys: pytest.CaptureFixture):
    names = rows(24)
    photos(names, ["t.jpg"])
    for n in range(8):  # each a crop of the picture eight rows on
        save(variants(photo(n + 8))["cropped"], Path(f"data/images/p{n:03d}.jpg"))
    save(variants(photo(10))["scaled"], Path("data/images/t.jpg"))
    assert cli.main(["check", "toy"]) == 0
    found = findings()
    assert found["FOLD-DUPE"]["count"] == 16 and found["TEST-DUPE"]["count"] == 1 and "LABEL-CONFLICT" not in found
    assert "group: auto" in found["FOLD-DUPE"]["mend"]
    photos(names, ["t.jpg"], {f"p{n:03d}.jpg": Path(f"data/images/p{n:03d}.jpg").read_bytes() for n in range(8)},
           folds={"n": 2, "group": "auto"})  # fmt: skip
    capsys.readouterr()
    assert cli.main(["folds", "toy"]) == 0
    assert "16 rows are copies of others, in 8 groups" in capsys.readouterr().out
    table = pd.read_csv("folds/toy.csv", dtype=str).set_index("id")
    assert list(table) == ["fold", "group"] and table.groupby("group")["fold"].nunique().max() == 1
    assert all(table.loc[f"p{n:03d}.jpg", "group"] == table.loc[f"p{n + 8:03d}.jpg", "group"] for n in range(8))
    loaded = load("toy")
    fold = folds.load(loaded)
    for fitted, held in inner(fold.grouped(loaded.train), "multiclass", loaded.config.folds, 3, 0):
        assert not set(table.loc[fitted, "group"]) & set(table.loc[held, "group"])
    torn = table.assign(fold=["0"] * 8 + ["1"] * 16)
    torn.to_csv("folds/toy.csv")
    with pytest.raises(DataFault, match="FOLD-GROUP"):
        folds.load(loaded)
    table.drop(columns="group").to_csv("folds/toy.csv")
    with pytest.raises(DataFault, match="there are no groups"):
        folds.load(loaded)


def test_rows_of_tables_are_grouped_where_they_are_equal(competition: Make):
    competition("binary", task="tabular", image=None, folds={"n": 2, "group": "auto"})
    table = pd.read_csv("data/train.csv", dtype=str)
    table.loc[1, ["size", "colour", "day", "note"]] = table.loc[0, ["size", "colour", "day", "note"]]
    table.to_csv("data/train.csv", index=False)
    told = groups.of_copies(load("toy"))
    assert told["001"] == told["000"] == "000" and told.nunique() == len(told) - 1
    assert "auto" not in load("toy").problem.inputs
    fold = pd.Series(np.arange(60) % 2, load("toy").train.ids)
    said = [next(leaks.copies(load("toy"), ["size", "colour"], of)) for of in (None, fold, fold * 0)]
    assert [note.severity for note in said] == ["warn", "warn", "info"] and "none crosses folds" in said[2].what


def test_rows_with_pictures_are_no_copies_by_their_columns(competition: Make):
    competition("binary", columns=True, folds={"n": 2})
    for part in ("train", "test"):
        table = pd.read_csv(f"data/{part}.csv", dtype=str)
        table = table.drop(columns=["day", "note"]).assign(size=["1", "2"] * (len(table) // 2))
        table.to_csv(f"data/{part}.csv", index=False)
    loaded = load("toy")
    assert not [note for note in leaks.notes(loaded, columns.of(loaded), None) if note.code == "TAB-COPY"]


def test_strength_is_the_auc_of_scikit_learn():
    rng = np.random.default_rng(0)
    values, target = rng.integers(0, 30, 400).astype(float), rng.integers(0, 2, 400)
    assert leaks._auc(values, target) == pytest.approx(roc_auc_score(target, values), abs=1e-12)


@pytest.mark.filterwarnings("error")
def test_names_in_a_script_without_letters_raise_no_warning():
    figure = Figure()
    figure.text(0.5, 0.5, "\u8863\u670d")
    assert chart.png(figure)


def test_conflicting_labels_of_copies_are_shown(photos: Make):
    photos(rows(12), ["t.jpg"])
    for one, other in ((1, 2), (3, 5)):
        shutil.copy(f"data/images/p{one:03d}.jpg", f"data/images/p{other:03d}.jpg")
    loaded = load("toy")
    pairs = copies.find(groups.seen(loaded), quiet)
    found = {note.code: note for note in doubles.notes(loaded, pairs, pd.Series(0, loaded.train.ids))}
    assert found["FOLD-DUPE"].severity == "info" and found["FOLD-DUPE"].count == 4
    torn = next(doubles.notes(loaded, pairs, pd.Series([0, 0, 1] + [0] * 9, loaded.train.ids)))
    assert (torn.severity, torn.count) == ("warn", 4) and torn.examples == ("p001.jpg = p002.jpg",)
    assert "pairs: 2 of equal files" in torn.what and "; 2 have one in another fold" in torn.what
    conflict = found["LABEL-CONFLICT"]
    assert conflict.count == 2 and [caption for _, caption in conflict.tiles] == [
        "p001.jpg\nb, equal",
        "p002.jpg\na, equal",
    ]


def test_a_copy_in_test_may_have_the_id_of_a_training_row(photos: Make):
    photos(rows(6), ["p003.jpg", "p004.jpg"], image={"train": "images/{id}", "test": "tests/{id}"})
    save(photo(50), Path("data/tests/p004.jpg"))
    shutil.copy("data/images/p003.jpg", "data/tests/p003.jpg")
    loaded = load("toy")
    (note,) = doubles.notes(loaded, copies.find(groups.seen(loaded), quiet), None)
    assert (note.code, note.examples) == ("TEST-DUPE", ("p003.jpg = p003.jpg",))
    assert [Path(path).parent.name for path, _ in note.tiles] == ["images", "tests"]
    assert [caption for _, caption in note.tiles] == ["p003.jpg\nb, equal", "p003.jpg\ntest, equal"]


def test_pictures_that_are_left_out_are_listed_all_the_same(photos: Make):
    names = [f"t{n}.jpg" for n in range(4)]
    photos(rows(8), names, {"p003.jpg": b"", "t1.jpg": b"x"}, image={"train": "images/{id}", "bad": "placeholder"})
    save(photo(99), Path("data/images/stray.jpg"))
    loaded = load("toy")
    (note,) = pictures.notes(loaded, groups.seen(loaded))
    assert (note.code, note.examples) == ("IMG-ORPHAN", ("images/stray.jpg",))


TWINS = [
    ({"cat": 5, "Cat": 5, "dog": 9}, 1), ({"t shirt": 40, "t-shirt": 2}, 1), ({"orange": 90, "orang": 2}, 1),
    ({"orange": 90, "ornage": 2}, 1), ({"orange": 90, "orang": 80}, 0), ({"cat": 90, "bat": 1}, 0),
    ({"typical": 90, "atypical": 2}, 0), ({"orange": 90, "orang": 0}, 0),
    ({"class1": 90, "class2": 1}, 0), ({"level 10": 90, "level 1": 1}, 0), ({"dress": 9, "shoes": 9}, 0),
]  # fmt: skip


@pytest.mark.parametrize("counts, found", TWINS)
def test_spelling_twins_are_told_and_others_are_not(counts: dict[str, int], found: int):
    assert sum(note.count for note in labels.twins(pd.Series(counts))) == found


def test_names_of_many_classes_are_not_compared_pair_by_pair():
    assert labels.near([str(n) for n in range(5_000)]) == []
    assert labels.near(["orange", "apple", "orang", "ornage", "apple"]) == [(0, 2), (0, 3), (1, 4)]


def test_ids_that_tell_are_told(competition: Make):
    competition("multiclass")
    table = pd.read_csv("data/train.csv", dtype=str)
    found = [note.code for note in ids.telling_ids(load("toy"))]
    table["label"] = table["label"].sort_values(ignore_index=True)
    table.to_csv("data/train.csv", index=False)
    data.load.cache_clear()
    assert (found, [note.code for note in ids.telling_ids(load("toy"))]) == ([], ["ID-LEAK"])


def test_columns_of_groups_that_cross_folds_are_told(competition: Make):
    competition("multiclass")
    for part, first in (("train", 0), ("test", 20)):
        table = pd.read_csv(f"data/{part}.csv", dtype=str)
        own = [f"g{first + n // 4}" for n in range(len(table))]
        shared = [f"s{n % 15}" for n in range(len(table))]
        table.assign(patient_nr=own, lens=own, shop=shared).to_csv(f"data/{part}.csv", index=False)
    data.load.cache_clear()
    loaded = load("toy")
    torn, whole = (pd.DataFrame({"fold": np.arange(60) // size % 2}, index=loaded.train.ids) for size in (1, 4))
    notes = [note for note in folds.left_alone(loaded, torn) if "FOLD-GROUP" in note]
    assert [note.split("'")[1] for note in notes] == ["patient_nr", "lens"] and all("15 of which" in n for n in notes)
    assert not [note for note in folds.left_alone(loaded, whole) if "FOLD-GROUP" in note]


@pytest.mark.parametrize("shifted", [False, True])
def test_pictures_of_another_kind_in_test_are_told(photos: Make, shifted: bool):
    train, test = rows(60), [f"t{n:02d}.jpg" for n in range(52)]
    photos(train, test)
    for n, name in enumerate(test if shifted else []):
        save(cv2.resize(photo(n + 60), (80, 70)), Path("data/images") / name, 60)
    loaded = load("toy")
    found = shift.sources(loaded, groups.seen(loaded), [])
    assert [source.name for source in found] == ["files", "colours", "forms"]
    notes = {note.examples[0]: note for note in shift.notes(loaded, found[:1])}
    assert set(notes) == ({"width"} if shifted else set()) or notes.keys() & {"height", "width over height", "bytes"}
    assert bool(notes) == shifted and all(note.code == "IMG-DRIFT" and note.tiles for note in notes.values())


def test_files_that_give_the_target_away_are_told(photos: Make):
    photos(rows(60), ["t.jpg"])
    assert not list(shift.leaking(load("toy"), groups.seen(load("toy"))))
    for n in range(0, 60, 2):
        save(photo(n, 64), Path(f"data/images/p{n:03d}.jpg"))
    assert "width" in {note.examples[0] for note in shift.leaking(load("toy"), groups.seen(load("toy")))}


def test_the_shares_of_the_best_runs_test_predictions_are_compared(competition: Make):
    competition("multiclass")
    loaded, folder = load("toy"), Path("runs/toy/one")
    classes = list(loaded.problem.classes)
    artifacts.write_json(folder / "score.json", {"score": 0.9})
    artifacts.write_json(folder / "run.json", {"data": loaded.hash})
    many = pd.Index([f"x{n}" for n in range(600)], name="id")
    for sure, told in ((np.arange(600) % 3, False), (np.zeros(600, int), True)):
        table = pd.DataFrame(np.eye(3)[sure] * 0.94 + 0.02, many, classes)
        artifacts.write_table(folder / "test.parquet", table)
        assert [note.code for note in labels.shares(loaded)] == ["PRIOR-SHIFT"] * told
    artifacts.write_json(folder / "run.json", {"data": "other"})
    assert not list(labels.shares(loaded))


def test_the_worst_comes_first_and_pictures_are_packed():
    notes = [Note("info", "A-A", "a"), about("warn", "B-B", "b", range(9)), Note("error", "C-C", "c")]
    assert [note.severity for note in ordered(notes)] == ["error", "warn", "info"]
    assert notes[1].count == 9 and notes[1].examples == ("0", "1", "2", "3", "4")
    tiled = [Note("info", "A-A", "a", tiles=(("p", "c"),) * n) for n in (8, 3, 5, 1)]
    assert [[len(note.tiles) for note in strip] for strip in sheet.packed(tiled)] == [[8], [3, 5], [1]]
