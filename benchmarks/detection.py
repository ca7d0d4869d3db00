"""`make bench-detect RUN=bccd/baseline`: how much of a detector's bare training step the whole loop reaches, mosaic on.

Two loops over the same pictures, detector and optimizer, interleaved round by round, compared by ratio:
  bare   normalise + forward + losses + backward + AdamW on one preloaded batch of training pictures with their boxes
  ours   loop.train: cached pictures, jitter, mosaic, flips, colours, normalisation, clipping, EMA, schedule, history
The step's cost depends on the number of boxes, so both have mosaics (of every picture, unless --mosaic says otherwise).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from competition import artifacts, backbone, board, config, devices, folds, loop, scenes, train
from competition.data import load
from competition.detection import fitting, model
from competition.detection.feed import DetectionBatch
from competition.detection.task import DetectionTask
from competition.pixels import normalise, pixel_rows
from competition.task import Fold


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", default=scenes.RUN)
    parser.add_argument("--steps", type=int, default=12, help="optimizer steps of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mosaic", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1, help="of a CPU; folds are trained by one each")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.run == scenes.RUN:
        scenes.write_scenes(scenes.DATA)
    run, data = config.load_run(options.run), load(options.run.partition("/")[0])
    task = run.task.model_copy(update={"mosaic": options.mosaic, "epochs": 1, "mix_off": 0, "workers": None})
    with board.board(), tempfile.TemporaryDirectory() as folder:
        if not artifacts.fold_table(data.name).exists():
            folds.make(data)
        fitting.prepare(task, data.problem, train.everything(data), lambda *_: None)
        fold = train.open_fold(run, folds.load(data).splits[0])
        some = fold.train.take(fold.train.ids[: options.steps * task.batch])
        fold = replace(fold, train=some, valid=None, folder=Path(folder), log=nothing, progress=nothing, stop=nothing)
        measure(task, fold, options)


def measure(task: DetectionTask, fold: Fold, options: argparse.Namespace) -> None:
    device = devices.device_of(task.device)
    height, width = artifacts.read_json(fitting.canvas_file(task, fold.problem))
    feed, fitted = fitting.make_feed(task, fold, (height, width), device)
    rows = pixel_rows(*backbone.data_config(model.create(task, 1, (height, width), fitted, {}, "")), width, device)

    def mean_loss(run: torch.nn.Module, batch: DetectionBatch) -> torch.Tensor:
        return run(normalise(batch.images, *rows), batch.boxes, batch.labels)

    def network() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        made = model.create(task, len(fold.problem.classes), (height, width), fitted, {}, "")
        made = made.to(device).to(memory_format=torch.channels_last).train()
        return made, model.optimizer(made, task)

    def bare() -> float:
        run, optimizer = network()
        dtype = devices.amp_dtype(task.amp, device)
        batch = next(feed.batches(0)).to(device)
        began = now(device)
        for _ in range(feed.steps):
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                loss = mean_loss(run, batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return feed.steps * feed.batch / (now(device) - began)

    def ours() -> float:
        run, optimizer = network()
        job = loop.Job(run, optimizer, feed.steps, feed.batches, mean_loss, None)
        began = now(device)
        loop.train(job, task.model_copy(update={"compile": "off"}), fold, device)
        rate = feed.steps * feed.batch / (now(device) - began)
        artifacts.drop_checkpoints(fold.folder)
        return rate

    ratios = []
    for number in range(1 + options.rounds):
        rates = bare(), ours()
        ratios.append(rates[1] / rates[0])
        board.say(f"round {number}: bare {rates[0]:.1f}, ours {rates[1]:.1f} img/s" + " (warm-up)" * (number == 0))
    kept = ratios[1:]
    board.say(f"{task.detector} on {task.backbone}, {width} x {height}, batch {feed.batch}, mosaic {task.mosaic:g}: "
              f"ours / bare {median(kept):.3f} ({min(kept):.3f} to {max(kept):.3f})")  # fmt: skip


def nothing(*_: object) -> None:
    """Nobody watches or stops a benchmark."""


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
