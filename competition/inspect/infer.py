"""What a competition folder is: `make init` turns it into competition.yaml, each key with its reason.

    guesses = infer(Path("data/leaves"), "leaves", metric="accuracy", given={"folds.n": 10})
    text = to_yaml(guesses)

One function a question, in the order in which they are asked. What can't be told raises a ConfigFault that names the
key to give (INIT-TARGET, INIT-ID, ...); a folder that holds no competition raises DataFault INIT-FOLDER.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from competition import prepared
from competition.errors import ConfigFault, Finding, examples, nearest
from competition.inspect.annotations import find_annotations
from competition.inspect.boxes import answer_boxes, read_asked, recognise
from competition.inspect.folder import (
    by_id,
    find_data,
    find_id,
    find_ids,
    find_root,
    find_sample,
    find_test,
    find_train,
)
from competition.inspect.guess import Answers, Guess, Tables, question, to_yaml
from competition.inspect.metric import find_metric, read_metric
from competition.inspect.pictures import Index, find_image
from competition.inspect.splits import count_labels, find_folds
from competition.inspect.target import (
    find_classes,
    find_kind,
    find_separator,
    find_shape,
    find_target,
    fitted_to,
    refuse_masks,
)
from competition.keys import Boxes, Competition, Folds
from competition.tables import natural, read_csv, read_rows

TABLES = ("train", "test", "sample")
__all__ = ["Guess", "infer", "to_yaml"]


def infer(folder: Path, name: str, metric: str | None = None, given: dict[str, Any] | None = None) -> list[Guess]:
    """The keys of configs/<name>/competition.yaml for `folder`, in that file's order.

    metric: as METRIC= has it (`mapk@5`). given: keys that are taken as they are, `{"target": "label", "folds.n": 3}`.
    Raises ConfigFault and DataFault.
    """
    given = _known(given or {})
    wanted = read_metric(metric or given.pop("metric", None))
    root = find_root(Path(folder)) if "read" not in given else Path(folder)
    found = find_data(root, Path(folder))
    if "read" in given:
        _refuse_named(given)
        root = prepared.folder(name, root, given["read"])
        given |= dict(zip(TABLES, prepared.NAMES, strict=True))
    answers, pictures = Answers(given), Index(root)
    answers.ask("data", lambda: found)
    names = {"sample": answers.ask("sample", find_sample, root)}
    sample = read_csv(root / names["sample"])
    marked = given.get("kind") == "boxes" or ("kind" not in given and read_asked(sample))
    annotations = find_annotations(sample, pictures) if marked else None
    names["train"] = answers.ask("train", find_train, names["sample"], sample, pictures, annotations)
    train = read_rows(root, names["train"])
    if "kind" not in given:
        refuse_masks(train, sample, names["train"])
    if recognise(train, sample, pictures, annotations, given):
        answer_boxes(answers, names, train, sample, pictures, annotations, wanted, name)
    else:
        _answer_labels(answers, names, train, sample, pictures, wanted, name)
    answered = {guess.key for guess in answers.guesses}
    guesses = answers.guesses + [Guess(key, value, "given") for key, value in given.items() if key not in answered]
    if "read" in given:
        guesses = [guess for guess in guesses if guess.key not in TABLES]
    order = list(Competition.model_fields)
    return sorted(guesses, key=lambda guess: order.index(guess.key.split(".")[0]))


def _refuse_named(given: dict[str, Any]) -> None:
    named = [key for key in TABLES if key in given]
    if named:
        what, mend = "`read` returns the tables, so none is named", f"leave {examples(named)} out"
        raise ConfigFault(Finding("CFG-VALUE", what, f"SET={named[0]}=...", f"read={given['read']}", mend))


def _answer_labels(
    answers: Answers,
    names: dict[str, str],
    train: pd.DataFrame,
    sample: pd.DataFrame,
    pictures: Index,
    metric: dict[str, Any] | None,
    name: str,
) -> None:
    """Every key from `test` on, of a competition with a target a row."""
    ask, root = answers.ask, pictures.root
    names["test"] = ask("test", find_test, names, train, sample, pictures, answers.given.get("id"))
    test = None if names["test"] == names["sample"] else read_rows(root, names["test"])
    id = ask("id", find_id, names, train, test, sample)
    tables = by_id(names, train, test, sample, id)
    ask("ids", find_ids, tables)
    target = ask("target", find_target, tables)
    targets = _columns(tables, target)
    shape = find_shape(tables, targets, bool(pictures.files))
    shape = fitted_to(shape, metric["name"], tables, targets) if metric else shape
    kind = ask("kind", find_kind, shape, tables, targets)
    classes = ask("classes", find_classes, shape)
    separator = ask("separator", find_separator, shape)
    labels = count_labels(tables, targets, kind, separator or " ")
    answers.guesses.append(find_metric(metric, shape, kind, classes or natural(set(labels.index)), name))
    ask("image", find_image, tables, pictures)
    for guess in find_folds(tables, targets, labels, answers.given):
        ask(guess.key, lambda guess=guess: guess)


def _known(given: dict[str, Any]) -> dict[str, Any]:
    """`folds: {n: 3}` as `folds.n: 3`, `image.train` and `image.test` as `image`. Raises ConfigFault CFG-UNKNOWN."""
    sections = {"folds": Folds, "boxes": Boxes}
    parts, flat = ["train", "test"], dict(given)
    for section in sections:
        if isinstance(flat.get(section), dict):
            flat |= {f"{section}.{key}": value for key, value in flat.pop(section).items()}
    below = [f"{section}.{key}" for section, model in sections.items() for key in model.model_fields]
    keys = [*Competition.model_fields, *below, *(f"image.{p}" for p in parts)]
    unknown = [key for key in flat if key not in keys]
    if unknown:
        raise ConfigFault(
            Finding(
                code="CFG-UNKNOWN",
                what="competition.yaml has no such key",
                where=f"SET={unknown[0]}=...",
                found=f"unknown key {examples(unknown)}",
                mend=nearest(unknown[0], keys),
            )
        )
    image = {part: flat.pop(f"image.{part}", None) for part in parts}
    if any(image.values()):
        for part in (part for part in parts if not image[part]):
            what = "the paths of train's and test's pictures are given together"
            raise question(f"image.{part}", what, "SET", str(given), "images/{id}.jpg")
        flat["image"] = image
    return flat


def _columns(tables: Tables, target: str | list[str]) -> list[str]:
    """The target as a list. Raises ConfigFault INIT-TARGET where train lacks one."""
    targets = [target] if isinstance(target, str) else list(target)
    for column in (c for c in targets if c not in tables.train.columns):
        where, found = f"{tables.names['train']}, column {column!r}", nearest(column, tables.train.columns)
        raise question("target", "train has no such column", where, found, (tables.own or [tables.id])[-1])
    return targets
