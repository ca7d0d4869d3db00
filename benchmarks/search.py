"""A search that stops trials early beside one that doesn't: fold trainings spent, and what is found.

    make bench-search RUN=hpc_jobs/small     # or: python -m benchmarks.search hpc_jobs/small --trials 30 --seeds 0 1 2
    python -m benchmarks.search --simulate   # what `nested` says where all trials are equally good

Both have the same trials, seeds and folds. They are judged on another fold table, on which the winner of each is trained
anew: stopping has a say in the nested score. Then the fold scores of the unstopped searches are replayed, trial after trial
in their order, under several rules. All is done in a temporary folder.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table
from scipy.stats import wilcoxon

from competition import artifacts, board, config, stages, yaml
from competition.data import load
from competition.tuning import rules, space

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


def search(run: str, stop: str, seed: int, asked: int) -> tuple[pd.DataFrame, dict, int]:
    """trials.csv and tune.json of the run with this seed and rule, and the folds that were trained."""
    name = f"{run}-{stop}{seed}"
    config.write_variant(run, name, {"seed": seed, "tune.stop": stop, "tune.finalists": 0})
    stages.tune(config.load_run(name), asked)
    folder = artifacts.run_folder(f"{name}~tune")
    trained = len(list(folder.glob("*/fold*/fit.json")))
    return pd.read_csv(folder / "trials.csv"), artifacts.read_json(folder / "tune.json"), trained


def elsewhere(run: str, winner: dict, folder: Path, here: Path) -> float:
    """The score of these values on a fold table of another seed, and with another seed of the model."""
    parent = config.load_run(run)
    if not (folder / "configs").exists():
        place(here, folder)
        path = folder / artifacts.competition_yaml(parent.competition)
        declared, _ = yaml.read(path)
        declared["folds"] = declared.get("folds", {}) | {"seed": declared.get("folds", {}).get("seed", 0) + 1000}
        artifacts.write_text(path, json.dumps(declared))  # which YAML reads too
    name = f"{run}-{artifacts.digest(str(sorted(winner.items())))[:8]}"
    judged = space.run_of(parent, name, {"seed": 1000} | winner)
    with contextlib.chdir(folder):
        load.cache_clear()
        artifacts.write_text(artifacts.run_yaml(name), json.dumps(space.own(judged)))
        stages.train(config.load_run(name))
        stages.predict(config.load_run(name))
        score = artifacts.read_json(artifacts.run_folder(name) / "score.json")["score"]
    load.cache_clear()
    return score


def place(here: Path, folder: Path) -> None:
    """A folder to work in, with the configs of this one and a link to its data."""
    shutil.copytree(here / artifacts.CONFIGS, folder / artifacts.CONFIGS)
    if (here / "data").exists():
        (folder / "data").symlink_to(here / "data")


def compare(run: str, trials: int, seeds: Sequence[int]) -> None:
    here, unstopped = Path.cwd(), []
    columns = ("seed", "stop", "folds trained", "best trial", "nested", "other folds and seed")
    with tempfile.TemporaryDirectory() as work, contextlib.chdir(work):
        place(here, Path("."))
        if (here / artifacts.FOLDS).exists():
            shutil.copytree(here / artifacts.FOLDS, artifacts.FOLDS)
        lines = Table(*columns, title=run)
        greater = load(run.partition("/")[0]).problem.metric.greater
        for seed in seeds:
            for stop in ("none", "paired"):
                table, found, trained = search(run, stop, seed, trials)
                judged = elsewhere(run, found["winner"], Path(work) / "judge", here)
                figures = (f"{value:.4f}" for value in (found["best"], found["nested"], judged))
                lines.add_row(str(seed), stop, str(trained), *figures)
                if stop == "none":
                    whole = table[table["state"] == "complete"].filter(regex="^fold[0-9]+$")
                    unstopped.append(whole.to_numpy(float) * (1 if greater else -1))
    board.console.print(lines)
    board.console.print(replayed(unstopped))


def replayed(unstopped: Sequence[np.ndarray]) -> Table:
    lines = Table("rule", "fold trainings saved", "score lost", "best kept", title="replayed on the unstopped searches")
    for name, rule in RULES.items():
        saved, lost = [], []
        for scores in unstopped:
            spent, best = replay(scores.tolist(), rule)
            saved.append(1 - spent / scores.size)
            lost.append(scores.mean(axis=1).max() - best)
        kept = sum(value < 1e-12 for value in lost)
        lines.add_row(
            name, f"{np.mean(saved):.0%} ± {np.std(saved):.0%}", f"{np.mean(lost):.5f}", f"{kept} of {len(lost)}"
        )
    return lines


def simulate(trials: int = 30, folds: int = 5, repeats: int = 400) -> Table:
    """What is said of trials that are all equally good, in standard deviations of a fold score; 0 is right.

    Folds differ twice as much as trials do.
    """
    lines = Table("stop", "nested", "best trial", title=f"{trials} equally good trials, {folds} folds, n = {repeats}")
    for name in ("none", "forgiving", "paired, z 1.0"):
        said = np.array([once(RULES[name], trials, folds, np.random.default_rng(n)) for n in range(repeats)])
        error = said.std(axis=0) / repeats**0.5
        lines.add_row(name, *(f"{mean:+.3f} ± {e:.3f}" for mean, e in zip(said.mean(axis=0), error, strict=True)))
    return lines


def once(rule: Rule, trials: int, folds: int, rng: np.random.Generator) -> tuple[float, float]:
    """(nested, best) of one search, less what the folds give to every trial."""
    level, complete = rng.normal(0, 2, folds), {}
    for trial in range(trials):
        scores = (level + rng.normal(0, 1, folds)).tolist()
        others = list(complete.values())
        if not others or not any(rule(scores[:k], others) for k in range(1, folds)):
            complete[trial] = scores
    nested = [complete[rules.best_without(complete, k)][k] - level[k] for k in range(folds)]
    return float(np.mean(nested)), max(map(rules.mean, complete.values())) - float(level.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--simulate", action="store_true")
    options = parser.parse_args()
    if options.simulate:
        board.console.print(simulate())
    elif options.run is None:
        parser.error("name a run, or --simulate")
    else:
        compare(options.run, options.trials, options.seeds)


if __name__ == "__main__":
    main()
