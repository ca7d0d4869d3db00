"""Runs an exported run as a notebook without a network would, and compares its CSV with ours: `make export-test RUN=`.

The process has a Python environment of its own, which sees the packages of a notebook's image and no other (they are linked,
not copied; what the bundle needs beside is in its wheels), an empty folder to work in, no variables of this shell, and a
network namespace without interfaces. The versions are those of this machine: what it can't show is how others behave.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from competition import artifacts, board, config, disk, prepared
from competition.errors import ConfigFault, EnvironmentFault, Finding
from competition.export import wheels
from competition.export.recipe import RECIPE

ISOLATED = ("unshare", "--net", "--map-root-user")
ROUNDED = 1e-5  # of a float32 network whose sums are added in another order
INTERFACES = "import socket; print(*(name for _, name in socket.if_nameindex()))"


def run(name: str) -> None:
    """name: a run that is exported and submitted. Raises ConfigFault EXP-NONE, EnvironmentFault EXP-FAILS, EXP-DIFFERS."""
    folder, ours = artifacts.export_folder(name), artifacts.submission_csv(name)
    for path, command in ((folder / "predict.py", "export"), (ours, "submission")):
        if not path.exists():
            mend = f"make {command} RUN={name}"
            raise ConfigFault(Finding("EXP-NONE", "there is nothing to compare", str(path), "no such file", mend))
    with tempfile.TemporaryDirectory(prefix="export-test-") as scratch:
        theirs = _predicted(folder.resolve(), _data(name), Path(scratch), name)
        board.say(f"{name}: {compared(ours, theirs)}")


def environment(folder: Path) -> Path:
    """A Python that has the packages of a notebook's image alone."""
    import venv

    venv.create(folder, with_pip=False)
    site = next(folder.glob("lib/python*/site-packages"))
    for top, path in wheels.tops(wheels.closure(wheels.IMAGE)).items():
        disk.link(site / top, path)
    return folder / "bin" / "python"


def _predicted(bundle: Path, data: Path, scratch: Path, name: str) -> Path:
    python, out, before = environment(scratch / "environment"), scratch / "submission.csv", _without_network()
    work = scratch / "work"
    work.mkdir()
    kept = {
        "PATH": os.environ["PATH"],
        "HOME": str(work),
        "OMP_NUM_THREADS": _threads(name),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    there = subprocess.run(
        [*before, python, "-I", "-c", INTERFACES], env=kept, capture_output=True, text=True, check=True
    )
    board.say(f"{name}: {bundle} without a network (interfaces: {there.stdout.strip()}), in {work}")
    began = time.monotonic()
    command = [*before, str(python), "-I", str(bundle / "predict.py"), "--data", str(data), "--out", str(out)]
    done = subprocess.run(command, cwd=work, env=kept, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    board.console.print(done.stdout.rstrip())
    if done.returncode or not out.is_file():
        found = f"exit code {done.returncode}: {done.stdout.strip().splitlines()[-1:]}"
        mend = f"make export RUN={name}, if anything changed since; else what predict.py says"
        raise EnvironmentFault(
            Finding("EXP-FAILS", "the exported run fails", str(bundle), found, mend, "so it would in the notebook")
        )
    board.say(f"{name}: it took {board.spoken(time.monotonic() - began)}, imports and the check of its files included")
    return out


def _data(name: str) -> Path:
    competition = name.partition("/")[0]
    return prepared.present(competition, Path(config.load_competition(competition).data)).resolve()


def _without_network() -> list[str]:
    """What a command is begun by; says so where the system can't."""
    if sys.platform == "linux" and shutil.which(ISOLATED[0]):
        for words in (ISOLATED, ISOLATED[:2]):
            if subprocess.run([*words, "true"], capture_output=True).returncode == 0:
                return [*words]
    board.say("warning EXP-NETWORK: this system gives no network namespace (unshare --net), so the network stays open")
    return []


def _threads(name: str) -> str:
    """Of the processes that predicted, for sums are added in another order by others."""
    leaf = next(iter(artifacts.read_json(artifacts.export_folder(name) / RECIPE)["leaves"]))
    records = [artifacts.read_json(path) for path in artifacts.run_folder(leaf).glob("fold*/predicted.json")]
    return str(records[0].get("threads", 1) if records else 1)


def compared(ours: Path, theirs: Path) -> str:
    """Raises EnvironmentFault EXP-DIFFERS where they differ by more than rounding."""
    if ours.read_bytes() == theirs.read_bytes():
        return f"its CSV is equal to {ours}, to the byte"
    one, other = (pd.read_csv(path, dtype=str, keep_default_na=False) for path in (ours, theirs))
    found = "another form"
    if one.shape == other.shape and list(one) == list(other) and one.iloc[:, 0].equals(other.iloc[:, 0]):
        cells = [table.to_numpy()[(one != other).to_numpy()] for table in (one, other)]
        numbers = [pd.to_numeric(pd.Series(some), errors="coerce").to_numpy(float) for some in cells]
        gap = np.abs(numbers[0] - numbers[1])
        found = f"{len(gap):,} of {one.size:,} cells differ"
        if not len(gap):
            return f"its CSV says the same as {ours}, written otherwise"
        if (gap <= ROUNDED * np.maximum(1, np.abs(numbers[0]))).all():
            return f"its CSV is equal to {ours} within rounding: {found}, by {gap.max():.1e} at most"
        found += f", {cells[0][0]!r} and {cells[1][0]!r}"
    mend = "make submission and make export RUN= anew: is the bundle of these models?"
    raise EnvironmentFault(Finding("EXP-DIFFERS", "the exported run predicts something else", str(ours), found, mend))
