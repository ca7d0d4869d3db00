"""Ours beside timm's train.py, fastai and AutoGluon MultiModal, and beside the bare step: `make bench`.

    python -m benchmarks.rivals [--timm <checkout of pytorch-image-models>] [--data <competition folder>] [--rounds 2]

Each from raw pictures to an out-of-fold score: the same pictures, folds, backbone from random weights, size, epochs, batch,
rate and cores, each in an environment of its own, the programs taking turns round by round. What is and isn't alike:
docs/results.md, "Beside others". The environments are made once (benchmarks/rivals/environments.py). Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path

import pandas as pd
from rich.console import Console

from benchmarks.loop import BATCH
from benchmarks.rivals import pictures, programs, told
from benchmarks.rivals.environments import ENVIRONMENTS, PLACE, Refused, checkout, python_of, version_of, versions
from benchmarks.rivals.programs import BARE, OURS, Program, Result

console = Console(width=140)


def main() -> None:
    options = asked()
    refused: dict[str, str] = {}
    field = [BARE, OURS, *rivals(options, refused)]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        rows, recipe = prepare(options, folder)
        results = play(field, options.rounds, rows, recipe, folder, refused)
    title = (
        f"{options.backbone}, {options.size} px, {len(rows)} pictures, {options.folds} folds, {options.epochs} epochs, "
        f"batch {BATCH}, {options.rounds} rounds; {platform.machine()}, {len(os.sched_getaffinity(0))} cores"
    )
    lines = told.lines(results, refused)
    console.print(told.table(lines, title))
    for program in field:
        console.print(f"{program.name}: {program.versions}", highlight=False)
    console.print(told.markdown(lines), markup=False, highlight=False, soft_wrap=True)


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a competition of pictures as downloaded; else pictures are drawn")
    parser.add_argument("--rows", type=int, default=900, help="pictures that are drawn, or taken of --data")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rivals", nargs="*", default=list(ENVIRONMENTS), choices=list(ENVIRONMENTS))
    parser.add_argument("--timm", type=Path, help="a checkout of pytorch-image-models, for its train.py")
    parser.add_argument("--environments", type=Path, default=PLACE, help="where the rivals' environments lie")
    return parser.parse_args()


def rivals(options: argparse.Namespace, refused: dict[str, str]) -> list[Program]:
    """Those that can be run here; the reasons of the others go to `refused`."""
    found = []
    for name in options.rivals:
        try:
            if name == "timm":
                options.timm = checkout(options.timm)
            python = python_of(name, options.environments.resolve(), console)
            told = versions(python, ENVIRONMENTS[name].shown)
            if name == "timm":
                told = f"timm {version_of(options.timm)} of the checkout, {told}"
            found.append(programs.rival(name, python, told))
        except Refused as e:
            refused[name] = str(e)
            console.print(f"{name}: {e}")
    return found


def prepare(options: argparse.Namespace, folder: Path) -> tuple[pd.DataFrame, Path]:
    """The rows, and recipe.json, which every program is given."""
    import torch

    raw, n = folder / "pictures", options.rows
    table = pictures.given(options.data, raw, n) if options.data else pictures.draw(raw, n)
    rows = pictures.folded(table, folder / "folded", options.folds)
    pictures.lay_folders(rows, folder / "folders")
    rows.to_csv(folder / "rows.csv", index=False)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    recipe = {k: getattr(options, k) for k in ("backbone", "size", "epochs")} | {
        "batch": BATCH, "lr": 1e-3, "weight_decay": 0.05, "mixup": 0.2, "cutmix": 1.0, "classes": rows["label"].nunique(),
        "images": [int((rows["fold"] != k).sum()) for k in range(options.folds)], "steps": 16, "device": device,
        "workers": len(os.sched_getaffinity(0)), "rows": str(folder / "rows.csv"), "folders": str(folder / "folders"),
        "timm": str(options.timm),
    }  # fmt: skip
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe))
    return rows, path


def play(
    field: list[Program], rounds: int, rows: pd.DataFrame, recipe: Path, folder: Path, refused: dict[str, str]
) -> dict[str, list[Result]]:
    """Results by program, a round each; a program that fails is told in `refused` and not started again."""
    results: dict[str, list[Result]] = {}
    for number in range(rounds):
        start = number % len(field)
        for program in field[start:] + field[:start]:
            if program.name in refused:
                continue
            try:
                with console.status(f"round {number + 1} of {rounds}: {program.name}"):
                    result = programs.measure(program, rows, recipe, folder / f"{program.name}-{number}")
            except Refused as e:
                refused[program.name] = str(e)
                console.print(f"{program.name}: {e}")
                continue
            results.setdefault(program.name, []).append(result)
            console.print(f"round {number + 1}, {program.name}: {told.sentence(result)}")
    return results


if __name__ == "__main__":
    main()
