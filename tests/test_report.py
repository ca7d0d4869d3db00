"""The page without a browser: every text slot of every block with hostile names, figures as JSON, the policy, the size, and
which runs are shown; test_report_browser.py opens it in one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from plotly import graph_objects as go

from competition.report import page, render
from competition.report.blocks import Card, Chart, Column, Gallery, Grid, Picture, Prose, Section, Tile
from competition.report.render import Head
from competition.standings import Standing

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"'><b>&amp;",
    "}}{{7*7}}",
    "😀 تفاح",
    "a\u202eb\x1b[31m",
    "https://example.org/x.png",
    "\udcff.png",
)
RUNS = [("toy/base", "base: 0.9 ± 0.01"), ("toy/" + HOSTILE[0].replace("/", "∕"), "second")]


def dot(level: int) -> bytes:
    return cv2.imencode(".png", np.full((24, 32, 3), level, np.uint8))[1].tobytes()


def everything(name: str = "class", run: str | None = None) -> list[Section]:
    """Two sections with every block, `name` in every text slot."""
    bars = go.Figure(go.Bar(x=["one", "two"], y=np.array([1.23456789, np.nan]), name="bars"), {"xaxis": {"title": "x"}})
    line = go.Figure([go.Scatter(x=np.arange(40), y=np.sin(np.arange(40) / k), name=f"fold {k}") for k in (3, 5, 8)])
    columns = [Column(name), Column("score", 4, help=f"the score of {name}"), Column("rows"), Column("note")]
    rows = [[f"{name} {n}", None if n == 3 else n % 7 / 7, 1000 * n, None if n % 2 else name] for n in range(20)]
    tiles = [
        Tile(f"{name}{n}", ("cat", name)[n % 2], ("dog", name)[n // 2 % 2], dot(20 * n) if n % 5 else None,
             missing="" if n % 5 else f"no picture {name}", layer=dot(255) if n % 3 == 1 else None,
             facts=[(name, f"{n / 9:.2f}")], kinds=("worst",) if n % 2 else ("worst", "sure"))
        for n in range(10)
    ]  # fmt: skip
    charts = [Chart(f"{name} {title}", fig, f"It shows {name}.") for title, fig in (("bars", bars), ("line", line))]
    return [
        Section("first", f"First {name}", [Prose([name, "two"]), *charts, Grid(name, columns, rows, note=name)], run),
        Section("second", "Second", [
            Gallery(name, tiles, note=name), Gallery("Rows", [Tile(f"row{n}", "1.5", "2.5") for n in range(3)]),
            Picture(name, dot(90), name), Prose([name], listed=True), Card(name, [(name, name)], [(name, f"make {name}\n")]),
        ], run),
    ]  # fmt: skip


def made(name: str = "class") -> str:
    sections = everything(name) + [s for run, _ in RUNS for s in everything(name, run)]
    return render.html(Head(name, [(name, name)], [name]), sections, RUNS).decode()


class Parsed(HTMLParser):
    """Tags and attributes of a page, its texts, and what stands in its script elements."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = [("", {})]
        self.texts: list[str] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.tags[-1]
        self.texts.append(data)
        if tag == "script":
            self.scripts.append((attributes, data))


@pytest.fixture(scope="module")
def plain() -> Parsed:
    return Parsed(made())


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_text_in_every_slot_of_every_block(name: str, plain: Parsed) -> None:
    from competition.errors import visible

    found = Parsed(made(name))
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]
    assert [list(a) for _, a in found.tags] == [list(a) for _, a in plain.tags]
    seen = visible(name).encode(errors="backslashreplace").decode()
    count = lambda parsed, text: sum(text in t for t in parsed.texts)  # noqa: E731
    assert count(found, seen) >= count(plain, "class") - 1  # the option and its like; scripts hold no title
    held = {key: value for _, a in found.tags for key, value in a.items() if value and seen in value}
    assert held.keys() >= {"title", "alt", "aria-label", "value", "data-id", "data-truth", "data-predicted"}


def test_policy_names_the_digests_of_the_only_two_scripts(plain: Parsed) -> None:
    policy = next(
        a["content"] for t, a in plain.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy and policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy and "script-src 'unsafe-inline'" not in policy
    code = next(text for a, text in plain.scripts if not a)
    digests = re.search("script-src ([^;]*);", policy).group(1).split()  # ty: ignore
    assert digests[0] == f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'"
    assert len(digests) == 2 and digests[1] == render.plotly()[1]
    assert {a.get("type") for a, _ in plain.scripts} == {None, "text/plain", "application/json"}
    assert sum(tag == "script" and not a for tag, a in plain.tags) == 1


def test_nothing_is_asked_of_a_network(plain: Parsed) -> None:
    for tag, attributes in plain.tags:
        for name in ("src", "href", "srcset", "action", "poster", "data"):
            address = attributes.get(name) or "#"
            assert address.startswith(("#", "data:")), (tag, address)
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
    style = (render.HERE / "page.css").read_text()
    assert "url(" not in style and "@import" not in style


def test_ids_are_used_once_and_references_lead_to_them(plain: Parsed) -> None:
    ids = [a["id"] for _, a in plain.tags if "id" in a]
    assert len(ids) == len(set(ids))
    for name in ("aria-labelledby", "aria-describedby", "aria-controls", "for"):
        wanted = {word for _, a in plain.tags for word in (a.get(name) or "").split()}
        assert wanted <= set(ids), name
    assert {(a["href"] or "")[1:] for t, a in plain.tags if t == "a"} <= set(ids)


def test_a_figure_is_compact_and_what_plotly_would_draw() -> None:
    values = np.random.default_rng(0).normal(size=(3, 50)) * 1e3
    drawn = go.Figure(
        [go.Scatter(x=np.arange(50), y=row) for row in values], {"title": {"text": "</script>\u2028<!--"}}
    )
    drawn.add_heatmap(z=values)
    text = render.figure_json(drawn)
    assert "<" not in text
    again = json.loads(text)
    assert again["layout"] == {"title": {"text": "</script>\u2028<!--"}}
    assert again["data"][0]["x"] == list(range(50))
    np.testing.assert_allclose([part["y"] for part in again["data"][:3]], values, rtol=1e-5)
    np.testing.assert_allclose(again["data"][3]["z"], values, rtol=1e-5)
    assert len(text) < 0.8 * len(drawn.to_json(pretty=False))
    go.Figure(again)  # plotly's own checks of names and values


def test_nan_and_dates_and_numpy_numbers_go_into_a_figure() -> None:
    drawn = go.Figure(go.Scatter(x=np.array(["2026-01-02"], "datetime64[D]"), y=[np.float32(0.1), np.nan, np.int64(3)]))
    part = json.loads(render.figure_json(drawn))["data"][0]
    assert part["x"][0].startswith("2026-01-02") and part["y"] == [0.1, None, 3]


@pytest.mark.parametrize(
    ("cell", "digits", "text"),
    [(None, 2, "–"), (float("nan"), 2, "–"), (1234.567, 1, "1,234.6"), (np.int64(7), None, "7"), (0.1 + 0.2, None, "0.3"),
     (np.float32(0.5), 3, "0.500"), ("1e3", 2, "1e3")],
)  # fmt: skip
def test_cells_as_they_are_read(cell: object, digits: int | None, text: str) -> None:
    assert render.shown(cell, Column("c", digits)) == text


def test_two_charts_share_a_row_and_an_odd_one_has_it_alone() -> None:
    chart, prose = Chart("t", None, "t"), Prose(["p"])
    widths = [wide for _, wide in render.laid([chart, chart, chart, prose, chart, chart, prose, chart])]
    assert widths == [False, False, True, True, False, False, True, True]


def test_a_gallery_is_filtered_by_what_tiles_share() -> None:
    tiles = [Tile(str(n), f"{n % 12}", f"{n / 7:.3f}", kinds=("worst",)) for n in range(24)]
    assert render.choices(tiles, "truth") == [str(n) for n in range(12)]
    assert render.choices(tiles, "predicted") == []  # each another number
    assert render.choices(tiles, "kinds") == []  # all the same


def standing(name: str, score: float, members: tuple[str, ...] = ()) -> Standing:
    record = {"config": {"members": list(members)}} if members else {}
    return Standing(f"toy/{name}", "blend" if members else "image", "scored", score=score, record=record)


def test_the_best_runs_and_the_members_of_the_best_blend_are_chosen() -> None:
    runs = [standing(f"r{n:02d}", 1 - n / 100) for n in range(20)]
    runs.insert(1, standing("blend", 0.995, ("toy/r15", "toy/r17", "toy/gone")))
    chosen = page.choose(runs)
    assert chosen == [f"toy/{n}" for n in ("r00", "blend", "r01", "r02", "r15", "r17", "r03", "r04")]
    assert page.choose(runs[:1]) == ["toy/r00"] and page.choose([]) == []
