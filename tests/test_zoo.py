"""The zoo: what `make init` infers from the folder of every well-known competition, and the whole chain to a CSV that the
host's own checks accept."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import RUNS, parse, write
from zoo import judging, page
from zoo.entry import Entry

from competition import artifacts, settings
from competition.cli import main
from competition.data import load
from competition.inspect import infer

ZOO = [entry for some in page.SECTIONS.values() for entry in some]
FIRST = ("aerial-cactus-identification", "titanic")  # whose chain `make test` runs; `make test-all` runs all
TASKS = {"submission": "image", "detect": "detection", "tabular": "tabular"}
TINY = {
    "submission": {"epochs": 1, "views": ["plain"]},
    "detect": {"epochs": 1, "views": ["plain"]},
    "tabular": {"params": {"num_iterations": 10, "min_data_in_leaf": 3}, "bag": 2},
}


def entered(entry: Entry) -> dict[str, Any]:
    """Builds the folder, infers and writes competition.yaml; returns what it says by dotted key."""
    folder = Path("downloads") / entry.slug
    entry.build(folder)
    for name, text in entry.beside.items():
        artifacts.write_text(artifacts.CONFIGS / "zoo" / name, text)
    given = {"folds.n": 2} | settings.parse(entry.set)
    guesses = infer.infer(folder, "zoo", entry.metric or None, given)
    artifacts.write_text(artifacts.competition_yaml("zoo"), infer.to_yaml(guesses))
    return flat(load("zoo").config.model_dump(mode="json"))


def flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested keys as `a.b`. A metric without parameters is its name, a template for both parts their one text."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found[before + key] = value
        found |= flat(value, f"{before}{key}.") if isinstance(value, dict) else {}
    return found | ({"metric": values["metric"]["name"]} if not before and len(values["metric"]) == 1 else {})


def spoilt(submission: Path, spoil: Callable[[list[list[str]]], object]) -> Path:
    """A copy with another header, or a cell that no host reads."""
    rows = judging.rows(submission)
    spoil(rows)
    with open("spoilt.csv", "w", encoding="utf-8", newline="") as f:
        csv.writer(f, lineterminator="\n").writerows(rows)
    return Path("spoilt.csv")


@pytest.mark.parametrize("entry", ZOO, ids=lambda entry: entry.slug)
def test_init_infers_it(entry: Entry, workspace: Path) -> None:
    found = entered(entry)
    assert {key: found.get(key) for key in entry.infers} == dict(entry.infers)


@pytest.mark.parametrize(
    "entry",
    [pytest.param(e, id=e.slug, marks=() if e.slug in FIRST else pytest.mark.slow) for e in ZOO],
)
def test_its_host_accepts_the_submission(entry: Entry, workspace: Path) -> None:
    entered(entry)
    write("configs/zoo/tiny.yaml", RUNS[TASKS[entry.command]] | TINY[entry.command] | parse(entry.run))
    assert main([entry.command, "zoo/tiny"]) == 0
    made, folder = artifacts.submission_csv("zoo/tiny"), Path("downloads") / entry.slug
    assert entry.judge(made, folder) == []
    for spoil in (lambda rows: rows[0].reverse(), lambda rows: rows[-1].__setitem__(-1, "no such thing")):
        assert entry.judge(spoilt(made, spoil), folder), "a judge that accepts this accepts anything"


def test_the_page_says_what_the_zoo_says() -> None:
    written = (Path(__file__).parents[1] / "docs" / "zoo.md").read_text(encoding="utf-8")
    assert written == page.text(), f"renew it: {page.COMMAND}"
