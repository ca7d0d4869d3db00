"""The stages in the order they run; each does what is missing of those before it. One process, one set of workers."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from competition import artifacts, board, cuts, ensemble, form, ledger, runs, submit
from competition import predict as predicting
from competition import train as training
from competition.config import Run
from competition.data import load
from competition.engine import Engine, signals
from competition.errors import ConfigFault, Finding


@contextmanager
def working() -> Generator[Engine]:
    """The screen, the signals and the workers of one command."""
    with board.board(), signals(), Engine() as engine:
        yield engine


def train(run: Run, overrides: str = "", fold: int | None = None) -> None:
    if run.members is not None:
        raise ConfigFault(
            Finding(
                code="CFG-TASK",
                what="a blend is not trained",
                where=f"RUN={run.name}",
                found=f"members: {', '.join(run.members)}",
                mend=f"make submission RUN={run.name}, which trains what its members need",
            )
        )
    with working() as engine, runs.opened(run, overrides) as at:
        training.train(at, engine, fold)


def predict(run: Run) -> None:
    """OOF, test predictions and score of a trained run, or of a blend of predicted ones."""
    with working() as engine:
        _predict(run, engine)


def submission(run: Run, overrides: str = "") -> Path:
    """Everything that the run still needs, then submissions/<name>/<run>.csv and its row of the ledger."""
    with working() as engine:
        form.infer(load(run.competition))  # what can't be submitted is told before hours of training
        _complete(run, engine, overrides)
        with runs.opened(run) as at:
            score = artifacts.read_json(at.folder / "score.json")
            prediction = cuts.apply(cuts.read(score["cut"]), artifacts.read_table(at.folder / "test.parquet"))
            path, notes = submit.write(at.data, run.name, prediction)
            for note in notes:
                at.say(note)
            ledger.record(ledger_row(at, score))
            at.say(f"submission: {path}, {predicting.headline(score)}")
    return path


def ledger_row(at: runs.Opened, score: dict) -> dict:
    return {
        "time": artifacts.now(),
        "competition": at.run.competition,
        "run": at.run.name,
        "members": ";".join(at.run.members or ()),
        "metric": score["metric"],
        "cv": round(score["score"], 6),
        "cv_std": "" if score["std"] is None else round(score["std"], 6),
        "config": runs.identity(at.run, ("fit", "predict")),
        "data": at.data.hash,
        "folds": at.table.hash,
        "git": artifacts.git_sha() or "",
    }


def _complete(run: Run, engine: Engine, overrides: str = "") -> None:
    for member in run.members or ():
        _complete(runs.resolve(member), engine)
    if run.members is None:
        with runs.opened(run, overrides) as at:
            training.train(at, engine)
    _predict(run, engine)


def _predict(run: Run, engine: Engine) -> None:
    with runs.opened(run) as at:
        for note in at.data.notes:
            at.say(note)
        if run.members is None:
            predicting.predict(at, engine)
        else:
            ensemble.blend(at)
