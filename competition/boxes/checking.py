"""Raw boxes made fit to train on: in pixels, inside their pictures, each with a class; what is wrong is counted and told.

Codes: DET-NAN, DET-INVERTED, DET-OUTSIDE, DET-AREA and DET-CLASS can be left out (`boxes: {bad: drop}`).
DET-FORMAT and DET-SIZE are refused always. DET-OUTSIDE (in part), IMG-EXIF and DET-DUP are notes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from competition.boxes.merging import clusters, merged
from competition.boxes.raw import as_form, corners
from competition.boxes.reading import Annotated, in_train, section
from competition.boxes.table import EDGES, TRUTH, take
from competition.errors import Finding, examples, nearest
from competition.keys import Competition

ROUNDING = 1.0  # pixels past the picture's edge that are rounding, or counting from 1, and clipped without a word
THIN = 1 - 1e-6  # pixels; a box of exactly one pixel in fractions may come out a rounding error thinner
FORMS, FITS, ENOUGH = ("corners", "sizes", "centers"), 0.9, 20  # share and number of boxes that tell a wrong form
COPY = 0.7  # IoU above which boxes of one class are told to be one object
SOLE = "object"  # the class where neither the files nor the configuration name one
DROP = (
    "Else mend the file, or leave them out: boxes: {bad: drop} in competition.yaml (SET='boxes.bad=drop' at make init)"
)
BAD = {
    "DET-NAN": ("have edges that are no numbers", "Fill those cells; all of them empty is a picture without boxes."),
    "DET-INVERTED": ("end before they begin", "Are these numbers of another `boxes: form` (sizes, corners, centers)?"),
    "DET-OUTSIDE": ("lie wholly outside their picture", "Are these numbers of another `boxes: form` or `unit`?"),
    "DET-AREA": ("are thinner than a pixel", "Are these fractions (`boxes: {unit: fractions}`), or of another form?"),
    "DET-CLASS": ("have no class, or one that is not among `classes:`", "Mend the class, or `target:` and `classes:`."),
}


def clean(
    found: Annotated, sizes: pd.DataFrame, config: Competition
) -> tuple[pd.DataFrame, tuple[str, ...], list[Finding]]:
    """The table of boxes (boxes/table.py, TRUTH) by the order of the pictures, notes, and what must be mended first.

    sizes: boxes/sizes.py's columns by id of each picture. The boxes are of the picture as `boxes.upright` says.
    """
    frame = of_boxes(sizes, config).reindex(found.table.index)
    notes = list(_turned(sizes.reindex(found.table.index), config))
    boxes, unread = _in_pixels(found, frame)
    if unread:
        notes.append(f"{unread} boxes of pictures that can't be read are left out: their fractions are of no size")
    boxes["label"] = _labels(boxes["label"], config)
    bounds = frame.loc[boxes.index, ["width", "height", "width", "height"]].to_numpy()
    inside = np.fmax(np.fmin(boxes[list(EDGES)], bounds), 0)
    bad = _bad(boxes, bounds, inside.to_numpy(), config)
    findings = list(_other_sizes(found.stated, sizes, config, pixels=found.unit == "pixels"))
    findings += _other_form(boxes[list(EDGES)].to_numpy(), bounds, config)
    told = [_refused(code, boxes[which], config) for code, which in bad.items() if which.any()]
    if section(config).bad == "refuse":
        findings += told
    else:
        notes += [f"{f.code}: {f.what}: left out, as boxes.bad says; {f.where}" for f in told]
    good = ~np.any(list(bad.values()), axis=0)
    notes += _clipped(boxes[good], bounds[good])
    boxes[list(EDGES)] = inside
    truth, copies = _copies(boxes.loc[good, list(TRUTH)], config)
    return take(truth, found.table.index), (*notes, *copies), findings


def of_boxes(sizes: pd.DataFrame, config: Competition) -> pd.DataFrame:
    """[ids] width and height of the picture that the boxes are of: upright by its EXIF note, or as it is stored."""
    if section(config).upright:
        return sizes[["width", "height"]]
    return sizes[["stored_width", "stored_height"]].set_axis(["width", "height"], axis=1)


def _in_pixels(found: Annotated, frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The boxes in pixels, and how many are left out because the size that they are fractions of is unknown."""
    if found.unit == "pixels":
        return found.boxes.copy(), 0
    known = frame["width"].notna().loc[found.boxes.index].to_numpy()
    boxes = found.boxes[known].copy()
    boxes[list(EDGES)] *= frame.loc[boxes.index, ["width", "height", "width", "height"]].to_numpy()
    return boxes, int((~known).sum())


def _labels(labels: pd.Series, config: Competition) -> pd.Series:
    """The one class where nothing names one: that of `classes:` if it has but one, or `object`."""
    named = bool(config.targets) and in_train(config)
    if named or (labels != "").any():
        return labels
    one = config.classes is not None and len(config.classes) == 1
    return pd.Series(config.classes[0] if config.classes and one else SOLE, index=labels.index, dtype="str")


def _bad(boxes: pd.DataFrame, bounds: np.ndarray, inside: np.ndarray, config: Competition) -> dict[str, np.ndarray]:
    """Code -> [boxes] bool. Of the faults of shape a box has the first one only. bounds: [boxes, 4] width, height twice."""
    edges = boxes[list(EDGES)].to_numpy()
    start, end = edges[:, :2], edges[:, 2:]
    shape = {
        "DET-NAN": ~np.isfinite(edges).all(axis=1),
        "DET-INVERTED": (end < start).any(axis=1),
        "DET-OUTSIDE": ((start >= bounds[:, :2]) | (end <= 0)).any(axis=1),
        "DET-AREA": (inside[:, 2:] - inside[:, :2] < THIN).any(axis=1),
    }
    seen = np.zeros(len(boxes), dtype=bool)
    for code, which in shape.items():
        shape[code] = which & ~seen
        seen = seen | which
    labels = boxes["label"]
    nameless = (labels == "") if config.classes is None else ~labels.isin(config.classes)
    return shape | {"DET-CLASS": nameless.to_numpy()}


def _other_form(edges: np.ndarray, bounds: np.ndarray, config: Competition) -> Iterator[Finding]:
    """Sizes read as corners, or the reverse, are often boxes too: told by how many of them fit into their pictures."""
    form = section(config).form
    if not in_train(config) or len(edges) < ENOUGH:
        return
    numbers = as_form(edges, form)
    shares = {name: _fit(corners(numbers, name), bounds) for name in FORMS}
    best = max(FORMS, key=lambda name: shares[name])
    if shares[best] >= FITS and shares[best] - shares[form] > 1 - FITS:
        found = ", ".join(f"{name}: {share:.0%}" for name, share in shares.items()) + " of the boxes fit their pictures"
        where, mend = f"{config.data}/{config.train}", f"boxes: {{form: {best}}} in competition.yaml"
        yield Finding("DET-FORMAT", f"the boxes are hardly {form}, as boxes.form says", where, found, mend, MOVED)


def _fit(edges: np.ndarray, bounds: np.ndarray) -> float:
    """Share of the boxes that have an area and lie inside, but for rounding."""
    solid = (edges[:, 2:] > edges[:, :2]).all(axis=1)
    return float((solid & (edges >= -ROUNDING).all(axis=1) & (edges <= bounds + ROUNDING).all(axis=1)).mean())


def _refused(code: str, boxes: pd.DataFrame, config: Competition) -> Finding:
    what, hint = BAD[code]
    if code == "DET-CLASS":
        labels = boxes["label"].unique()
        found = f"classes {examples(labels)}"
        unknown = [label for label in labels if label]
        hint += f" ({nearest(unknown[0], config.classes or ())})" if unknown else ""
    else:
        found = examples(f"{id}: {' '.join(f'{v:g}' for v in box)}" for id, *box in boxes[list(EDGES)].itertuples())
    what, where, risk = f"{len(boxes)} training boxes {what}", examples(boxes["where"]), "a model would learn them"
    return Finding(code, what, where, found, f"{hint} {DROP}", risk)


def _clipped(boxes: pd.DataFrame, bounds: np.ndarray) -> list[str]:
    edges = boxes[list(EDGES)].to_numpy()
    past = np.fmax(-edges, edges - bounds).max(axis=1, initial=0)
    out = boxes[past > ROUNDING]
    if not len(out):
        return []
    worst = f"by up to {past.max():.0f} pixels"
    doubt = "; so many of them: are boxes.form and boxes.unit right?" if 2 * len(out) > len(boxes) else ""
    return [
        f"DET-OUTSIDE: {len(out)} boxes reach out of their picture {worst} and are clipped: {examples(out['where'])}{doubt}"
    ]


def _turned(sizes: pd.DataFrame, config: Competition) -> list[str]:
    turned = sizes.index[sizes["orientation"] > 1]
    if not len(turned):
        return []
    how = "turned upright by it" if section(config).upright else "stored, before it is turned"
    said = str(section(config).upright).lower()
    return [
        f"IMG-EXIF: {len(turned)} training pictures have an EXIF note that turns them: their boxes are read as of the "
        f"picture {how} (boxes.upright: {said}): {examples(turned)}"
    ]


def _other_sizes(stated: pd.DataFrame, sizes: pd.DataFrame, config: Competition, pixels: bool) -> list[Finding]:
    """Pictures of another size than the files say. Of fractions it only counts which way up they are."""
    upright = section(config).upright
    have = of_boxes(sizes, config).reindex(stated.index)
    other = sizes.reindex(stated.index)[["stored_width", "stored_height"] if upright else ["width", "height"]]
    differs = (stated != have).any(axis=1) & stated.notna().all(axis=1) & have.notna().all(axis=1)
    unturned = differs & (stated.to_numpy() == other.to_numpy()).all(axis=1)
    resized = differs & ~unturned & pixels
    where = f"{config.data}/{section(config).source or config.train}"
    findings = []
    if unturned.any():
        what = f"boxes of {unturned.sum()} pictures are of the picture {'as stored' if upright else 'turned upright'}"
        mend = f"set boxes: {{upright: {str(not upright).lower()}}} in competition.yaml"
        findings.append(
            Finding("DET-SIZE", f"{what} by its EXIF note", where, _sides(stated, have, unturned), mend, TURN)
        )
    if resized.any():
        what = f"{resized.sum()} pictures have another size than their row or file says"
        mend = "the pictures were resized, or are others: fetch those of the boxes, or mend the boxes, width and height"
        findings.append(Finding("DET-SIZE", what, where, _sides(stated, have, resized), mend, MOVED))
    return findings


TURN = "boxes would lie across the objects of those pictures"
MOVED = "boxes would lie beside the objects"


def _sides(stated: pd.DataFrame, have: pd.DataFrame, which: pd.Series) -> str:
    pairs = zip(stated.index[which], stated[which].to_numpy(), have[which].to_numpy(), strict=True)
    return examples(f"{id}: says {w:g} x {h:g}, is {x:g} x {y:g}" for id, (w, h), (x, y) in pairs)


def _copies(truth: pd.DataFrame, config: Competition) -> tuple[pd.DataFrame, list[str]]:
    """Merges boxes of one object where boxes.merge asks for it, and tells of those that are left."""
    at = section(config).merge
    if at is not None:
        fewer = merged(truth, at)
        return fewer, [f"boxes.merge: {len(truth)} training boxes are {len(fewer)} objects (IoU from {at:g} on)"]
    cluster = clusters(truth, COPY)
    several = np.bincount(cluster, minlength=1)
    groups = several[several > 1]
    if not len(groups):
        return truth, []
    where = truth.index[several[cluster] > 1].unique()
    twice = truth.reset_index().duplicated(["id", "label", *EDGES]).sum()
    exact = f", {twice} of them exact copies" if twice else ""
    return truth, [
        f"DET-DUP: {len(groups)} objects have several boxes of one class (IoU above {COPY}), up to {groups.max()} boxes of "
        f"one object{exact}: {examples(where)}; several readers? `boxes: {{merge: {COPY}}}` takes their mean"
    ]
