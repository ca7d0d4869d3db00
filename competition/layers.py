"""A network layer by layer: shapes, parameters, FLOPs, activations, and the share of the time that each takes here."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

LISTS = (nn.ModuleList, nn.ModuleDict)  # never called themselves, so that only their parts can be measured
CONTAINERS = (nn.Sequential, *LISTS)
LEAST_RUNS, LEAST_SECONDS = 3, 1.5  # that a time is measured over


@dataclass(frozen=True)
class Layer:
    """A module. name: as in the weights file, "" of the whole network; depth: 0 of that.

    output: of one picture, `64 x 16 x 16`, of its first call. flops: of one picture in a forward pass, a multiply-add
    counted as two (FlopCounterMode: convolutions, matrix products, attention). activations: bytes that a training step
    keeps for the backward pass, a picture, each tensor counted where it is first kept. time: share of the forward pass.
    """

    name: str
    kind: str
    depth: int
    output: str
    parameters: int
    trainable: int
    flops: int
    activations: int
    time: float


def layers(model: nn.Module, forward: Callable[[], Any], one: Callable[[], Any], step: Callable[[], Tensor],
           pictures: int, device: torch.device) -> list[Layer]:  # fmt: skip
    """Of the network and its parts, those first that come first in it.

    forward: runs the network in eval on a batch; one: on one picture; step: the loss of `pictures` in training.
    """
    parts = tree(model)
    output, flops = counted(parts, model.eval(), one)
    kept = activations(parts, model.train(), step)
    times = shares(parts, model.eval(), forward, device)
    return [
        Layer(name, type(part).__name__, depth, output.get(name, ""), *parameters(part), flops.get(name, 0),
              round(kept.get(name, 0) / pictures), round(times.get(name, 0.0), 4))
        for name, part, depth in parts
    ]  # fmt: skip


def tree(model: nn.Module) -> list[tuple[str, nn.Module, int]]:
    """(name, module, depth) down to blocks: a module is opened where it consists of blocks, or something in it does.

    Parts without parameters (activations, pooling) are left out, and what only wraps one other part is told by that, as the
    network itself. Lists of modules are told by what is in them.
    """
    found = [("", model, 0)]

    def walk(module: nn.Module, name: str, depth: int) -> None:
        for key, part in with_weights(module):
            inner, part = unwrapped(f"{name}.{key}" if name else key, part)
            if not isinstance(part, LISTS):
                found.append((inner, part, depth))
            if blocky(part):
                walk(part, inner, depth + (not isinstance(part, LISTS)))

    name, inside = unwrapped("", model)
    walk(inside, name, 1)
    return found


def unwrapped(name: str, module: nn.Module) -> tuple[str, nn.Module]:
    """What there is to open in a module: of one that holds a single part, that."""
    while blocky(module) and len(parts := with_weights(module)) == 1:
        ((key, module),) = parts
        name = f"{name}.{key}" if name else key
    return name, module


def with_weights(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Its parts that have parameters, by name."""
    return [(name, part) for name, part in module.named_children() if sum(parameters(part))]


def blocky(module: nn.Module) -> bool:
    """Whether it is a sequence of modules that have parts themselves, or holds one."""
    parts = list(module.children())
    whole = isinstance(module, CONTAINERS) and any(list(part.children()) for part in parts)
    return whole or any(map(blocky, parts))


def parameters(module: nn.Module) -> tuple[int, int]:
    """All, and those that train."""
    sizes = [(p.numel(), p.requires_grad) for p in module.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, trains in sizes if trains)


@contextmanager
def watching(parts: list, before: Callable[[str], None], after: Callable[[str, Any], None]) -> Generator[None]:
    """before(name) and after(name, output) around each call of each part."""
    handles = []
    for name, part, _ in parts:
        handles.append(part.register_forward_pre_hook(lambda m, args, name=name: before(name)))
        handles.append(part.register_forward_hook(lambda m, args, output, name=name: after(name, output)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def counted(parts: list, model: nn.Module, one: Callable[[], Any]) -> tuple[dict[str, str], dict[str, int]]:
    """Outputs and FLOPs by name, of one picture."""
    output: dict[str, str] = {}
    flops: dict[str, int] = {}
    began: list[int] = []
    counter = FlopCounterMode(display=False)

    def after(name: str, made: Any) -> None:
        output.setdefault(name, shape(made))
        flops[name] = flops.get(name, 0) + counter.get_total_flops() - began.pop()

    with watching(parts, lambda name: began.append(counter.get_total_flops()), after), counter:
        one()
    return output, flops


def shape(made: Any) -> str:
    """Without the batch: `64 x 16 x 16`; of several tensors the first and how many more there are."""
    tensors = list(tensors_of(made))
    if not tensors:
        return ""
    first = " x ".join(map(str, tensors[0].shape[1:] if tensors[0].dim() > 1 else tensors[0].shape))
    return first + (f" and {len(tensors) - 1} more" if len(tensors) > 1 else "")


def tensors_of(made: Any) -> Iterator[Tensor]:
    if isinstance(made, Tensor):
        yield made
    elif isinstance(made, (list, tuple)):
        for part in made:
            yield from tensors_of(part)
    elif isinstance(made, dict):
        yield from tensors_of(list(made.values()))


def activations(parts: list, model: nn.Module, step: Callable[[], Tensor]) -> dict[str, int]:
    """Bytes by name that autograd keeps; weights and statistics are not counted. All of it counts for the whole network."""
    inside: list[str] = []
    kept: dict[str, int] = {}
    known = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            known.add(storage.data_ptr())
            for name in set(inside):
                kept[name] = kept.get(name, 0) + storage.nbytes()
        return tensor.detach()  # alive until the loss is gone, so that no other gets its place

    def unpack(tensor: Tensor) -> Tensor:
        return tensor

    with (
        watching(parts, inside.append, lambda name, made: inside.remove(name)),
        torch.autograd.graph.saved_tensors_hooks(pack, unpack),
    ):
        step()
    return kept


@torch.no_grad()
def shares(parts: list, model: nn.Module, forward: Callable[[], Any], device: torch.device) -> dict[str, float]:
    """Time by name, as a share of the whole network's."""
    total: dict[str, float] = {}
    began: list[Any] = []
    spans: list[tuple[str, Any, Any]] = []
    forward()
    with watching(
        parts,
        lambda name: began.append(mark(device)),
        lambda name, made: spans.append((name, began.pop(), mark(device))),
    ):
        for _ in range(LEAST_RUNS):
            forward()
    wait(device)
    for name, start, end in spans:
        total[name] = total.get(name, 0.0) + (start.elapsed_time(end) if device.type == "cuda" else end - start)
    whole = max(total.values(), default=0.0) or math.inf
    return {name: seconds / whole for name, seconds in total.items()}


def mark(device: torch.device) -> Any:
    """The time now: on a GPU an event in its queue."""
    if device.type != "cuda":
        wait(device)
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def wait(device: torch.device) -> None:
    """Until all that was asked of it is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def seconds(run: Callable[[], Any], device: torch.device) -> float:
    """The median time of a call, after one that warms up."""
    run()
    wait(device)
    marks = [time.perf_counter()]
    while len(marks) <= LEAST_RUNS or marks[-1] - marks[0] < LEAST_SECONDS:
        run()
        wait(device)
        marks.append(time.perf_counter())
    return statistics.median(end - start for start, end in pairwise(marks))
