"""What goes wrong the night before a deadline: each mistake is told once, in five parts, and leaves nothing half-written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from competition import artifacts, cli, data

CSV = "data/train.csv"


def edit(path: str, change: Callable[[str], str]) -> None:
    Path(path).write_text(change(Path(path).read_text()))


def each_picture(content: bytes, names: tuple[str, ...] = ("001", "060")) -> None:
    for name in names:
        Path(f"data/images/{name}.png").write_bytes(content)


def remove(*names: str) -> None:
    for name in names:
        Path(f"data/images/{name}.png").unlink()


def one_class() -> None:
    table = pd.read_csv(CSV, dtype=str)
    table.assign(label="dark").to_csv(CSV, index=False)


def in_competition(old: str, new: str) -> Callable[[], None]:
    return lambda: edit("configs/toy/competition.yaml", lambda text: text.replace(old, new))


def in_run(old: str, new: str) -> Callable[[], None]:
    return lambda: edit("configs/toy/base.yaml", lambda text: text.replace(old, new))


def in_csv(old: str, new: str) -> Callable[[], None]:
    return lambda: edit(CSV, lambda text: text.replace(old, new))


MISTAKES: dict[str, tuple[Callable[[], object], int, str, tuple[str, ...]]] = {
    "missing column": (in_csv("id,label", "id,lable"), 3, "CSV-HEADER", ("'lable'", "train.csv")),
    "missing table": (lambda: Path(CSV).unlink(), 3, "CSV-MISSING", ("train.csv",)),
    "empty table": (lambda: edit(CSV, lambda t: "id,label\n"), 3, "CSV-EMPTY", ("no rows",)),
    "ragged table": (lambda: edit(CSV, lambda t: t + "x,dark,7\n"), 3, "CSV-RAGGED", ("line 62",)),
    "not UTF-8": (lambda: Path(CSV).write_bytes(b"id,label\n000,caf\xe9\n"), 3, "CSV-ENCODING", ("byte", "iconv")),
    "missing folder": (lambda: shutil.rmtree("data"), 3, "DATA-FOLDER", ("data",)),
    "double ids": (lambda: edit(CSV, lambda t: t + "000,dark\n"), 3, "ID-DUP", ("'000'",)),
    "test ids in train": (lambda: edit(CSV, lambda t: t + "060,dark\n"), 3, "ID-OVERLAP", ("'060'",)),
    "sample ids differ": (
        lambda: edit("data/sample_submission.csv", lambda t: t.replace("060", "999")), 3, "SUB-IDS", ("'999'", "'060'")),
    "sample lost its zeros": (
        lambda: edit("data/sample_submission.csv", lambda t: t.replace("\n0", "\n")), 3, "CSV-IDTYPE", ("leading zeros",)),
    "one class": (one_class, 3, "LABEL-ONECLASS", ("'dark'",)),
    "folds more than rows": (
        in_competition("n: 2", "n: 100"), 3, "FOLD-ROWS", ("60",)),
    "missing pictures": (lambda: remove("001", "060"), 3, "IMG-MISSING", ("001.png", "060.png", "2 pictures")),
    "empty pictures": (lambda: each_picture(b""), 3, "IMG-EMPTY", ("001.png", "060.png")),
    "error pages": (lambda: each_picture(b"<html>404</html>"), 3, "IMG-NOTIMAGE", ("<html>",)),
    "path out of the folder": (
        in_competition("images/", "../images/"), 5, "SEC-PATH", ("..",)),
    "picture template": (
        in_competition("{id}", "{idd}"), 3, "IMG-TEMPLATE", ("'id'",)),
    "unknown metric": (
        in_competition("accuracy", "acuracy"), 2, "CFG-VALUE", ("'accuracy'",)),
    "metric of another kind": (
        in_competition("accuracy", "rmse"), 2, "CFG-VALUE", ("multiclass",)),
    "unknown backbone": (
        in_run("test_resnet", "resnet5O"), 2, "MODEL-NAME", ("resnet50",)),
    "unknown view": (in_run("hflip", "hflop"), 2, "CFG-VALUE", ("'hflip'",)),
    "no picture column": (
        in_competition("image: images/{id}.png\n", ""), 2, "IMG-TEMPLATE",
        ("image",)),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_and_mended(name: str, competition: Callable[..., str], capsys: pytest.CaptureFixture):
    mistake, code_of_exit, code, said = MISTAKES[name]
    run = competition("multiclass", run="epochs=1")
    shutil.copytree(".", "../whole", dirs_exist_ok=True)
    mistake()
    assert cli.main(["submission", run]) == code_of_exit
    err = capsys.readouterr().err
    assert f"error {code}:" in err
    for part in ("where:", "found:", "risk:", "mend:", *said):
        assert part in err
    assert "Traceback" not in err
    left = [p for p in Path().rglob("*") if p.suffix in (".tmp", ".npy", ".parquet", ".safetensors", ".ckpt")]
    assert not left
    assert not Path("submissions").exists()
    shutil.copytree("../whole", ".", dirs_exist_ok=True)
    data.load.cache_clear()
    assert cli.main(["submission", run]) == 0, "mended, the same command goes on"
    shutil.rmtree("../whole")


@pytest.mark.slow  # each is told by a test of test_check.py
def test_check_tells_pictures_and_copies(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    competition("multiclass")
    for copy in ("001", "060"):
        shutil.copy("data/images/000.png", f"data/images/{copy}.png")
    assert cli.main(["check", "toy"]) == 0
    said = capsys.readouterr().out
    assert "FOLD-DUPE (2): training pictures are copies" in said
    assert "LABEL-CONFLICT (2): copies have another label" in said
    assert "TEST-DUPE (1): test pictures are copies of training pictures" in said
    remove("002", "003")
    each_picture(b"")
    assert cli.main(["check", "toy"]) == 3
    said = capsys.readouterr().err
    assert "IMG-MISSING" in said
    assert "IMG-EMPTY" in said
    assert "002.png" in said
    assert "003.png" in said


def test_changed_data_pictures_and_folds_are_refused(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    """A run is of one data set: what changed is named, and nothing of the run is touched."""
    run = competition("multiclass", run="epochs=1")
    assert cli.main(["train", run, "--fold", "0"]) == 0
    shutil.copy("data/images/000.png", "data/images/001.png")
    assert cli.main(["train", run]) == 3
    assert "the pictures or functions of yours changed" in capsys.readouterr().err
    edit(CSV, lambda t: t.replace("000,dark", "000,light"))
    data.load.cache_clear()
    assert cli.main(["train", run]) == 3
    assert "the data changed" in capsys.readouterr().err
    edit(CSV, lambda t: t.replace("000,light", "000,dark"))
    data.load.cache_clear()
    edit("folds/toy.csv", lambda t: t.replace("000,0", "000,x").replace("000,1", "000,0").replace("000,x", "000,1"))
    assert cli.main(["train", run]) == 3
    assert "the fold table changed" in capsys.readouterr().err


def test_damaged_weights_and_checkpoints_are_noticed(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    run = competition("multiclass", run="epochs=1")
    assert cli.main(["train", run]) == 0
    path = Path("runs/toy/base/fold1/model.safetensors")
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(bytes(content))
    assert cli.main(["predict", run]) == 4
    said = capsys.readouterr().err
    assert "CKPT-CORRUPT" in said
    assert "fold1" in said
    shutil.rmtree("runs/toy/base/fold1")
    assert cli.main(["predict", run]) == 2
    assert "RUN-PARTIAL" in capsys.readouterr().err
    assert cli.main(["submission", run]) == 0
    of_no_number(path)
    assert cli.main(["predict", run]) == 3
    assert "SUB-NONFINITE" in capsys.readouterr().err, "where a picture is there, no mean takes the network's place"


def of_no_number(path: Path) -> None:
    """A fold's weights, sealed as they are and not yet predicted with."""
    with safe_open(path, "pt") as f:
        notes = f.metadata()
    save_file({name: part * float("nan") for name, part in load_file(path).items()}, path, notes)
    fit = path.with_name("fit.json")
    record = artifacts.read_json(fit)
    artifacts.write_json(fit, record | {"files": record["files"] | {path.name: artifacts.file_digest(path)}})
    path.with_name("predicted.json").unlink()


def test_importing_and_training_open_no_connection(competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch):
    import socket

    def refuse(*words: object, **more: object) -> None:
        raise AssertionError(f"a connection to {words}")

    run = competition("multiclass", run="epochs=1")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    assert cli.main(["submission", run]) == 0
