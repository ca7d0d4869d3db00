"""What each column is worth to a trained run: `make importance RUN=leaves/trees` -> importance.csv, importance.png.

Permutation: how much worse the out-of-fold score gets when a column's cells change places among a fold's held-out rows
(Breiman 2001; Fisher et al. 2019). A blend is predicted whole, as it combines its members. SHAP: mean absolute share of a
column in what trees say of a held-out row; of a single run, for shares of several models don't add up to a blend's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from rich.table import Table

from competition import adjustment, artifacts, board, chart, decide, runs, stacked
from competition.blending.means import Decision
from competition.config import Run, task_name
from competition.data import load
from competition.engine import Engine, stopping
from competition.errors import ConfigFault, Finding, Stopped, examples
from competition.predict import intact
from competition.runs import Opened
from competition.split import Split
from competition.task import Explained, Fold, Problem, Rows
from competition.train import fold_seed, open_fold

ROWS, SHAP_ROWS = 5_000, 2_000  # that are enough, drawn from larger tables
REPEATS, SHUFFLES = 3, 300  # of a column; of all columns, beyond which each has fewer
STACKED = 20_000  # rows that are predicted at once
SHOWN = 25
HEADERS = {"permutation": "score lost when shuffled", "std": "± over folds", "shap": "mean |SHAP|"}


Said = dict[tuple[str, str], pd.DataFrame]  # by run with a task and view
Piece = tuple[Split, pd.Index, int]  # of a fold: the split, ids of held-out rows, how many of them SHAP looks at


@dataclass(frozen=True)
class Part:
    """A view of a run with a task, one of those that a prediction of a fold is made of."""

    run: Run
    fold: Fold
    view: str


@dataclass(frozen=True)
class Held:
    """A fold's held-out rows: predicted as they are, and by column with its cells shuffled, once a repeat.

    shap: mean |SHAP| by column, the mean over outputs; None of a blend and of models without trees.
    """

    fold: int
    plain: pd.DataFrame
    shuffled: dict[str, list[pd.DataFrame]]
    shap: pd.Series | None


def check(run: Run) -> None:
    """Raises ConfigFault CFG-TASK where a model of the run learns from no columns."""
    problem = load(run.competition).problem
    others = [
        leaf
        for leaf in _leaves(run)
        if not isinstance(leaf.task, Explained) or not (stacked.given(leaf) or leaf.task.reads(problem))
    ]
    if others:
        raise ConfigFault(
            *(
                Finding(
                    code="CFG-TASK",
                    what="importance is of columns, and this run learns from none",
                    where=f"RUN={run.name}",
                    found=f"task: {task_name(leaf.task)}" + (f" in {leaf.name}" if leaf.name != run.name else ""),
                    mend="name a run of the task tabular, or one of pictures with `columns:`",
                )
                for leaf in others
            )
        )


def models(run: Run) -> list[Run]:
    """The runs with a task that have a weight in some fold of a run with a score."""
    problem = load(run.competition).problem
    score = artifacts.read_json(artifacts.run_folder(run.name) / "score.json")
    return list({leaf.name: leaf for fold in score["folds"] for leaf, _ in _views(run, fold, problem)}.values())


def explain(at: Opened, engine: Engine) -> pd.DataFrame:
    """Writes importance.csv and importance.png of a run with a score, and shows them. Raises Stopped.

    Returns [columns], the best first: permutation (the score that is lost), its std over folds, shap.
    """
    found = models(at.run)
    problems = [stacked.seen(model, at.table.splits[0]).problem for model in found]
    read = {column for model, problem in zip(found, problems, strict=True) for column in model.task.reads(problem)}
    columns = [column for column in dict.fromkeys(c for p in problems for c in p.inputs) if column in read]
    device = "cpu" if all(model.task.device == "cpu" for model in found) else "auto"
    held = engine.map(
        functools.partial(explain_fold, at.run, columns), _pieces(at), replace(at.run.demand, device=device)
    )
    worth = summary(at, held)
    score = artifacts.read_json(at.folder / "score.json")
    title = f"{at.run.name}: {score['metric']} {score['score']:.4f}"
    artifacts.write_text(at.folder / "importance.csv", worth.to_csv(lineterminator="\n", float_format="%.6g"))
    artifacts.write_bytes(at.folder / "importance.png", chart.importance(worth[:SHOWN], title, score["metric"]))
    _show(at, worth, title)
    return worth


def explain_fold(run: Run, columns: Sequence[str], piece: Piece) -> Held:
    """One fold, in whatever process the engine chose."""
    split, ids, shap_rows = piece
    problem = load(run.competition).problem
    parts = [Part(model, open_fold(model, split), view) for model, view in _views(run, split.name, problem)]
    for part in parts:
        intact(part.fold.folder)
    repeats = max(1, min(REPEATS, SHUFFLES // max(1, len(columns))))
    score = artifacts.read_json(artifacts.run_folder(run.name) / "score.json")
    adjusted = adjustment.read(score["adjustments_by_fold"][split.plain])
    tables = _predictions(
        parts,
        ids,
        ["", *(column for column in columns for _ in range(repeats))],
        lambda said: adjustment.apply(adjusted, _combined(run, split.name, said, problem)),
        np.random.default_rng(fold_seed(run.seed, split)),
        f"{run.name} {split.name} importance",
    )
    return Held(
        fold=split.fold,
        plain=tables[0],
        shuffled={column: tables[1 + n * repeats :][:repeats] for n, column in enumerate(columns)},
        shap=_shap(parts[0], ids[:shap_rows]) if run.members is None else None,
    )


def summary(at: Opened, held: Sequence[Held]) -> pd.DataFrame:
    """All folds' rows scored together; the spread is over folds, each the mean of its repeats."""
    metric, truth = at.data.problem.metric, at.data.train.truth
    assert truth is not None
    fold = pd.concat([pd.Series(h.fold, h.plain.index) for h in held])
    truth = truth.loc[fold.index]

    def scores(tables: list[pd.DataFrame]) -> pd.Series:
        """The score of all rows, and those of the folds."""
        table = pd.concat(tables)
        return pd.Series({"all": metric.score(truth, table), **decide.fold_scores(metric, truth, table, fold)})

    plain, lost = scores([h.plain for h in held]), {}
    for column, tables in held[0].shuffled.items():
        repeats = [plain - scores([h.shuffled[column][n] for h in held]) for n in range(len(tables))]
        lost[column] = sum(repeats) / len(repeats)
    worth = pd.DataFrame({
        "permutation": {column: values["all"] for column, values in lost.items()},
        "std": {column: values.drop("all").std() for column, values in lost.items()},
    }, dtype=float)  # fmt: skip
    worth = worth.join(_mean_shap(held).rename("shap"), how="outer").rename_axis("column")
    return worth.sort_values(["permutation", "shap"], ascending=False, kind="stable")


def needless(worth: pd.DataFrame, folds: int) -> list[str]:
    """Columns that lose nothing beyond noise when they are shuffled: at most one standard error over folds."""
    noise = worth["std"].fillna(0) / folds**0.5
    return list(worth.index[worth["permutation"] <= noise])


def _leaves(run: Run) -> list[Run]:
    """The run, or the runs with a task that a blend or a preset consists of in the end."""
    return [run] if run.members is None else [leaf for member in runs.members(run) for leaf in _leaves(member)]


def _decision(run: Run, fold: str, problem: Problem) -> Decision:
    """What makes one table of a run's views or of a blend's members, fitted without the fold."""
    score = artifacts.read_json(artifacts.run_folder(run.name) / "score.json")
    return decide.read(score["weights_by_fold"][fold], problem)


def _inner(run: Run, decision: Decision) -> list[Run]:
    """The members of a blend that have a weight."""
    return [member for member in runs.members(run) if decision.weights.get(member.name)]


def _views(run: Run, fold: str, problem: Problem) -> list[tuple[Run, str]]:
    """The (run with a task, view) that the prediction of a fold's held-out rows is made of, each once."""
    decision = _decision(run, fold, problem)
    if run.members is None:
        return [(run, view) for view, weight in decision.weights.items() if weight]
    found = [pair for member in _inner(run, decision) for pair in _views(member, fold, problem)]
    return list({(leaf.name, view): (leaf, view) for leaf, view in found}.values())


def _combined(run: Run, fold: str, said: Said, problem: Problem) -> pd.DataFrame:
    """The prediction of a run, a blend or a blend of them."""
    decision = _decision(run, fold, problem)
    if run.members is None:
        return decision.combine({view: said[run.name, view] for view, weight in decision.weights.items() if weight})
    return decision.combine({m.name: _combined(m, fold, said, problem) for m in _inner(run, decision)})


def _pieces(at: Opened) -> list[Piece]:
    """The splits of the first repeat, each with its share of the rows that are drawn, in a random order."""
    splits = [split for split in at.table.splits if split.repeat == 0]
    held = [at.table.ids(split)[1] for split in splits]
    total = sum(map(len, held))
    rng, pieces = np.random.default_rng(at.run.seed), []
    for split, ids in zip(splits, held, strict=True):
        some, shap = (round(len(ids) * min(1, most / total)) for most in (ROWS, SHAP_ROWS))
        pieces.append((split, ids[rng.permutation(len(ids))[: max(1, some)]], max(1, shap)))
    return pieces


def _predictions(
    parts: list[Part],
    ids: pd.Index,
    names: list[str],
    whole: Callable[[Said], pd.DataFrame],
    rng: np.random.Generator,
    show: str,
) -> list[pd.DataFrame]:
    """The rows predicted with each of these columns shuffled ("": none), several copies at a time where that is right."""
    most = max(1, STACKED // len(ids)) if all(part.run.task.rowwise for part in parts) else 1
    said: list[pd.DataFrame] = []
    for start in range(0, len(names), most):
        some = [(name, rng.permutation(len(ids)) if name else None) for name in names[start : start + most]]
        found: Said = {}
        for n, part in enumerate(parts):
            before, steps = start * len(parts) + n * len(some), len(names) * len(parts)
            fold = _counting(part.fold, show, before, len(some), steps)
            found[part.run.name, part.view] = part.run.task.predict(_copies(part, ids, some), fold, part.view)
        prediction = whole(found)
        said += [prediction[n * len(ids) :][: len(ids)].set_axis(ids) for n in range(len(some))]
    return said


def _copies(part: Part, ids: pd.Index, shuffled: Sequence[tuple[str, np.ndarray | None]]) -> Rows:
    """The rows as this model sees them, once for each (column, order of its cells): what two models call by one name, such
    as the directions of a backbone that looks at two sizes, may be different columns.
    """
    assert part.fold.valid is not None
    held = part.fold.valid.take(ids)
    table = held.table
    stack = pd.concat([
        table if order is None or name not in table else table.assign(**{name: table[name].to_numpy()[order]})
        for name, order in shuffled
    ])  # fmt: skip
    numbers = pd.RangeIndex(len(stack)).astype(str)
    pictures = None if held.pictures is None else pd.concat([held.pictures] * len(shuffled)).set_axis(numbers)
    return Rows(stack.set_axis(numbers), pictures=pictures)


def _counting(fold: Fold, name: str, before: int, tables: int, steps: int) -> Fold:
    """The fold, whose progress counts tables predicted by a model and hears the request to stop."""

    def progress(done: int, total: int, text: str) -> None:
        board.show(name, before + tables * done // total, steps, text)
        if stopping():
            raise Stopped(f"{fold.name} stopped while columns were shuffled")

    return replace(fold, progress=progress)


def _shap(part: Part, ids: pd.Index) -> pd.Series | None:
    """[columns] mean |SHAP|."""
    assert part.fold.valid is not None
    rows = part.fold.valid.take(ids)
    fold = _counting(part.fold, f"{part.run.name} {part.fold.name} SHAP", 0, len(rows), len(rows))
    table = part.run.task.contributions(rows, fold)
    return None if table is None else table.abs().mean().groupby(level="column").mean()


def _mean_shap(held: Sequence[Held]) -> pd.Series:
    """[columns] over folds; a column that a fold leaves out adds nothing there. Empty where there are none."""
    parts = [h.shap for h in held if h.shap is not None]
    return pd.concat(parts, axis=1).fillna(0).mean(axis=1) if parts else pd.Series(dtype=float)


def _show(at: Opened, worth: pd.DataFrame, title: str) -> None:
    some = worth[:SHOWN].dropna(axis=1, how="all")
    table = Table("column", *(HEADERS[column] for column in some), title=title)
    for name, row in some.iterrows():
        table.add_row(str(name), *("" if np.isnan(v) else f"{v:z.4f}" for v in row))
    board.console.print(table)
    none = needless(worth, len([s for s in at.table.splits if s.repeat == 0]))
    if none:
        at.say(
            f"no better than noise, candidates for `columns: ignore:` {examples(none, 12)}; try it as a run of its own, "
            "for columns that tell the same hide each other"
        )
    at.say(f"importance: {at.folder / 'importance.csv'}, {at.folder / 'importance.png'}")
