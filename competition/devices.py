"""Where a network is computed: the device, the format of its numbers, and what becomes of memory there."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
from typing import Any

import torch

from competition.errors import EnvironmentFault, Finding
from competition.knobs import Training

MALLOPT = {"M_TRIM_THRESHOLD": -1, "M_MMAP_THRESHOLD": -3}  # of glibc's malloc.h
KEPT = 2**30  # bytes: an allocation, or memory that is free, is given back from this size on


def device_of(name: str) -> torch.device:
    """auto: cuda, else mps, else cpu."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name != "auto" and not there[name]:
        found = "torch sees only " + ", ".join(k for k, v in there.items() if v)
        mend = "device: auto, or a torch build and driver for that device"
        raise EnvironmentFault(Finding("ENV-DEVICE", "there is no such device", f"key device: {name}", found, mend))
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def amp_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """The dtype of autocast, None for full precision. On a CPU without AMX, bf16 is 0.36 to 0.81 times as fast."""
    if amp == "auto":
        if device.type != "cuda":
            return None
        amp = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]


def autocast(knobs: Training, device: torch.device) -> Any:
    dtype = amp_dtype(knobs.amp, device)
    return torch.autocast(device.type, dtype) if dtype else contextlib.nullcontext()


@functools.cache
def keep_freed_memory() -> None:
    """Has glibc keep what a step frees for the next one: else it returns each large tensor to the system, and the next step
    has it zeroed anew, page by page: 4 to 9% of a step's time (resnet18, mobilenetv4_conv_small, a core)."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for option in MALLOPT.values():
            libc.mallopt(option, KEPT)


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def out_of_memory(error: BaseException, first: str = "") -> Finding:
    """first: what may be tried first, where pieces of a batch can still be smaller."""
    return Finding(
        code="RUN-OOM",
        what="the batch is too much for this memory" if first else "two rows at a time are too much for this memory",
        where=str(error).split("\n")[0],
        found="ranks that share batch norms can't change its pieces"
        if first
        else "it can't be computed in smaller pieces",
        risk="the fold can't be trained here",
        mend=f"{first}a smaller `size` or `backbone`, or a machine with more memory",
    )
