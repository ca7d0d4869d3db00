"""The stages in the order they run; each does what is missing of those before it. One process, one set of workers."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from competition import (
    adjustment,
    artifacts,
    board,
    bring,
    card,
    config,
    disk,
    early,
    ensemble,
    folds,
    form,
    git,
    guard,
    importance,
    kept,
    late,
    ledger,
    limit,
    onnxfile,
    portfolio,
    predictions,
    prior,
    pseudo,
    rates,
    runs,
    scale,
    scoring,
    stacked,
    submit,
)
from competition import describe as describing
from competition import look as looking
from competition import plan as planning
from competition import predict as predicting
from competition import train as training
from competition.config import Run
from competition.data import load
from competition.engine import Engine, signalled, signals
from competition.errors import ConfigFault, Fault, Finding, Stopped
from competition.local import Local
from competition.tracking import follow, following

ALTERNATES = {"tabular": "tabular", "detection": "detect"}  # task -> the make target of its runs


@contextmanager
def working(engine: Engine | None = None) -> Generator[Engine]:
    """The screen, the signals, the mirror and the workers of one command; engine: None: of this machine."""
    with board.board(), signals(), following(), engine or Local() as working:
        yield working


def train(run: Run, overrides: str = "", fold: int | None = None, engine: Engine | None = None) -> None:
    if run.members is not None:
        raise ConfigFault(
            Finding(
                code="CFG-TASK",
                what="a blend is not trained",
                where=f"RUN={run.name}",
                found=f"members: {', '.join(run.members)}",
                mend=f"make submission RUN={run.name}, which trains what its members need, or make train RUN=<member>",
            )
        )
    with working(engine) as workers, runs.opened(run, overrides) as at:
        training.train(at, workers, fold)


def predict(run: Run, engine: Engine | None = None) -> None:
    """OOF, test predictions and score of a trained run, or of a blend of predicted ones."""
    with working(engine) as workers:
        _predict(run if run.preset is None else portfolio.finished(run), workers)


def bring_in(name: str, files: str) -> None:
    """A run of another program's predictions, scored like any run. files: `oof.csv,test.csv`."""
    config.check_name(name)
    data = load(name.partition("/")[0])
    brought = bring.read(data, folds.load(data), files)
    run = bring.declare(name, brought.task)
    with working() as engine:
        with runs.opened(run) as at:
            for note in brought.notes:
                at.say(note)
            bring.keep(at, brought)
            training.train(at, engine)
        _predict(run, engine)


def explain(run: Run) -> None:
    """importance.csv and importance.png of a trained run, a blend or a preset."""
    if run.preset is not None:
        run = portfolio.finished(run)
    importance.check(run)
    with working() as engine:
        _predict(run, engine)
        for member in importance.models(run):
            with runs.opened(member) as at:
                training.prepare(at)
        with runs.opened(run) as at:
            importance.explain(at, engine)


def rate(run: Run) -> None:
    """lr.png of a run that trains by steps, trained or not."""
    rates.refuse(run)
    with working() as engine:
        rates.find(runs.look(run), engine)


def look(run: Run, overrides: str = "") -> None:
    """look.png of a run that learns from pictures, trained or not; overrides: the SET that it was given."""
    looking.refuse(run)
    with working():
        looking.look(replace(runs.look(run), overrides=overrides))


def describe(run: Run) -> None:
    """describe.json, features.png and maps.parquet of a trained run of networks on pictures."""
    describing.refuse(run)
    with working() as engine:
        _predict(run, engine)
        with runs.opened(run) as at:
            describing.describe(at, engine)


def onnx(run: Run) -> None:
    """The networks of a trained image run as files of ONNX and torch.export, and how fast they are."""
    onnxfile.refuse(run)
    with working() as engine, runs.opened(run) as at:
        onnxfile.export(at, engine)


def export(run: Run) -> None:
    """exports/<name>/<run>/: the run as a folder that predicts without a network."""
    from competition.export import bundle, recipe

    if run.preset is not None:
        run = portfolio.finished(run)
    recipe.check(run)
    disk.writable(artifacts.EXPORTS)
    with working() as engine:
        _predict(run, engine)
        with runs.opened(run) as at:
            bundle.make(at)


def plan(
    run: Run, time: str | None = None, nodes: int | None = None, gpus: int | None = None, trials: int | None = None
) -> None:
    """What the run, a blend or a preset still takes, and what of it fits `time` (`9h`); with any of the others, what it,
    or a search of so many trials, takes on 1 to 1,000 slots."""
    with working() as engine:
        if nodes is gpus is trials is None:
            planning.plan(run, engine, time)
        else:
            scale.scaled(run, engine, 1 if nodes is None else nodes, gpus, trials, time)


def submission(run: Run, overrides: str = "", time: str | None = None, engine: Engine | None = None) -> Path:
    """Everything that the run still needs, then submissions/<name>/<run>.csv and its row of the ledger.

    time: how long all of it may take, `9h`; what there is by then becomes the submission. Raises ConfigFault CFG-VALUE.
    """
    allowed = None if time is None else limit.of(run, time)
    with working(engine) as workers:
        disk.writable(artifacts.SUBMISSIONS)
        form.infer(load(run.competition))  # what can't be submitted is told before hours of training
        if allowed is not None:
            return _in_time(workers, allowed, overrides)
        made: set[str] = set()
        return _submit(_complete(run, workers, made, overrides), made)


def _in_time(engine: Engine, allowed: limit.Limit, overrides: str) -> Path:
    """`submission` with its limit. What is trained becomes a submission after a fault, too, which is then raised."""
    run = allowed.run
    engine.limit = allowed = late.net(allowed)
    late.forecast(allowed, engine)
    made: set[str] = set()
    try:
        with engine.until(allowed.training, allowed.closing):
            whole = _learn(run, engine, made, overrides)
        with engine.until(allowed.deciding):
            _predict(whole, engine)
        return _submit(whole, made)
    except (Stopped, Fault) as e:
        if signalled() or isinstance(e, ConfigFault):
            raise
        with engine.until(allowed.deciding):
            path = late.rescue(run)
        if isinstance(e, Fault):
            raise
        return path


def _submit(run: Run, made: Iterable[str]) -> Path:
    """Of a run that is whole. made: the runs that this command has come by."""
    with runs.opened(run) as at:
        score = artifacts.read_json(at.folder / "score.json")
        test = predictions.written(at.folder / "test.parquet", "score.json")
        adjusted = adjustment.read(score["adjustment"])
        truth = at.data.train.truth
        assert truth is not None
        prediction, told = prior.submitted(at.data.config.prior, at.data.problem, truth, test, adjusted)
        path, notes = submit.write(at.data, run.name, prediction)
        kept.forget(run.name)
        for name in {*made, *(run.members or ())}:
            if kept.state(name) is None:  # else its own CSV is still the one that was made because time was up
                kept.forget(name)
        verdict = guard.known(path)
        for note in dict.fromkeys((*told, *notes, *verdict.doubts)):
            at.say(note)
        for finding in verdict.unlike:  # written all the same: it is the upload that they stop
            at.say(f"warning {finding.code}: {finding.what} ({finding.found})")
        ledger.record(ledger_row(at, score))
        card.keep_results(at.run.name, path)
        follow(at)
        at.say(f"submission: {path}, {scoring.headline(score)}")
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
        "git": git.sha() or "",
    }


def alternate(run: Run, task: str, overrides: str = "", time: str | None = None, engine: Engine | None = None) -> Path:
    """`submission`, for a run of this task only. Raises ConfigFault CFG-TASK."""
    name = None if run.task is None else config.task_name(run.task)
    if name != task:
        command = f"make {ALTERNATES.get(name or '', 'submission')} RUN={run.name}"
        found = "a blend" if name is None else f"task: {name}"
        raise ConfigFault(Finding("CFG-TASK", f"this is no run of the task {task}", f"RUN={run.name}", found, command))
    return submission(run, overrides, time, engine)


def _complete(run: Run, engine: Engine, made: set[str], overrides: str = "") -> Run:
    """Trains and predicts what is missing; returns the run, of a preset with the members that its time allowed.

    made: the runs that this command has come by, for several may be made of one.
    """
    run = _learn(run, engine, made, overrides)
    _predict(run, engine)
    return run


def _learn(run: Run, engine: Engine, made: set[str], overrides: str = "") -> Run:
    """`_complete` up to what is made of predictions of folds or members: decisions, score, files of the run."""
    made.add(run.name)
    if run.members is None:
        _train(run, engine, made, overrides)
        with runs.opened(run) as at:
            predicting.predict_folds(at, engine)
    else:
        ensemble.check(run, load(run.competition).problem)
        _complete_first(run, engine, made)
    return run if run.preset is None else portfolio.complete(run, engine, _fit, _predict, overrides)


def _fit(at: runs.Opened, engine: Engine, predicted: bool = True) -> None:
    training.train(at, engine, fit=early.fitting(engine.limit, predicted))


def _complete_first(run: Run, engine: Engine, made: set[str]) -> None:
    """A blend's members; the runs whose labels or predictions it learns from, where these are still to be had."""
    learns = run.pseudo is not None or stacked.parents(run)
    if learns and not any(map(_without_sources, runs.members(run) if run.preset else [run])):
        return
    for other in runs.needs(run):
        if other.name not in made:
            _complete(other, engine, made)


def _without_sources(run: Run) -> bool:
    at = runs.look(run)
    kept = (run.pseudo is None or pseudo.kept(at)) and (not stacked.given(run) or stacked.kept(at))
    return bool(training.untrained(at)) and not kept


def _train(run: Run, engine: Engine, made: set[str], overrides: str = "", predicted: bool = True) -> None:
    """Trains what is missing, after the runs whose labels or weights it learns from. predicted: `early.fitting`."""
    _complete_first(run, engine, made)
    ingredients = runs.ingredients(run)
    if ingredients and training.untrained(runs.look(run)):
        for ingredient in ingredients:
            if ingredient.name not in made:
                _train(ingredient, engine, made, predicted=False)
    with runs.opened(run, overrides) as at:
        _fit(at, engine, predicted)


def _predict(run: Run, engine: Engine) -> None:
    with runs.opened(run) as at:
        for note in at.data.notes:
            at.say(note)
        if engine.limit is not None:
            late.plain(engine.limit.run)  # decisions may take longer than there is time
        if run.members is None:
            predicting.predict(at, engine)
        else:
            ensemble.blend(at)
        if run.preset is not None:
            portfolio.show(run)


def tune(run: Run, trials: int | None = None, time: str | None = None, engine: Engine | None = None) -> None:
    """A search over the run's settings. trials: None: 30, or as many as `time` (`2h`) allows."""
    from competition.tuning.tune import tune as search

    if trials is not None and trials < 1:
        found, mend = "a search has at least one trial", "TRIALS=30"
        raise ConfigFault(Finding("CFG-VALUE", "the command has a mistake", f"TRIALS={trials}", found, mend))
    with working(engine) as workers:
        disk.writable(artifacts.run_yaml(run.name).parent)
        for parent in runs.needs(run):
            _complete(parent, workers, set())
        search(run, workers, trials, None if time is None else portfolio.duration(time))
