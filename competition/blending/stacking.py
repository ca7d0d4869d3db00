"""Stacking: a second model on the members' out-of-fold predictions (Wolpert 1992), which corrects their plain mean.

Ridge of values, logistic regression of classes and labels, and small trees of either. All work on the link scale: values
in standard deviations of the truth, log odds of labels, log probabilities of classes less their row's mean. The plain mean
is what they start from, and how far they may leave it is chosen on the folds of the rows that they are fitted on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from competition.blending.means import FLOOR, cells, table_like
from competition.blending.stack import Stack
from competition.keys import Kind
from competition.kinds import CLASSES, COLUMNS
from competition.task import Problem

STRENGTHS = (np.inf, 1.0, 0.1, 0.01, 0.001)  # of the penalty on squared coefficients, beside the mean loss of a row
ROUNDS = (0, 5, 10, 20, 40, 80)  # of trees
TREES = {
    "learning_rate": 0.05, "num_leaves": 4, "lambda_l2": 10.0, "feature_fraction": 0.5, "boost_from_average": False,
    "verbosity": -1, "seed": 0, "num_threads": 1, "deterministic": True, "force_row_wise": True,
}  # fmt: skip
LEAF, LEAVES = 20, 20  # rows of a leaf: LEAF, or a LEAVES-th of all

Fitted = Callable[[np.ndarray], np.ndarray]  # inputs [n, members x columns] -> correction [n, columns]


@dataclass(frozen=True)
class Scale:
    """Predictions of a kind on the link scale and back. unit: of each column, the truth's standard deviation or 1."""

    kind: Kind
    unit: tuple[float, ...]

    def forward(self, p: np.ndarray) -> np.ndarray:
        """p: [n, columns] or [n, columns, members]."""
        if self.kind in COLUMNS:
            p = p.clip(FLOOR, 1 - FLOOR)
            return np.log(p / (1 - p))
        if self.kind in CLASSES:
            logs = np.log(p.clip(FLOOR))
            return logs - logs.mean(axis=1, keepdims=True)
        return p / np.reshape(self.unit, (1, -1) + (1,) * (p.ndim - 2))

    def back(self, z: np.ndarray) -> np.ndarray:
        """z: [n, columns]."""
        from scipy.special import expit, softmax

        if self.kind in COLUMNS:
            return expit(z)
        return softmax(z, axis=1) if self.kind in CLASSES else z * np.array(self.unit)

    def losses(self, z: np.ndarray, t: np.ndarray) -> np.ndarray:
        """[n] log loss of a row, or squared error in units; t: [n, columns] as the truth has it."""
        from scipy.special import log_softmax

        if self.kind in COLUMNS:
            return (np.logaddexp(0, z) - t * z).sum(axis=1)
        if self.kind in CLASSES:
            return -(t * log_softmax(z, axis=1)).sum(axis=1)
        return 0.5 * ((t / np.array(self.unit) - z) ** 2).sum(axis=1)


@dataclass(frozen=True)
class Linear:
    """coefficients: by member [columns, columns], from input to output, and intercept [columns]: what is added, on the link
    scale, to the plain mean.
    """

    method: Literal["ridge", "logistic"]
    scale: Scale
    coefficients: dict[str, list[list[float]]]
    intercept: list[float]
    strength: float | None  # None: no correction was worth it

    @property
    def weights(self) -> dict[str, float]:
        """Each member's share of the sizes of coefficients, those of the plain mean among them."""
        even = np.eye(len(self.intercept)) / len(self.coefficients)
        return _shares({name: float(np.abs(even + b).sum()) for name, b in self.coefficients.items()})

    def combine(self, stack: Stack) -> pd.DataFrame:
        x, base = _inputs(stack, list(self.coefficients), self.scale)
        z = base + x @ np.concatenate([*self.coefficients.values()]) + np.array(self.intercept)
        return table_like(stack, self.coefficients, self.scale.back(z))

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Boosted:
    """models: LightGBM's text of the trees whose raw output is added, on the link scale, to the plain mean; one of classes
    that exclude each other, else one a column. Without a model it is the plain mean. gain: by member, of its splits.
    """

    scale: Scale
    gain: dict[str, float]
    models: list[str]

    @property
    def weights(self) -> dict[str, float]:
        """Half of it the plain mean's, half by gain, where there is a tree."""
        even = dict.fromkeys(self.gain, 1 / len(self.gain))
        if not any(self.gain.values()):
            return even
        return {name: (even[name] + share) / 2 for name, share in _shares(self.gain).items()}

    def combine(self, stack: Stack) -> pd.DataFrame:
        import lightgbm as lgb

        x, base = _inputs(stack, list(self.gain), self.scale)
        boosters = [lgb.Booster(model_str=text) for text in self.models]
        return table_like(stack, self.gain, self.scale.back(base + _raw(boosters, x, None) if boosters else base))

    def plain(self) -> dict[str, Any]:
        return {"method": "lightgbm"} | asdict(self)


def read(record: dict[str, Any]) -> Linear | Boosted:
    """The decision of a score.json."""
    scale = Scale(record["scale"]["kind"], tuple(record["scale"]["unit"]))
    if record["method"] == "lightgbm":
        return Boosted(scale, record["gain"], record["models"])
    return Linear(record["method"], scale, record["coefficients"], record["intercept"], record["strength"])


def linear(stack: Stack, truth: pd.DataFrame, fold: pd.Series, problem: Problem) -> Linear:
    """Ridge of values, logistic regression otherwise; the strongest penalty within one standard error of the best."""
    names, scale, t = sorted(stack), _scale(truth, problem), truth[list(problem.columns)].to_numpy(float)
    x, base = _inputs(stack, names, scale)
    solve = _ridge if problem.kind == "regression" else _logistic

    def path(rows: np.ndarray) -> list[np.ndarray]:
        return solve(x[rows], base[rows], t[rows], scale, STRENGTHS)

    def held_out(rest: np.ndarray, held: np.ndarray) -> list[float]:
        added = [x[held] @ b[:-1] + b[-1] for b in path(rest)]
        return [float(scale.losses(base[held] + z, t[held]).mean()) for z in added]

    n = _first_within_error(_by_fold(fold, held_out))
    b = solve(x, base, t, scale, STRENGTHS[: n + 1])[-1]
    split = np.split(b[:-1], len(names))
    coefficients = {name: part.tolist() for name, part in zip(names, split, strict=True)}
    method: Literal["ridge", "logistic"] = "ridge" if problem.kind == "regression" else "logistic"
    return Linear(method, scale, coefficients, b[-1].tolist(), None if np.isinf(STRENGTHS[n]) else STRENGTHS[n])


def boosted(stack: Stack, truth: pd.DataFrame, fold: pd.Series, problem: Problem) -> Boosted:
    """Trees of four leaves; the fewest of ROUNDS within one standard error of the best."""
    names, scale, t = sorted(stack), _scale(truth, problem), truth[list(problem.columns)].to_numpy(float)
    x, base = _inputs(stack, names, scale)

    def held_out(rest: np.ndarray, held: np.ndarray) -> list[float]:
        models = _grow(x[rest], base[rest], t[rest], scale, ROUNDS[-1])
        added = [_raw(models, x[held], rounds) if rounds else 0.0 for rounds in ROUNDS]
        return [float(scale.losses(base[held] + z, t[held]).mean()) for z in added]

    rounds = ROUNDS[_first_within_error(_by_fold(fold, held_out))]
    models = _grow(x, base, t, scale, rounds) if rounds else []
    gain = sum((m.feature_importance("gain") for m in models), np.zeros(x.shape[1]))
    by_member = gain.reshape(len(names), -1).sum(axis=1).tolist()
    return Boosted(scale, dict(zip(names, by_member, strict=True)), [m.model_to_string() for m in models])


def _scale(truth: pd.DataFrame, problem: Problem) -> Scale:
    columns = list(problem.columns)
    if problem.kind != "regression":
        return Scale(problem.kind, (1.0,) * len(columns))
    return Scale(problem.kind, tuple(truth[columns].std(ddof=0).clip(1e-12).tolist()))


def _inputs(stack: Stack, names: Sequence[str], scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """[n, members x columns] of each member by itself and [n, columns] of their plain mean, on the link scale."""
    p = cells(stack, names)
    return scale.forward(p).transpose(0, 2, 1).reshape(len(p), -1), scale.forward(p.mean(axis=2))


def _by_fold(fold: pd.Series, held_out: Callable[[np.ndarray, np.ndarray], list[float]]) -> np.ndarray:
    """[folds, candidates] losses on each fold of models of the others; none where there is one fold."""
    folds = fold.unique() if fold.nunique() > 1 else []
    return np.array([held_out((fold != k).to_numpy(), (fold == k).to_numpy()) for k in folds])


def _first_within_error(loss: np.ndarray) -> int:
    """Of losses [folds, candidates] the first candidate within one standard error of the best; 0 without a fold."""
    if not len(loss):
        return 0
    above = loss - loss[:, [loss.mean(axis=0).argmin()]]
    return int(np.argmax(above.mean(axis=0) <= above.std(axis=0, ddof=1) / len(above) ** 0.5))


def _ridge(
    x: np.ndarray, base: np.ndarray, t: np.ndarray, scale: Scale, strengths: Sequence[float]
) -> list[np.ndarray]:
    """By strength [inputs + 1, columns], the intercept last; of an infinite one no correction at all."""
    from sklearn.linear_model import Ridge

    def solve(strength: float) -> np.ndarray:
        if np.isinf(strength):
            return np.zeros((x.shape[1] + 1, t.shape[1]))
        model = Ridge(alpha=strength * len(x)).fit(x, t / np.array(scale.unit) - base)
        return np.vstack([model.coef_.reshape(t.shape[1], -1).T, np.reshape(model.intercept_, (1, -1))])

    return [solve(strength) for strength in strengths]


def _logistic(
    x: np.ndarray, base: np.ndarray, t: np.ndarray, scale: Scale, strengths: Sequence[float]
) -> list[np.ndarray]:
    """As `_ridge`, by L-BFGS, each from the one before; scikit-learn's has no offset to start from."""
    from scipy.optimize import minimize

    n, shape = len(x), (x.shape[1] + 1, t.shape[1])
    total = t.sum(axis=1, keepdims=True) if scale.kind in CLASSES else 1.0
    found = [np.zeros(shape)]

    def solve(strength: float) -> np.ndarray:
        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            b = flat.reshape(shape)
            z = base + x @ b[:-1] + b[-1]
            error = (total * scale.back(z) - t) / n
            slope = np.vstack([x.T @ error + strength * b[:-1], error.sum(axis=0)])
            return float(scale.losses(z, t).mean() + strength / 2 * (b[:-1] ** 2).sum()), slope.ravel()

        return minimize(loss, found[-1].ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x.reshape(shape)

    for strength in strengths:
        found.append(np.zeros(shape) if np.isinf(strength) else solve(strength))
    return found[1:]


def _grow(x: np.ndarray, base: np.ndarray, t: np.ndarray, scale: Scale, rounds: int) -> list[Any]:
    """LightGBM's boosters, grown from the plain mean: one of classes, else one a column."""
    import lightgbm as lgb

    leaf = {"min_data_in_leaf": max(LEAF, len(x) // LEAVES)}
    if scale.kind in CLASSES:
        params = TREES | leaf | {"objective": "multiclass", "num_class": t.shape[1]}
        jobs = [(params, t.argmax(axis=1), base.ravel(order="F"))]
    else:
        params = TREES | leaf | {"objective": "cross_entropy" if scale.kind in COLUMNS else "l2"}
        jobs = [(params, t[:, j] / scale.unit[j], base[:, j].copy()) for j in range(t.shape[1])]
    return [lgb.train(p, lgb.Dataset(x, label, init_score=start), rounds) for p, label, start in jobs]


def _raw(models: list[Any], x: np.ndarray, rounds: int | None) -> np.ndarray:
    """[n, columns] what the trees of the first rounds add."""
    added = [np.reshape(m.predict(x, raw_score=True, num_iteration=rounds), (len(x), -1)) for m in models]
    return np.concatenate(added, axis=1)


def _shares(sizes: dict[str, float]) -> dict[str, float]:
    total = sum(sizes.values())
    return {name: size / total for name, size in sizes.items()}
