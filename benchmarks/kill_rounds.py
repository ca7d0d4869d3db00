"""One round of `kill_loop`: a command begun, ended at a random moment or a named point, looked at, and given once more."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import kill_points, toy
from benchmarks.kill_points import Points
from competition import board
from competition.errors import Stopped

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"} | dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # a fork of threads may hang  # fmt: skip
BLEND = "--runs 'image table' --as toy/blend"
STAGES = {
    "folds": "folds toy",
    "train image": "train toy/image",
    "train table": "train toy/table",
    "predict image": "predict toy/image",
    "predict table": "predict toy/table",
    "ensemble": f"ensemble toy {BLEND}",
    "submission": "submission toy/blend",
    "tune table": f"tune toy/trees --trials {toy.TRIALS}",
    "tune image": "tune toy/nets --trials 2",
    "submission of all": "submission toy/blend",  # from nothing
}
QUICK = (
    "import runpy; from competition.tuning import store, study; store.HEARTBEAT, store.GRACE, study.POLL = 1, 3, 0.1; "
)
QUICK += "runpy.run_module('competition', run_name='__main__')"
MOST = 4  # ends in a round
APPEARS = ("run.json", "last.ckpt", "previous.ckpt", "fit.json", "oof.parquet", "predicted.json", "score.json",
           "weights.json", "study.db-journal", "blend.csv", "ledger.csv", "pictures.npy", "*.tmp")  # fmt: skip
MODES = ("forked", "chain", "forked SIGTERM", "chain SIGTERM", "forked SIGINT", "chain SIGINT")
HANG = 300  # seconds after which a command that was to end has not


@dataclass
class Ended:
    """One end of a command. point: where; code: of its exit; seconds: from the signal to the exit; said: on stderr."""

    stage: str
    point: str
    code: int
    seconds: float
    said: str
    torn: list[str] = field(default_factory=list)
    round: str = ""
    resumed: bool = False
    equal: bool = False


@dataclass
class Loop:
    """The competition before and after each stage, and what its stages pass and take when nothing ends them."""

    folder: Path
    seed: int
    ends: list[Ended] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    passed: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    results: dict[str, dict[str, str]] = field(default_factory=dict)
    server: Any = field(default_factory=lambda: get_context("forkserver"))

    def before(self, stage: str) -> Path:
        return self.folder / "before" / stage.replace(" ", "-")

    def prepare(self, kinds: Sequence[str]) -> None:
        """Each stage once, uninterrupted, as a fork and where commands are asked for as one too: with the same results."""
        self.server.set_forkserver_preload(["benchmarks.kill_points"])
        now, empty = self.folder / "now", self.folder / "empty"
        toy.make(empty)
        shutil.copytree(empty, now)
        shutil.copytree(empty, self.folder / "first")
        self.start("forked", self.folder / "first", "folds", Points())[
            1
        ]()  # the server's imports take no part in the times
        for n, stage in enumerate(STAGES):
            board.show("uninterrupted", n, len(STAGES), stage)
            shutil.copytree(empty if stage == "submission of all" else now, self.before(stage))
            for mode in kinds:
                work = now if mode == "forked" and stage != "submission of all" else self.copy(stage, f"whole-{mode}")
                began = time.monotonic()
                code = self.start(mode, work, stage, Points())[1]()
                self.seconds[mode, stage] = time.monotonic() - began
                assert code == 0, (work / "err.txt").read_text()
                found = toy.results(work)
                if mode == "forked":
                    self.results[stage] = found
                    self.passed[stage] = kill_points.read_passed(work)
                why = toy.differing(self.results[stage], found) + toy.torn(work) + toy.left(work)
                assert not why, f"{stage}: {why}"
        stepwise, at_once = self.results["submission"], self.results["submission of all"]
        assert not toy.differing(stepwise, at_once), "stage by stage and all at once are not the same"

    def copy(self, stage: str, name: str) -> Path:
        work = self.folder / name
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self.before(stage), work)
        return work

    def start(self, mode: str, work: Path, stage: str, points: Points) -> tuple[int, Callable[..., int | None]]:
        """The command begun: its process, which leads a group, and what waits for its exit code (None: it has none yet)."""
        words = shlex.split(STAGES[stage])
        if mode.startswith("forked"):
            process = self.server.Process(target=kill_points.run, args=(work, words, points))
            process.start()

            def wait(seconds: float | None = None) -> int | None:
                process.join(seconds)
                return process.exitcode

            return process.pid, wait
        program = ["-c", QUICK] if stage.startswith("tune") else ["-m", "competition"]
        with open(work / "out.txt", "w") as out, open(work / "err.txt", "w") as err:
            popen = subprocess.Popen([sys.executable, *program, *words], cwd=work, stdout=out, stderr=err,
                                     start_new_session=True)  # fmt: skip

        def wait_for(seconds: float | None = None) -> int | None:
            with suppress(subprocess.TimeoutExpired):
                popen.wait(seconds)
            return popen.returncode

        return popen.pid, wait_for

    def round(self, mode: str, number: int) -> list[Ended]:
        """One to MOST ends of a stage, then the same command to its end; what is wrong goes into `failures`."""
        rng = np.random.default_rng([self.seed, MODES.index(mode), number])
        stage = list(STAGES)[number % len(STAGES)]
        name = f"{mode}:{number}".replace(" ", "-")
        work, ends, wrong = self.copy(stage, name), [], []
        kept: dict[str, Any] = {}
        for _ in range(1 + rng.integers(MOST)):
            end = self.end(mode, work, stage, rng)
            if end is None:
                break
            for before in ends[-1:]:
                before.resumed = True
            ends.append(end)
            end.torn, end.round = toy.torn(work), name
            wrong += [*end.torn, *unlike_a_stop(mode, end), *self.lost(work, kept)]
            kept |= self.trials(work)
        code = self.start(mode, work, stage, Points())[1](HANG)
        for before in ends[-1:]:
            before.resumed = code == 0
        if code != 0:
            wrong.append(f"the same command ends with {code}: {(work / 'err.txt').read_text()[-2000:]}")
        else:
            different = toy.differing(self.results[stage], toy.results(work))
            wrong += [*different, *self.lost(work, kept), *toy.torn(work)]
            wrong += [f"{path} is left" for path in toy.left(work)]
            wrong += [f"{path}: unfinished trials" for path in work.glob("runs/**/study.db") if toy.unfinished(path)]
        for end in ends:
            end.equal = not wrong
        if wrong:
            self.failures.append(f"{name} ({stage}; {', '.join(e.point for e in ends)}): " + "; ".join(wrong)[:3000])
            board.say(f"FAILED {self.failures[-1]}\nrepeat: --seed {self.seed} --repeat {name}")
        else:
            shutil.rmtree(work)
        return ends

    def trials(self, work: Path) -> dict[str, Any]:
        return {k: v for path in work.glob("runs/**/study.db") for k, v in toy.finished(path).items()}

    def lost(self, work: Path, kept: dict[str, Any]) -> list[str]:
        """Trials that had come to an end and have not any more, or with another score."""
        now = self.trials(work) if kept else {}
        return [f"trial {values} is lost" for values, score in kept.items() if now.get(values) != score]

    def end(self, mode: str, work: Path, stage: str, rng: np.random.Generator) -> Ended | None:
        """Begins the command and ends it; None where it came to its own end first."""
        number = getattr(signal, mode.partition(" ")[2] or "SIGKILL")
        point, nth = "a random moment", 0
        if mode.startswith("forked") and rng.random() < 0.7:
            point = str(rng.choice(sorted(self.passed[stage])))
            nth = 1 + int(rng.integers(self.passed[stage][point]) * rng.random())
        moment = rng.uniform(0, self.seconds[mode.partition(" ")[0], stage])
        (work / "signalled").unlink(missing_ok=True)
        pid, wait = self.start(mode, work, stage, Points(point if nth else "", nth, number))
        sent = None
        if not nth:
            if mode.startswith("chain") and rng.random() < 0.5:
                point = f"as soon as there is {(pattern := str(rng.choice(APPEARS)))}"
                appears(work, pattern, wait, moment)
            else:
                wait(moment)
            heard = number == signal.SIGKILL or hears(pid, wait)
            if heard and wait(0) is None:
                sent = time.monotonic()
                with suppress(ProcessLookupError):
                    os.killpg(pid, number)
        code = wait(HANG)
        if code is None:
            os.killpg(pid, signal.SIGKILL)
            return Ended(stage, point, 0, HANG, "it does not end")
        if nth and (work / "signalled").exists():
            sent = float((work / "signalled").read_text())
        if sent is None or (number == signal.SIGKILL and code != -signal.SIGKILL):
            return None
        return Ended(stage, point, code, time.monotonic() - sent, (work / "err.txt").read_text())


def hears(pid: int, wait: Callable[..., int | None]) -> bool:
    """Waits until the process hears SIGTERM (and SIGINT, which Python itself hears at first): before, it has not begun.

    False where it ended first.
    """
    while wait(0.002) is None:
        with suppress(OSError):
            caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigCgt" in line)
            begun = b"forkserver" not in Path(f"/proc/{pid}/cmdline").read_bytes() or os.getsid(pid) == pid
            if begun and int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
                return True
    return False


def appears(work: Path, pattern: str, wait: Callable[..., int | None], at_most: float) -> None:
    """Waits until a file of this name is new, or another than it was."""

    def stamps() -> set[tuple[str, int]]:
        found = set()
        for part in ("runs", "submissions", "folds"):
            for path in (work / part).rglob(pattern):
                with suppress(FileNotFoundError):
                    found.add((str(path), path.stat().st_mtime_ns))
        return found

    before, end = stamps(), time.monotonic() + at_most
    while wait(0.002) is None and time.monotonic() < end and stamps() <= before:
        pass


def unlike_a_stop(mode: str, end: Ended) -> list[str]:
    """What a process that was asked to stop does otherwise than promised."""
    if "SIG" not in mode or (end.code == 0 and not end.said):
        return []
    lines = end.said.splitlines()
    good = end.code == Stopped.exit_code and len(lines) == 1 and lines[0].endswith("The same command continues.")
    return [] if good else [f"{end.point}: exit code {end.code}, error stream {end.said[-2000:]!r}"]
