"""`make bench-stages [RUN=leaves/baseline]`: where a run's time goes, by stage, from the data to the checked CSV.

The whole chain runs in this process with a stopwatch around the functions that do the work; a stage's time is less what
is told of the stages within it. On a GPU its queue is emptied at each edge, so that work counts where it was asked for.
Without RUN: crops of two photos as JPEG, two classes, two folds, for each backbone and size. With RUN: fold tables, data
and settings of that run, in a folder of its own, its cache made anew.

    python -m benchmarks.stages [leaves/baseline] [--set "epochs=1"] [--backbones resnet18] [--sizes 64 128]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from competition import artifacts, config, predict, runs, stages, train

BATCH, TRAINING, VIEW = 32, "training", "a view"
IN_A_STEP = ("feed", "augmentation", "mixing", "to the device", "normalise", "forward and loss", "backward", "clip",
             "optimizer", "EMA", "rate and sums of losses", "line of history", "the rest of the loop")  # fmt: skip


class Stopwatch:
    """seconds, calls: by the path of stages that were open, outermost first; a stage's own seconds, without those within."""

    def __init__(self, wait: Callable[[], None], clock: Callable[[], float]):
        self.wait, self.clock = wait, clock
        self.seconds, self.calls = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
        self.open: tuple[str, ...] = ()
        self.since = clock()

    def _turn(self, path: tuple[str, ...]) -> None:
        self.wait()
        now = self.clock()
        self.seconds[self.open] += now - self.since
        self.open, self.since = path, now

    @contextlib.contextmanager
    def stage(self, name: str) -> Generator[None]:
        outer = self.open
        self._turn((*outer, name))
        self.calls[self.open] += 1
        try:
            yield
        finally:
            self._turn(outer)

    def around(self, name: str, function: Callable) -> Callable:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(name):
                return function(*args, **kwargs)

        return timed

    def of(self, name: str) -> float:
        """Seconds of the stage wherever it stands, and of all within it."""
        return sum(seconds for path, seconds in self.seconds.items() if name in path)


def watched(watch: Stopwatch) -> Generator[None]:
    """Puts the stopwatch around the functions that do the work, for as long as the block runs."""
    import torch

    from competition import augment, cache, loop, meter
    from competition.detection import feed as detection_feed
    from competition.detection import fitting as detection_fitting
    from competition.detection import predicting as detection_predicting
    from competition.image import feed, fitting, predicting

    def job(made: Callable) -> Callable:
        """The task's job, its loss, its steps and its validation timed."""

        def timed(*args: Any) -> loop.Job:
            with watch.stage("network, weights, table of rows"):
                one = made(*args)
            one.optimizer.step = watch.around("optimizer", one.optimizer.step)
            validate = one.validate and watch.around("validation", one.validate)
            return replace(one, loss=watch.around("forward and loss", one.loss), validate=validate)

        return timed

    named: list[tuple[Any, str, str]] = [
        (train, "fill_caches", "cache: pictures decoded"), (train, "open_fold", "data and fold table"),
        (runs, "look", "data and fold table"), (fitting, "draw", "first batch drawn"),
        (detection_fitting, "draw", "first batch drawn"), (loop, "train", TRAINING), (loop, "keep", "weights written"),
        (loop, "save", "checkpoint"), (loop, "measure_norms", "batch norms measured"),
        *((kind, part, "feed") for kind in (feed.Feed, detection_feed.Feed) for part in ("make", "begin", "finish")),
        (feed.ImageBatch, "to", "to the device"),
        (detection_feed.DetectionBatch, "to", "to the device"), (feed.Mixing, "of", "mixing"),
        *((kind, "__call__", "augmentation") for kind in callable_classes(augment)), (loop, "begin", "averages begun"),
        (fitting, "normalise", "normalise"), (detection_fitting, "normalise", "normalise"),
        (torch.Tensor, "backward", "backward"), (loop, "dispatch_clip_grad", "clip"),
        (meter.Meter, "add", "rate and sums of losses"),
        (meter.Meter, "show", "line of history"), (train, "History", "line of history"),
        (predicting, "_network", "network loaded"), (detection_predicting, "_eye", "network loaded"),
        (predict, "write_table", "predictions written"), (predict, "reduce", "decided and scored"),
        (cache, "load", "cache opened"),
    ]  # fmt: skip
    before = [
        (owner, name, vars(owner)[name]) for owner, name, _ in named if name in vars(owner)
    ]  # a feed may lack parts
    labels = {(id(owner), name): label for owner, name, label in named}
    for owner, name, function in before:
        setattr(owner, name, watch.around(labels[id(owner), name], function))
    average = loop.following
    loop.following = lambda *words: watch.around("EMA", average(*words))
    tasks = [(module, "job", module.job) for module in (fitting, detection_fitting)]
    views = [(module, "predict", module.predict) for module in (predicting, detection_predicting)]
    for owner, name, function in tasks:
        setattr(owner, name, job(function))
    for owner, name, function in views:
        setattr(owner, name, watch.around(VIEW, function))
    try:
        yield
    finally:
        for owner, name, function in (*before, *tasks, *views, (loop, "following", average)):
            setattr(owner, name, function)


def callable_classes(module: Any) -> list[type]:
    return [
        c
        for c in vars(module).values()
        if isinstance(c, type) and c.__module__ == module.__name__ and "__call__" in vars(c)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default="")
    parser.add_argument("--set", default="", help="keys of the run to override")
    parser.add_argument("--backbones", nargs="+", default=["mobilenetv4_conv_small", "resnet18"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--pictures", type=int, default=384, help="a third of them are test")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: seconds of this process, on a busy machine"
    )
    parser.add_argument("--threads", type=int, default=1, help="of a CPU; folds are trained by one each")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        home = Path.cwd()
        if options.run:
            lay_out(options.run, home, Path(folder))
        else:
            write_competition(Path(folder), options.pictures)
        os.chdir(folder)
        try:
            if options.run:
                measure(options.run, options.set, options)
            for backbone in [] if options.run else options.backbones:
                for size in options.sizes:
                    keys = f"backbone={backbone} size={size} epochs={options.epochs} {options.set}"
                    measure("bench/run", keys, options, variant=f"bench/{backbone}-{size}")
        finally:
            os.chdir(home)
    for name, seconds in start_up(options.clock).items():
        print(f"start-up, {name}: {seconds:.2f} s of the {options.clock} clock", flush=True)


def start_up(clock: str) -> dict[str, float]:
    """Seconds of fresh processes, the faster of two."""
    asked = {
        "--help": [sys.executable, "-m", "competition", "--help"],
        "what a fold imports": [sys.executable, "-c", "import competition.stages, competition.image.fitting"],
    }

    def seconds(words: Sequence[str]) -> float:
        began, before = time.perf_counter(), os.times()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        spent = after.children_user + after.children_system - before.children_user - before.children_system
        return spent if clock == "cpu" else time.perf_counter() - began

    return {name: min(seconds(words) for _ in range(2)) for name, words in asked.items()}


def measure(name: str, overrides: str, options: argparse.Namespace, variant: str = "") -> None:
    """Runs the chain to its CSV and prints where its time went."""
    import torch

    from competition import devices

    run = runs.resolve(name, f"{overrides} jobs=1 workers=0".strip(), variant)
    device = devices.device_of(run.task.device)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    watch = Stopwatch(wait, time.process_time if options.clock == "cpu" else time.perf_counter)
    with contextlib.contextmanager(watched)(watch):
        stages.submission(run)
        watch._turn(())
    where = (
        torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()}, {options.threads} threads"
    )
    made = f"{run.task.backbone}, {run.task.size} px, batch {run.task.batch}"
    title = f"{made}; {options.clock} clock; {where}, torch {torch.__version__}"
    at = runs.look(run)
    show(watch, at, title)


def show(watch: Stopwatch, at: runs.Opened, title: str) -> None:
    """Two tables: of the whole run, and of a training step; then what a view costs beside training."""
    whole = sum(watch.seconds.values())
    rows = Counter[str]()
    for path, seconds in watch.seconds.items():
        rows[top(path)] += seconds
    table = Table("stage of the run", "s", "share", title=title)
    for name, seconds in rows.most_common():
        table.add_row(name, f"{seconds:.2f}", f"{seconds / whole:.1%}")
    table.add_row("all", f"{whole:.2f}", "")
    print_wide(table)
    step, steps = Counter[str](), 0
    for path, seconds in watch.seconds.items():
        if top(path) == "training: its steps":
            step[path[-1] if path[-1] != TRAINING else "the rest of the loop"] += seconds
            steps += watch.calls[path] if path[-1] == "optimizer" else 0
    total = sum(step.values())
    table = Table("stage of a training step", "ms", "share", title=f"a step, mean of {steps}")
    for name in (*IN_A_STEP, *sorted(step.keys() - set(IN_A_STEP))):
        if name in step:
            table.add_row(name, f"{1e3 * step[name] / steps:.2f}", f"{step[name] / total:.1%}")
    table.add_row("all", f"{1e3 * total / steps:.2f}", "")
    print_wide(table)
    bare = sum(step[name] for name in ("forward and loss", "backward", "optimizer", "normalise"))
    train_rows = steps * at.run.task.batch
    seen = sum(sum(map(len, (at.table.ids(s)[1], at.data.test.ids))) for s in at.splits) * len(at.run.task.views)
    view = watch.of(VIEW) - watch.of("network loaded")
    print(f"normalise, forward, backward and optimizer: {bare / total:.3f} of a step; "
          f"a picture in one view {1e3 * view / seen:.2f} ms, in training {1e3 * total / train_rows:.2f} ms: "
          f"{view / seen / (total / train_rows):.2f}\n", flush=True)  # fmt: skip


def top(path: tuple[str, ...]) -> str:
    """The stage of the run that a path counts to."""
    if not path:
        return "the rest: data checks, fold table, CSV, ledger"
    if TRAINING not in path:
        return next((name for name in path if name in (VIEW,)), path[0]) if path[-1] != "network loaded" else path[-1]
    inner = path[path.index(TRAINING) + 1 :]
    apart = ("validation", "checkpoint", "batch norms measured", "averages begun")
    return next((f"training: {name}" for name in inner if name in apart), "training: its steps")


def print_wide(table: Table) -> None:
    Console(width=100).print(table)


def write_competition(folder: Path, pictures: int) -> None:
    """configs/bench, and its data: crops of two photos, whose photo is to be told."""
    import yaml

    from benchmarks.loop import write_pictures

    data = folder / "data"
    (data / "images").mkdir(parents=True)
    rows = write_pictures(data / "images", pictures)
    table = rows.table.assign(label=[("flower", "temple")[n % 2] for n in range(len(rows))]).reset_index()
    cut = len(table) * 2 // 3
    table[:cut].to_csv(data / "train.csv", index=False)
    table[cut:][["id"]].to_csv(data / "test.csv", index=False)
    table[cut:].assign(label="flower").to_csv(data / "sample_submission.csv", index=False)
    told = {"data": "data", "id": "id", "target": "label", "kind": "multiclass", "metric": "accuracy",
            "image": "images/{id}.jpg", "folds": {"n": 2}, "tracking": "none"}  # fmt: skip
    run = {"task": "image", "pretrained": False, "batch": BATCH, "warmup": 0.5, "augment": "medium", "mixup": 0.2,
           "cutmix": 1.0, "mix_prob": 1.0, "views": ["plain", "hflip"]}  # fmt: skip
    home = folder / "configs" / "bench"
    home.mkdir(parents=True)
    for name, values in (("competition", told), ("run", run)):
        (home / f"{name}.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def lay_out(name: str, home: Path, folder: Path) -> None:
    """The run's configuration and fold table in `folder`, and a link to its data."""
    competition = name.partition("/")[0]
    shutil.copytree(home / "configs" / competition, folder / "configs" / competition)
    table = artifacts.fold_table(competition)
    if (home / table).exists():
        (folder / table).parent.mkdir()
        shutil.copyfile(home / table, folder / table)
    data = Path(config.load_competition(competition).data)
    if not data.is_absolute():
        (folder / data).parent.mkdir(parents=True, exist_ok=True)
        (folder / data).symlink_to((home / data).resolve())


if __name__ == "__main__":
    main()
