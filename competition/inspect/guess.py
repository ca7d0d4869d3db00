"""What `make init` infers: a key with its value and reason, the question where it can't tell, and the YAML text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import yaml as pyyaml

from competition import yaml
from competition.errors import ConfigFault, Finding

HEADER = """\
# What the competition is; the same for every run. `make init` wrote this and gives its reason above each key;
# what is marked CHECK it could not know for certain.
"""


@dataclass(frozen=True)
class Guess:
    """One key of competition.yaml. sure: False where the user should look at it."""

    key: str
    value: Any
    reason: str
    sure: bool = True


@dataclass(frozen=True)
class Answers:
    """The keys that are answered so far. given: those that the user has answered, `{"target": "label", "folds.n": 3}`."""

    given: dict[str, Any]
    guesses: list[Guess] = field(default_factory=list)

    def ask(self, key: str, find: Callable[..., Guess | None], *of: Any) -> Any:
        """The key's value: the given one, or what `find(*of)` guesses; None where it says that there is no such key."""
        guess = Guess(key, self.given[key], "given") if key in self.given else find(*of)
        self.guesses.extend([guess] if guess else [])
        return guess.value if guess else None


@dataclass(frozen=True)
class Tables:
    """The tables of a competition as text, cell by cell. names: train, test, sample -> file or path template.

    id: the column of train and test that names a row. sample_id: the sample's column with the same ids.
    """

    names: dict[str, str]
    train: pd.DataFrame
    test: pd.DataFrame
    sample: pd.DataFrame
    id: str
    sample_id: str

    @property
    def asked(self) -> list[str]:
        """The sample's columns that are to be filled in."""
        return [c for c in self.sample.columns if c != self.sample_id]

    @property
    def own(self) -> list[str]:
        """Columns that train has and test lacks; all but the id where the sample serves as test."""
        served = self.names["test"] == self.names["sample"]
        return [c for c in self.train.columns if c != self.id and (served or c not in self.test.columns)]


READ = "; or let a function of yours make the tables, and pictures where it must: SET='read=tables.py:read'"


def question(key: str, what: str, where: object, found: str, example: object, otherwise: str = "") -> ConfigFault:
    """What `make init` can't tell. example: the text of a value that would answer it; otherwise: what else would."""
    value = example if re.match("[A-Za-z.[]", str(example)) else _quoted(str(example))
    return ConfigFault(
        Finding(
            code=f"INIT-{key.split('.')[0].upper()}",
            what=what,
            where=str(where),
            found=found,
            risk="a wrong guess would train on the wrong thing; nothing was written",
            mend=f"say it: SET='{key}={value}'{otherwise}",
        )
    )


def to_yaml(guesses: list[Guess]) -> str:
    """The text of competition.yaml, each key under its reason. `guesses` are in the order of the file's keys."""
    lines, section = [HEADER], ""
    for guess in guesses:
        head, _, leaf = guess.key.partition(".")
        if leaf and head != section:
            lines.append(f"{head}:")
        section = head if leaf else ""
        indent = "  " if leaf else ""
        lines.append(f"{indent}# {'' if guess.sure else 'CHECK: '}{_one_line(guess.reason)}")
        lines.append(f"{indent}{leaf or head}: {flow(guess.value)}")
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def flow(value: Any) -> str:
    """The value as YAML on one line, quoted where it would be read as anything else."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        return value if _reads_as_itself(value) else _quoted(value)
    return json.dumps(value)


def _reads_as_itself(text: str) -> bool:
    """Whether YAML 1.2 (ours) and 1.1 (most tools; `no` is false there) both read the bare text as text."""
    plain = re.fullmatch(r"(\.\./)*[A-Za-z_/][\w ./-]*", text, re.ASCII) and not text.endswith(" ")
    return bool(plain) and yaml.scalar(text) == text == pyyaml.safe_load(text)


def _quoted(text: str) -> str:
    return pyyaml.safe_dump(text, default_style='"', allow_unicode=True, width=float("inf")).strip()
