"""The words of the command line: each verb with its arguments."""

from __future__ import annotations

import argparse
from typing import Any

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
