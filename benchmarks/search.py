"""A search that stops trials early beside one that doesn't: fold trainings spent, and what is found.

    make bench-search RUN=hpc_jobs/small     # or: python -m benchmarks.search hpc_jobs/small --trials 30 --seeds 0 1 2

Both have the same trials, seeds and folds. Then the fold scores of the unstopped searches are replayed, trial after trial in
their order, under several rules.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from rich.table import Table
from scipy.stats import wilcoxon

from competition import artifacts, board, config, stages
from competition.data import load
from competition.tuning import rules

Scores = Sequence[Sequence[float]]
Rule = Callable[[Sequence[float], Scores], bool]  # of a trial so far, of the complete ones -> whether to stop


def wilcoxon_at(p: float) -> Rule:
    """As Optuna's WilcoxonPruner: stop where the folds so far are worse than the best trial's, fold by fold, at this p."""

    def rule(done: Sequence[float], complete: Scores) -> bool:
        gain = np.subtract(done, max(complete, key=rules.mean)[: len(done)])
        if len(gain) < 2 or not np.any(gain):
            return False
        return bool(wilcoxon(gain, alternative="less").pvalue < p and np.mean(gain) < 0)

    return rule


RULES: dict[str, Rule] = {
    "none": lambda done, complete: False,
    "forgiving": lambda done, complete: rules.forgiving(done, max(complete, key=rules.mean)),
    **{f"wilcoxon, p < {p}": wilcoxon_at(p) for p in (0.1, 0.13, 0.26)},
    **{f"paired, z {z}": functools.partial(rules.paired, z=z) for z in (0.67, 1.0, 1.28, 1.64)},
}


def replay(scores: Scores, rule: Rule) -> tuple[int, float]:
    """Fold trainings spent and the mean score of the best trial that is left. scores: [trials, folds], greater is better."""
    spent: int = 0
    complete: list[Sequence[float]] = []
    for row in scores:
        for k in range(1, len(row) + 1):
            spent += 1
            if complete and k < len(row) and rule(row[:k], complete):
                break
        else:
            complete.append(row)
    return spent, max(map(rules.mean, complete))


def search(run: str, stop: str, seed: int, asked: int) -> tuple[pd.DataFrame, dict]:
    """trials.csv and tune.json of the run with this seed and rule."""
    name = f"{run}-{stop}{seed}"
    config.write_variant(run, name, {"seed": seed, "tune.stop": stop, "tune.finalists": 0})
    stages.tune(config.load_run(name), asked)
    folder = artifacts.run_folder(f"{name}~tune")
    trials = pd.read_csv(folder / "trials.csv")
    return trials[trials["state"].isin(["complete", "pruned"])], artifacts.read_json(folder / "tune.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    greater = load(options.run.partition("/")[0]).problem.metric.greater
    unstopped, lines = [], Table("seed", "stop", "fold trainings", "best trial", "nested", title=options.run)
    for seed in options.seeds:
        for stop in ("none", "paired"):
            trials, found = search(options.run, stop, seed, options.trials)
            lines.add_row(str(seed), stop, str(trials["folds"].sum()), f"{found['best']:.4f}", f"{found['nested']:.4f}")
            if stop == "none":
                whole = trials[trials["state"] == "complete"].filter(regex="^fold[0-9]+$")
                unstopped.append(whole.to_numpy(float) * (1 if greater else -1))
    board.console.print(lines)
    replayed = Table(
        "rule", "fold trainings saved", "score lost", "best kept", title="replayed on the unstopped searches"
    )
    for name, rule in RULES.items():
        saved, lost = [], []
        for scores in unstopped:
            spent, best = replay(scores.tolist(), rule)
            saved.append(1 - spent / scores.size)
            lost.append(scores.mean(axis=1).max() - best)
        kept = sum(value < 1e-12 for value in lost)
        replayed.add_row(
            name, f"{np.mean(saved):.0%} ± {np.std(saved):.0%}", f"{np.mean(lost):.5f}", f"{kept} of {len(lost)}"
        )
    board.console.print(replayed)


if __name__ == "__main__":
    main()
