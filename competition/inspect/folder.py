"""Which files of a folder are train, test and sample, and which column of theirs names a row."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import pandas as pd

from competition.csvfile import read_csv, separator_of
from competition.errors import DataFault, Finding, examples, nearest
from competition.inspect.annotations import Annotations, find_rows
from competition.inspect.boxnumbers import find_columns
from competition.inspect.guess import READ, Guess, Tables, question
from competition.inspect.listings import find_test_listing, find_train_listing
from competition.inspect.pictures import Index, find_test_template, find_train_template, hidden, of_pictures

# File names without suffix, in lower case, the best first.
SAMPLE = (r"sample_?submission", r".*sample.*sub.*|.*sub.*sample.*", r".*submission.*", r".*sample.*|submit.*")
TRAIN = (r"train(ing)?", r".*train.*", r".*labels?.*")
TEST = (r"test(ing)?", r".*test.*")


def find_root(folder: Path) -> Path:
    """The folder with the CSV files: `folder`, or the one inside it (archives are often unpacked twice)."""
    here = folder
    while here.is_dir() and not _csv_files(here):
        below = [p for p in here.iterdir() if p.is_dir() and not hidden(p.name)]
        if len(below) != 1:
            break
        here = below[0]
    if here.is_dir() and _csv_files(here):
        return here
    found, mend = "no CSV file", "give the unpacked folder as DATA=; it must hold the sample submission"
    if not folder.is_dir():
        found, mend = "no such folder", "mend the path, or unpack the competition there"
    elif inside := sorted({str(p.parent) for p in [*folder.glob("*/*.csv"), *folder.glob("*/*/*.csv")]}):
        found, mend = f"CSV files in {examples(inside)}", "give one of these as DATA="
    elif archives := sorted(p.name for p in folder.glob("*.zip")):
        found, mend = f"archives {examples(archives)}", "unpack them"
    raise DataFault(
        Finding(
            code="INIT-FOLDER",
            what="the folder holds no competition",
            where=f"DATA={folder}",
            found=found,
            risk="nothing was written",
            mend=mend,
        )
    )


def find_data(root: Path, folder: Path) -> Guess:
    """The path from here, or the whole path where it leads up more than two folders."""
    relative = Path(os.path.relpath(root))
    value = relative if relative.parts.count("..") <= 2 else Path(os.path.abspath(root))
    reason = "the folder given" if root == folder else f"the tables lie here, inside {folder}"
    return Guess("data", value.as_posix(), reason)


def find_sample(root: Path) -> Guess:
    files = _csv_files(root)
    best = _best(files, SAMPLE)
    if len(best) == 1:
        return Guess("sample", best[0], "its name")
    what = "there is no sample submission, a CSV with the test ids and the columns to fill in"
    if best:
        what = "several files could be the sample submission"
    raise question("sample", what, root, f"CSV files {examples(best or files, 12)}", (best or ["sample.csv"])[0])


def find_train(
    sample_name: str, sample: pd.DataFrame, pictures: Index, annotations: Annotations | None = None
) -> Guess:
    """The table with the target or the boxes; without one files with boxes or classes, or the pictures' folders or names."""
    root, asked = pictures.root, set(sample.columns[1:])
    files = [f for f in _csv_files(root) if f != sample_name and ("train" in f.lower() or not _best([f], TEST))]
    headers = {f: set(_header(root / f)) for f in files}
    known = [f for f in files if "train" in f.lower() or headers[f] & set(sample.columns)]
    named = list(dict.fromkeys(f for p in TRAIN for f in known if re.fullmatch(p, Path(f).stem.lower())))
    with_target = [f for f in named if asked & headers[f]]
    with_boxes = [f for f in named if find_columns(pd.DataFrame(columns=sorted(headers[f])))]
    if with_target:
        best, others = with_target[0], [f for f in named if f not in with_target]
        reason = f"it has the sample's {examples(sorted(asked & headers[best]), 3)}"
        return Guess("train", best, reason + (f", not so {examples(others)}" if others else ""), sure=len(named) == 1)
    if with_boxes and len(named) > 1:
        return Guess("train", with_boxes[0], "its name, and it has columns of boxes", sure=len(with_boxes) == 1)
    if named:
        return Guess("train", named[0], "its name", sure=len(named) == 1)
    if annotations:
        return find_rows(annotations, root)
    if listed := find_train_listing(root):
        return listed
    if len(known) == 1:
        return Guess("train", known[0], "the only other CSV file with columns of the sample", sure=False)
    if pictures.files and not known:
        return find_train_template(sample, sample_name, pictures)
    found = f"files {examples(sorted(p.name for p in root.iterdir() if p.is_file() and not hidden(p.name)), 12)}"
    raise question("train", "no name tells the table of training rows", root, found, (known or ["train.csv"])[0], READ)


def find_test(
    names: dict[str, str], train: pd.DataFrame, sample: pd.DataFrame, pictures: Index, id: str | None
) -> Guess:
    """The table with the sample's ids. Where rows are pictures, the sample itself may serve. id: the given one."""
    if of_pictures(names["train"]):
        return find_test_template(sample, names["sample"], pictures)
    root = pictures.root
    listed = names["train"].endswith(".json") and find_test_listing(root, names["train"], sample)
    if listed:
        return listed
    files = [f for f in _csv_files(root) if f not in names.values()]
    best = _best(files, TEST)
    if len(best) > 1 or (not best and not pictures.files):
        what = "several files could be the table of test rows" if best else "there is no table of test rows"
        raise question("test", what, root, f"other CSV files: {examples(best or files)}", (best or ["test.csv"])[0])
    if not best:
        return Guess("test", names["sample"], "there is no table of test rows, so the sample's ids serve")
    test = read_csv(root / best[0])
    column = id if id in test.columns else _shared_id(train, test, sample)
    ids = set(sample[column if column in sample.columns else sample.columns[0]].str.strip())
    if column and set(test[column].str.strip()) == ids:
        return Guess("test", best[0], f"its name; it has the sample's {len(ids)} ids")
    if column and ids < set(test[column].str.strip()):
        return Guess("test", best[0], f"its name; it has the sample's {len(ids)} ids and more")
    if pictures.files:
        reason = f"the ids of {best[0]} are not the sample's, so the sample serves"
        return Guess("test", names["sample"], reason, sure=False)
    have = set(test[column].str.strip()) if column else set()
    found = f"ids only in the sample: {examples(sorted(ids - have), 3)}"
    found += (
        f"; only in {best[0]}: {examples(sorted(have - ids), 3)}" if column else f"; columns {examples(test.columns)}"
    )
    raise question("id", f"no column of train and {best[0]} has the sample's ids", root, found, test.columns[0])


def find_id(names: dict[str, str], train: pd.DataFrame, test: pd.DataFrame | None, sample: pd.DataFrame) -> Guess:
    if of_pictures(names["train"]):
        return Guess("id", "stem", "the file's name without suffix; with its folder where names repeat")
    first, column = sample.columns[0], _shared_id(train, test, sample)
    if column in sample.columns and test is not None:
        which = "only" if sum(c in test.columns for c in sample.columns) == 1 else "first unique"
        return Guess("id", column, f"the {which} column of the sample that {names['test']} has too")
    if column in sample.columns:
        return Guess("id", column, "the sample's first column with a value of its own in every row; train has it too")
    if column is not None:
        return Guess("id", column, f"its cells in {names['test']} are the sample's {first!r}")
    if "stem" in train.columns:
        return Guess("id", "stem", "the file's name without suffix; with its folder where names repeat")
    unique = [c for c in train.columns if train[c].is_unique and c not in sample.columns[1:]]
    alike = [c for c in train.columns if c.lower() == first.lower()] or unique
    if len(alike) == 1:
        reason = f"the only column of train with a value of its own in every row; the sample says {first!r}"
        return Guess("id", alike[0], reason, sure=False)
    what = f"train has no column {first!r}, the sample's first, and " + ("several" if alike else "none") + " like it"
    found = f"columns of train {examples(train.columns, 12)}"
    raise question("id", what, names["train"], found, (alike or list(train.columns))[0])


def find_ids(tables: Tables) -> Guess | None:
    """Whose ids a submission has, where the sample is but a part of test."""
    want, have = set(tables.sample[tables.sample_id].str.strip()), set(tables.test[tables.id])
    if not want < have:
        return None
    reason = (
        f"the sample has {len(want)} of test's {len(have)} ids, as a placeholder has; `sample` if those alone count"
    )
    return Guess("ids", "test", reason, sure=False)


def _shared_id(train: pd.DataFrame, test: pd.DataFrame | None, sample: pd.DataFrame) -> str | None:
    """The id by the sample's name for it, or else the column of train and test that has the sample's cells."""
    everywhere = [c for c in train.columns if test is None or c in test.columns]
    named = [c for c in sample.columns if c in everywhere]
    unique = [c for c in named if sample[c].is_unique]
    if unique or (named and test is not None):
        return (unique or named)[0]
    cells = set(sample.iloc[:, 0].str.strip())
    return next((c for c in everywhere if test is not None and set(test[c].str.strip()) == cells), None)


def by_id(
    names: dict[str, str], train: pd.DataFrame, test: pd.DataFrame | None, sample: pd.DataFrame, id: str
) -> Tables:
    """The tables as data.load sees them: no blanks around ids; a sample that serves as test has train's name of the id.

    Raises ConfigFault INIT-ID where train or test lacks the given id.
    """
    sample_id = id if id in sample.columns else sample.columns[0]
    test = sample.rename(columns={sample_id: id}) if test is None else test
    for part, table in (("train", train), ("test", test)):
        if id not in table.columns:
            what, found = f"{part} has no column {id!r}", nearest(id, table.columns)
            raise question("id", what, names[part], found, table.columns[0])
    train, test = (table.assign(**{id: table[id].str.strip()}) for table in (train, test))
    return Tables(names, train, test, sample, id, sample_id)


def _csv_files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix.lower() in (".csv", ".tsv") and not hidden(p.name))


def _best(files: list[str], patterns: tuple[str, ...]) -> list[str]:
    """The files that fit the first pattern that any fits."""
    fits = ([f for f in files if re.fullmatch(pattern, Path(f).stem.lower())] for pattern in patterns)
    return next((found for found in fits if found), [])


def _header(path: Path) -> list[str]:
    with open(path, encoding="utf-8-sig", errors="replace") as f:
        line = f.readline()
    return next(csv.reader([line], delimiter=separator_of(line)), [])
