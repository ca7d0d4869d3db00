"""The card of a run on the page: everything that is needed to make it again, to read and to copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from competition import artifacts, card, secret
from competition.report.blocks import Card, Prose, Section
from competition.report.subject import Subject
from competition.standings import Standing


def sections(subject: Subject, standing: Standing) -> Iterator[Section]:
    """Of one run, scored or not; of one whose run.json can't be read, a sentence that says so."""
    record = secret.hidden(dict(standing.record))
    key, title = "card", "Run card"
    if "config" not in record:
        lines = [f"{standing.name}: run.json can't be read, so there is no card. {standing.note}".strip()]
        yield Section(key, title, [Prose(lines)], standing.name)
        return
    again = subject.detail(standing, "reproduced.json")
    facts = [*_facts(standing, record), *_versions(record), *_again(record, again)]
    block = Card(standing.run, [(name, value) for name, value in facts if value], list(_copies(standing, record)))
    yield Section(key, title, [block], standing.name)


def _facts(standing: Standing, record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    hardware, results = record.get("hardware", {}), record.get("results", {})
    yield "begun", record.get("made", "")
    yield "training, all folds", "" if standing.seconds is None else f"{standing.seconds:,.0f} s"
    yield "seed", str(record.get("seed", ""))
    yield "git", record.get("git") or "not in a repository"
    yield "hardware", ", ".join(f"{name} {_text(value)}" for name, value in hardware.items() if value)
    yield "data hash", record.get("data", "")
    yield "fold table hash", record.get("folds", "")
    yield "hash of pictures and functions", record.get("inputs") or ""
    yield from ((f"digest of {path}", digest) for path, digest in record.get("files", {}).items())
    names = {"oof": "out-of-fold predictions", "test": "test predictions", "csv": "submission"}
    yield from ((f"digest of {names.get(part, part)}", digest) for part, digest in results.items())
    lacking = [text for name, text in card.LATER.items() if name not in record]
    yield "not in this card", "; ".join(lacking)


def _versions(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    known = {name: version for name, version in record.get("versions", {}).items() if version}
    yield "versions", ", ".join(f"{name} {version}" for name, version in known.items())


def _again(record: Mapping[str, Any], again: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """What `make reproduce` found, where that was of these predictions."""
    if again is None:
        return
    with_what = f"with other {', '.join(again['differs'])}" if again["differs"] else "same code, versions and hardware"
    stale = " (of an earlier state of this run)" if again["card"] != card.stamp(record) else ""
    yield "reproduced", f"{again['made'][:10]}: {again['verdict']}, {with_what}{stale}"


def _copies(standing: Standing, record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Commands and files, each ready to be pasted."""
    yield "Make it again, and compare", f"make reproduce RUN={standing.name}"
    sha = record.get("git")
    if sha:
        note = "  # + : beside this commit there were changes that no commit holds" if sha.endswith("+") else ""
        yield "The code that made it", f"git checkout {sha.rstrip('+')}{note}\nmake setup"
    said = record.get("set", "")
    command = f"make submission RUN={standing.name}"
    yield "As it was made", command + (f" SET={_quoted(said)}" if said else "")
    if "+" not in standing.name:  # a preset's model has no file of its own
        yield str(artifacts.run_yaml(standing.name)), _yaml(card.of_run(record))
    if "competition" in record:
        name = standing.name.partition("/")[0]
        yield str(artifacts.competition_yaml(name)), _yaml(record["competition"])


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def _yaml(values: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
