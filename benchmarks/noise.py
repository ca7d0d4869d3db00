"""`make bench-noise`: members that know nothing, blended; what that scores in sample, and what nested.

Each way is shown as it is and without what holds it back (weights are drawn to the mean, stacking chooses its strength on
inner folds): the in-sample score then rises far above chance, the nested one must not.

    python -m benchmarks.noise [--members 200] [--rows 1000] [--draws 10]
"""

from __future__ import annotations

import argparse
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from competition import decide, metrics
from competition.blending import convex, stacking
from competition.keys import Kind, MetricSpec
from competition.task import Problem

CASES: tuple[tuple[Kind, str, float, str], ...] = (
    ("binary", "auc", 0.5, "auto"),
    ("binary", "auc", 0.5, "convex"),
    ("binary", "auc", 0.5, "greedy"),
    ("binary", "auc", 0.5, "logistic"),
    ("binary", "auc", 0.5, "lightgbm"),
    ("regression", "r2", 0.0, "convex"),
    ("regression", "r2", 0.0, "ridge"),
    ("regression", "r2", 0.0, "lightgbm"),
)
LOOSE = ((convex, "DRAWN", (0.0,)), (stacking, "STRENGTHS", (0.001,)), (stacking, "ROUNDS", (80,)))


@contextmanager
def unrestrained() -> Generator[None]:
    """Ways of blending by least loss of the rows at hand, weights and stacking alike."""
    before = [getattr(module, name) for module, name, _ in LOOSE]
    for module, name, value in LOOSE:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(LOOSE, before, strict=True):
            setattr(module, name, value)


def draw(
    kind: Kind, metric: str, members: int, rows: int, seed: int
) -> tuple[Problem, pd.DataFrame, dict[str, pd.DataFrame], pd.Series]:
    """(problem, truth, stack, fold) of members that are drawn without a look at the truth."""
    rng = np.random.default_rng(seed)
    ids = pd.Index([f"r{n}" for n in range(rows)], name="id")
    noise = rng.random((members, rows, 1)) if kind == "binary" else rng.normal(size=(members, rows, 1))
    answer = rng.integers(2, size=(rows, 1)) if kind == "binary" else rng.normal(size=(rows, 1))
    classes = ("no", "yes") if kind == "binary" else ()
    problem = Problem(
        "noise", kind, ("y",), classes, ("y",), metrics.get(MetricSpec(name=metric), kind, classes, Path())
    )
    stack = {f"noise{n:03d}": pd.DataFrame(p, ids, ["y"]) for n, p in enumerate(noise)}
    return problem, pd.DataFrame(answer.astype(float), ids, ["y"]), stack, pd.Series(np.arange(rows) % 5, ids)


def scores(kind: Kind, metric: str, method: str, members: int, rows: int, seed: int) -> tuple[float, float]:
    """(in-sample, nested) score of one draw."""
    problem, truth, stack, fold = draw(kind, metric, members, rows, seed)
    result = decide.nested("blend", stack, truth, fold, problem, method=method)
    return problem.metric.score(truth, result.final.combine(stack)), problem.metric.score(truth, result.prediction)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("members", 200), ("rows", 1000), ("draws", 10)):
        options.add_argument(f"--{name}", type=int, default=default)
    given = options.parse_args()
    title = f"{given.members} members of noise, {given.rows:,} rows, {given.draws} draws: mean ± standard error"
    table = Table("metric", "method", "held back", "chance", "in sample", "nested", title=title)
    console = Console()
    for kind, metric, chance, method in CASES:
        for loose in {"auto": (False,), "greedy": (True,)}.get(method, (False, True)):  # nothing holds greedy back
            with unrestrained() if loose else console.status(f"{metric} {method}"):
                size = given.members, given.rows
                found = np.array([scores(kind, metric, method, *size, seed) for seed in range(given.draws)])
            error = found.std(axis=0, ddof=1) / given.draws**0.5
            shown = [f"{m:.4f} ± {e:.4f}" for m, e in zip(found.mean(axis=0), error, strict=True)]
            table.add_row(metric, method, "no" if loose else "yes", f"{chance:.1f}", *shown)
            console.print(metric, method, "no" if loose else "yes", *shown)
    console.print(table)


if __name__ == "__main__":
    main()
