"""What breaks a toy competition, a run or a file: the means of the cases of rows 57 to 108."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from conftest import write

from competition import artifacts, cli, data, submit
from faults.case import Make

TRAIN, TEST, SAMPLE = "data/train.csv", "data/test.csv", "data/sample_submission.csv"
BASE = "toy/base"
SUBMIT, FIT = ("submission", BASE), ("train", BASE)
FOLDS, CHECK = ("folds", "toy"), ("check", "toy")
TINY = {
    "task": "tabular", "model": "extratrees", "bag": 1, "jobs": 1, "params": {"n_estimators": 3},
    "columns": {"ignore": ["note", "day"]},
}  # fmt: skip


def cells(path: str = TRAIN) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def put(table: pd.DataFrame, path: str = TRAIN) -> None:
    table.to_csv(path, index=False)
    data.load.cache_clear()


def photos(change: Callable[[], object] | None = None, kind: str = "multiclass", run: str = "epochs=1", **keys: object):
    """A competition of pictures; `change` breaks it."""

    def build(make: Make) -> None:
        make(kind, run=run, **keys)
        if change:
            change()
        data.load.cache_clear()

    return build


def boxes(change: Callable[[], object] | None = None, **keys: object):
    def build(make: Make) -> None:
        make("boxes", task="detection", run="epochs=1", **keys)
        if change:
            change()
        data.load.cache_clear()

    return build


def table(change: Callable[[], object] | None = None, kind: str = "multiclass", **keys: object):
    """The same of a tabular run, whose three trees are fitted at once."""

    def build(make: Make) -> None:
        make(kind, task="tabular", **keys)
        write("configs/toy/base.yaml", TINY)
        if change:
            change()
        data.load.cache_clear()

    return build


FINISHED: dict[str, tempfile.TemporaryDirectory] = {}


def finished(make: Make, name: str, begin: Callable[[Make], object]) -> None:
    """What `begin` makes of an empty folder, made once in a process and copied from then on."""
    if name not in FINISHED:
        begin(make)
        FINISHED[name] = tempfile.TemporaryDirectory()
        shutil.copytree(".", FINISHED[name].name, dirs_exist_ok=True)
    else:
        shutil.copytree(FINISHED[name].name, ".", dirs_exist_ok=True)


def after(command: tuple[str, ...], change: Callable[[], object], **keys: object):
    """A tabular run that has come as far as `command`, and then something happens to its files."""

    def begin(make: Make) -> None:
        table(**keys)(make)
        assert cli.main(command) == 0

    def build(make: Make) -> None:
        finished(make, f"{command} {keys}", begin)
        change()
        data.load.cache_clear()

    return build


def afresh() -> None:
    """The submission is to be written anew."""
    shutil.rmtree("submissions")


def column(name: str, values: Callable[[pd.DataFrame], object], *paths: str) -> Callable[[], None]:
    """Adds or replaces a column of these tables; of both by default."""

    def change() -> None:
        for path in paths or (TRAIN, TEST):
            here = cells(path)
            put(here.assign(**{name: values(here)}), path)

    return change


def renamed(old: str, new: str) -> Callable[[], None]:
    return lambda: [put(cells(path).rename(columns={old: new}), path) for path in (TRAIN, TEST)]


def parquet(path: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[], None]:
    return lambda: rewrite(path, change(pd.read_parquet(path)))


def rewrite(path: str | Path, table: pd.DataFrame) -> None:
    """Another table of predictions, with the digest of it where the run keeps that: as if the model had said so."""
    path = Path(path)
    artifacts.write_table(path, table)
    for record in (path.with_name("predicted.json"), path.with_name("score.json")):
        told = artifacts.read_json(record) if record.exists() else {}
        if path.name in told.get("files", {}):
            told["files"][path.name] = artifacts.file_digest(path)
            artifacts.write_json(record, told)


def at(values: dict[tuple[int, int], float]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(here: pd.DataFrame) -> pd.DataFrame:
        for place, value in values.items():
            here.iloc[place] = value
        return here

    return change


def box(row: int, **edges: str) -> None:
    """Edges of the row-th box."""
    here = cells()
    here.loc[here.index[here["x_min"] != ""][row], list(edges)] = list(edges.values())
    put(here)


def text(path: str, content: str | bytes) -> Callable[[], None]:
    return lambda: Path(path).write_bytes(content.encode() if isinstance(content, str) else content) and None


def run_file(content: str) -> Callable[[Make], None]:
    return photos(text("configs/toy/base.yaml", content))


def spoilt(path: str, change: Callable[[bytes], bytes]) -> Callable[[], None]:
    return lambda: Path(path).write_bytes(change(Path(path).read_bytes())) and None


def submitted(*words: str) -> Callable[[], None]:
    def holds() -> None:
        content = Path("submissions/toy/base.csv").read_text()
        assert all(word in content for word in words)
        assert not submit.check(data.load("toy"), Path("submissions/toy/base.csv"))

    return holds


def absent(*paths: str) -> Callable[[], None]:
    def holds() -> None:
        assert not [path for path in paths if Path(path).exists()]

    return holds


def flip(content: bytes) -> bytes:
    return content[:-60] + bytes([content[-60] ^ 1]) + content[-59:]
