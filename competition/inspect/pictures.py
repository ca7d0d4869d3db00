"""Where the pictures lie: which template of columns makes a row's path, and labels that stand in names and folders."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from pathlib import Path

import pandas as pd

from competition import dicom
from competition.errors import examples
from competition.inspect.guess import READ, Guess, Tables, question
from competition.tables import IMAGE_SUFFIXES, read_rows

ENOUGH = 0.9  # share of rows with a picture from which a template is taken for the right one
ASIDE = ("mask", "segment", "annot", "depth", "thumb", "preview")  # pictures that belong to other pictures
RESERVED = ("path", "stem", "name", "number")
DELIMITERS = "._- "
# How a label stands in a file's stem: (pattern, template), the plainest first.
IN_NAMES = (
    *((rf"(?P<label>[^{d}]+)[{d}]\d+", f"{{label}}{d}{{number}}") for d in DELIMITERS),
    *((rf"\d+[{d}](?P<label>[^{d}]+)", f"{{number}}{d}{{label}}") for d in DELIMITERS),
    *((rf"(?P<label>[^{d}]+)[{d}].+", f"{{label}}{d}{{name}}") for d in DELIMITERS),
)


def hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


class Index:
    """The pictures (or files of other suffixes) below a folder, found by what a cell says: their path, their name, or
    either without suffix."""

    def __init__(self, root: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES):
        self.root, self.files = root, listing(root, suffixes)
        self._by_name: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for file in self.files:
            bare, suffix = os.path.splitext(file)
            self._by_name[os.path.basename(file)].append((file, ""))
            self._by_name[os.path.basename(bare)].append((bare, suffix))

    def around(self, cell: str) -> set[tuple[str, str]]:
        """What stands before and after `cell` in the paths that it names: {("images/", ".jpg")}."""
        cell = cell.replace("\\", "/")  # as Windows writes it
        near = self._by_name.get(cell.rsplit("/", 1)[-1], ()) if cell else ()
        return {(path[: -len(cell)], end) for path, end in near if path == cell or path.endswith("/" + cell)}


def listing(root: Path, suffixes: tuple[str, ...]) -> list[str]:
    """The files of these suffixes (lower case) below a folder, as paths from it, sorted."""
    found = []
    for folder, below, files in os.walk(root, followlinks=True):
        below[:] = [name for name in below if not hidden(name)]
        here = Path(folder).relative_to(root)
        found += [(here / f).as_posix() for f in files if not hidden(f) and f.lower().endswith(suffixes)]
    return sorted(found)


def of_pictures(source: str) -> bool:
    """Whether a table's name is a template of pictures: not a file, nor a template of the files that hold their boxes."""
    return "{" in source and not source.endswith((".xml", ".txt"))


def find_image(tables: Tables, index: Index) -> Guess | None:
    """The key `image`; None where there are no pictures. Raises ConfigFault INIT-IMAGE."""
    if not index.files:
        return None
    parts = {"train": tables.train, "test": tables.test}
    found = {p: find_template(p, t, tables.id, tables.names[p], index) for p, t in parts.items()}
    if not any(found.values()) and len(index.files) < len(tables.train) / 2:
        reason = f"no row names one of the {len(index.files)} pictures: {examples(index.files)}"
        return Guess("image", None, reason, sure=False)
    fits = {part: fit for part, fit in found.items() if fit is not None}
    for part in found.keys() - fits.keys():
        cells = f"{tables.id}: {examples(parts[part][tables.id], 3)}; pictures: {examples(index.files, 3)}"
        what = f"no column of {part} leads to the pictures"
        raise question("image", what, tables.names[part], cells, f"images/{{{tables.id}}}.jpg", READ)
    missing = [f"{n} of {len(parts[part])} rows of {part} have none" for part, (_, n) in fits.items() if n]
    complete = f"all {len(tables.train)} rows of train and {len(tables.test)} of test have a picture"
    value = {part: template for part, (template, _) in fits.items()}
    same = value["train"] == value["test"]
    return Guess("image", value["train"] if same else value, "; ".join(missing) or complete, sure=not missing)


def find_template(part: str, table: pd.DataFrame, id: str, source: str, index: Index) -> tuple[str, int] | None:
    """`images/{id}.jpg`, the path of a row's picture by the id or else by another column, and how many rows have none.

    None: no row has a picture.
    Raises ConfigFault INIT-IMAGE where no one template does: mixed suffixes, folders by no column, many files missing.
    """
    if of_pictures(source):
        return "{path}", 0
    short = ""
    for column in [id, *(c for c in table.columns if c != id)]:
        cells = table[column]
        if not any(map(index.around, cells.iloc[:: len(cells) // 200 + 1])) or cells.nunique() < len(cells) / 2:
            continue
        counts, reached = templates(table, column, index)
        fitting = [template for template, n in counts.items() if n == reached]
        if fitting and reached >= ENOUGH * len(table):
            return _choose(part, fitting, source), len(table) - reached
        listed = ", ".join(f"{template} {n} rows" for template, n in counts.most_common(4))
        short = short or f"{listed}; {len(table) - reached} of {len(table)} rows have no picture"
    if short:
        what = f"no one path template fits the rows of {part}; where suffixes differ, a column must hold the path"
        raise question("image", what, source, short, "images/{column}")
    return None


def templates(table: pd.DataFrame, column: str, index: Index) -> tuple[Counter[str], int]:
    """Template -> rows that have a picture by it; and how many rows have one at all.

    Where folders differ from row to row, one that is a cell of another column is named by that column.
    """
    around = list(map(index.around, table[column]))
    counts = Counter(f"{before}{{{column}}}{after}" for pairs in around for before, after in pairs)
    reached = sum(map(bool, around))
    if max(counts.values()) == reached:
        return counts, reached
    named: Counter[str] = Counter()
    for pairs, row in zip(around, table.to_dict("records"), strict=True):
        columns = {cell: f"{{{name}}}" for name, cell in row.items() if cell}
        for before, after in pairs:
            named["/".join(columns.get(f, f) for f in before.split("/")) + f"{{{column}}}{after}"] += 1
    return counts | named, reached


def _choose(part: str, fitting: list[str], source: str) -> str:
    """One of several templates that all fit: not the masks, in the part's own folder, by as few columns as can be."""
    fewest = min(t.count("{") for t in fitting)
    for keep in (
        lambda t: t.count("{") == fewest,
        lambda t: not _aside(t),
        lambda t: not t.lower().endswith(dicom.SUFFIXES),  # beside the same pictures ready to be read
        lambda t: part in t.lower(),
    ):
        fitting = [t for t in fitting if keep(t)] or fitting
    if len(fitting) > 1:
        what = f"several folders have a picture for every row of {part}"
        raise question("image", what, source, examples(fitting), fitting[0])
    return fitting[0]


def _aside(path: str) -> bool:
    return any(word in path.lower() for word in ASIDE)


def find_train_template(sample: pd.DataFrame, sample_name: str, index: Index) -> Guess:
    """The key `train` where no table has the labels: they stand in the pictures' folders or file names.

    Raises ConfigFault INIT-TRAIN or INIT-TARGET where no pattern can be told.
    """
    files = _not_asked(sample, sample_name, index)
    base = os.path.commonpath([os.path.dirname(f) for f in files])
    below = [os.path.relpath(f, base or ".").split(os.sep) for f in files]
    if len({len(parts) for parts in below}) > 1:
        raise question("train", "the training pictures lie at different depths", index.root / base, examples(files),
                       "train/{label}/{name}.jpg")  # fmt: skip
    suffixes = {os.path.splitext(f)[1] for f in files}
    suffix = suffixes.pop() if len(suffixes) == 1 else ".*"
    stems = [os.path.splitext(parts[-1])[0] for parts in below]
    if len(below[0]) > 1:
        inner, reason = _by_folder(below, sample, index.root / base), "the labels are the names of the folders"
    else:
        inner, reason = _by_name(stems, index.root / base), "the labels stand in the file names"
    template = os.path.join(base, inner.replace("{label}", f"{{{_label_field(sample)}}}") + suffix)
    rows = len(read_rows(index.root, template))
    if rows != len(files):
        raise question("train", "the template that the pictures suggest takes other files too", index.root,
                       f"{template}: {rows} files, but {len(files)} training pictures", template)  # fmt: skip
    return Guess("train", template, f"no table lists the {len(files)} training pictures; {reason}")


def find_test_template(sample: pd.DataFrame, sample_name: str, index: Index) -> Guess:
    """The key `test` beside a train template: a template whose stems are the sample's ids, else the sample."""
    ids = sample.iloc[:, 0].str.strip()
    path, _ = find_template("test", sample, sample.columns[0], sample_name, index) or ("", 0)
    field = "{number}" if ids.str.fullmatch(r"\d+").all() else "{name}"
    template = path.replace(f"{{{sample.columns[0]}}}", field)
    if template.count("{") == 1 and "." in template and set(read_rows(index.root, template)["stem"]) == set(ids):
        return Guess("test", template, f"its {len(ids)} pictures are the sample's ids")
    return Guess("test", sample_name, "its ids are the test rows; no table lists them otherwise")


def _not_asked(sample: pd.DataFrame, sample_name: str, index: Index) -> list[str]:
    """The pictures that are not the sample's; of a folder with `train` in its name, where there is one."""
    id = sample.columns[0]
    found = find_template("test", sample, id, sample_name, index)
    if found is None:
        cells = f"{id}: {examples(sample[id], 3)}; pictures: {examples(index.files, 3)}"
        what = "there is no table of training rows, and the sample's ids name no picture"
        raise question("train", what, index.root, cells, "train.csv")
    asked = {re.sub(r"{([^}]*)}", lambda m, row=row: row[m[1]], found[0]) for row in sample.to_dict("records")}
    folders = {os.path.dirname(f) for f in asked}
    files = [f for f in index.files if f not in asked]
    files = [f for f in files if os.path.dirname(f) not in folders] or files
    files = [f for f in files if not _aside(f)] or files
    files = [f for f in files if "train" in os.path.dirname(f).lower()] or files
    if not files:
        what = "there is no table of training rows, and every picture is one of the sample's"
        raise question("train", what, index.root, examples(index.files, 3), "train.csv")
    return files


def _label_field(sample: pd.DataFrame) -> str:
    """The sample's own name of the label, where it has one that fits."""
    asked = sample.columns[1:]
    fits = len(asked) == 1 and re.fullmatch(r"\w+", asked[0]) and asked[0] not in RESERVED
    return asked[0] if fits else "label"


def _by_folder(below: list[list[str]], sample: pd.DataFrame, where: Path) -> str:
    """Which level of folders is the label: the only one, or the one that has the sample's labels."""
    levels = range(len(below[0]) - 1)
    wanted = set(sample.iloc[:, 1]) if len(sample.columns) == 2 else set(sample.columns[1:])
    own = [level for level in levels if wanted & {parts[level] for parts in below}]
    if len(levels) > 1 and len(own) != 1:
        found, example = examples("/".join(parts) for parts in below[:3]), "train/{label}/*/{name}.jpg"
        raise question("train", "several levels of folders could be the label", where, found, example)
    label = own[0] if len(levels) > 1 else 0
    return "/".join([*("{label}" if level == label else "*" for level in levels), "{name}"])


def _by_name(stems: list[str], where: Path) -> str:
    """The template of the stems. A label that holds the delimiter itself (`shih_tzu_7`) can't be told from the rest."""
    numbered = [d for d in DELIMITERS if all(re.fullmatch(rf".+[{d}]\d+", stem) for stem in stems)]
    unclear = any(re.fullmatch(rf".+[{d}].+[{d}]\d+", stem) for d in numbered for stem in stems)
    for pattern, template in IN_NAMES:
        matches = [re.fullmatch(pattern, stem) for stem in stems]
        labels = {m["label"] for m in matches if m}
        if all(matches) and 2 <= len(labels) <= max(2, len(stems) / 2) and not (unclear and "{name}" in template):
            return template
    raise question("target", "no table has the labels, and the file names show none", where, examples(stems),
                   "label train=train/{label}_{number}.jpg")  # fmt: skip
