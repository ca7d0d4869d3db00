"""A run's networks as files for fast inference without Podium: `make onnx RUN=leaves/baseline`.

    runs/<name>/<run>/onnx/<fold>/model.onnx   for ONNX Runtime
                                  model.pt2    for torch.export.load
                                  model.json   what goes in and comes out, digests; written last
                           onnx/speed.json     images/s of both beside the run's own way, on this machine

A graph is kept only where it predicts held-out rows as the run does. What stands there is made anew only where the fold was
trained anew.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import io
import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from competition import artifacts, board, card, speedup, versions
from competition.config import Run, task_name
from competition.engine import Engine, stopping
from competition.errors import ConfigFault, EnvironmentFault, Finding, SafetyFault, Stopped
from competition.predict import intact
from competition.runs import Opened
from competition.split import Split
from competition.task import Fold, Graph, Portable, Rows
from competition.train import open_fold, prepare, trained

if TYPE_CHECKING:
    from torch.export import ExportedProgram

VERSION = "1"  # of what is written
ROWS = 256  # held-out rows that the two ways of a fold are compared on
TOLERANCE = 1e-4  # of a probability, or of a target's deviation; sums in another order leave up to 4e-6 in float32
MOST = 2**31 - 2**20  # bytes of weights: protobuf, and so an ONNX file, ends at 2 GiB
PACKAGES = ("torch", "timm", "onnx", "onnxruntime", "onnxscript")
EXTRA = ("onnx", "onnxruntime", "onnxscript")
INSTALL = ".venv/bin/uv pip install --python .venv/bin/python -r pyproject.toml --extra onnx"
ONNX, ARCHIVE, ABOUT = "model.onnx", "model.pt2", "model.json"


def refuse(run: Run) -> None:
    """Raises ConfigFault CFG-TASK where the run has no network that can leave, EnvironmentFault ENV-EXTRA."""
    if run.preset is not None or not isinstance(network_task(run), Portable):
        found = f"members: {', '.join(run.members)}" if run.members else f"task: {task_name(run.task)}"
        mend = "RUN=<an image run>; of a blend each of its image runs by itself"
        raise ConfigFault(
            Finding("CFG-TASK", "only networks of image runs are exported", f"RUN={run.name}", found, mend)
        )
    if missing := [name for name in EXTRA if importlib.util.find_spec(name) is None]:
        what = "packages of the extra `onnx` are not installed"
        raise EnvironmentFault(Finding("ENV-EXTRA", what, f"RUN={run.name}", f"missing: {', '.join(missing)}", INSTALL))


def network_task(run: Run) -> Any:
    """The task whose network the folds hold: of a soup that of its runs."""
    return run.task.network() if hasattr(run.task, "network") else run.task


def export(at: Opened, engine: Engine) -> None:
    """Raises ConfigFault RUN-PARTIAL, MODEL-EXPORT, SafetyFault ONNX-DIFFERS, EnvironmentFault CKPT-CORRUPT, Stopped."""
    splits = trained(at)
    missing = [split for split in splits if not made(at.run, split)]
    if missing:
        prepare(at)
        at.say(f"exporting {', '.join(split.name for split in missing)}")
        engine.map(functools.partial(export_fold, at.run), missing, replace(at.run.demand, device="cpu"))
    for split in splits:
        at.say(sentence(about(at.run, split)))
    speedup.show(at, speed(at, splits[0]))
    at.say(f"exported: {artifacts.onnx_folder(at.run.name)}")


def folder_of(run: Run, split: Split) -> Path:
    return artifacts.onnx_folder(run.name) / split.name


def about(run: Run, split: Split) -> dict[str, Any]:
    return artifacts.read_json(folder_of(run, split) / ABOUT)


def basis(run: Run, split: Split) -> str:
    """Digest of what the fold's files are made from."""
    return artifacts.digest(VERSION, (artifacts.run_folder(run.name) / split.name / "fit.json").read_bytes())


def made(run: Run, split: Split) -> bool:
    """Whether the fold's files stand there whole, of the fold as it is."""
    folder = folder_of(run, split)
    if not (folder / ABOUT).exists() or (record := about(run, split))["of"] != basis(run, split):
        return False
    return all((folder / name).is_file() and sha256(folder / name) == there for name, there in record["files"].items())


def sha256(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def export_fold(run: Run, split: Split) -> None:
    """One fold's files, in whatever process the engine chose; written only where both predict as the run does."""
    fold = open_fold(run, split)
    intact(fold.folder)
    step = functools.partial(progress, f"{run.name} {split.name} export")
    step(0, "the run's own predictions")
    graph = network_task(run).graph(fold, some_rows(fold))
    step(1, "torch.export")
    program = traced(graph, run.name)
    archive = archived(program)
    step(2, "ONNX")
    content = onnx_of(program, graph, run.name)
    step(3, "comparing")
    given = graph.inputs, graph.batch
    found = {"onnxruntime": by_onnxruntime(content, *given), "torch.export": by_torch(archive, *given)}
    gaps = compared(graph, found, f"{run.name} {split.name}")
    folder = folder_of(run, split)
    (folder / ABOUT).unlink(missing_ok=True)
    for name, data in ((ONNX, content), (ARCHIVE, archive)):
        artifacts.write_bytes(folder / name, data)
    files = {name: sha256(folder / name) for name in (ONNX, ARCHIVE)}
    made_by = versions.now(PACKAGES)
    record = {"of": basis(run, split), "run": run.name, "fold": split.name, **graph.about, "rows": len(graph.expected)}
    artifacts.write_json(folder / ABOUT, record | {"gaps": gaps, "versions": made_by, "files": files})
    step(4, "written")


def progress(label: str, done: int, text: str) -> None:
    if stopping():
        raise Stopped(f"{label} stopped before {text}")
    board.show(label, done, 4, text)


def some_rows(fold: Fold) -> Rows:
    """Held-out ones; of a fold of all rows, or where none of them has a picture, training rows."""
    parts = [rows.shown for rows in (fold.valid, fold.train) if rows is not None]
    rows = next(rows for rows in parts if len(rows))
    return rows.take(rows.ids[:ROWS])


def traced(graph: Graph, name: str) -> ExportedProgram:
    """Raises ConfigFault MODEL-EXPORT."""
    import torch

    weights = sum(tensor.nbytes for tensor in graph.module.state_dict().values())
    if weights > MOST:
        raise ConfigFault(unexportable(name, f"{weights / 1e9:.3g} GB of weights; an ONNX file holds 2.1 GB"))
    given = tuple(
        map(torch.from_numpy, repeated(graph.inputs, 2).values())
    )  # a batch of 1 would be taken for a constant
    shapes = ({0: torch.export.Dim("batch")},) * len(given)
    try:
        with torch.no_grad():
            return torch.export.export(graph.module, given, dynamic_shapes=shapes)
    except Exception as e:  # a dozen types, by what of the network can't be traced
        raise ConfigFault(
            unexportable(name, f"torch.export: {type(e).__name__}: {' '.join(str(e).split())[:200]}")
        ) from e


def archived(program: ExportedProgram) -> bytes:
    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):  # of weights that share their memory with nothing else
        torch.export.save(program, buffer)
    return buffer.getvalue()


def onnx_of(program: ExportedProgram, graph: Graph, name: str) -> bytes:
    """Raises ConfigFault MODEL-EXPORT."""
    import torch

    names: dict[str, Any] = {"input_names": list(graph.inputs), "output_names": ["prediction"]}
    try:
        with warnings.catch_warnings(action="ignore"):
            made = torch.onnx.export(program, dynamo=True, verbose=False, **names)
    except Exception as e:
        raise ConfigFault(
            unexportable(name, f"torch.onnx: {type(e).__name__}: {' '.join(str(e).split())[:200]}")
        ) from e
    assert made is not None
    return made.model_proto.SerializeToString()


def unexportable(name: str, found: str) -> Finding:
    mend = "another `backbone`; `make predict` needs no export"
    return Finding("MODEL-EXPORT", "the network can't be exported", f"RUN={name}", found, mend, "nothing was written")


def repeated(inputs: dict[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
    """As many rows, the first ones again where there are fewer."""
    return {name: values[np.arange(rows) % len(values)] for name, values in inputs.items()}


def session(content: bytes, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def by_onnxruntime(content: bytes, inputs: dict[str, np.ndarray], batch: int) -> np.ndarray:
    import torch

    one = session(content, torch.get_num_threads())
    return np.concatenate([one.run(None, some)[0] for some in _batches(inputs, batch)])


def by_torch(archive: bytes, inputs: dict[str, np.ndarray], batch: int) -> np.ndarray:
    import torch

    with torch.inference_mode():
        module = torch.export.load(io.BytesIO(archive)).module()
        parts = [module(*map(torch.from_numpy, some.values())).numpy() for some in _batches(inputs, batch)]
    return np.concatenate(parts)


def _batches(inputs: dict[str, np.ndarray], batch: int) -> Iterator[dict[str, np.ndarray]]:
    """As many rows at once as the run predicts, or a large network's would not fit."""
    for start in range(0, len(next(iter(inputs.values()))), batch):
        yield {name: values[start : start + batch] for name, values in inputs.items()}


def compared(graph: Graph, found: dict[str, np.ndarray], where: str) -> dict[str, float]:
    """The largest difference of each from the run's predictions. Raises SafetyFault ONNX-DIFFERS beyond TOLERANCE."""
    expected = graph.unit(graph.expected)
    gaps = {way: float(np.abs(graph.unit(values.astype(float)) - expected).max()) for way, values in found.items()}
    if not all(gap <= TOLERANCE for gap in gaps.values()):  # nan is no small gap
        told = ", ".join(f"{way} by {gap:.2g}" for way, gap in gaps.items())
        what, limit = "an exported network predicts otherwise than the run", f"{TOLERANCE:g} is allowed"
        mend = "other versions of onnx, onnxruntime and torch, or another `backbone`"
        raise SafetyFault(Finding("ONNX-DIFFERS", what, where, f"{told}; {limit}", mend, "nothing was written"))
    return gaps


def sentence(record: dict[str, Any]) -> str:
    gaps = ", ".join(f"{way} {gap:.1e}" for way, gap in record["gaps"].items())
    return f"{record['fold']}: largest difference of {record['rows']} rows' predictions: {gaps}"


def speed(at: Opened, split: Split) -> dict[str, Any]:
    """speed.json, measured where it is missing or of another network or machine."""
    path = artifacts.onnx_folder(at.run.name) / "speed.json"
    of = artifacts.digest(basis(at.run, split), json.dumps(card.hardware()))
    if not path.exists() or artifacts.read_json(path)["of"] != of:
        artifacts.write_json(path, {"of": of, "fold": split.name} | measure(at, split))
    return artifacts.read_json(path)


def measure(at: Opened, split: Split) -> dict[str, Any]:
    """Images/s of the run's own way and of the files, for one picture and for as many as the run predicts at once."""
    import torch

    folder, threads = folder_of(at.run, split), torch.get_num_threads()
    fold = open_fold(at.run, split)
    graph = network_task(at.run).graph(fold, some_rows(fold))
    runtime = session((folder / ONNX).read_bytes(), threads)
    program = torch.export.load(folder / ARCHIVE).module()
    rows = []
    for batch in (1, graph.batch):
        arrays = repeated(graph.inputs, batch)
        tensors = [*map(torch.from_numpy, arrays.values())]
        ways = {
            "run": functools.partial(graph.eager, *tensors),
            "torch.export": functools.partial(program, *tensors),
            "onnxruntime": functools.partial(runtime.run, None, arrays),
        }
        with torch.inference_mode():
            rows += speedup.measure(ways, batch, f"{at.run.name} {split.name} speed, batch {batch}")
    return {"backbone": graph.about["backbone"], "side": graph.about["side"], "threads": threads, "rates": rows,
            "hardware": card.hardware(), "versions": versions.now(PACKAGES)}  # fmt: skip
