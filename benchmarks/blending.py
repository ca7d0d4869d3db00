"""`make bench-blend`: blend weights of 20 runs on 50,000 rows x 10 classes, ours beside what they replace, in one process.

  convex   the exact optimum of log loss (blending/convex.py's solver, without its shrinkage)
  greedy   greedy selection on batched scores, all members, from the best that score best together
  loop     greedy selection from nothing, with a call of the metric for each candidate of each round
  SLSQP    SciPy's, with numeric gradients of the metric
  Optuna   100 trials of a TPE search over the weights

All weigh the same predictions of noisy models, drawn by a fixed seed. Seconds are of the processor, of one thread, since
others may work on the machine. `--save` writes out-of-fold tables for autogluon_greedy.py: of drawn data, and of the runs of
competitions; `--compare` scores what was chosen there beside ours, each fold by weights of the other folds.

    python -m benchmarks.blending [--rows 50000] [--members 20] [--classes 10] [--metrics logloss accuracy auc]
    python -m benchmarks.blending --save FOLDER [--competitions titanic ...]
    python -m benchmarks.blending --compare FOLDER
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from competition import artifacts, decide, ensemble, folds, metrics
from competition.blending import convex, greedy, losses, simplex
from competition.data import load
from competition.keys import MetricSpec
from competition.scoring import scored_folds
from competition.task import Problem

ROUNDS = 25
SIZES = (25, 100)  # rounds of AutoGluon's; its default and its best_quality's
EXACT = ("logloss", "brier")
console = Console(width=120)


def problem_of(name: str, kind: str, columns: tuple[str, ...]) -> Problem:
    classes = ("no", *columns) if kind == "binary" else columns
    metric = metrics.get(MetricSpec(name=name), kind, classes, Path())
    return Problem("drawn", kind, ("y",), classes, columns, metric)


def draw(rows: int, members: int, classes: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Models that see the same noisy logits, each with noise of its own and more or less sure of itself; and the truth."""
    rng = np.random.default_rng(0)
    truth = np.eye(classes)[rng.integers(classes, size=rows)]
    shared = 2 * truth + rng.normal(size=truth.shape)
    made = []
    for _ in range(members):
        logits = rng.uniform(0.5, 1.5) * (shared + rng.uniform(0.8, 2) * rng.normal(size=truth.shape))
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        made.append(odds / odds.sum(axis=1, keepdims=True))
    return made, truth


def tabled(array: np.ndarray, problem: Problem) -> pd.DataFrame:
    return pd.DataFrame(array, pd.RangeIndex(len(array), name="id").astype(str), list(problem.columns))


def loop(p: list[np.ndarray], truth: pd.DataFrame, problem: Problem, rounds: int) -> np.ndarray:
    """Greedy selection as it is usually written: [members]."""
    tables, counts, total = [tabled(one, problem) for one in p], np.zeros(len(p)), 0.0
    best, weights = -np.inf, counts
    for done in range(1, rounds + 1):
        scores = [problem.metric.score(truth, (total + table) / done) for table in tables]
        added = int(np.argmax(scores))
        total, counts[added] = total + tables[added], counts[added] + 1
        if scores[added] > best:
            best, weights = scores[added], counts / done
    return weights


def numeric(p: list[np.ndarray], truth: pd.DataFrame, problem: Problem) -> np.ndarray:
    from scipy.optimize import minimize

    def loss(w: np.ndarray) -> float:
        return -problem.metric.score(truth, tabled(mixed(p, w / w.sum()), problem))

    one = {"type": "eq", "fun": lambda w: w.sum() - 1}
    start = np.full(len(p), 1 / len(p))
    return minimize(loss, start, method="SLSQP", bounds=[(0, 1)] * len(p), constraints=[one]).x


def searched(p: list[np.ndarray], truth: pd.DataFrame, problem: Problem) -> np.ndarray:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def weights(params: dict[str, float]) -> np.ndarray:
        w = np.array([params[f"w{m}"] for m in range(len(p))])
        return w / w.sum()

    def score(trial: optuna.Trial) -> float:
        w = weights({f"w{m}": trial.suggest_float(f"w{m}", 1e-6, 1) for m in range(len(p))})
        return problem.metric.score(truth, tabled(mixed(p, w), problem))

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(score, n_trials=100)
    return weights(study.best_params)


def mixed(p: list[np.ndarray], w: np.ndarray) -> np.ndarray:
    return sum(weight * one for weight, one in zip(w, p, strict=True) if weight)


def exact(p: list[np.ndarray], truth: pd.DataFrame, problem: Problem) -> np.ndarray:
    part = np.zeros(len(truth), int)
    loss = losses.by_part(problem, p, truth.to_numpy(), part)(np.array([True]))
    return simplex.solve(loss, np.full(len(p), 1 / len(p))).weights


def bench(rows: int, members: int, classes: int, name: str) -> None:
    p, t = draw(rows, members, classes)
    problem = problem_of(name, "multiclass", tuple(str(c) for c in range(classes)))
    truth = tabled(t, problem)
    ways: dict[str, Callable[[], np.ndarray]] = {
        f"ours, greedy, {ROUNDS} rounds": lambda: greedy.fit(p, t, problem, rounds=ROUNDS),
        f"greedy by a loop of metric calls, {ROUNDS} rounds": lambda: loop(p, truth, problem, ROUNDS),
        f"ours, greedy, up to {greedy.ROUNDS} rounds": lambda: greedy.fit(p, t, problem),
    }
    if name in EXACT:
        ways = {"ours, convex": lambda: exact(p, truth, problem)} | ways
        ways["SLSQP, numeric gradients"] = lambda: numeric(p, truth, problem)
        ways["Optuna, 100 trials"] = lambda: searched(p, truth, problem)
    show(name, f"{members} runs x {rows:,} rows x {classes} classes", problem, truth, p, ways)


def show(
    name: str, size: str, problem: Problem, truth: pd.DataFrame, p: list[np.ndarray], ways: dict[str, Callable]
) -> None:
    """Seconds, those over the first's, the competition's figure, and how far it is from the best of the table."""
    results = {}
    for way, fit in ways.items():
        began = time.process_time()
        w = fit()
        seconds = time.process_time() - began
        results[way] = (
            seconds,
            problem.metric.score(truth, tabled(mixed(p, w / w.sum()), problem)),
            int((w > 1e-4).sum()),
        )
    best, first = max(score for _, score, _ in results.values()), next(iter(results.values()))[0]
    table = Table(
        "weights by", "CPU seconds", f"times {next(iter(ways))}", name, "from the best", "members", title=size
    )
    for way, (seconds, score, used) in results.items():
        table.add_row(way, f"{seconds:.3f}", f"{seconds / first:.1f}", f"{problem.metric.shown(score):.6f}",
                      f"{best - score:.1e}", str(used))  # fmt: skip
    console.print(table)


# Beside AutoGluon ---------------------------------------------------------------------------------------------------


def save(folder: Path, competitions: list[str]) -> None:
    """FOLDER/<name>.npz of each: what `Saved` holds."""
    folder.mkdir(parents=True, exist_ok=True)
    p, t = draw(5_000, 20, 5)
    drawn = np.stack(p), t, [n % 5 for n in range(len(t))]
    for metric in ("logloss", "accuracy"):
        Saved(*drawn, metric, "multiclass", list("01234")).write(folder / f"drawn-{metric}")
    for name in competitions:
        data, runs = load(name), ensemble.scored(name)
        fold, problem, truth = scored_folds(folds.load(data)), data.problem, data.train.truth
        assert truth is not None
        tables = [artifacts.read_table(artifacts.run_folder(run) / "oof.parquet").loc[fold.index] for run in runs]
        p, t = np.stack([table.to_numpy(float) for table in tables]), truth.loc[fold.index].to_numpy(float)
        Saved(p, t, fold.tolist(), problem.metric.name, problem.kind, list(problem.columns)).write(folder / name)
        console.print(f"{name}: {', '.join(runs)}")


@dataclass
class Saved:
    """members: [members, rows, columns]. truth: [rows, columns]. fold: [rows], 0 and up."""

    members: np.ndarray
    truth: np.ndarray
    fold: Sequence[int]
    metric: str
    kind: str
    columns: list[str]

    def write(self, path: Path) -> None:
        np.savez(path.with_suffix(".npz"), **vars(self))


def compare(folder: Path) -> None:
    """Nested score and CPU seconds of all folds: AutoGluon's weights, ours, equal ones."""
    table = Table("data", "metric", "weights by", "nested score", "CPU seconds")
    for path in sorted(folder.glob("*-chosen.npz")):
        name, chosen = path.stem.removesuffix("-chosen"), np.load(path)
        arrays = np.load(folder / f"{name}.npz").items()
        saved = Saved(**{key: value if value.ndim > 1 else value.tolist() for key, value in arrays})
        problem = problem_of(saved.metric, saved.kind, tuple(saved.columns))
        truth = tabled(saved.truth, problem)
        for way, (by_fold, seconds) in chosen_by(saved, chosen, truth, problem).items():
            nested = np.zeros_like(saved.truth)
            for k, w in enumerate(by_fold):
                held = np.array(saved.fold) == k
                nested[held] = np.tensordot(w, saved.members[:, held], axes=1)
            figure = problem.metric.shown(problem.metric.score(truth, tabled(nested, problem)))
            table.add_row(name, saved.metric, way, f"{figure:.5f}", f"{seconds:.2f}")
    console.print(table)


def chosen_by(
    saved: Saved, chosen: Mapping[str, np.ndarray], truth: pd.DataFrame, problem: Problem
) -> dict[str, tuple[np.ndarray, float]]:
    """By the way: weights [folds, members] that never saw the fold, and CPU seconds of all of them."""
    fold = pd.Series(saved.fold, truth.index)
    stack = {str(m): tabled(one, problem) for m, one in enumerate(saved.members)}
    found = {f"AutoGluon, {size} rounds": (chosen[f"weights{size}"], float(chosen[f"seconds{size}"])) for size in SIZES}
    for way, fit in {"ours, greedy": greedy.greedy_weights, "ours, convex": convex.fit}.items():
        began = time.process_time()
        rest = [fold.index[fold != k] for k in sorted(fold.unique())]
        made = [fit(decide.part(stack, ids), truth.loc[ids], fold.loc[ids], problem).values() for ids in rest]
        found[way] = np.array([list(weights) for weights in made]), time.process_time() - began
    return found | {"equal": (np.full((fold.nunique(), len(stack)), 1 / len(stack)), 0.0)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--members", type=int, default=20)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--metrics", nargs="*", default=["logloss", "brier", "accuracy", "auc"])
    parser.add_argument("--save", type=Path)
    parser.add_argument("--competitions", nargs="*", default=[])
    parser.add_argument("--compare", type=Path)
    options = parser.parse_args()
    if options.save:
        save(options.save, options.competitions)
    elif options.compare:
        compare(options.compare)
    else:
        for name in options.metrics:
            bench(options.rows, options.members, options.classes, name)


if __name__ == "__main__":
    main()
