"""The score of a run or a blend, score.json: over all rows, by fold, in sample, by view or member; and how it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table

from competition import adjustment, artifacts, board, decide, engine, prior
from competition.artifacts import write_json
from competition.boxes import deciding, sheet
from competition.decide import Nested, Stack
from competition.folds import FoldTable
from competition.metrics import Metric
from competition.runs import Opened
from competition.task import Problem, pick
from competition.tracking import follow


def scored_on(at: Opened, basis: str) -> bool:
    """Whether score.json, the last file of a score, is there and was made of the same metric, predictions, decisions."""
    path = at.folder / "score.json"
    return path.exists() and artifacts.read_json(path)["basis"] == basis


def write_score(
    at: Opened, basis: str, result: Nested, stack: Stack, seeds: Sequence[Stack] = (), inputs: str | None = None
) -> None:
    """score.json, written last: with it the run has a score. basis: a hash of what it was made from.

    seeds: the stack of each seed alone, where there are several. inputs: hash of a blend's members' predictions.
    """
    assert at.data.train.truth is not None
    fold = scored_folds(at.table)
    truth, stack = pick(at.data.train.truth, fold.index), decide.part(stack, fold.index)
    record = score_record(at.data.problem, truth, fold, stack, result)
    if seeds:
        alone = [_alone(at.data.problem, truth, fold, some, result) for some in seeds]
        record |= {"seeds": {str(seed): score for seed, score in enumerate(alone)}}
    record["at_prior"] = prior.scores(at.data.config.prior, at.data.problem, at.data.train.truth, fold, result)
    if at.data.problem.kind == "boxes":
        for path in sheet.draw(at.data, fold.index, result.prediction, at.folder):
            at.say(f"drew {path}")
    record |= {} if inputs is None else {"inputs": inputs}
    files = {name: artifacts.file_digest(at.folder / name) for name in ("oof.parquet", "test.parquet")}
    record |= {"of": _of(at), "files": files}
    made = {"basis": basis, "threads": engine.threads(), "made": artifacts.now()}
    write_json(at.folder / "score.json", record | {"metric_hash": at.data.metric_hash} | made)
    follow(at)


def _of(at: Opened) -> dict[str, str]:
    """What the score is of: a digest of each fold as it was fitted, or of each member's score. Clocks are not asked."""
    if at.run.members is None:
        return {s.name: artifacts.file_digest(at.folder / s.name / "fit.json") for s in (*at.splits, *at.refits)}
    scores = {member: artifacts.run_folder(member) / "score.json" for member in at.run.members}
    return {member: artifacts.read_json(path)["basis"] for member, path in scores.items() if path.exists()}


def score_record(
    problem: Problem, truth: pd.DataFrame, fold: pd.Series, stack: Stack, result: Nested
) -> dict[str, Any]:
    """The score of the nested decisions over all rows, its spread over folds, and what each part of the stack adds.

    parts and mean are of predictions without adjustment, of boxes at the threshold that is best for each, in sample;
    unadjusted: the score without, None where no fold has one. A fold without a score (no true box, one class) is null.
    """
    metric = problem.metric

    def shown(prediction: pd.DataFrame) -> float:
        return metric.shown(metric.score(truth, prediction))

    def equal(some: Stack) -> float:
        return deciding.best_score(metric, truth, decide.equal(some, problem).combine(some))

    by_fold = decide.fold_scores(metric, truth, result.decided, fold)
    everything = equal(stack)

    def gain(name: str) -> float | None:
        rest = {n: t for n, t in stack.items() if n != name}
        return everything - equal(rest) if rest else None

    def part(name: str) -> dict[str, float | None]:
        alone = metric.shown(equal({name: stack[name]}))
        return {"weight": result.final.weights.get(name, 0.0), "alone": alone, "gain": gain(name)}

    return {
        "metric": metric.name,
        "greater_is_better": metric.greater,
        "score": shown(result.decided),
        "std": float(by_fold.std()) if len(by_fold) > 1 else None,
        "folds": {f"fold{k}": metric.shown(v) if np.isfinite(v) else None for k, v in by_fold.items()},
        "in_sample": shown(adjustment.apply(result.adjustment, result.final.combine(stack))),
        "unadjusted": shown(result.prediction) if any(result.adjustments_by_fold.values()) else None,
        "mean": metric.shown(everything),
        "rows": len(fold),
        "parts": {name: part(name) for name in stack},
        "methods": {name: _method(metric, row) for name, row in result.methods.items()},
        "decision": result.final.plain(),
        "weights_by_fold": {f"fold{k}": decision.plain() for k, decision in result.by_fold.items()},
        "adjustment": result.adjustment and result.adjustment.plain(),
        "adjustments_by_fold": {f"fold{k}": a and a.plain() for k, a in result.adjustments_by_fold.items()},
    }


def _alone(problem: Problem, truth: pd.DataFrame, fold: pd.Series, stack: Stack, result: Nested) -> float:
    """What the models of one seed score, decided as those of all seeds together are."""
    return problem.metric.shown(problem.metric.score(truth, result.decide(decide.part(stack, fold.index), fold)))


def _method(metric: Metric, row: dict[str, Any]) -> dict[str, Any]:
    """A row of `Chooser.table` in the competition's figures; None where there is no score."""
    if "left_out" in row:
        return row
    scores = {key: row[key] for key in ("nested", "in_sample")}
    return row | {k: None if v is None or not np.isfinite(v) else metric.shown(v) for k, v in scores.items()}


def show_score(at: Opened, part: str) -> None:
    """The score as a sentence, and what each view or member adds as a table."""
    score = artifacts.read_json(at.folder / "score.json")
    if len(score["parts"]) > 1:
        board.console.print(parts_table(at.run.name, part, score))
    if score["methods"]:
        board.console.print(methods_table(at.run.name, score))
    at.say(headline(score))
    if len(score["parts"]) > 1:
        at.say(beside(score))
    if "seeds" in score:
        at.say(seeds_apart([*score["seeds"].values()]))
    if at.data.problem.kind == "boxes":
        at.say(f"fused by {decide.read(score['decision'], at.data.problem)}")
    if score["unadjusted"] is not None or score["adjustment"] is not None:
        at.say(adjusted(score))
    if at.data.config.prior is not None:
        at.say(prior.beside(score["at_prior"]))


def parts_table(run: str, part: str, score: dict[str, Any]) -> Table:
    table = Table(part, "alone", "gain in the mean", "weight", title=f"{run}: {score['metric']} by {part}")
    for name, values in score["parts"].items():
        gain = "" if values["gain"] is None else f"{values['gain']:+.4f}"
        weight = f"{values['weight']:.3f}" if values["weight"] else "dropped"
        table.add_row(name, f"{values['alone']:.4f}", gain, weight)
    return table


def methods_table(run: str, score: dict[str, Any]) -> Table:
    """Of each way of blending what it scores nested and in sample, and in how many refits it was chosen, or why not."""

    def show(value: float | None) -> str:
        return "" if value is None else f"{value:.4f}"

    table = Table(
        "method", "nested", "in sample", "chosen", title=f"{run}: {score['metric']} by way of blending, uncut"
    )
    for name, row in score["methods"].items():
        if "left_out" in row:
            table.add_row(name, "", "", f"left out: {row['left_out']}")
            continue
        refits = f"{len(row['folds'])} of {len(score['folds'])} refits"
        chosen = f"the final one, {refits}" if row["final"] else refits if row["folds"] else ""
        table.add_row(name, show(row["nested"]), show(row["in_sample"]), chosen)
    return table


def headline(score: dict[str, Any]) -> str:
    """The score over all rows together, and beside it the mean and spread over folds (of a ranking they differ)."""
    folds = [value for value in score["folds"].values() if value is not None]
    spread = f" (folds {np.mean(folds):.4f} ± {score['std']:.4f})" if score["std"] is not None else ""
    direction = "greater" if score["greater_is_better"] else "smaller"
    return f"CV {score['metric']} {score['score']:.4f}{spread} on {score['rows']:,} rows, {direction} is better"


def beside(score: dict[str, Any]) -> str:
    """The figures that the nested score must be read with."""
    best = (max if score["greater_is_better"] else min)(p["alone"] for p in score["parts"].values())
    others = f"best single {best:.4f}, plain mean {score['mean']:.4f}, in-sample {score['in_sample']:.4f}"
    return f"nested {score['score']:.4f}; {others}"


def seeds_apart(scores: list[float]) -> str:
    each = ", ".join(f"{score:.4f}" for score in scores)
    return f"each seed alone {each}: mean {np.mean(scores):.4f}, standard deviation {np.std(scores, ddof=1):.4f}"


def adjusted(score: dict[str, Any]) -> str:
    """What is done to the predictions before they are submitted, and the score without it."""
    last, kept = adjustment.read(score["adjustment"]), sum(a is not None for a in score["adjustments_by_fold"].values())
    if last is None:
        return f"no adjustment: {kept} of {len(score['folds'])} refits kept one; without any, {score['unadjusted']:.4f}"
    if not kept:
        return f"{last}, fitted on all rows that are scored; the score is without it"
    return f"{last}, fitted on the other folds; without it {score['unadjusted']:.4f}"


def scored_folds(table: FoldTable) -> pd.Series:
    """Fold number by id of the first repeat, of the rows that are scored."""
    fold = table.table["fold"]
    return fold[fold >= 0]


def decided(score: Mapping[str, Any], prediction: pd.DataFrame, fold: pd.Series) -> pd.DataFrame:
    """A run's out-of-fold prediction as it is scored: each fold's rows with the adjustment of the other folds."""
    parts = {k: pick(prediction, fold.index[fold == k]) for k in sorted(fold.unique())}
    fitted = {k: adjustment.read(score["adjustments_by_fold"][f"fold{k}"]) for k in parts}
    return pick(pd.concat([adjustment.apply(fitted[k], part) for k, part in parts.items()]), fold.index)
