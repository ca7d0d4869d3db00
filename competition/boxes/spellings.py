"""How tables, cells and samples call the fields of a box: `BBox_X1`, `xmin`, `confidence`."""

from __future__ import annotations

import re
from collections.abc import Iterable

# The four numbers in the order of their `boxes.form`, as `plain` leaves them; the first that are all there count.
FOUR: tuple[tuple[str, tuple[str, str, str, str]], ...] = (
    ("corners", ("xmin", "ymin", "xmax", "ymax")),
    ("corners", ("minx", "miny", "maxx", "maxy")),
    ("corners", ("x1", "y1", "x2", "y2")),
    ("corners", ("x0", "y0", "x1", "y1")),
    ("corners", ("left", "top", "right", "bottom")),
    ("corners", ("xtl", "ytl", "xbr", "ybr")),
    ("corners", ("xstart", "ystart", "xend", "yend")),
    ("corners", ("startx", "starty", "endx", "endy")),
    *(
        ("centers" if "c" in x else "sizes", (x, y, w, h))
        for w, h in (("w", "h"), ("width", "height"))
        for x, y in (("xcenter", "ycenter"), ("centerx", "centery"), ("xc", "yc"), ("cx", "cy"), ("x", "y"),
                     ("xmin", "ymin"), ("left", "top"), ("x1", "y1"))
    ),
)  # fmt: skip
LABEL = (
    "label", "class", "category", "name", "classname", "labelname", "object", "classid", "categoryid", "labelid",
)  # fmt: skip
CROWD = ("iscrowd", "isgroupof", "crowd", "difficult")
SCORE = ("score", "confidence", "conf", "prob", "probability")


def plain(name: str) -> str:
    """A name without case, signs and `bbox`: BBox_X1 -> x1."""
    return re.sub(r"^(bounding|bnd|b)?box(?=.)", "", re.sub(r"[^a-z0-9]", "", name.lower()))


def four(names: Iterable[str]) -> tuple[str, tuple[str, ...]] | None:
    """The form that the names tell, and the four of them in its order."""
    by_plain = {plain(name): name for name in names}
    for form, spelled in FOUR:
        if set(spelled) <= by_plain.keys():
            return form, tuple(by_plain[part] for part in spelled)
    return None
