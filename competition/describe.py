"""A trained network from within: `make describe RUN=leaves/baseline` -> describe.json, features.png, maps.parquet.

Its layers and its speed on this machine; the channels of its stages for one picture; and where each fold's network looks in
those of its held-out rows that the run gets most wrong, for the page's gallery. What stands there is made anew only where
weights, rows or machine are others.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd
from rich.table import Table

from competition import artifacts, board, contact, mistakes, versions
from competition.config import Run, task_name
from competition.engine import Engine, cores
from competition.errors import ConfigFault, Finding, Stopped
from competition.predict import intact
from competition.report.gallery import IN_TURN, MAPS, MOST
from competition.runs import Opened
from competition.scoring import decided, scored_folds
from competition.split import Split
from competition.task import Mapped, Stepped, Strip, pick
from competition.train import open_fold, prepare

if TYPE_CHECKING:
    from competition.layers import Layer

VERSION = "2"  # of what is measured and drawn
SHOWN = 32  # lines of the table on the screen
RECORD, FEATURES = "describe.json", "features.png"
PLACELESS = "its layers keep no places apart, so nothing tells where it looks"
Piece = tuple[Split, list[str]]  # a fold, ids of held-out rows


def refuse(run: Run) -> None:
    """Raises ConfigFault CFG-TASK where the run trains no network of its own."""
    if of_a_network(run):
        return
    what, mend = "there is no network to describe", "RUN=<one of them that is an image or detection run>"
    others = run.members or getattr(run.task, "of", ())
    if others and run.preset is None:
        found = f"made of: {', '.join(others)}"
    else:
        found = f"task: {task_name(run.task)}"
        mend = f"make importance RUN={run.name}: what each column is worth, and SHAP values of trees"
    raise ConfigFault(Finding("CFG-TASK", what, f"RUN={run.name}", found, mend))


def of_a_network(run: Run) -> bool:
    return isinstance(run.task, Stepped) and run.preset is None


def describe(at: Opened, engine: Engine) -> dict[str, Any]:
    """Of a run with a score; returns describe.json. Raises EnvironmentFault CKPT-CORRUPT, Stopped."""
    device = device_name(at.run)
    pieces = worst(at) if isinstance(at.run.task, Mapped) else []
    fits = [(at.folder / split.name / "fit.json").read_bytes() for split in at.splits]
    basis = artifacts.digest(VERSION, device, *fits, *(name for _, ids in pieces for name in ids))
    if not made(at, basis):
        prepare(at)
        write(at, engine, pieces, basis)
    record = artifacts.read_json(at.folder / RECORD)
    show(at, record)
    return record


def made(at: Opened, basis: str) -> bool:
    """Whether all that would be written stands there."""
    path = at.folder / RECORD
    if not path.exists() or artifacts.read_json(path)["basis"] != basis:
        return False
    return all((at.folder / name).exists() for name in artifacts.read_json(path)["files"])


def write(at: Opened, engine: Engine, pieces: Sequence[Piece], basis: str) -> None:
    """describe.json last."""
    run, first = at.run, at.table.splits[0]
    for name in (RECORD, FEATURES, MAPS):
        (at.folder / name).unlink(missing_ok=True)
    ((record, strips),) = engine.map(functools.partial(measure, run), [first], run.demand)
    if strips:
        title = f"{run.name}, {first.name}: what the network's stages make of a picture"
        artifacts.write_bytes(at.folder / FEATURES, contact.sheet(strips, at.data.problem.classes, title))
    tables = engine.map(functools.partial(looks, run), pieces, run.demand)
    found = [table for table in tables if table is not None]
    if found:
        artifacts.write_table(at.folder / MAPS, pd.concat(found))
    files = [name for name in (FEATURES, MAPS) if (at.folder / name).exists()]
    note = {"note": PLACELESS} if pieces and not found else {}
    artifacts.write_json(at.folder / RECORD, {"basis": basis, "run": run.name, **record, **note, "files": files})


def worst(at: Opened) -> list[Piece]:
    """The rows of the page's gallery, which the run gets most wrong, by the fold that holds them out."""
    fold = scored_folds(at.table)
    assert at.data.train.truth is not None
    truth, oof = (pick(table, fold.index) for table in (at.data.train.truth, oof_of(at)))
    said = decided(artifacts.read_json(at.folder / "score.json"), oof, fold)
    rows = mistakes.worst(at.data.problem, truth, oof, fold, MOST, said, IN_TURN)
    once = [split for split in at.table.splits if split.repeat == 0]
    held = [(split, list(rows.index[rows["fold"] == split.fold])) for split in once]
    return [(split, ids) for split, ids in held if ids]


def oof_of(at: Opened) -> pd.DataFrame:
    return artifacts.read_table(at.folder / "oof.parquet")


def looks(run: Run, piece: Piece) -> pd.DataFrame | None:
    """Where a fold's network looks in some of its held-out rows."""
    split, ids = piece
    fold = open_fold(run, split)
    intact(fold.folder)
    assert fold.valid is not None
    board.say(f"{run.name} {split.name}: where it looks in {len(ids)} rows")
    rows = fold.valid.take(pd.Index(ids, name="id")).shown
    return run.task.maps(fold, rows) if len(rows) else None


def measure(run: Run, split: Split) -> tuple[dict[str, Any], Sequence[Strip]]:
    """Layers, speed and features of a fold's network."""
    import torch
    from safetensors.torch import load_file

    from competition import devices, layers

    fold = open_fold(run, split)
    intact(fold.folder)
    board.say(f"{run.name} {split.name}: measuring its network")
    knobs = run.task.model_copy(update={"pretrained": False, "compile": "off"})  # the weights are the fold's own
    job, device = knobs.job(fold), devices.device_of(knobs.device)
    path = fold.folder / "model.safetensors"
    with versions.reading(path, versions.of_run(fold.folder.parent), versions.MEND):
        job.model.load_state_dict(load_file(path))
    pieces = artifacts.read_json(fold.folder / "fit.json")["accumulate"]
    drawn = next(job.batches(0, 0))
    batch = drawn[: max(2, len(drawn) // pieces)].to(device)
    seen = inputs(job, batch, knobs, device)

    def forward() -> Any:
        heard(fold.stop)
        with torch.no_grad(), devices.autocast(knobs, device):
            return job.model(*seen)

    def one() -> Any:
        with devices.autocast(knobs, device):
            return job.model(*(part[:1] for part in seen))

    def step(some: Any) -> Any:
        heard(fold.stop)
        with devices.autocast(knobs, device):
            return job.loss(job.model, some)

    found = layers.layers(job.model, forward, one, lambda: step(batch[:2]), len(batch[:2]), device)
    job.model.eval()
    ahead = len(batch) / layers.seconds(forward, device)
    job.model.train()
    both = len(batch) / layers.seconds(lambda: step(batch).backward(), device)
    strips = run.task.features(fold, fold.valid.shown) if isinstance(run.task, Mapped) and fold.valid else []
    return told(found, run, split, seen[0], (ahead, both)) | {"device": device_name(run)}, strips


def heard(stop: Any) -> None:
    if stop():
        raise Stopped("stopped while the network was measured")


def inputs(job: Any, batch: Any, knobs: Any, device: Any) -> tuple[Any, ...]:
    """What the network itself is given of a batch: pictures that are normalised, and whatever stands beside them."""
    import torch

    from competition import devices

    seen: list[tuple[Any, ...]] = []
    handle = job.model.register_forward_pre_hook(lambda module, given: seen.append(given))
    with torch.no_grad(), devices.autocast(knobs, device):
        job.loss(job.model.train(), batch)
    handle.remove()
    return seen[0]


def told(found: Sequence[Layer], run: Run, split: Split, images: Any, speed: tuple[float, float]) -> dict[str, Any]:
    """As describe.json has it. Rates are pictures a second."""
    import torch

    from competition import devices

    whole, dtype = found[0], devices.amp_dtype(run.task.amp, images.device)
    return {
        "fold": split.name,
        "backbone": run.task.backbone,
        "input": " x ".join(map(str, images.shape[1:])),
        "batch": len(images),
        "amp": str(dtype).removeprefix("torch.") if dtype else "off",
        "threads": torch.get_num_threads(),
        "parameters": whole.parameters,
        "trainable": whole.trainable,
        "flops": whole.flops,
        "activations": whole.activations,
        "forward_per_second": round(speed[0], 2),
        "training_per_second": round(speed[1], 2),
        "layers": [asdict(layer) for layer in found],
    }


def device_name(run: Run) -> str:
    import torch

    from competition import devices

    device = devices.device_of(run.task.device)
    return torch.cuda.get_device_name() if device.type == "cuda" else f"{device.type}, {cores()} cores"


def show(at: Opened, record: dict[str, Any]) -> None:
    """The table on the screen down to the depth that fits, and the sentences."""
    table = Table("layer", title=f"{at.run.name} {record['fold']}: {record['backbone']}")
    for name in ("output", "weights", "FLOPs", "kept", "time"):
        table.add_column(name, justify="right")
    above: list[str] = []
    for layer in shallow(record["layers"]):
        above[layer["depth"] :] = [layer["name"]]
        table.add_row(*cells(layer, above[layer["depth"] - 1] if layer["depth"] else ""))
    board.console.print(table)
    for line in sentences(record):
        at.say(line)
    for name in [RECORD, *record["files"]]:
        at.say(f"described: {at.folder / name}")


def shallow(layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those down to the greatest depth at which they are SHOWN lines or fewer."""
    depths = sorted({layer["depth"] for layer in layers})
    fitting = [d for d in depths if sum(layer["depth"] <= d for layer in layers) <= SHOWN]
    return [layer for layer in layers if layer["depth"] <= max(fitting, default=depths[0])]


def cells(layer: dict[str, Any], above: str) -> list[str]:
    """above: the name of the layer that it is part of, which its own begins with."""
    name = "  " * layer["depth"] + (layer["name"].removeprefix(f"{above}.") or "(all)")
    output = layer["output"].replace(" x ", "x").replace(" and ", " +").removesuffix(" more")
    numbers = [spelt(layer["parameters"]), spelt(layer["flops"]), spelt(layer["activations"]) + "B"]
    return [name, output, *numbers, f"{layer['time']:.1%}"]


def sentences(record: Mapping[str, Any]) -> list[str]:
    """What there is to say of a network as a whole."""
    frozen = record["parameters"] - record["trainable"]
    size = f"{spelt(record['parameters'])} parameters" + (f", {spelt(frozen)} of them frozen" if frozen else "")
    lines = [
        f"{size}; a picture of {record['input']} takes {spelt(record['flops'])}FLOPs forward (a multiply-add is two), and "
        f"training keeps {spelt(record['activations'])}B of it for the backward pass",
        f"measured here ({record['device']}, {record['threads']} threads, batch {record['batch']}, "
        f"mixed precision {record['amp']}): {record['forward_per_second']:.4g} pictures/s forward, "
        f"{record['training_per_second']:.4g} forward and backward",
    ]
    return [*lines, record["note"]] if "note" in record else lines


def spelt(number: float) -> str:
    """Three digits and a prefix: `4.93 M`, `38.1 k`."""
    power = min(4, int(math.log10(number)) // 3) if number >= 1000 else 0
    return f"{number / 1000**power:.3g} {['', 'k', 'M', 'G', 'T'][power]}"
