"""trials.csv, importances.json and tune.png of a search: every trial with its values, and what the score depends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import TrialState

from competition import artifacts, chart
from competition.tuning import study
from competition.tuning.trial import Search

ENOUGH = 8  # complete trials, from which on importances mean something


def write(search: Search, trials: Sequence[Any], metric: str) -> None:
    table = listed(search, trials)
    worth = importances(search, trials)
    artifacts.write_json(search.folder / "importances.json", worth)
    artifacts.write_bytes(search.folder / "tune.png", draw(search, table, worth, metric))
    search.say(f"{search.folder / 'trials.csv'} lists the trials, {search.folder / 'tune.png'} draws them")


def listed(search: Search, trials: Sequence[Any]) -> pd.DataFrame:
    """trials.csv, written after every trial."""
    table = tabulated(search, trials)
    artifacts.write_text(search.folder / "trials.csv", table.to_csv(index=False, lineterminator="\n"))
    return table


def tabulated(search: Search, trials: Sequence[Any]) -> pd.DataFrame:
    """One row a trial that was tried. A stopped one's score is the mean of its folds."""
    rows = []
    for t in trials:
        if t.state is TrialState.WAITING:
            continue
        scores, span = t.user_attrs.get("folds", {}), (t.datetime_complete, t.datetime_start)
        known = [v for v in scores.values() if np.isfinite(v)]
        mean = float(np.mean(known)) if known else np.nan
        rows.append(
            {
                "number": t.number,
                "state": t.state.name.lower(),
                "folds": len(scores),
                "score": t.value if t.state is TrialState.COMPLETE else mean,
                "seconds": round((span[0] - span[1]).total_seconds(), 1) if all(span) else np.nan,
                "reason": t.user_attrs.get("reason", ""),
                "same as": t.user_attrs.get(study.SEEN),
                **{key: t.user_attrs.get("values", {}).get(key) for key in search.space},
                **{split.name: scores.get(split.name) for split in search.splits},
            }
        )
    return pd.DataFrame(rows)


def importances(search: Search, trials: Sequence[Any]) -> dict[str, float]:
    """By key, the greatest first, sum 1: PED-ANOVA (Watanabe et al., IJCAI 2023); empty where trials are few."""
    complete = [t for t in study.distinct(trials) if t.state is TrialState.COMPLETE]
    if len(complete) < ENOUGH or len(search.space) < 2:
        return {}
    direction = "maximize" if search.greater else "minimize"
    apart = optuna.create_study(direction=direction)
    apart.add_trials(complete)
    return optuna.importance.get_param_importances(apart)


def draw(search: Search, table: pd.DataFrame, worth: dict[str, float], metric: str) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5 + 4.5 * bool(worth), 4.2), layout="constrained")
    axes = figure.subplots(1, 1 + bool(worth), squeeze=False, width_ratios=[5, 3][: 1 + bool(worth)])[0]
    figure.suptitle(f"{search.run.name}: search", fontsize=12, fontweight="bold", parse_math=False)
    names = [split.name for split in search.splits]
    table = table.assign(level=chart.levels(table, names, search.greater))
    chart.history(axes[0], table, len(search.splits), metric, search.greater)
    if worth:
        values = pd.Series(worth)
        chart.bars(axes[1], values, None, "share of what the score depends on (PED-ANOVA)", chart.ORANGE)
        axes[1].set_yticks(range(len(values)), [chart.shortened(str(k)) for k in values.index], parse_math=False)
        axes[1].set_ylim(len(values) - 0.4, -0.6)
    return chart.png(figure)
