"""The training knobs that image and detection runs share; `loop.py` is what they turn. No torch here: `--help` is quick."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator, model_validator

from competition.errors import ConfigFault, Finding, nearest
from competition.keys import Kind, Strict, fit, machine


class Training(Strict):
    """What each of the two tasks adds has an `augment` and `views`, whose form is checked here."""

    backbone: str = fit("resnet18", "any timm model, with or without a pretrained tag (`resnet18.a1_in1k`)")
    pretrained: bool | str = fit(
        True,
        "true: weights from the hub; false: from scratch; a local weights file; run:<name>/<run>: fold k from fold k",
    )
    size: int = fit(224, "side of the square that the network sees, pixels", ge=8, le=4096)
    epochs: int = fit(20, "passes over the training rows", ge=1)
    batch: int = fit(32, "rows of one optimizer step", ge=2)
    accumulate: int = fit(1, "pieces that a batch is computed in; doubled when memory runs out", ge=1)
    sync_bn: bool = fit(False, "with `ranks`: batch norm over the rows of all of them, on GPUs")
    opt: str = fit("adamw", "any optimizer of timm")
    lr: float = fit(1e-3, "peak learning rate, for the whole batch", gt=0)
    weight_decay: float = fit(0.05, "decay of weights (not of biases and norms)", ge=0)
    layer_decay: float = fit(1.0, "factor of the rate from each layer group to the one before it", gt=0, le=1)
    head_lr: float = fit(1.0, "factor of the rate for the new head", gt=0)
    freeze: int = fit(0, "first layer groups (stem, stages) that stay as they are", ge=0)
    warmup: float = fit(1.0, "epochs of linear warmup", ge=0)
    lr_min: float = fit(0.01, "last rate, as a share of the peak", ge=0, le=1)
    ema: float = fit(
        0.999, "decay of the weights' moving average (warmed up, so right for short runs); 0: off", ge=0, lt=1
    )
    swa: int = fit(
        0,
        "last epochs at half the peak rate whose end weights are averaged evenly, batch norms measured anew (Izmailov et "
        "al. 2018), in place of `ema` and `lr_min`; 0: off",
        ge=0,
    )
    clip: float = fit(1.0, "largest norm of the gradient; 0: off", ge=0)
    drop: float = fit(0.0, "dropout before the head", ge=0, lt=1)
    drop_path: float = fit(0.0, "stochastic depth", ge=0, lt=1)
    amp: Literal["auto", "off", "bf16", "fp16"] = fit(
        "auto", "mixed precision; auto: bf16 or else fp16 on a GPU, off on a CPU (it is slower there)"
    )
    compile: Literal["auto", "on", "off"] = machine(
        "auto",
        "torch.compile; auto: on a CUDA GPU for long runs, never on a CPU; where it fails the network runs as it is",
    )
    ranks: int = machine(
        1, "processes of this machine that train a fold together, a GPU each; each computes its rows of a batch", ge=1
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = machine("auto", "auto: a GPU where there is one")
    cache: Literal["disk", "none"] = machine(
        "disk",
        "decoded pictures: disk: kept, for all runs; none: decoded each time they are read, where the disk has no room",
    )
    workers: int | None = machine(
        None, "threads that prepare batches; 0: none, between steps; null: 0 on a CPU, up to 8 beside a GPU", ge=0
    )

    @field_validator("compile", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        """YAML reads on and off as true and false."""
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @field_validator("augment", "views", mode="before", check_fields=False)
    @classmethod
    def _lists(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @field_validator("views", mode="before", check_fields=False)
    @classmethod
    def _one_view(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("augment", check_fields=False)
    @classmethod
    def _known_transforms(cls, value: Any) -> Any:
        if not isinstance(value, str) and any(len(item) != 1 for item in value):
            raise ValueError("each item of the list is one transform: {Name: {argument: value}}")
        return value

    @field_validator("views", check_fields=False)
    @classmethod
    def _each_view_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        twice = sorted({name for name in value if value.count(name) > 1})
        if twice:
            raise ValueError(f"a view stands in the list once: {', '.join(twice)}")
        return value

    @model_validator(mode="after")
    def _two_rows_a_piece(self) -> Training:
        if self.batch < 2 * self.accumulate:
            raise ValueError("batch norm needs two rows in a piece: batch is at least twice accumulate")
        return self

    @model_validator(mode="after")
    def _average_after_warmup(self) -> Training:
        if self.swa and self.swa + self.warmup > self.epochs:
            raise ValueError(
                f"swa: {self.swa} epochs after a warmup of {self.warmup:g} are more than epochs: {self.epochs}"
            )
        return self

    def begins_with(self, fold: str, origin: dict[str, str]) -> Path | None:
        from competition import backbone

        return backbone.weights_file(self.pretrained, origin, fold)

    def space(self, kind: Kind) -> dict[str, Any]:
        """What each of the two tasks tries by default, around the run's own rate."""
        return {
            "lr": {"low": float(f"{self.lr / 5:.2g}"), "high": float(f"{self.lr * 5:.2g}"), "log": True},
            "weight_decay": {"low": 0.001, "high": 0.3, "log": True},
        }

    def begins(self, kind: Kind) -> dict[str, Any]:
        return {}  # every key has its value

    def whole(self, key: str) -> bool:
        return False  # every key has its type


def check_views(names: Sequence[str], choices: Collection[str]) -> None:
    """Raises ConfigFault for views that are none of the choices."""
    what = "there is no such view"
    unknown = [
        Finding("CFG-VALUE", what, f"key views: {name}", repr(name), nearest(name, choices))
        for name in names
        if name not in choices
    ]
    if unknown:
        raise ConfigFault(*unknown)
