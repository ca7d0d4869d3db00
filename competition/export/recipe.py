"""What a submission is made of, beyond weights: which models say what of a row, in which views, and how that becomes one.

    recipe.json    run, competition; problem; leaves: run -> its configuration, folder and folds; nodes: run -> what was
                   decided on its OOF; members: blend -> its runs; adjustment of the whole
    truth.parquet  the training labels by id: what a submission without models, and `prior:`, are made of

A leaf is a run with models of its own. What is written here is read by what reads a run: `config.make_run`, `decide.read`,
`adjustment.read`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from competition import adjustment, artifacts, config, decide, metrics, portfolio, runs, stacked
from competition.adjustment import Adjustment
from competition.blending.means import Decision
from competition.config import Run
from competition.data import load, reading_of
from competition.errors import ConfigFault, Finding
from competition.runs import Opened
from competition.task import Fold, Problem, Progress, Rows

RECIPE, TRUTH, MODELS = "recipe.json", "truth.parquet", "models"


# Of a run -------------------------------------------------------------------------------------------------------------


def check(run: Run) -> None:
    """Raises ConfigFault EXP-TASK where a part of the run can't predict rows that it has not been shown yet."""
    problems = []
    for leaf in leaves_of(run):
        why, mend = "", "export a blend without it"
        if stacked.given(leaf):
            why, mend = (
                "its columns come from other models (runs:, embeddings:)",
                "export a blend of those runs instead",
            )
        elif getattr(leaf.task, "recalls", False):
            why = "its predictions were made by another program, which is not here to make more"
        if why:
            what = "a run can't be exported"
            problems.append(
                Finding("EXP-TASK", what, f"RUN={leaf.name}", why, mend, "hidden rows would have no columns")
            )
    contest, home = config.load_competition(run.competition), artifacts.competition_yaml(run.competition).parent
    own = [contest.metric.name, *(leaf.config().get("features") or "" for leaf in leaves_of(run))]
    for reference in own:
        if ".py" in reference and not (home / reference.partition(":")[0]).resolve().is_relative_to(home.resolve()):
            what, mend = "a function of yours lies elsewhere", f"move its file below {home}, and name it from there"
            problems.append(Finding("EXP-TASK", what, reference, f"it is not below {home}, which is exported", mend))
    if contest.read is not None:
        found, mend = "read: makes the tables of train and test together", "write test.csv as it does, in the notebook"
        where = f"{artifacts.competition_yaml(run.competition)}, key read"
        problems.append(
            Finding("EXP-TASK", "the tables of a competition can't be made from test alone", where, found, mend)
        )
    if problems:
        raise ConfigFault(*problems)


def of(at: Opened) -> dict[str, Any]:
    """The recipe of a run that has a score."""
    problem, leaves = at.data.problem, {leaf.name: leaf for leaf in leaves_of(at.run)}
    blends = _blends(at.run)
    return {
        "run": at.run.name,
        "competition": at.run.competition,
        "problem": {key: list(getattr(problem, key)) for key in ("targets", "classes", "columns", "inputs")},
        "leaves": {name: _leaf(at, leaf, n) for n, (name, leaf) in enumerate(leaves.items())},
        "members": {blend.name: [member.name for member in _members(blend)] for blend in blends},
        "nodes": {name: _node(name) for name in (*leaves, *(blend.name for blend in blends))},
        "adjustment": _score(at.run.name)["adjustment"],
        "test": len(at.data.test),
    }


def _members(run: Run) -> list[Run]:
    """Those that count, once that is decided; of a preset those that its time allowed."""
    members = [m if m.preset is None else portfolio.finished(m) for m in runs.members(run)]
    if not (artifacts.run_folder(run.name) / "score.json").exists():
        return members
    weights = decide.read(_score(run.name)["decision"], load(run.competition).problem).weights
    return [member for member in members if weights.get(member.name)]


def _blends(run: Run) -> list[Run]:
    return [] if run.members is None else [run, *(blend for member in _members(run) for blend in _blends(member))]


def leaves_of(run: Run) -> list[Run]:
    """The runs with models of their own that it takes along."""
    return [run] if run.members is None else [leaf for member in _members(run) for leaf in leaves_of(member)]


def _leaf(at: Opened, leaf: Run, number: int) -> dict[str, Any]:
    """folds: name -> mean of the labels that it was trained on, which a row without a picture gets; none of boxes."""
    one = runs.look(leaf)
    network = getattr(leaf.task, "network", None)  # of a soup: the task that its weights are for
    plain = leaf if network is None else Run(name=leaf.name, task=network(), seed=leaf.seed)
    splits = one.refits if leaf.refit == "only" else [*one.splits, *one.refits]
    truth = one.data.train.truth
    assert truth is not None
    boxes = at.data.problem.kind == "boxes"
    means = {s.name: {} if boxes else truth.loc[one.table.ids(s)[0]].mean().to_dict() for s in splits}
    short = leaf.name.partition("/")[2].replace("+", "-")
    return {"config": _anywhere(plain.config()), "folder": f"{MODELS}/{number}-{short}", "folds": means}


def _anywhere(config: dict[str, Any]) -> dict[str, Any]:
    """The notebook has devices of its own."""
    return config | {"device": "auto"} if "device" in config else config


def _node(name: str) -> dict[str, Any]:
    """What was decided on OOF, and what each view or member adds, in the metric, greater is better."""
    score = _score(name)
    return {"decision": score["decision"], "gains": {part: v["gain"] or 0.0 for part, v in score["parts"].items()}}


def _score(name: str) -> dict[str, Any]:
    return artifacts.read_json(artifacts.run_folder(name) / "score.json")


# Read -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Leaf:
    """A run with models of its own. folds: name -> what its task is told of it. views: those that count."""

    run: Run
    folder: Path
    folds: dict[str, pd.Series]
    decision: Decision
    gains: dict[str, float]

    @property
    def views(self) -> list[str]:
        return [view for view, weight in self.decision.weights.items() if weight]

    def fold(self, name: str, problem: Problem, progress: Progress) -> Fold:
        """As a task predicts by it: its folder, and the mean of the labels that it was trained on as its only row."""
        mean = pd.DataFrame([self.folds[name]])
        return Fold(
            name=name,
            problem=problem,
            train=Rows(mean, truth=mean),
            valid=None,
            folder=self.folder / name,
            seed=0,
            log=lambda step, values: None,
            report=lambda epoch, prediction: float("nan"),
            progress=progress,
            stop=lambda: False,
            inner=lambda n: [],
            ordered=False,
            origin={"run": self.run.name},
        )


@dataclass(frozen=True)
class Blend:
    members: tuple[str, ...]
    decision: Decision
    gains: dict[str, float]


@dataclass(frozen=True)
class Recipe:
    """What `of` wrote, read; `config`, the competition's, has no data folder of this machine."""

    run: str
    config: Any
    problem: Problem
    truth: pd.DataFrame
    leaves: dict[str, Leaf]
    blends: dict[str, Blend]
    adjustment: Adjustment | None
    test: int


def read(folder: Path) -> Recipe:
    """Of a bundle, which is the folder that this process works in: configs/ lies there."""
    values = artifacts.read_json(folder / RECIPE)
    competition = values["competition"]
    contest, home = config.load_competition(competition), artifacts.competition_yaml(competition).parent
    texts = {key: tuple(text) for key, text in values["problem"].items()}
    metric = metrics.get(contest.metric, contest.kind, texts["classes"], home)
    problem = Problem(competition, contest.kind, metric=metric, reading=reading_of(contest), **texts)
    decision = functools.partial(_decision, values["nodes"], problem)
    leaves = {
        name: Leaf(
            config.make_run(name, leaf["config"]),
            folder / leaf["folder"],
            {fold: pd.Series(mean, dtype=float) for fold, mean in leaf["folds"].items()},
            *decision(name),
        )
        for name, leaf in values["leaves"].items()
    }
    blends = {name: Blend(tuple(members), *decision(name)) for name, members in values["members"].items()}
    truth = artifacts.read_table(folder / TRUTH)
    last = adjustment.read(values["adjustment"])
    return Recipe(values["run"], contest, problem, truth, leaves, blends, last, values["test"])


def _decision(nodes: dict[str, Any], problem: Problem, name: str) -> tuple[Decision, dict[str, float]]:
    return decide.read(nodes[name]["decision"], problem), nodes[name]["gains"]


def shares(recipe: Recipe, name: str = "", whole: float = 1.0) -> dict[str, float]:
    """By run, the blends among them, its weight in the submission."""
    name = name or recipe.run
    found, blend = {name: whole}, recipe.blends.get(name)
    for member, weight in blend.decision.weights.items() if blend else ():
        for inner, share in shares(recipe, member, whole * weight).items():
            found[inner] = found.get(inner, 0.0) + share
    return found


def used(recipe: Recipe) -> Sequence[str]:
    """The leaves that have a weight."""
    weight = shares(recipe)
    return [name for name in recipe.leaves if weight.get(name)]
