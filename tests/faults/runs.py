"""Rows 85 to 97: checkpoints, disks, signals, memory, networks."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from competition import artifacts, cli, locks, runs, stages
from faults.case import Case, Make
from faults.making import (
    BASE,
    FIT,
    SUBMIT,
    absent,
    afresh,
    after,
    cells,
    flip,
    photos,
    put,
    spoilt,
    submitted,
    table,
    text,
)

MEND = "and give the same command again"


def mended(before: Callable[[Make], None], delete: str) -> Callable[[Make], None]:
    """Does what the message says is to be done."""

    def build(make: Make) -> None:
        before(make)
        path = Path(delete)
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return build


def damaged(name: str, path: str, change: Callable[[bytes], bytes], delete: str) -> list[Case]:
    """A file of a finished run is damaged: told, with what to delete; that done, the same command goes on."""
    harm = spoilt(f"runs/toy/base/{path}", change)
    if delete == "fold0":  # weights are read when they predict, and what folds say when the score is made anew
        build = after(FIT, harm)
    elif delete == "fold0/predicted.json":
        build = after(SUBMIT, lambda: (afresh(), harm(), Path("runs/toy/base/score.json").unlink()))
    else:
        build = after(SUBMIT, lambda: (afresh(), harm()))
    where, found = f"runs/toy/base/{path}", f"delete runs/toy/base/{delete} {MEND}".replace("base/ ", "base ")
    return [
        Case(86, name, build, SUBMIT, "error", "CKPT-CORRUPT", 4, (where, found)),
        Case(86, f"{name}, mended", mended(build, f"runs/toy/base/{delete}"), SUBMIT, "handled", holds=submitted()),
    ]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def empty(content: bytes) -> bytes:
    return b""


def zeros(content: bytes) -> bytes:
    return bytes(len(content))


def checkpoint(write_it: Callable[[Path], object]) -> Callable[[Make], None]:
    """A run whose second fold has begun, as far as that file says."""

    def build(make: Make) -> None:
        photos()(make)
        assert cli.main((*FIT, "--fold", "0")) == 0
        path = Path("runs/toy/base/fold1/last.ckpt")
        path.parent.mkdir()
        write_it(path)

    return build


class Evil:
    def __reduce__(self):
        return os.system, ("touch hacked",)


def sealed(write_it: Callable) -> Callable[[Path], None]:
    return lambda path: artifacts.write_sealed(path, write_it)


def another_origin(file) -> None:
    import torch

    torch.save({"origin": {"run": "toy/base", "fold": "fold0", "data": "a", "folds": "b"}}, file)


def held(make: Make) -> None:
    """Another process has the run."""
    table()(make)
    folder = Path("runs/toy/base")
    folder.mkdir(parents=True)
    ready, release = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with locks.locked(folder):
            os.write(ready[1], b"1")
            os.close(release[1])
            os.read(release[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    os.environ["HELD"] = str(child)


def let_go() -> None:
    child = int(os.environ.pop("HELD"))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with locks.locked(Path("runs/toy/base")):
        pass


def limited() -> None:
    """Trains while no file may grow beyond 20 kB: what is larger fails as on a full disk."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        stages.train(runs.resolve(BASE))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def few_rows() -> None:
    put(cells()[:3].assign(label=["dark", "dark", "light"]))


def weights_file(name: str, content: Callable[[Path], object]) -> Callable[[Make], None]:
    return photos(lambda: content(Path(name)), run=f"epochs=1 pretrained={name}")


def other_tensors(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(3)}, path)


CASES = [
    Case(85, "a write that was killed", after(FIT, text("runs/toy/base/fold0/.fit.json.99.tmp", "{")), SUBMIT, "handled",
         holds=submitted(), slow=True),
    *damaged("a model with a flipped bit", "fold0/model0-0.skops", flip, "fold0"),
    *damaged("a model cut", "fold0/model0-0.skops", cut, "fold0"),
    *damaged("a record of zeros", "fold0/fit.json", zeros, "fold0"),
    *damaged("predictions of a fold, empty", "fold0/oof.parquet", empty, "fold0/predicted.json"),
    *damaged("predictions of a fold, cut", "fold0/test.parquet", cut, "fold0/predicted.json"),
    *damaged("a record of predictions, cut", "fold0/predicted.json", cut, "fold0/predicted.json"),
    *damaged("test predictions of a run, a flipped bit", "test.parquet",
             lambda b: b[:70] + bytes([b[70] ^ 1]) + b[71:], "score.json"),
    *damaged("a score, cut", "score.json", cut, "score.json"),
    *damaged("a run's record, cut", "run.json", cut, ""),
    Case(86, "a checkpoint with a flipped bit and none before it",
         checkpoint(lambda path: (sealed(lambda f: f.write(b"x" * 99))(path), spoilt(str(path), flip)())),
         (*FIT, "--fold", "1"), "error", "CKPT-CORRUPT", 4, ("last.ckpt", "digest", f"delete runs/toy/base/fold1 {MEND}"),
         slow=True),
    Case(87, "a checkpoint of another fold", checkpoint(sealed(another_origin)), (*FIT, "--fold", "1"), "error",
         "CKPT-MISMATCH", 4, ("fold: fold0 there, fold1 now",)),
    Case(87, "a checkpoint that would run code", checkpoint(sealed(lambda f: pickle.dump(Evil(), f))), (*FIT, "--fold", "1"),
         "error", "SEC-PICKLE", 5, ("nothing of it was run",), absent("hacked"), slow=True),
    Case(87, "weights of another network", weights_file("w.safetensors", other_tensors), FIT, "error", "CKPT-MISMATCH", 2,
         ("15 of 15 tensors",)),
    Case(88, "no file may grow beyond 20 kB", photos(), limited, "error", "ENV-DISK", 4, ("File too large",),
         absent("runs/toy/base/fold0/fit.json")),
    Case(91, "a loss that is no number", photos(run="epochs=4 lr=1e30 clip=0 ema=0 opt=sgd"), (*FIT, "--fold", "0"),
         "error", "RUN-NAN", 4, ("learning rate", "a lower `lr`"), absent("runs/toy/base/fold0/fit.json")),
    Case(94, "one row to train on", photos(few_rows), (*FIT, "--fold", "0"), "error", "CFG-BATCH", 2, ("fold0",)),
    Case(94, "a batch of one", photos(run="batch=1"), FIT, "error", "CFG-VALUE", 2, ("key batch",)),
    Case(94, "a last batch of one, mixed", photos(run="epochs=1 batch=29 mixup=0.4"), (*FIT, "--fold", "0"), "handled",
         holds=lambda: artifacts.read_json(Path("runs/toy/base/fold0/fit.json"))["steps"] == 1 or 1 / 0),
    Case(95, "two commands on one run", held, FIT, "error", "RUN-LOCKED", 4, ("process", "a dead process holds no lock"),
         let_go),
    Case(96, "a backbone that there isn't", photos(run="backbone=resnet5O"), FIT, "error", "MODEL-NAME", 2, ("resnet50",)),
    Case(96, "weights that are not there", photos(run="pretrained=gone.safetensors"), FIT, "error", "MODEL-WEIGHTS", 2,
         ("no file gone.safetensors",)),
    Case(96, "weights that can't be read", weights_file("w.safetensors", lambda path: path.write_bytes(b"<html>" * 9)), FIT,
         "error", "MODEL-WEIGHTS", 2, ("w.safetensors",)),
    Case(97, "a size that the network can't take", photos(run="backbone=vit_tiny_patch16_224 size=33"), FIT, "error",
         "MODEL-INPUT", 2, ("size: 32 or 48",)),
]  # fmt: skip

UNTRIED: dict[int, str] = {
    89: "signals in every phase: tests/test_engine.py (Ctrl-C), tests/test_pipeline.py (SIGTERM, SIGHUP, SIGKILL)",
    90: "time is up: tests/test_portfolio.py and tests/test_tune.py; a plain run refuses TIME= and says why",
    92: "out of memory: tests/test_image.py raises torch's own error at a step, which no small machine can be made to",
    93: "a killed worker: tests/test_engine.py kills one at work and one that waits",
}
