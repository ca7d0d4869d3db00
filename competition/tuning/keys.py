"""The sections `search:` and `tune:` of a run, typed: which of its keys are tried, and how."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from competition.keys import Strict, machine


class Range(Strict):
    """Numbers between two ends, both included. Whole where the key takes no fraction."""

    low: float = machine(..., "least value")
    high: float = machine(..., "greatest value")
    log: bool = machine(False, "whether each tenfold is as likely as the next, for rates and strengths")
    step: float | None = machine(None, "distance of neighbouring values, from `low` on; null: any", gt=0)
    whole: bool | None = machine(
        None, "whether only whole numbers are tried; null: as the key takes them; for keys of `params` we don't know"
    )

    @model_validator(mode="after")
    def _ends(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low: {self.low:g} must be below high: {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log: true needs low above 0, not {self.low:g}")
        if self.log and self.step:
            raise ValueError("log: and step: exclude each other; a list of choices does both")
        if self.step and self.step > self.high - self.low:
            raise ValueError(f"step: {self.step:g} is more than lies between low and high")
        return self


Choices = Annotated[tuple[Any, ...], Field(min_length=2)]
Entry = Annotated[
    Annotated[Range, Tag("form-range")] | Annotated[Choices, Tag("form-choices")],
    Discriminator(lambda value: "form-range" if isinstance(value, (dict, Range)) else "form-choices"),
]


class Tune(Strict):
    """Section `tune` of a run: how its search goes."""

    sampler: Literal["tpe", "gp", "random", "grid"] = machine(
        "tpe",
        "what is tried next. tpe: tree-structured Parzen estimator; gp: Gaussian process, best up to about 60 costly "
        "trials, all of them whole: it learns nothing from a stopped one, so `stop` is none and `halving` false; random; "
        "grid: every combination of choices, steps and whole numbers, in random order",
    )
    stop: Literal["paired", "forgiving", "none"] = machine(
        "paired",
        "when a trial ends before its last fold. paired: when it is worse than the best trial on the same folds by more "
        "than chance (one standard error); forgiving: when its mean over the folds done is worse than the worst fold of "
        "the best trial (arXiv 2405.03389); none: never",
    )
    halving: bool = machine(
        True,
        "whether a trial ends a third into its first fold, unless among the best third of those that came so far; only "
        "where a model is scored while it trains (image, detection)",
    )
    finalists: int = machine(
        3,
        "best trials that are trained again with another seed, beside the run's own values, before one is taken; 0: none",
        ge=0,
    )
    storage: str | None = machine(
        None,
        "URL of a database for several machines, which share the folder `runs` too (`postgresql://user@host/db`, whose "
        "password is in PGPASSWORD or ~/.pgpass; `env:NAME`: it stands in that environment variable, with its password); "
        "null: a file in the study's folder",
    )

    @model_validator(mode="before")
    @classmethod
    def _whole_trials(cls, values: Any) -> Any:
        gp = isinstance(values, dict) and values.get("sampler") == "gp"
        return {"stop": "none", "halving": False} | values if gp else values

    @model_validator(mode="after")
    def _no_stopped_ones(self) -> Tune:
        if self.sampler == "gp" and (self.stop != "none" or self.halving):
            raise ValueError(
                "sampler: gp learns nothing from stopped trials; leave stop: and halving: out, or take tpe"
            )
        return self


def flattened(values: Any, prefix: str = "") -> Any:
    """{params: {num_leaves: [8, 16]}} -> {"params.num_leaves": [8, 16]}; ranges stay. Raises ValueError."""
    if not isinstance(values, dict):
        raise ValueError("a mapping of the run's keys, `{lr: {low: 1e-4, high: 1e-2, log: true}}`")
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and not value.keys() & {"low", "high"}:
            flat |= flattened(value, f"{prefix}{key}.")
        elif isinstance(value, (dict, list, tuple, Range)):
            flat[f"{prefix}{key}"] = tuple(value) if isinstance(value, list) else value
        else:
            raise ValueError(
                f"{prefix}{key}: {value!r} is neither a range {{low: ..., high: ...}} nor a list of choices"
            )
    return flat
