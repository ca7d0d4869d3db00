"""A fold whose training diverges: when that is so, and where it is gone on from.

It goes back to the start of the epoch in which that was seen, and from there on has half the rate, at most three times.
The way there leads over the last good checkpoint before that start, or the fold's beginning: the steps between are done
again as they were. So what comes out is a question of the seed alone, whenever checkpoints were written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from competition.errors import EnvironmentFault, Finding
from competition.task import Fold

ROLLBACKS, FACTOR = 3, 0.5
SKIPPED = 10  # steps in a row that fp16's scaler may skip while it looks for its scale
EXPLODED = 1000  # times the first step's loss, or 1 where that is less; of a mean over some steps


class Diverged(Exception):
    """Seen at a step that the seed alone decides: after the steps that have a line of history."""


def share(rollbacks: Sequence[int], step: int) -> float:
    """Of the schedule's rate, for the step after so many. rollbacks: the steps from which on it was halved."""
    return FACTOR ** sum(start <= step for start in rollbacks)


def finite(tensors: Iterable[Any]) -> bool:
    """Whether all that is in them is a number. Asks the device once.

    By their sums, which pass on what is none, at a tenth of the time of asking each element.
    """
    floats = [t for t in tensors if isinstance(t, Tensor) and t.is_floating_point()]
    sums = [t.sum(dtype=torch.float32).to(floats[0].device) for t in floats]  # AdamW counts its steps on the CPU
    return not sums or bool(torch.stack(sums).isfinite().all())


def refuse(mean: float, first: float, bad: int, most: int) -> None:
    """mean: loss of the steps since the last line. first: that of the fold's first step. bad: steps without a finite loss,
    of which `most` is too many. Raises Diverged.

    A loss that is merely bad is none: a thousand times what an untrained network has, no training comes to by itself.
    Cross-entropy of 1,000 gives the true class e^-1000; targets of regression are standardised.
    """
    if bad >= most:
        raise Diverged("the loss is not a number")
    if mean > EXPLODED * max(1.0, first):
        raise Diverged(f"the loss is {mean:.3g}, at the first step it was {first:.3g}")


def fits(values: dict[str, Any], rollbacks: Sequence[int], start: int) -> bool:
    """Whether a checkpoint lies on the way to step `start` of a fold that was gone back with as `rollbacks` tell."""
    step, known = values["step"], values.get("rollbacks", [])
    return step <= start and [n for n in known if n < step] == [n for n in rollbacks if n < step]


def fault(fold: Fold, step: int, rate: float, why: str, rollbacks: int) -> EnvironmentFault:
    return EnvironmentFault(
        Finding(
            code="RUN-NAN",
            what="the training diverges",
            where=f"{fold.folder}, step {step}",
            found=f"{why}; learning rate {rate:.2e}, halved {rollbacks} times before",
            risk="the weights are lost; the last checkpoint before is kept",
            mend="a lower `lr`, a longer `warmup`, `clip: 1.0` or `amp: bf16`, with AS=<name>/<run>",
        )
    )
