"""A search that stops trials early beside one that doesn't: fold trainings spent, and what is found.

    make bench-search RUN=hpc_jobs/small     # or: python -m benchmarks.search hpc_jobs/small --trials 30 --seeds 0 1 2

Both have the same trials, seeds and folds. Then the fold scores of the unstopped searches are replayed, trial after trial in
their order, under several rules: forgiving, and Wilcoxon's signed ranks against the best trial so far on the same folds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from rich.table import Table
from scipy.stats import wilcoxon

from competition import artifacts, board, config, stages
from competition.data import load
from competition.tuning import rules

Rule = Callable[[Sequence[float], Sequence[float]], bool]  # scores so far, the best trial's; whether to stop


def wilcoxon_at(p: float) -> Rule:
    """As Optuna's WilcoxonPruner: stop where the folds so far are worse than the best trial's, fold by fold, at this p."""

    def rule(done: Sequence[float], best: Sequence[float]) -> bool:
        gain = np.subtract(done, best[: len(done)])
        if len(gain) < 2 or not np.any(gain):
            return False
        return bool(wilcoxon(gain, alternative="less").pvalue < p and np.mean(gain) < 0)

    return rule


RULES: dict[str, Rule] = {"none": lambda done, best: False, "forgiving": rules.forgiving} | {
    f"wilcoxon, p < {p}": wilcoxon_at(p) for p in (0.1, 0.13, 0.26)
}


def replay(scores: np.ndarray, rule: Rule) -> tuple[int, int]:
    """Fold trainings spent and the row of the best trial that is left. scores: [trials, folds], greater is better."""
    spent, best = 0, -1
    for n, row in enumerate(scores):
        for k in range(1, len(row) + 1):
            spent += 1
            if best >= 0 and k < len(row) and rule(row[:k], scores[best]):
                break
        else:
            best = n if best < 0 or row.mean() > scores[best].mean() else best
    return spent, best


def search(run: str, stop: str, seed: int, trials: int) -> tuple[pd.DataFrame, dict]:
    """trials.csv and tune.json of the run with this seed and rule."""
    name = f"{run}-{stop}{seed}"
    config.write_variant(run, name, {"seed": seed, "tune.stop": stop, "tune.finalists": 0})
    stages.tune(config.load_run(name), trials)
    folder = artifacts.run_folder(f"{name}~tune")
    return pd.read_csv(folder / "trials.csv"), artifacts.read_json(folder / "tune.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    greater = load(options.run.partition("/")[0]).problem.metric.greater
    unstopped, lines = [], Table("seed", "stop", "fold trainings", "best trial", "nested", title=options.run)
    for seed in options.seeds:
        for stop in ("none", "forgiving"):
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
            spent, best = replay(scores, rule)
            saved.append(1 - spent / scores.size)
            lost.append(scores.mean(axis=1).max() - scores[best].mean())
        kept = sum(value == 0 for value in lost)
        replayed.add_row(
            name, f"{np.mean(saved):.0%} ± {np.std(saved):.0%}", f"{np.mean(lost):.5f}", f"{kept} of {len(lost)}"
        )
    board.console.print(replayed)


if __name__ == "__main__":
    main()
