"""`make init DATA=<folder> NAME=<name>`: what the folder holds, and the two configuration files that say so."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from competition import artifacts, board, config
from competition.data import load
from competition.inspect import infer


def start(folder: str, name: str, metric: str | None = None, given: str = "") -> None:
    """Infers and shows; writes configs/<name>/competition.yaml and baseline.yaml where they do not exist yet."""
    guesses = infer.infer(Path(folder), name, metric, config.parse_set(given))
    table = Table(title=f"{name}: what the folder says")
    for column in ("key", "value", "because"):
        table.add_column(column, overflow="fold")
    for guess in guesses:
        mark = "" if guess.sure else "CHECK: "
        table.add_row(guess.key, escape(str(guess.value)), escape(mark + guess.reason))
    board.console.print(table)
    _write(artifacts.competition_yaml(name), infer.to_yaml(guesses))
    data = load(name)
    for note in data.notes:
        board.say(note)
    path = artifacts.run_yaml(f"{name}/baseline")
    if data.train.pictures is None:
        board.say("no pictures: a run of another task than `image` is needed")
    elif path.exists():
        board.say(f"{path} exists and is left as it is")
    else:
        from competition.inspect import baseline  # brings torch, so only where steps are timed

        _write(path, baseline.text(baseline.plan(data), name))
    board.say(f"next: make submission RUN={name}/baseline")


def _write(path: Path, text: str) -> None:
    if path.exists():
        board.say(f"{path} exists and is left as it is")
    else:
        artifacts.write_text(path, text)
        board.say(f"wrote {path}")
