"""W&B as a service: one group a run, one W&B run a fold, one summary run; trials and their search (docs/wandb.md).

wandb 0.31. Several W&B runs are open at once (`reinit="create_new"`). Nothing but what is told here is recorded: no argv,
environment, code, requirements, host name or machine metrics.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from competition import artifacts, board
from competition.host import clean
from competition.tracking import files, tables
from competition.tracking.flat import flat
from competition.tracking.told import Followed

if TYPE_CHECKING:
    import pandas as pd
    import wandb

    from competition.tracking.summary import Summary

ROOT = artifacts.RUNS / ".wandb"  # a folder a competition, with the client's own below
INIT = 20.0  # seconds that the server may take to answer
FLUSH = 0.5  # seconds until what is logged lies on the disk
SMALLER = ("loss", "train_loss")
EPOCHS = ("loss", "valid", "images_per_second", "seconds")
STEPS = ("train_loss", "lr")


class Wandb:
    """online: whether the server is told at once. Where it does not answer, everything is logged offline."""

    name = "wandb"

    def __init__(self, online: bool) -> None:
        self.online = online
        self.summaries: dict[str, wandb.Run] = {}

    def curve(self, told: Followed, fold: str) -> _Fold:
        config = told.config() | {"fold": fold}
        return _Fold(self._init(told, fold, f"{told.name} {fold}", "train", config), told, fold)

    def summary(self, told: Followed, summary: Summary) -> None:
        run = self._summary_run(told)
        run.summary.update(summary.figures())
        if shown := tables.of(summary):
            run.log(shown)
        _log(run, files.config(told.run))
        _log(run, files.predictions(told.run))
        for source in files.made_from(told.run, told.config()):
            _use(run, source)

    def submission(self, told: Followed) -> None:
        _log(self._summary_run(told), files.submission(told.run))

    def trial(self, told: Followed, row: Mapping[str, Any]) -> None:
        config = {key: row[key] for key in told.keys or () if key in row}
        number = int(row["number"])
        run = self._init(told, f"trial{number}", f"{told.name} {number}", "trial", config)
        run.summary.update({key: value for key, value in row.items() if key not in config})
        run.finish()

    def search(self, told: Followed, trials: pd.DataFrame) -> None:
        import wandb

        run = self._init(told, "search", told.name, "search", told.config())
        run.log({"trials": wandb.Table(dataframe=trials)})
        figure = tables.coordinates(trials, list(told.keys or ()), told.metric)
        if figure is not None:
            run.log({"parallel_coordinates": wandb.Plotly(figure)})
        run.finish()

    def close(self) -> None:
        for run in self.summaries.values():
            run.finish()
        self.summaries.clear()

    def _summary_run(self, told: Followed) -> wandb.Run:
        if told.run not in self.summaries:
            config = told.config()
            job = "blend" if config.get("members") else "score"
            self.summaries[told.run] = self._init(told, "score", told.name, job, config)
        return self.summaries[told.run]

    def _init(self, told: Followed, part: str, name: str, job: str, config: dict[str, Any]) -> wandb.Run:
        import wandb

        folder = (ROOT / told.competition).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        own = os.environ.get("WANDB_PROJECT")
        given: dict[str, Any] = {
            "project": own or told.competition, "group": told.run if own else told.name, "id": told.id(part),
            "name": name, "job_type": job, "config": config, "dir": str(folder), "resume": "allow",
            "reinit": "create_new",
        }  # fmt: skip
        if self.online:
            try:
                return wandb.init(settings=_settings("online", folder), **given)
            except (wandb.Error, OSError, TimeoutError) as e:
                self.online = False
                why = clean(str(e)).split("\n")[0][:200] or type(e).__name__
                board.say(f"warning: W&B does not answer ({why}): logged offline; make sync uploads it")
        return wandb.init(settings=_settings("offline", folder), **given)


class _Fold:
    """A W&B run whose step is the optimizer's: what is told twice is one row."""

    def __init__(self, run: wandb.Run, told: Followed, fold: str):
        self.run, self.told, self.fold = run, told, fold
        run.define_metric("step")
        run.define_metric("epoch", step_metric="step")
        better = "max" if told.greater else "min"
        for name in EPOCHS:
            best = {"valid": better, "loss": "min"}.get(name)
            run.define_metric(name, step_metric="epoch", summary=best and f"{best},last")
        for name in STEPS:
            run.define_metric(name, step_metric="step", summary="min,last" if name in SMALLER else None)

    def log(self, line: Mapping[str, Any]) -> None:
        self.run.log(flat(line), step=line["step"], commit=True)

    def note(self, text: str) -> None:
        self.run.summary["note"] = text

    def close(self, record: Mapping[str, Any] | None) -> None:
        if record is not None:
            self.run.summary.update({f"fit/{key}": value for key, value in flat(record).items()})
            _use(self.run, files.folds(self.told.run))
            _log(self.run, files.weights(self.told.run, self.fold))
        self.run.finish(exit_code=None if record is not None else 1)


def _settings(mode: Literal["online", "offline"], folder: Path) -> wandb.Settings:
    import wandb

    return wandb.Settings(
        mode=mode,
        root_dir=str(folder),
        init_timeout=INIT,
        silent=True,
        console="off",
        host="",
        program="",
        disable_git=True,
        disable_code=True,
        save_code=False,
        disable_job_creation=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        x_transaction_log_flush_interval=FLUSH,
    )


def _artifact(told: files.Artifact) -> wandb.Artifact:
    import wandb

    artifact = wandb.Artifact(told.name, type=told.kind)
    for path in told.files:
        artifact.add_file(str(path), policy="mutable" if told.keep else "immutable")
    return artifact


def _log(run: wandb.Run, told: files.Artifact) -> None:
    if told.files:
        run.log_artifact(_artifact(told))


def _use(run: wandb.Run, told: files.Artifact) -> None:
    """As what the run is made from: what `use_artifact` does of a new artifact, without its wait for the server, which an
    offline run has none of. The same content is the same version, whoever logged it first."""
    if told.files:
        run._log_artifact(_artifact(told), is_user_created=True, use_after_commit=True)
