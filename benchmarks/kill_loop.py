"""Kills and signals, and whether the same command then ends with the same files: `python -m benchmarks.kill_loop`.

Every round begins with a copy of a small real competition as it is before one command, ends that command one to four times
(SIGKILL to its process group, SIGTERM or SIGINT), looks at every file, gives the command once more and compares all results
with those of an uninterrupted one. Chain: `python -m competition <verb>` as users give it, ended at random moments or as
soon as a file appears. Forked: in a fork of a server that has imported all, at random moments or at the named points of
`kill_points.py`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.kill_rounds import ENVIRONMENT, MODES, Ended, Loop
from competition import board
from competition.engine import cores


def rounds(loop: Loop, mode: str, asked: int, at_once: int) -> None:
    """Rounds of a mode until there are as many ends as asked for."""
    numbers, lock, done = itertools.count(), threading.Lock(), 0

    def work() -> None:
        nonlocal done
        while done < asked:
            with lock:
                number = next(numbers)
            ends = loop.round(mode, number)
            with lock:
                loop.ends += ends
                done += len(ends)
            failed = f", {len(loop.failures)} rounds failed" * bool(loop.failures)
            board.show(f"kill loop, {mode}", min(done, asked), asked, f"round {number}{failed}")

    with ThreadPoolExecutor(at_once) as pool:
        for future in [pool.submit(work) for _ in range(at_once)]:
            future.result()


def table(ends: list[Ended], key: Callable[[Ended], str]) -> Iterator[str]:
    yield "| | ends | resumed | equal | torn files |"
    yield "|---|---|---|---|---|"
    for name in sorted({key(end) for end in ends}):
        some = [end for end in ends if key(end) == name]
        yield f"| {name} | {len(some)} | {sum(e.resumed for e in some)} | {sum(e.equal for e in some)} | " \
              f"{sum(len(e.torn) for e in some)} |"  # fmt: skip


def told(loop: Loop, mode: str, seed: int) -> None:
    ends = [end for end in loop.ends if end.round.startswith(mode.replace(" ", "-") + ":")]
    for key in (lambda end: end.stage, lambda end: end.point.removeprefix("before ").removeprefix("after ")):
        print(f"\n{mode}", *table(ends, key), sep="\n")
    equal, torn = sum(end.equal for end in ends), sum(len(end.torn) for end in ends)
    print(
        f"\n{mode}: {len(ends)} ends, {sum(e.resumed for e in ends)} resumed, {equal} equal, {torn} files torn, seed {seed}"
    )
    if "SIG" in mode:
        seconds, codes = [end.seconds for end in ends], Counter(end.code for end in ends)
        print(f"from the signal to the exit: median {np.median(seconds):.2f} s, p99 {np.quantile(seconds, 0.99):.2f} s, "
              f"longest {max(seconds):.2f} s; exit codes {dict(codes)}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=Path("runs/.kill"), help="emptied, and left behind where a round failed"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--forked", type=int, default=400, help="kills of forks")
    parser.add_argument("--chain", type=int, default=100, help="kills of commands as users give them")
    parser.add_argument(
        "--signals", type=int, default=100, help="of each of SIGTERM and SIGINT, a fifth to whole commands"
    )
    parser.add_argument("--at-once", type=int, default=cores(), help="rounds at the same time")
    parser.add_argument("--repeat", default="", help="one round that failed, forked:17")
    options = parser.parse_args()
    shutil.rmtree(options.folder, ignore_errors=True)
    os.environ |= ENVIRONMENT
    loop = Loop(options.folder.absolute(), options.seed)
    mode, _, number = options.repeat.replace("-", " ").partition(":")
    whole = options.signals // 5
    asked = dict(zip(MODES, (options.forked, options.chain, *(2 * (options.signals - whole, whole))), strict=True))
    modes = [mode] if mode else [name for name in MODES if asked[name]]
    with board.board():
        loop.prepare(["forked", *["chain"] * any("chain" in name for name in modes)])
        for name in modes:
            if number:
                loop.ends = loop.round(name, int(number))
            else:
                rounds(loop, name, asked[name], options.at_once)
    for mode in modes:
        told(loop, mode, options.seed)
    sys.exit(bool(loop.failures))


if __name__ == "__main__":
    main()
