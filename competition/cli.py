"""One verb a make target. Reads arguments, calls the stages, and turns faults into messages and exit codes.

Nothing heavy is imported before a verb needs it: `--help` takes a tenth of a second, importing torch takes five.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from competition import disk, interrupt
from competition.errors import EnvironmentFault, Fault, Stopped, visible

if TYPE_CHECKING:
    from competition.engine import Engine

PLANNED = {"nodes": "machines like this one", "gpus": "GPUs of each", "trials": "of a search, instead of the run alone"}


def parser() -> argparse.ArgumentParser:
    main = argparse.ArgumentParser(prog="python -m competition", description="A competition pipeline; see README.md.")
    main.add_argument("--json", action="store_true", help="print faults, and the record of compare, as JSON")
    main.add_argument("--debug", action="store_true", help="print the traceback of a fault")
    verbs = main.add_subparsers(dest="verb", required=True, metavar="verb")

    def verb(name: str, help: str, *arguments: tuple[str, dict[str, Any]]) -> None:
        one = verbs.add_parser(name, help=help, description=help)
        for flag, options in arguments:
            one.add_argument(flag, **options)

    run = ("run", {"help": "<competition>/<run>, such as leaves/baseline"})
    comp = ("competition", {"help": "name of a folder below configs/"})
    overrides = ("--set", {"default": "", "metavar": "'a.b=1 c=x'", "help": "keys to override"})
    variant = (
        "--as",
        {"default": "", "dest": "variant", "metavar": "NAME", "help": "write the overrides as a run of this name"},
    )
    place = (
        ("--engine", {"default": "local", "help": "local: this machine; ray: a Ray cluster, or Ray on this machine"}),
        ("--address", {"default": None, "help": "with --engine ray, of the cluster: auto, or host:port"}),
    )
    verb("init", "looks at a competition folder and writes its two configuration files",
         ("folder", {"help": "the unpacked competition"}), ("name", {"help": "what to call it"}),
         ("--metric", {"default": None, "help": "the metric, where the sample can't tell"}), overrides)  # fmt: skip
    verb("check", "reads tables and pictures and lists what is wrong, on one page and one sheet of pictures", comp)
    verb("folds", "writes the fold table", comp)
    verb("train", "trains the folds that are missing", run,
         ("--fold", {"type": int, "default": None, "help": "only this fold"}), overrides, variant, *place)  # fmt: skip
    verb("predict", "out-of-fold and test predictions, and the score", run, *place)
    verb("ensemble", "blends runs by what is fitted on their OOF", comp,
         ("--runs", {"default": "", "help": "names of the runs; default: all that have a score"}), overrides,
         variant)  # fmt: skip
    clock = ("--time", {"default": None, "help": "how long all of it may take: 10m, 9h; there is a submission by then"})
    verb(
        "submission",
        "everything that the run still needs, then its checked CSV",
        run,
        overrides,
        variant,
        clock,
        *place,
    )
    verb("tabular", "the same for a run of the task tabular", run, overrides, variant, clock, *place)
    verb("detect", "the same for a run of the task detection", run, overrides, variant, clock, *place)
    verb("tune", "searches over a run's settings and writes the best as <run>-tuned", run,
         ("--trials", {"type": int, "default": None, "help": "trials that come to an end, over the life of the search"}),
         ("--time", {"default": None, "help": "how long it may take, the check of the best too: 10m, 2h"}),
         *place)  # fmt: skip
    verb("import", "brings another program's predictions in as a run",
         ("files", {"help": "oof.csv,test.csv: out-of-fold and test predictions"}), run)  # fmt: skip
    verb("portfolio", "what a preset tried, what it cost and what it weighs", run)
    verb("importance", "what each column is worth to a trained run, as a table and a picture", run)
    verb("compare", "ranks the runs of a competition; or, of two runs: is B better than A?",
         ("competition", {"nargs": "?", "default": "", "help": "name of a folder below configs/: ranks its runs"}),
         ("--a", {"default": "", "metavar": "RUN", "help": "instead: a run that has a score"}),
         ("--b", {"default": "", "metavar": "RUN", "help": "and another one of the same competition"}),
         ("--runs", {"default": "", "metavar": "'conv* blend'", "help": "only these; names or patterns"}),
         ("--task", {"default": "", "help": "only runs of this task, or blends or presets"}),
         ("--top", {"type": int, "default": None, "metavar": "N", "help": "only the N best"}),
         ("--sort", {"default": "", "help": "by score, time, parameters, epochs, std, public, private or name"}),
         ("--json", {"action": "store_true", "default": argparse.SUPPRESS, "help": "print the record"}))  # fmt: skip
    verb("reproduce", "makes a run again from its card, and says whether it is equal to the byte", run,
         ("--json", {"action": "store_true", "default": argparse.SUPPRESS, "help": "print the record"}))  # fmt: skip
    verb("lr", "the learning-rate range test, as a picture, and the rate to try", run)
    verb("look", "the first training pictures as the network is given them, with their targets, before training", run,
         overrides)  # fmt: skip
    verb("describe", "a trained network: its layers, throughput, feature maps, and where it looks", run)
    verb("onnx", "the networks of a trained image run as ONNX and torch.export, checked, and their speed", run)
    verb("plan", "what a run takes on this machine, or on several, and what of it fits a time", run,
         ("--time", {"default": None, "help": "how long all of it may take: 45m, 9h"}),
         *((f"--{name}", {"type": int, "default": None, "help": text}) for name, text in PLANNED.items()))  # fmt: skip
    verb("export", "a trained run as a folder that predicts without a network, for a code competition", run)
    verb("export-test", "runs an exported run without a network, and compares its CSV with ours", run)
    verb("guard", "is a CSV a valid submission? by a sample alone, or by a competition and a run",
         ("file", {"help": "the CSV; one below submissions/ tells its competition and run"}),
         ("sample", {"nargs": "?", "default": None, "help": "sample submission to hold it against; needs no config"}),
         ("--competition", {"default": None, "help": "name of a folder below configs/, for a file elsewhere"}))  # fmt: skip
    verb("upload", "guards a submission, uploads it by the Kaggle client, writes the score into the ledger",
         ("file", {"help": "submissions/<competition>/<run>.csv, or any other CSV of a competition"}),
         ("--message", {"default": None, "help": "what the host lists it by; default: run, CV and config hash"}),
         ("--competition", {"default": None, "help": "name of a folder below configs/, for a file elsewhere"}),
         ("--wait", {"action": "store_true", "help": "until the host has scored it"}),
         ("--force", {"action": "store_true",
                      "help": "though it was uploaded before, or is unlike the run's OOF"}))  # fmt: skip
    verb("score", "enters a submission's scores into the ledger by hand",
         ("file", {"help": "submissions/<competition>/<run>.csv"}), ("public", {"help": "its public score"}),
         ("private", {"nargs": "?", "default": None, "help": "its private score"}))  # fmt: skip
    verb("leaderboard", "CV against public scores, and which two submissions to choose", comp)
    verb("report", "one HTML file of a competition's runs, to look at", comp,
         ("--runs", {"default": "", "help": "names of the runs shown in detail; default: the best ones"}))  # fmt: skip
    verb("sync", "mirrors what W&B or TensorBoard do not know yet, and uploads what was logged offline",
         ("competition", {"nargs": "?", "default": None, "help": "of this one; default: of all"}))  # fmt: skip
    verb("demo", "the whole pipeline on handwritten digits")
    verb("demo-detect", "the whole pipeline on handwritten digits to be found on photos")
    verb("schema", "every key of the configuration files, as a Markdown table")
    return main


def main(arguments: Sequence[str] | None = None, began: float | None = None) -> int:
    """began: of a process of its own the moment of its start, by `time.monotonic`, from which its limit counts."""
    options = parser().parse_args(arguments)
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
    """The engine that was asked for; None: this machine's. Raises ConfigFault CFG-VALUE, EnvironmentFault MODEL-EXTRA."""
    from competition.cluster import choice

    return choice.asked(options.engine, options.address)


VERBS = {f.__name__: f for f in (init, check, folds, train, predict, ensemble, submission, tabular, detect, tune, portfolio,
                                importance, compare, reproduce, lr, look, describe, onnx, plan, export, guard, upload, score,
                                leaderboard, report, sync, demo, schema)}  # fmt: skip
LIMITED = ("submission", "tabular", "detect")
VERBS |= {"import": bring, "demo-detect": demo_detect, "export-test": export_test}
