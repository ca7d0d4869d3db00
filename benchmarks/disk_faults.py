"""Every call that changes a file failed in turn, disks that are full or read-only: what is told, what is left, what follows.

    make bench-disk                       # or: python -m benchmarks.disk_faults --errno ENOSPC EIO
    python -m benchmarks.disk_faults --commands folds tune --errno EACCES EDQUOT --every 5
    python -m benchmarks.disk_faults --parts calls --kinds write fsync rename
    python -m benchmarks.disk_faults --parts disks readonly

calls: each command of a small competition (folds, training, two submissions, a blend, a search) is run with its call 1, 2,
3, ... failing, until it runs through. A full disk stays full to the command's end, other faults pass. Then it must have
ended in order (a code of 4, no traceback), or the call did not matter; every file must be as before, as after, or whole (a
cache may be gone); and the same command must then end with the same files as the undisturbed run.
disks: the chain on real disks of a growing size, and under a growing limit of the size of a file. readonly: a folder that
can't be written. Needs Linux, and for these two the right to mount (root, or user namespaces).
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import multiprocessing
import os
import re
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.table import Table

from benchmarks import toy
from benchmarks.failing import FULL, KINDS, Disk
from competition import board
from competition.tuning import store, study

NEWNS, NEWUSER = 0x00020000, 0x10000000  # of clone(2)
READ_ONLY, REMOUNT, BIND = 1, 32, 4096  # of mount(2)
TEXTS = (".csv", ".yaml", ".txt")
SHOWN = 6  # files that are told
FOLDS = 2  # each more is more calls of the same kinds
PLACES = ("configs", "folds", "runs", "submissions")


@dataclass(frozen=True)
class Case:
    """A command and the folder before and after it."""

    words: tuple[str, ...]
    before: Path
    after: dict[str, str]
    calls: int
    kinds: Collection[str]


def cases(home: Path, commands: Sequence[tuple[str, ...]], kinds: Collection[str]) -> Iterator[Case]:
    """The chain, undisturbed, in a folder of its own."""
    folder = home / "golden"
    toy.make(folder, FOLDS)
    for n, words in enumerate(commands):
        before = home / f"before{n}"
        shutil.copytree(folder, before)
        calls = counted(folder, words, kinds)
        yield Case(words, before, toy.results(folder), calls, kinds)


def counted(folder: Path, words: tuple[str, ...], kinds: Collection[str]) -> int:
    """Runs a command and counts its calls."""
    note, disk = folder.parent / "count", Disk(folder, kinds=kinds)
    code, said = toy.command(words, partial(_begin, folder, disk), lambda: note.write_text(str(disk.count)))
    assert code == 0, said
    return int(note.read_text())


def _begin(folder: Path, disk: Disk | None = None) -> None:
    os.chdir(folder)
    if disk:
        disk.install()


def fail(case: Case, at: int, number: int, folder: Path) -> tuple[str, str]:
    """How the command ended whose call `at` failed, and what was wrong with that, empty where nothing was."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(case.before, folder)
    stays = number in FULL
    disk, note = Disk(folder, at, number, stays, case.kinds), folder.parent / "failed"
    code, said = toy.command(case.words, partial(_begin, folder, disk), lambda: note.write_text(disk.failed))
    if not note.read_text():
        return "through", ""
    wrong = judged(case, folder, code, said, left=stays)
    again, then = toy.command(case.words, partial(_begin, folder))
    if again != 0:
        wrong += f"; the same command then ends with {again}: {then[-300:]}"
    else:
        wrong += "; ".join(["", *toy.differing(case.after, toy.results(folder))[:SHOWN]])
    return ("in order" if code else "went on"), wrong and f"{note.read_text()}: {wrong}"


def judged(case: Case, folder: Path, code: int | None, said: str, left: bool) -> str:
    """What a failed command does wrong. left: temporary files are a fault of their own."""
    wrong = []
    if code not in (0, 4) or (code == 4 and not re.search(r"error (ENV|HPO|CKPT)-\w+:", said)):
        wrong.append(f"exit code {code}: {said[-1500:]}")
    if code == 0:  # the call did not matter
        wrong += toy.differing(case.after, toy.results(folder))[:SHOWN]
    wrong += toy.torn(folder)
    if wrong:  # what is torn can't be read
        return "; ".join(wrong)
    before, now = toy.results(case.before), toy.results(folder)
    texts = {
        name for name in before | case.after if name.endswith(TEXTS)
    }  # of trials that are dropped: by their records
    wrong += [f"{name} is neither old nor new" for name in texts & set(now)  # a text that is cut still reads
              if now[name] not in (before.get(name), case.after.get(name))]  # fmt: skip
    wrong += [f"{path.relative_to(folder)} is left" for path in folder.rglob("*.tmp") if left]
    wrong += [f"{name} is gone" for name in before
              if not (folder / name).exists() and (name in case.after) > (".cache" in name)]  # fmt: skip
    return "; ".join(wrong)


def calls(home: Path, options: argparse.Namespace) -> list[str]:
    table = Table("command", "fault", "calls", "tried", "in order", "went on", "wrong", title="a call that fails")
    wrong: list[str] = []
    made = [case for case in cases(home, toy.COMMANDS, options.kinds) if case.words[0] in options.commands]
    with multiprocessing.get_context("fork").Pool(options.jobs) as pool:
        for case in made:
            for name in options.errno:
                places = range(1, case.calls + 1, options.every)
                ended = pool.imap(partial(_one, home, case, getattr(errno, name)), places)
                tally = Counter()
                for at, (how, problem) in zip(places, ended, strict=True):
                    board.show(f"{' '.join(case.words)} {name}", at, case.calls, "calls")
                    tally[how] += 1
                    if problem:
                        wrong.append(f"{' '.join(case.words)}, {name} at call {at}: {problem}")
                        board.say(wrong[-1])
                        tally["wrong"] += 1
                table.add_row(" ".join(case.words), name, *map(str, (case.calls, len(places), tally["in order"],
                                                                    tally["went on"], tally["wrong"])))  # fmt: skip
    board.console.print(table)
    return wrong


def _one(home: Path, case: Case, number: int, at: int) -> tuple[str, str]:
    folder = Path(tempfile.mkdtemp(dir=home)) / "work"
    try:
        return fail(case, at, number, folder)
    finally:
        shutil.rmtree(folder.parent)


def mounted(kind: bytes, source: bytes, target: Path, flags: int, options: bytes = b"") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source, os.fsencode(target), kind, flags, options):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def alone() -> None:
    """A mount namespace of this process, and of its children."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEWNS | (NEWUSER if os.geteuid() else 0)):
        raise OSError(ctypes.get_errno(), "no right to mount")
    mounted(b"none", b"none", Path("/"), 0x44000)  # private, and all below: nothing of this is seen outside


def in_namespace(work: Callable[[], str]) -> str:
    """What `work` says, done in a child that may mount."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        try:
            alone()
            text = work()
        except OSError as e:
            text = f"not tried: {e}"
        os.write(into, text.encode()[-60000:])
        os._exit(0)
    os.close(into)
    with open(out, "rb") as f:
        text = f.read().decode()
    os.waitpid(child, 0)
    return text


def chain(folder: Path, before: Callable[[], object] = lambda: None) -> tuple[int | None, str]:
    """The commands up to the first that fails."""

    def begin() -> None:
        os.chdir(folder)
        before()

    code, said = 0, ""
    for words in toy.COMMANDS:
        code, said = toy.command(words, begin)
        if code != 0:
            break
    return code, said


def in_order(code: int | None, said: str) -> str:
    return "" if code == 4 and "error ENV-" in said else f"ended with {code}: {said[-1500:]}"


def on_a_small_disk(golden: Path, home: Path, size: int) -> str:
    """runs/ on a disk of `size` bytes, then on a large one. "through" where it was enough."""
    folder = home / "small"
    toy.make(folder, FOLDS)
    (folder / "runs").mkdir()
    mounted(b"tmpfs", b"none", folder / "runs", 0, f"size={size}".encode())
    code, said = chain(folder)
    if code == 0:
        return "through"
    wrong = in_order(code, said)
    wrong += "".join(f"; {p} is left" for p in (folder / "runs").rglob("*.tmp"))
    mounted(b"tmpfs", b"none", folder / "runs", REMOUNT, b"size=512m")
    return wrong + _then(golden, folder)


def _then(golden: Path, folder: Path) -> str:
    code, said = chain(folder)
    if code != 0:
        return f"; then {code}: {said[-1500:]}"
    return "".join(f"; {text}" for text in toy.differing(toy.results(golden), toy.results(folder)))


def under_a_limit(golden: Path, home: Path, size: int) -> str:
    """No file may grow beyond `size` bytes, then any may."""
    folder = home / "limited"
    toy.make(folder, FOLDS)
    code, said = chain(folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
    return "through" if code == 0 else in_order(code, said) + _then(golden, folder)


def read_only(golden: Path, home: Path, place: str, done: int) -> str:
    """A folder that can't be written, after the first `done` commands; then it can."""
    folder = home / "readonly"
    toy.make(folder, FOLDS)
    for words in toy.COMMANDS[:done]:
        toy.command(words, partial(_begin, folder))
    where = folder / place
    where.mkdir(exist_ok=True)
    before = toy.results(folder)
    mounted(b"none", os.fsencode(where), where, BIND)
    mounted(b"none", b"none", where, BIND | REMOUNT | READ_ONLY)
    code, said = chain(folder)
    if code == 0:  # nothing of it needed to be written
        return "through" + "".join(toy.differing(toy.results(golden), toy.results(folder)))
    wrong = in_order(code, said)
    wrong += "".join(f"; {name} is gone or changed" for name in before if name.startswith(place)
                     and toy.results(folder).get(name) != before[name])  # fmt: skip
    mounted(b"none", b"none", where, BIND | REMOUNT)
    return wrong + _then(golden, folder)


def disks(home: Path, options: argparse.Namespace) -> list[str]:
    golden = home / "whole"
    toy.make(golden, FOLDS)
    chain(golden)
    largest = max(p.stat().st_size for p in golden.rglob("*") if p.is_file())
    total = sum(p.stat().st_size for p in (golden / "runs").rglob("*") if p.is_file())
    sizes = [round(total * 1.6 * n / options.sizes / 4096) * 4096 for n in range(1, options.sizes + 1)]
    limits = [round(largest * 1.1 * n / options.sizes) for n in range(1, options.sizes + 1)]
    tried = {f"a disk of {size:,} bytes": partial(on_a_small_disk, golden, size=size) for size in sizes}
    tried |= {f"files of {size:,} bytes at most": partial(under_a_limit, golden, size=size) for size in limits}
    return told("full disks", home, tried)


def readonly(home: Path, options: argparse.Namespace) -> list[str]:
    golden = home / "sound"
    toy.make(golden, FOLDS)
    chain(golden)
    tried = {f"{place} read-only after {done} commands": partial(read_only, golden, place=place, done=done)
             for place in PLACES for done in (0, 1, 2, 5)}  # fmt: skip
    return told("read-only folders", home, tried)


def told(title: str, home: Path, tried: dict[str, Callable[[Path], str]]) -> list[str]:
    tally, wrong = Counter(), []
    for n, (name, work) in enumerate(tried.items(), 1):
        place = Path(tempfile.mkdtemp(dir=home))
        found = in_namespace(partial(work, home=place))
        board.show(title, n, len(tried), name)
        tally["went through" if found == "through" else "wrong" if found else "in order, then the same files"] += 1
        if found not in ("", "through"):
            wrong.append(f"{name}: {found}")
            board.say(wrong[-1])
    board.console.print(f"{title}: {len(tried)} tried; " + ", ".join(f"{n} {how}" for how, n in tally.items()))
    return wrong


PARTS = {"calls": calls, "disks": disks, "readonly": readonly}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", default=[*PARTS], choices=[*PARTS])
    parser.add_argument("--errno", nargs="+", default=["ENOSPC", "EIO"], choices=["ENOSPC", "EIO", "EACCES", "EDQUOT"])
    words = sorted({words[0] for words in toy.COMMANDS})
    parser.add_argument("--commands", nargs="+", default=words, choices=words)
    parser.add_argument("--kinds", nargs="+", default=[*KINDS], choices=[*KINDS], help="of calls (SQL is a write)")
    parser.add_argument("--every", type=int, default=1, help="only every so many-th call")
    parser.add_argument("--sizes", type=int, default=20, help="of disks, and of limits")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    options = parser.parse_args()
    began, wrong = time.monotonic(), []
    toy.warm()
    store.HEARTBEAT, store.GRACE, study.POLL = 1, 3, 0.1  # a trial that the full disk cut short is missed soon
    with tempfile.TemporaryDirectory() as home, board.board():
        for part in options.parts:
            (place := Path(home) / part).mkdir()
            wrong += PARTS[part](place, options)
    board.console.print(f"{len(wrong)} wrong, {time.monotonic() - began:.0f} s")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
