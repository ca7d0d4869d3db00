"""One verb a make target. Reads arguments, calls the stages, and turns faults into messages and exit codes.

Nothing heavy is imported before a verb needs it: `--help` takes a tenth of a second, importing torch takes five.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from competition import disk, interrupt, words
from competition.errors import EnvironmentFault, Fault, Stopped, visible

if TYPE_CHECKING:
    from competition.engine import Engine


def main(arguments: Sequence[str] | None = None, began: float | None = None) -> int:
    """began: of a process of its own the moment of its start, by `time.monotonic`, from which its limit counts."""
    options = words.parser().parse_args(arguments)
    try:
        interrupt.listen()
        if began is not None and options.verb in LIMITED and options.time is not None:
            from competition import overtime

            if not overtime.watched:
                return overtime.watch(options.variant or options.run, options.time, began)
        if "WORLD_SIZE" in os.environ:
            from competition import torchrun

            torchrun.only_training(options.verb)
        VERBS[options.verb](options)
    except Fault as fault:
        if options.debug:
            raise
        _tell(fault.as_json() if options.json else visible(str(fault)))
        return fault.exit_code
    except Stopped as stopped:
        _tell(f"{visible(str(stopped))}. The same command continues.")
        return stopped.exit_code
    except BrokenPipeError:
        return 0
    except OSError as error:
        fault = None if options.debug else _of_disk(error)
        if fault is None:
            raise
        _tell(fault.as_json() if options.json else visible(str(fault)))
        return fault.exit_code
    except BaseException as e:
        if not (interrupt.came or isinstance(e, KeyboardInterrupt)):  # a library turns one amid its import into its own
            raise
        _tell("stopped. The same command continues.")
        return Stopped.exit_code
    return 0


def _of_disk(error: OSError) -> Fault | None:
    """What a failing disk or a missing right means where nobody expects it, as when a file is read; None for others."""

    where = str(error.filename or "a file that is read or written")
    return EnvironmentFault(disk.refused(error, where)) if error.errno in disk.REFUSALS else None


def _tell(text: str) -> None:
    """On the error stream, which is gone where the terminal was closed; the exit code still counts."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def init(options: argparse.Namespace) -> None:
    from competition.inspect.start import start

    start(options.folder, options.name, options.metric, options.set)


def check(options: argparse.Namespace) -> None:
    from competition.check.audit import audit

    audit(options.competition)


def folds(options: argparse.Namespace) -> None:
    from competition import board, runs
    from competition.artifacts import fold_table
    from competition.data import load
    from competition.engine import signals

    with board.board(), signals():
        data = load(options.competition)
        for note in data.notes:
            board.say(note)
        runs.make_folds(data)
        board.say(f"fold table: {fold_table(data.name)}")


def train(options: argparse.Namespace) -> None:
    from competition import runs, stages, torchrun

    with torchrun.places() as follows:
        if follows:
            torchrun.follow()
            return
        run = runs.resolve(options.run, options.set, options.variant)
        stages.train(run, recorded_set(options), options.fold, workers(options))


def predict(options: argparse.Namespace) -> None:
    from competition import runs, stages

    stages.predict(runs.resolve(options.run), workers(options))


def ensemble(options: argparse.Namespace) -> None:
    from competition import ensemble, stages

    name = options.variant or f"{options.competition}/blend"
    stages.predict(ensemble.declare(options.competition, options.runs.split(), name, options.set))


def submission(options: argparse.Namespace) -> None:
    from competition import runs, stages

    run = runs.resolve(options.run, options.set, options.variant)
    stages.submission(run, recorded_set(options), options.time, workers(options))


def tabular(options: argparse.Namespace) -> None:
    from competition import runs, stages

    run = runs.resolve(options.run, options.set, options.variant)
    stages.alternate(run, "tabular", recorded_set(options), options.time, workers(options))


def detect(options: argparse.Namespace) -> None:
    from competition import runs, stages

    run = runs.resolve(options.run, options.set, options.variant)
    stages.alternate(run, "detection", recorded_set(options), options.time, workers(options))


def tune(options: argparse.Namespace) -> None:
    from competition import runs, stages

    stages.tune(runs.resolve(options.run), options.trials, options.time, workers(options))


def bring(options: argparse.Namespace) -> None:
    from competition import stages

    stages.bring_in(options.run, options.files)


def portfolio(options: argparse.Namespace) -> None:
    from competition import portfolio, runs

    portfolio.show(runs.resolve(options.run))


def importance(options: argparse.Namespace) -> None:
    from competition import runs, stages

    stages.explain(runs.resolve(options.run))


def compare(options: argparse.Namespace) -> None:
    from competition import ranking

    o = options
    filters = {"RUNS": o.runs, "TASK": o.task, "TOP": o.top, "SORT": o.sort}
    if ranking.one_form(o.competition, o.a, o.b, [f"{name}={value}" for name, value in filters.items() if value]):
        ranking.tell(o.competition, o.runs.split(), o.task, o.top, o.sort or "score", o.json)
        return
    from competition import compare

    compare.tell(o.a, o.b, o.json)


def reproduce(options: argparse.Namespace) -> None:
    from competition import reproduce

    reproduce.reproduce(options.run, options.json)


def lr(options: argparse.Namespace) -> None:
    from competition import runs, stages

    stages.rate(runs.resolve(options.run))


def look(options: argparse.Namespace) -> None:
    from competition import runs, stages

    stages.look(runs.would_be(options.run, options.set), options.set)


def describe(options: argparse.Namespace) -> None:
    from competition import runs, stages

    stages.describe(runs.resolve(options.run))


def onnx(options: argparse.Namespace) -> None:
    from competition import runs, stages

    stages.onnx(runs.resolve(options.run))


def plan(options: argparse.Namespace) -> None:
    from competition import runs, stages

    stages.plan(runs.resolve(options.run), options.time, options.nodes, options.gpus, options.trials)


def export(options: argparse.Namespace) -> None:
    from competition import runs, stages

    stages.export(runs.resolve(options.run))


def export_test(options: argparse.Namespace) -> None:
    from competition.export import trial

    trial.run(options.run)


def guard(options: argparse.Namespace) -> None:
    from competition import guard

    guard.guard(options.file, options.sample, options.competition)


def upload(options: argparse.Namespace) -> None:
    from competition import upload

    upload.upload(options.file, options.message, options.competition, options.wait, options.force)


def score(options: argparse.Namespace) -> None:
    from competition import upload

    upload.enter(options.file, options.public, options.private)


def leaderboard(options: argparse.Namespace) -> None:
    from competition import leaderboard

    leaderboard.tell(options.competition)


def report(options: argparse.Namespace) -> None:
    from competition.report.page import report

    report(options.competition, options.runs.split())


def sync(options: argparse.Namespace) -> None:
    from competition.tracking.sync import sync

    sync(options.competition)


def demo(options: argparse.Namespace) -> None:
    from competition.demo import demo

    demo()


def demo_detect(options: argparse.Namespace) -> None:
    from competition.scenes import demo_detect

    demo_detect()


def schema(options: argparse.Namespace) -> None:
    from competition.schema import markdown

    print(markdown())


def recorded_set(options: argparse.Namespace) -> str:
    """With AS= the overrides stand in the new file, so the run has none."""
    return "" if options.variant else options.set


def workers(options: argparse.Namespace) -> Engine | None:
    """The engine that was asked for; None: this machine's. Raises ConfigFault CFG-VALUE, EnvironmentFault ENV-EXTRA."""
    from competition.cluster import choice

    return choice.asked(options.engine, options.address)


VERBS = {f.__name__: f for f in (init, check, folds, train, predict, ensemble, submission, tabular, detect, tune, portfolio,
                                importance, compare, reproduce, lr, look, describe, onnx, plan, export, guard, upload, score,
                                leaderboard, report, sync, demo, schema)}  # fmt: skip
LIMITED = ("submission", "tabular", "detect")
VERBS |= {"import": bring, "demo-detect": demo_detect, "export-test": export_test}
