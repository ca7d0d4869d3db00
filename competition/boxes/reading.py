"""Reads a competition's training pictures and their boxes, whichever form they stand in; checks nothing of the boxes.

One row a box in train, four columns or one; Pascal VOC (a file a picture), YOLO (likewise), COCO (one file).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from competition import artifacts
from competition.boxes import cells, coco, raw, voc, yolo
from competition.errors import ConfigFault, DataFault, Finding, examples, nearest
from competition.keys import Boxes, Competition
from competition.tables import fill, read_rows

SIDES = (("width", "height"), ("image_width", "image_height"), ("img_width", "img_height"))


@dataclass(frozen=True)
class Annotated:
    """Training pictures and their boxes as the files have them.

    table: one row a picture, all text, index and column `config.id`, without the columns that differ within a picture.
    boxes: raw boxes (boxes/raw.py) by that id, in `unit` (pixels or fractions). stated: [rows] width, height that the
    files say the pictures have, nan where they don't. digest: of what stands outside train, "" where all stands there.
    """

    table: pd.DataFrame
    boxes: pd.DataFrame
    unit: str
    stated: pd.DataFrame
    digest: str
    notes: tuple[str, ...]


def read(root: Path, config: Competition, train: pd.DataFrame | None = None) -> Annotated:
    """root: the data folder. train: config.train as read_rows has it, where it is at hand.

    Raises DataFault DET-FORMAT (what can't be read, with its file and line), CSV-HEADER (columns that are missing),
    FOLD-GROUP (a column of the folds differs within a picture), IMG-TEMPLATE; ConfigFault; SafetyFault.
    """
    form = section(config)
    train = read_rows(root, config.train) if train is None else train
    missing = [column for column in columns(config) if column not in train]
    if missing:
        where, mend = f"{config.data}/{config.train}", f"mend competition.yaml; {nearest(missing[0], train.columns)}"
        raise DataFault(Finding("CSV-HEADER", "columns are missing", where, examples(missing), mend))
    train = train.assign(**{config.id: train[config.id].str.strip()})
    table, notes = _row_a_picture(train, config)
    if in_train(config):
        boxes, told = cells.read(train, config)
        found = Annotated(table, boxes, form.unit, _stated(table), "", (*notes, *told))
    elif (source := source_of(config)).endswith(".json"):
        found = _of_coco(root, source, table, config)
    else:
        found = _of_files(root, source, table, config)
    return _with_unlisted(found, root, config) if form.unlisted else found


def section(config: Competition) -> Boxes:
    assert config.boxes is not None, "kind boxes has a section boxes"
    return config.boxes


def in_train(config: Competition) -> bool:
    """Whether the boxes are cells of train."""
    return section(config).source is None and not config.train.endswith(".json")


def source_of(config: Competition) -> str:
    return section(config).source or config.train


def columns(config: Competition) -> tuple[str, ...]:
    """Columns that train must have."""
    return (config.id, *((*section(config).columns, *config.targets) if in_train(config) else ()))


def _row_a_picture(train: pd.DataFrame, config: Competition) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The first row of each id, without the boxes' columns and those that differ within a picture; a note of the latter."""
    own = {*section(config).columns, *config.targets} if in_train(config) else set()
    kept = train.drop(columns=[column for column in own if column != config.id])
    first = kept.drop_duplicates(config.id)
    if len(first) == len(train):
        return _by_id(kept, config), ()
    aligned = first.set_index(config.id, drop=False).loc[train[config.id]]
    differ = [c for c in kept if (kept[c].to_numpy() != aligned[c].to_numpy()).any()]
    of_folds = [c for c in (config.folds.group, config.folds.time) if c in differ]
    if of_folds:
        what, where = "a column of the folds differs within a picture", f"{config.data}/{config.train}"
        mend = "folds: group and time name columns that say one thing of a picture"
        raise DataFault(Finding("FOLD-GROUP", what, where, f"column {examples(of_folds)}", mend))
    notes = (f"columns of train that differ within a picture are left out: {examples(differ)}",) if differ else ()
    return _by_id(first.drop(columns=differ), config), notes


def _by_id(table: pd.DataFrame, config: Competition) -> pd.DataFrame:
    return table.set_index(table[config.id].rename("id"))


def _stated(table: pd.DataFrame) -> pd.DataFrame:
    """[rows] width and height in pixels by the table's own columns, nan where it has none."""
    names = next((pair for pair in SIDES if set(pair) <= set(table.columns)), None)
    sides = {
        side: pd.to_numeric(table[names[i]], errors="coerce") if names else float("nan")
        for i, side in enumerate(("width", "height"))
    }
    stated = pd.DataFrame(sides, index=table.index, dtype=float)
    return stated.where(stated > 0)


def _of_coco(root: Path, source: str, table: pd.DataFrame, config: Competition) -> Annotated:
    """Joins the images to the rows of train: by the id column, or by that of the file's names and numbers that fits."""
    found = coco.read(root / source)
    key = config.id if source == config.train else _joining(found.images, table.index, f"{config.data}/{source}")
    own_id = found.images[key].str.strip()
    rows = own_id[own_id.isin(table.index)]
    boxes = found.boxes[found.boxes.index.isin(rows.index)]
    boxes = boxes.set_index(pd.Index(rows[boxes.index].to_numpy(), name="id", dtype="str"))
    stated = found.stated.loc[rows.index].set_index(pd.Index(rows.to_numpy(), name="id"))
    digest = artifacts.file_digest(root / source)
    spare = len(found.images) - len(rows)
    notes = (f"{source} has {spare} images that train does not list; they are left out",) if spare else ()
    return Annotated(table, boxes, "pixels", stated.reindex(table.index), digest, notes)


def _joining(images: pd.DataFrame, ids: pd.Index, where: str) -> str:
    """The column of the images that has all ids of train, each once."""
    lacking = {
        key: ids.difference(images.loc[~images[key].duplicated(keep=False), key].str.strip())
        for key in ("stem", "file_name", "id")
        if key in images
    }
    best = min(lacking, key=lambda key: len(lacking[key]))
    if len(lacking[best]):
        found = [f"{best} of no image, or of several: {examples(lacking[best])}"]
        mend = "train and the file name the same pictures, by file_name (with or without its folder and end) or id"
        raise DataFault(raw.malformed(where, found, mend))
    return best


def _of_files(root: Path, source: str, table: pd.DataFrame, config: Competition) -> Annotated:
    """VOC or YOLO: the template's file of each row."""
    kind = Path(source).suffix
    if "{" not in source or kind not in (".xml", ".txt"):
        where, mend = (
            f"{config.data}, boxes: source: {source}",
            "Annotations/{id}.xml, labels/{id}.txt or annotations.json",
        )
        raise ConfigFault(Finding("CFG-VALUE", "boxes stand in no such file", where, source, mend))
    files = fill(source, table, f"boxes: source: {source}")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        contents = list(pool.map(raw.read_or_none, [root / file for file in files]))
    told = artifacts.digest(*(part for pair in zip(files, contents) for part in (pair[0], pair[1] or b"")))
    if kind == ".xml":
        boxes, stated = voc.read(root, files, contents)
        return Annotated(table, boxes, "pixels", stated.fillna(_stated(table)), told, ())
    names = yolo.class_names(root, source, config.classes)
    boxes = yolo.read(root, files, contents, names)
    return Annotated(table, boxes, "fractions", _stated(table), artifacts.digest(told, str(names)), ())


def _with_unlisted(found: Annotated, root: Path, config: Competition) -> Annotated:
    """Pictures that fit the training template and no table lists, as rows whose other columns are empty."""
    assert config.image is not None
    template = config.image.train
    if template.count("{") != 1 or f"{{{config.id}}}" not in template:
        mend = f"image: a path whose one field is {{{config.id}}}, or leave boxes.unlisted out"
        where = f"image: {template}, boxes: unlisted: true"
        raise ConfigFault(Finding("CFG-VALUE", "a picture's file does not tell its id", where, template, mend))
    test = read_rows(root, config.test)
    listed = {*found.table.index, *test[config.id if config.id in test else test.columns[0]].str.strip()}
    ids = [id for id in read_rows(root, template)[config.id] if id not in listed]
    index = pd.Index(ids, dtype="str", name="id")
    more = pd.DataFrame("", index=index, columns=found.table.columns).assign(**{config.id: ids})
    note = f"{len(ids)} pictures that no table lists are training pictures without boxes: {examples(ids)}"
    return replace(
        found,
        table=pd.concat([found.table, more.astype("str")]),
        stated=found.stated.reindex([*found.table.index, *ids]).rename_axis("id"),
        digest=artifacts.digest(found.digest, *ids),
        notes=(*found.notes, note),
    )
