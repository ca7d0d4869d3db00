"""What the loop shows and logs while it trains: the loss and the rate, on the screen and as lines of history."""

from __future__ import annotations

import time
from typing import Any

from torch import Tensor

from competition import divergence
from competition.checkpoint import State
from competition.task import Fold

PROGRESS_SECONDS = 0.5
LINES = 20  # of history an epoch: each reads the loss back from the device


class Meter:
    """Loss and rate, epoch by epoch; reads them back from the device about twice a second, not at every step."""

    def __init__(self, state: State, fold: Fold, epochs: int, rate: float):
        self.state, self.fold, self.epochs, self.rate = state, fold, epochs, rate
        self.score: float | None = None
        self.begin(min(state.step // state.job.steps, epochs - 1))

    def begin(self, epoch: int) -> None:
        self.epoch, self.began, self.shown, self.images = epoch, time.monotonic(), 0.0, 0

    def add(self, loss: Tensor, rate: float, images: int) -> None:
        """One step. Raises Diverged where it has a line of history and the steps since the last one say so."""
        state, finite = self.state, loss.isfinite()
        loss = loss.where(finite, 0.0)
        state.first = loss if state.first is None else state.first
        state.loss, state.recent = state.loss + loss, state.recent + loss
        state.bad = (state.bad + 1) * ~finite if state.scaler.is_enabled() else state.bad + ~finite
        self.images += images
        self.rate = rate
        done = state.step - self.epoch * state.job.steps
        if has_line(done, state.job.steps):
            divergence.refuse(self.mean_since(done), float(state.first), int(state.bad), state.most())
            if done < state.job.steps:
                self.fold.log(state.step, self.recent(done) | {"lr": rate})
        if time.monotonic() - self.shown > PROGRESS_SECONDS:
            self.show()

    def recent(self, done: int) -> dict[str, float]:
        """The mean loss of the steps since the line before, which begins anew."""
        mean, self.state.recent = self.mean_since(done), 0.0
        return {"train_loss": mean}

    def mean_since(self, done: int) -> float:
        """Loss of the steps since the line before. done: steps of the epoch."""
        before = next((n for n in range(done - 1, 0, -1) if has_line(n, self.state.job.steps)), 0)
        return float(self.state.recent) / max(1, done - before)

    def show(self) -> None:
        self.shown = time.monotonic()
        valid = "" if self.score is None else f"  valid {self.score:.4f}"
        text = f"epoch {self.epoch + 1}/{self.epochs}  loss {self.mean():.4f}{valid}  {self.speed():.0f} img/s"
        self.fold.progress(self.state.step, self.epochs * self.state.job.steps, text)

    def mean(self) -> float:
        return float(self.state.loss) / max(1, self.state.step - self.epoch * self.state.job.steps)

    def speed(self) -> float:
        return self.images / max(1e-9, time.monotonic() - self.began)

    def close(self, score: float | None) -> None:
        """The epoch's line of history."""
        speed, self.score = self.speed(), self.score if score is None else score
        self.show()
        values: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "loss": self.mean(),
            **self.recent(self.state.job.steps),
            "lr": self.rate,
            "images_per_second": round(speed, 1),
            "seconds": round(self.state.elapsed(), 1),
        }
        self.fold.log(self.state.step, values if score is None else values | {"valid": score})
        self.state.loss = 0.0


def has_line(done: int, steps: int) -> bool:
    """Whether there is a line of history after so many of the epoch's steps: a question of these two alone, so that a
    resumed fold writes the same ones."""
    lines = min(LINES, steps)
    return done * lines // steps != (done - 1) * lines // steps
