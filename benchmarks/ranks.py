"""`make bench-ranks`: one fold by several processes beside one, on CPUs; and what is left of it when one of them is killed.

The largest difference of their loss curves, step by step; then rounds in which a rank, any one, is killed at a random
step: how the others end, how soon, and whether the same command then comes to the same bytes. Processes are forks of this
one, for one of its own takes longer to begin than to train.

    python -m benchmarks.ranks [--kills 10] [--ranks 2] [--seed 0]
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from safetensors.numpy import load_file

from benchmarks import toy
from competition import artifacts, cli, local
from competition.tracking import read

FOLD = Path("runs/toy/image/fold0")
FIGURES = ("running_mean", "running_var", "num_batches_tracked")  # of batch norms, of a piece each
KEYS = "epochs=12 size=32 batch=8"
NO_NORM = "backbone=test_convnext drop=0"  # layer norms, no dropout: nothing in it depends on the rows beside
CURVES = {
    "layer norms": (f"{NO_NORM} mixup=0.4 cutmix=1.0", "", "ranks=2"),
    "layer norms, 3 ranks": (f"{NO_NORM} mixup=0.4 cutmix=1.0", "", "ranks=3"),
    "layer norms, pieces": (f"{NO_NORM} mixup=0.4 cutmix=1.0", "", "accumulate=2"),
    "batch norms of 4 rows": ("backbone=test_resnet drop=0", "accumulate=2", "ranks=2"),
}


def begun(keys: str) -> int:
    """The command in a fork, which says nothing; its process."""
    child = os.fork()
    if not child:
        os.setsid()
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        code = 99
        with suppress(BaseException):
            code = cli.main(["train", "toy/image", "--fold", "0", "--set", keys])
        os._exit(code)
    return child


def ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def trained(keys: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Losses by step and weights, from nothing."""
    shutil.rmtree(FOLD.parent, ignore_errors=True)
    code = ended(begun(keys))
    assert code == 0, f"{keys}: exit code {code}"
    losses = [line["train_loss"] for line in read(FOLD / "history.jsonl", steps=True) if "train_loss" in line]
    return np.array(losses), load_file(FOLD / "model.safetensors")


def digest(weights: dict[str, np.ndarray]) -> str:
    """Of the bits of all of them; a weights file has its notes in any order."""
    return artifacts.digest(*(f"{name} {weights[name].tobytes().hex()}" for name in sorted(weights)))[:12]


def curves(console: Console) -> None:
    table = Table("network", "beside", "steps", "loss, first to last", "largest difference", "of weights")
    for name, (network, one, other) in CURVES.items():
        losses, weights = trained(f"{KEYS} {network} {one}")
        others, theirs = trained(f"{KEYS} {network} {other}")
        apart = max(float(np.abs(weights[k] - theirs[k]).max()) for k in weights if not k.endswith(FIGURES))
        gap = float((np.abs(others - losses) / losses).max())
        table.add_row(name, f"{other} / {one or 'one process'}", str(len(losses)), f"{losses[0]:.3f} to {losses[-1]:.3f}",
                      f"{gap:.1e} of the loss", f"{apart:.1e}")  # fmt: skip
    console.print(table)


def ranks_of(first: int) -> list[int]:
    """Processes of the ranks that are there: the first, and those that it began."""
    try:
        return [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]
    except OSError:
        return [first]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def lines() -> int:
    """Steps that the fold's history tells; a step has a line, for an epoch has few."""
    history = FOLD / "history.jsonl"
    return len(read(history, steps=True)) if history.exists() else 0


def kills(console: Console, rounds: int, ranks: int, rng: random.Random) -> None:
    keys = f"{KEYS} backbone=test_resnet drop=0.3 mixup=0.4 ranks={ranks} batch={4 * ranks}"
    began = time.monotonic()
    losses, whole = trained(keys)
    seconds, steps = time.monotonic() - began, len(losses)
    console.print(f"undisturbed: {seconds:.1f} s, weights {digest(whole)}")
    for number in range(rounds):
        shutil.rmtree(FOLD.parent)
        child = begun(keys)
        step, which = rng.randrange(1, steps), rng.randrange(ranks)
        while lines() < step and alive(child):
            time.sleep(0.005)
        there = ranks_of(child)
        os.kill(there[which], signal.SIGKILL)
        killed = time.monotonic()
        code = ended(child)
        while any(map(alive, there)):
            time.sleep(0.01)
        gone = time.monotonic() - killed
        done = lines()
        again = ended(begun(keys))
        equal = again == 0 and digest(load_file(FOLD / "model.safetensors")) == digest(whole)
        told = f"{number + 1}: rank {which} killed at step {done}: exit {code}, all gone {gone:.2f} s later"
        console.print(f"{told}; {'the same bits' if equal else 'OTHER BITS'} in the end")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options, console = parser.parse_args(), Console()
    toy.warm()
    torch.set_num_threads(1)
    local.START = "fork"
    with tempfile.TemporaryDirectory() as folder:
        toy.make(Path(folder))
        os.chdir(folder)
        assert cli.main(["folds", "toy"]) == 0
        curves(console)
        kills(console, options.kills, options.ranks, random.Random(options.seed))
        os.chdir("/")


if __name__ == "__main__":
    main()
