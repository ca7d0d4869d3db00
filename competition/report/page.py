"""One HTML file to look at: `make report COMP=leaves` writes runs/leaves/report.html, which needs nothing beside it.

Sections come from the functions of SECTIONS (of the competition) and OF_RUN (of one run each), in their order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from competition import artifacts, board, folds, git
from competition.data import Data, load
from competition.engine import signals, stopping
from competition.errors import ConfigFault, Fault, Finding, Stopped, examples, nearest
from competition.folds import FoldTable
from competition.report import (
    anatomy,
    audit,
    cards,
    columns,
    curves,
    detections,
    errors,
    gallery,
    parts,
    ranking,
    residuals,
    searches,
    together,
)
from competition.report.blocks import Prose, Section
from competition.report.render import Head, html
from competition.report.subject import Subject
from competition.standings import Standing, standings

SHOWN = 8  # runs in detail, unless RUNS= names others
FIRST = 4  # of them the best ones; the members of the best blend come next
SECTIONS: Mapping[str, Callable[[Subject], Iterator[Section]]] = {  # by their first key
    "leaderboard": ranking.sections,
    "alike": together.sections,
    "searches": searches.sections,
    "suspects": gallery.suspects,
    "data": audit.sections,
}
OF_RUN: Mapping[str, Callable[[Subject, Standing], Iterator[Section]]] = {
    "curves": curves.sections,
    "confusion": errors.sections,
    "residuals": residuals.sections,
    "detections": detections.sections,
    "mistakes": gallery.sections,
    "model": anatomy.sections,
    "members": parts.sections,
    "columns": columns.sections,
    "card": cards.sections,
}


def report(competition: str, names: Sequence[str] = ()) -> None:
    """names: of the runs to show in detail, with or without the competition; none: the best ones and what the best blend is
    made of. Raises ConfigFault CFG-VALUE for a run without a score, DataFault and EnvironmentFault as `load` does.
    """
    with board.board(), signals():
        data = load(competition)
        subject = subject_of(data, folds.load(data), standings(competition, data.hash), names)
        sections = list(gather(subject))
        notes = left_out(subject)
        page = html(_head(subject, notes), sections, [(s.name, _label(s, subject)) for s in subject.chosen])
        path = artifacts.RUNS / competition / "report.html"
        artifacts.write_bytes(path, page)
    unscored = [s for s in subject.standings if s.state != "scored"]
    for note in [*notes, *(f"{s.run} has no comparable score ({s.state}): {s.note}" for s in unscored)]:
        board.say(note)
    board.say(f"wrote {path}, {len(page) / 1e6:.1f} MB, {len(subject.chosen)} runs in detail; open it in a browser")


def subject_of(data: Data, table: FoldTable, all_runs: Sequence[Standing], names: Sequence[str]) -> Subject:
    """The runs that are named, or chosen, in the order of the standings. Raises ConfigFault CFG-VALUE."""
    scored = {s.name: s for s in all_runs if s.state == "scored"}
    named = [name if "/" in name else f"{data.name}/{name}" for name in names]
    problems = [_not_shown(name, all_runs, list(scored)) for name in named if name not in scored]
    if problems:
        raise ConfigFault(*problems)
    wanted = named or choose(list(scored.values()))
    return Subject(data, table, all_runs, [s for s in scored.values() if s.name in wanted])


def choose(scored: Sequence[Standing]) -> list[str]:
    """At most SHOWN names. scored: the best first."""
    names = [s.name for s in scored]
    blend: Standing | None = next((s for s in scored if members(s)), None)
    inside = [name for name in members(blend) if name in names] if blend else []
    return list(dict.fromkeys([*names[:FIRST], *([blend.name] if blend else []), *inside, *names]))[:SHOWN]


def members(standing: Standing) -> Sequence[str]:
    return standing.record.get("config", {}).get("members") or ()


def _not_shown(name: str, all_runs: Sequence[Standing], scored: Sequence[str]) -> Finding:
    there = {s.name: s for s in all_runs}.get(name)
    return Finding(
        code="CFG-VALUE",
        what="a run of RUNS= can't be shown in detail",
        where=f"RUNS={name}",
        found=f"{there.state}: {there.note}" if there else "no such run",
        mend=nearest(name, scored) if scored else "make predict RUN=... first: no run has a score",
    )


def gather(subject: Subject) -> Iterator[Section]:
    """All sections, kind by kind, so that they keep their order whichever run has them; in place of one that can't be made
    because a file is damaged, what is wrong and how to mend it.
    """
    total = len(SECTIONS) + len(subject.chosen) * len(OF_RUN)
    steps = [(key, "", lambda make=make: make(subject)) for key, make in SECTIONS.items()]
    steps += [
        (key, standing.name, lambda make=make, of=standing: make(subject, of))
        for key, make in OF_RUN.items()
        for standing in subject.chosen
    ]
    for done, (key, run, make) in enumerate(steps):
        if stopping():
            raise Stopped("stopped before the page was written")
        board.show("report", done, total, f"{run} {key}".strip())
        yield from _guarded(key, run or None, make)
    board.show("report", total, total)


def _guarded(key: str, run: str | None, make: Callable[[], Iterator[Section]]) -> Iterator[Section]:
    try:
        yield from make()
    except Fault as fault:
        lines = [
            f"{f.code}: {f.what}. Where: {f.where}. Found: {f.found}. To mend it: {f.mend}." for f in fault.findings
        ]
        yield Section(key, _titled(key), [Prose(lines)], run)
    except Stopped:
        raise
    except Exception as error:  # files that other commands left: of another version, cut, edited
        of = f" of {run}" if run else ""
        what = f"The section {_titled(key)}{of} could not be made from the files that are there"
        line = f"{what} ({type(error).__name__}: {error}); the rest of the page is whole."
        board.say(line)
        yield Section(key, _titled(key), [Prose([line])], run)


def _titled(key: str) -> str:
    return key.replace("-", " ").capitalize()


def left_out(subject: Subject) -> list[str]:
    """Which runs with a score have no details on this page; the leaderboard lists those without one."""
    shown = {s.name for s in subject.chosen}
    rest = [s.run for s in subject.standings if s.state == "scored" and s.name not in shown]
    if not rest:
        return []
    return [f'In the leaderboard only, without details: {examples(rest)}; RUNS="{rest[0]} ..." shows others.']


def _label(standing: Standing, subject: Subject) -> str:
    assert standing.score is not None
    spread = "" if standing.std is None else f" ± {standing.std:.4f}"
    return f"{standing.run}: {standing.score:.5f}{spread}"


def _head(subject: Subject, notes: Sequence[str]) -> Head:
    data, problem = subject.data, subject.problem
    direction = "greater" if problem.metric.greater else "smaller"
    scored = [s for s in subject.standings if s.state == "scored"]
    facts = {
        "Kind": problem.kind,
        "Metric": f"{problem.metric.name}, {direction} is better",
        "Rows": f"{len(subject.fold):,} scored, {len(data.test.ids):,} to predict",
        "Classes": f"{len(problem.classes):,}" if problem.classes else "",
        "Folds": f"{subject.fold.nunique()}, {data.config.folds.scheme}",
        "Runs": f"{len(scored)} scored, {len(subject.chosen)} in detail",
        "Made": time.strftime("%Y-%m-%d %H:%M %Z"),
        "Code": git.sha() or "",
    }
    return Head(data.name, [(name, value) for name, value in facts.items() if value], notes)
