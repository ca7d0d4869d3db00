"""What a first notebook would submit: LightGBM as it comes, on our fold table, beside a run of ours, fold by fold.

    python -m benchmarks.default_lightgbm titanic/baseline

Numbers as they are, other columns as LightGBM's own categories, 100 rounds, no tuning. The difference is given with its
standard error over folds and the p of a paired t-test.
"""

from __future__ import annotations

import argparse

import lightgbm as lgb
import numpy as np
import pandas as pd
from scipy.stats import ttest_rel

from competition import artifacts, folds
from competition.data import Data, load


def frame(data: Data) -> pd.DataFrame:
    """Every shared column of train, as pandas and LightGBM would take it."""
    table = data.train.table[list(data.problem.inputs)].replace("", np.nan)
    numbers = table.apply(pd.to_numeric, errors="coerce")
    fits = numbers.notna().sum() == table.notna().sum()
    return numbers.where(fits, table).astype({c: float if fits[c] else "category" for c in table})


def predict(data: Data, x: pd.DataFrame, train: pd.Index, held: pd.Index) -> pd.DataFrame:
    truth, columns = data.train.truth, list(data.problem.columns)
    assert truth is not None
    if data.problem.kind == "regression":
        log = data.problem.metric.name == "rmsle"
        y = np.log1p(truth) if log else truth
        made = {
            c: lgb.LGBMRegressor(verbose=-1).fit(x.loc[train], y.loc[train, c]).predict(x.loc[held]) for c in columns
        }
        table = pd.DataFrame(made, index=held)
        return np.expm1(table) if log else table
    y = truth.to_numpy().argmax(axis=1) if len(columns) > 1 else truth.iloc[:, 0].to_numpy()
    y = pd.Series(y, index=truth.index)
    p = lgb.LGBMClassifier(verbose=-1).fit(x.loc[train], y.loc[train]).predict_proba(x.loc[held])
    return pd.DataFrame(p[:, -len(columns) :], index=held, columns=columns)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    name = parser.parse_args().run
    data = load(name.partition("/")[0])
    table, x, metric = folds.load(data), frame(data), data.problem.metric
    ours = artifacts.read_json(artifacts.run_folder(name) / "score.json")
    parts, by_fold = [], []
    for split in (s for s in table.splits if s.repeat == 0):
        train, held = table.ids(split)
        parts.append(predict(data, x, train, held))
        by_fold.append(metric.shown(metric.score(data.train.truth.loc[held], parts[-1])))
    plain = pd.concat(parts)
    score = metric.shown(metric.score(data.train.truth.loc[plain.index], plain))
    mine = np.array([ours["folds"][f"fold{k}"] for k in range(len(by_fold))])
    gain = metric.sign * (mine - np.array(by_fold))
    print(f"{name}: {metric.name} {ours['score']:.4f}, LightGBM's defaults {score:.4f} ± {np.std(by_fold, ddof=1):.4f}; "
          f"better by {gain.mean():.4f} ± {gain.std(ddof=1) / len(gain) ** 0.5:.4f} a fold, {np.sum(gain > 0)} of "
          f"{len(gain)} folds, p {ttest_rel(mine, by_fold).pvalue / 2:.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
