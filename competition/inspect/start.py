"""`make init DATA=<folder> NAME=<name>`: what the folder holds, and the two configuration files that say so."""

from __future__ import annotations

import re
from pathlib import Path

from rich.table import Table

from competition import artifacts, board, config, settings
from competition.data import Data, load
from competition.errors import ConfigFault, Fault, Finding, examples
from competition.inspect import columns, infer
from competition.inspect.guess import Guess


def start(folder: str, name: str, metric: str | None = None, given: str = "") -> None:
    """Infers and shows; writes configs/<name>/competition.yaml and baseline.yaml where they do not exist yet.

    Raises ConfigFault, DataFault; then nothing new is left behind.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        mend = "letters, digits, _, - and . only: it names folders and stands in commands"
        raise ConfigFault(
            Finding("CFG-VALUE", "the competition can't be called that", f"NAME={name}", repr(name), mend)
        )
    wanted = settings.parse(given)
    guesses = infer.infer(Path(folder).expanduser(), name, metric, wanted)
    table = Table(title=f"{name}: what the folder says")
    for column in ("key", "value", "because"):
        table.add_column(column, overflow="fold")
    for guess in guesses:
        mark = "" if guess.sure else "CHECK: "
        table.add_row(guess.key, str(guess.value), mark + guess.reason)
    board.console.print(table)
    path = artifacts.competition_yaml(name)
    if path.exists():
        keep(path, name, guesses, {"data", *wanted, *(["metric"] if metric else [])})
    else:
        _write(path, infer.to_yaml(guesses))
        try:
            load(name)
        except Fault:
            path.unlink()
            raise
    data = load(name)
    for note in data.notes:
        board.say(note)
    first_run(data)


def keep(path: Path, name: str, guesses: list[Guess], asked: set[str]) -> None:
    """An existing file stays as it is; what was asked for and stands there otherwise is refused, not ignored."""
    there = config.load_competition(name).model_dump(mode="json")
    new = config.parse_competition(infer.to_yaml(guesses), str(path)).model_dump(mode="json")
    top = {key.partition(".")[0] for key in asked}
    differing = [k for k in there if k in top and there[k] != new[k]]
    if "data" in differing and Path(there["data"]).resolve() == Path(new["data"]).resolve():
        differing.remove("data")
    if differing:
        raise ConfigFault(
            *(
                Finding("CFG-EXISTS", "the competition exists with another value", f"{path}, key {key}",
                        f"{there[key]} there, {new[key]} now", f"edit that key, or remove {path} to infer it anew")
                for key in differing
            )
        )  # fmt: skip
    board.say(f"{path} exists and is left as it is")


def first_run(data: Data) -> None:
    """A baseline: timed for pictures with labels or boxes, with the types of the columns for tables."""
    path = artifacts.run_yaml(f"{data.name}/baseline")
    if path.exists():
        board.say(f"{path} exists and is left as it is")
    elif data.train.pictures is None:
        zips = sorted(p.name for p in Path(data.config.data).glob("*.zip"))
        if zips:
            board.say(f"no pictures were found; {', '.join(zips)} may have to be unpacked first")
        found = columns.of(data)
        columns.show(found, data.name)
        if all(column.type == "ignore" for column in found):
            board.say("no baseline: there are neither pictures nor columns that train and test share to learn from")
            return
        _write(path, columns.text(found, data.name))
    elif data.config.kind == "boxes":
        from competition.inspect import baseline, detect_baseline  # bring torch, so only where steps are timed

        _write(path, baseline.text(detect_baseline.plan(data), data.name, "detection", "detect"))
    else:
        from competition.inspect import baseline

        _write(path, baseline.text(baseline.plan(data), data.name) + beside(data))
    command = "detect" if data.config.kind == "boxes" else "tabular" if data.train.pictures is None else "submission"
    board.say(f"next: make {command} RUN={data.name}/baseline")


def beside(data: Data) -> str:
    """A line of the first run on pictures: the table's columns that it could read too; none where there are none."""
    names = [column.name for column in columns.of(data) if column.type != "ignore"]
    return f"# columns: all   # these of the table beside the picture too: {examples(names)}\n" if names else ""


def _write(path: Path, text: str) -> None:
    artifacts.write_text(path, text)
    board.say(f"wrote {path}")
