"""Files of a run and of its caches, damaged in every way: what notices, and whether anything damaged is used in silence.

    make bench-damage                     # or: python -m benchmarks.damage --each 200 --seed 0

Each case takes a whole folder, damages one file (cut, emptied, a zeroed block, a flipped bit, the file of another fold) and
gives the command that reads it. It counts as noticed where the command says so by a code, or by the mend that it makes;
as harmless where nothing is said and the results are those of the undamaged folder; else the damage was used in silence.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rich.table import Table

from benchmarks import toy
from competition import board
from competition.task import Fold

Damage = Callable[[bytes, np.random.Generator], bytes]
TOLD = re.compile(r"error [A-Z]+-[A-Z]+:|CKPT-\w+|decoded anew")
RESULTS = ("runs/toy/nets/oof.parquet", "runs/toy/nets/test.parquet", "submissions/toy/nets.csv",
           "runs/toy/nets/fold0/model.safetensors", "runs/toy/nets/fold1/model.safetensors")  # fmt: skip
NETS = "runs/toy/nets/"
CACHE = "runs/.cache/toy/squash-37/"
# what is damaged, of which folder, and what is deleted first, so that the command reads it
FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    NETS + "fold0/last.ckpt": ("stopped", ()),
    NETS + "fold0/previous.ckpt": ("stopped", (NETS + "fold0/last.ckpt",)),
    NETS + "fold0/history.jsonl": ("stopped", ()),
    NETS + "fold0/model.safetensors": ("trained", ()),
    NETS + "fold0/fit.json": ("trained", ()),
    NETS + "fold0/oof.parquet": ("whole", (NETS + "score.json",)),
    NETS + "fold0/test.parquet": ("whole", (NETS + "score.json",)),
    NETS + "fold0/predicted.json": ("whole", ()),
    NETS + "test.parquet": ("whole", ()),
    NETS + "score.json": ("whole", ()),
    NETS + "run.json": ("whole", ()),
    "folds/toy.csv": ("whole", ()),
    CACHE + "pictures.npy": ("trained", ()),
    CACHE + "index.parquet": ("trained", ()),
    CACHE + "built.json": ("trained", ()),
}


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(1, len(content)))]


def empty(content: bytes, rng: np.random.Generator) -> bytes:
    return b""


def zeroed(content: bytes, rng: np.random.Generator) -> bytes:
    """A block of the disk, or the half of a smaller file; one that is not zero as it is."""
    size = min(512, len(content) // 2)
    places = iter(lambda: int(rng.integers(len(content) - size + 1)), None)
    at = next(at for at in places if any(content[at : at + size]))
    return content[:at] + bytes(size) + content[at + size :]


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content)))
    return content[:at] + bytes([content[at] ^ 1 << int(rng.integers(8))]) + content[at + 1 :]


def swapped(folder: Path, name: str) -> dict[str, Damage]:
    """The same file of another fold, where there is one."""
    other = folder / name.replace("fold0", "fold1")
    return {"of another fold": lambda *_: other.read_bytes()} if "fold0" in name and other.exists() else {}


WAYS: dict[str, Damage] = {"cut": cut, "empty": empty, "zeroed": zeroed, "flipped": flipped}


def folders(home: Path) -> dict[str, Path]:
    """The chain of one image run at three points: stopped within fold 0 with two checkpoints, trained, whole."""
    folder = home / "work"
    toy.make(folder)
    begin = partial(os.chdir, folder)
    found = {}
    for words in (("folds", "toy"), ("train", "toy/nets", "--fold", "0")):
        code, said = toy.command(words, begin if words[0] == "folds" else partial(_stopping, folder))
        assert code in (0, 75), said
    for name, words in (("stopped", ()), ("trained", ("train", "toy/nets")), ("whole", ("submission", "toy/nets"))):
        if words:
            code, said = toy.command(words, begin)
            assert code == 0, said
        found[name] = home / name
        shutil.copytree(folder, found[name])
    return found


def _stopping(folder: Path) -> None:
    """The command of this child saves after each step, and is told to stop when it has saved twice."""
    from competition import checkpoint, engine, loop, train

    os.chdir(folder)
    checkpoint.SAVE_SHARE = 1e9
    saves: list[int] = []

    def counted(state: checkpoint.State, fold: Fold) -> None:
        checkpoint.save(state, fold)
        saves.append(state.step)

    loop.save = counted
    train.stopping = lambda: len(saves) > 1 or engine.stopping()


def case(home: Path, whole: dict[str, Path], name: str, change: Damage, rng: np.random.Generator) -> str:
    """noticed, harmless, or what was used in silence."""
    kind, without = FILES[name]
    folder = home / "work"
    shutil.rmtree(folder)
    shutil.copytree(whole[kind], folder)
    for path in without:
        (folder / path).unlink()
    content = (folder / name).read_bytes()
    damaged = change(content, rng)
    if damaged == content:
        return "harmless"
    (folder / name).write_bytes(damaged)
    code, said = toy.command(("submission", "toy/nets"), partial(os.chdir, folder))
    if code is None or code not in (0, 3, 4):
        return f"exit code {code}: {said[-1200:]}"
    if TOLD.search(said):
        return "noticed"
    wrong = toy.differing(*({path: found[path] for path in RESULTS if path in found}
                            for found in (toy.results(whole["whole"]), toy.results(folder))))  # fmt: skip
    return f"used in silence, exit code {code}: {wrong}" if wrong or code else "harmless"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=16, help="cases of a file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--files", default="", help="only those whose path holds this")
    options = parser.parse_args()
    rng, began, wrong = np.random.default_rng(options.seed), time.monotonic(), 0
    toy.warm()
    table = Table("file", "tried", "noticed", "harmless", "used in silence", title="damaged files")
    with tempfile.TemporaryDirectory() as place, board.board():
        home = Path(place)
        whole = folders(home)
        for name in (name for name in FILES if options.files in name):
            ways = WAYS | swapped(whole[FILES[name][0]], name)
            tally: Counter[str] = Counter()
            for n in range(options.each):
                way = [*ways][n % len(ways)]
                found = case(home, whole, name, ways[way], rng)
                if found not in ("noticed", "harmless"):
                    board.say(f"{name}, {way}: {found}")
                    found, wrong = "silent", wrong + 1
                tally[found] += 1
                board.show(name, n + 1, options.each, way)
            table.add_row(name, *map(str, (tally.total(), tally["noticed"], tally["harmless"], tally["silent"])))
    board.console.print(table)
    board.console.print(f"{wrong} used in silence or ended out of order, {time.monotonic() - began:.0f} s")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
