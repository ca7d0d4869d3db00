"""The page without a browser: every text slot of every block with hostile names, figures as JSON, the policy, the size, and
which runs are shown; test_report_browser.py opens it in one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from plotly import graph_objects as go

from benchmarks.many_runs import NAME, many_runs
from competition import artifacts, cli, folds
from competition.data import load
from competition.errors import ConfigFault
from competition.report import page, render
from competition.report.blocks import Card, Chart, Column, Gallery, Grid, Picture, Prose, Section, Tile
from competition.report.render import Head
from competition.standings import Standing, standings

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
FEW = [HOSTILE[0], HOSTILE[4], HOSTILE[7]]  # markup, words from the right, bytes that are no text
OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in HOSTILE if name not in FEW]
ISOLATES = dict.fromkeys((0x2068, 0x2069))  # the page's own, around words that are read from the right
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


@pytest.mark.parametrize("name", FEW + OTHERS)
def test_hostile_text_is_text_in_every_slot_of_every_block(name: str, plain: Parsed) -> None:
    from competition.errors import visible

    found = Parsed(made(name))
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in plain.tags]
    assert [list(a) for _, a in found.tags] == [list(a) for _, a in plain.tags]
    seen = visible(name).encode(errors="backslashreplace").decode()
    count = lambda parsed, text: sum(text in t.translate(ISOLATES) for t in parsed.texts)  # noqa: E731
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
     (np.float32(0.5), 3, "0.500"), ("1e3", 2, "1e3"), (21150, None, "21,150"), (21150.5, None, "21,150.5")],
)  # fmt: skip
def test_cells_as_they_are_read(cell: object, digits: int | None, text: str) -> None:
    assert render.shown(cell, Column("c", digits)) == text


def test_a_number_can_be_read_as_words() -> None:
    column = Column("time", read=lambda seconds: f"{seconds / 60:.0f} min")
    assert [render.shown(cell, column) for cell in (420, None, "soon")] == ["7 min", "–", "soon"]
    assert render.numeric(Grid("g", [column], [[420], [None]])) == [True]


@pytest.mark.parametrize(
    ("line", "html"),
    [
        ("a; make compare A=t/a B=t/b tests it", "a; <code>make compare A=t/a B=t/b</code> tests it"),
        ("`make compare A= B=` tests", "<code>make compare A= B=</code> tests"),
        ('next: make ensemble COMP=t RUNS="a b".', "next: <code>make ensemble COMP=t RUNS=&#34;a b&#34;</code>."),
        ("make predict RUN=t/v1.2; make it", "<code>make predict RUN=t/v1.2</code>; make it"),
        ("taken for שלום עולם, 12 <times>", "taken for \u2068שלום עולם\u2069, 12 &lt;times&gt;"),
        ("a\u202eb", "a\\u202eb"),
    ],
)
def test_commands_stand_out_and_words_from_the_right_are_isolated(line: str, html: str) -> None:
    assert render.sentence(line) == html


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


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small competition with two runs and their blend, made without training."""
    folder = tmp_path_factory.mktemp("many")
    many_runs(folder, runs=3, folds=2, rows=300, classes=3)
    return folder


@pytest.fixture
def digits(written: Path, workspace: Path) -> Path:
    """The folder of its runs, in a copy that commands run in."""
    shutil.copytree(written, workspace, dirs_exist_ok=True)
    return artifacts.RUNS / NAME


def test_the_report_of_a_competition(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", NAME, "--runs", "run01 blend"]) == 0
    said = capsys.readouterr().out
    assert f"wrote {digits}/report.html" in said and "'run00'" in said
    found = Parsed((digits / "report.html").read_text())
    assert [a["value"] for t, a in found.tags if t == "option" and a["value"] in ("blend", "run00", "run01")] == [
        "blend",
        "run01",
    ]
    headings = {a["id"] for t, a in found.tags if t == "section"}
    assert headings >= {"leaderboard", "alike", "data", "run-curves", "run-confusion", "run-mistakes", "run-members"}
    test_ids_are_used_once_and_references_lead_to_them(found)
    test_nothing_is_asked_of_a_network(found)


def test_a_damaged_file_of_a_run_leaves_the_rest_of_the_page(digits: Path) -> None:
    subject = page.subject_of(data := load(NAME), folds.load(data), standings(NAME, data.hash), [])
    assert page.left_out(subject) == []
    (digits / "run01" / "oof.parquet").write_bytes(b"PAR1 no more PAR1")
    artifacts.write_text(digits / "run00~tune" / "trials.csv", "<b>x</b>\n")
    sections = list(page.gather(subject))
    (search,) = (s for s in sections if s.key == "searches")
    assert "KeyError: 'state'" in search.blocks[0].lines[0] and search.run is None  # ty: ignore
    told = [s for s in sections if isinstance(s.blocks[0], Prose) and "CKPT-CORRUPT" in s.blocks[0].lines[0]]
    assert {(s.key, s.run) for s in told} >= {("confusion", f"{NAME}/run01"), ("mistakes", f"{NAME}/run01")}
    assert all("run01" in s.blocks[0].lines[0] and "delete" in s.blocks[0].lines[0] for s in told)  # ty: ignore
    assert {s.key for s in sections if s.run == f"{NAME}/run00"} >= {"curves", "folds", "confusion", "mistakes"}
    assert "leaderboard" in {s.key for s in sections}


def test_runs_that_cannot_be_shown_are_refused_at_once(digits: Path) -> None:
    (digits / "run00" / "score.json").unlink()
    data = load(NAME)
    with pytest.raises(ConfigFault) as fault:
        page.subject_of(data, folds.load(data), standings(NAME, data.hash), ["run00", "rum01", f"{NAME}/run01"])
    assert [f.code for f in fault.value.findings] == ["CFG-VALUE"] * 2
    assert "unscored" in fault.value.findings[0].found and "run01" in fault.value.findings[1].mend
    (digits / "report.html").unlink(missing_ok=True)
    assert cli.main(["report", NAME, "--runs", "none"]) == 2 and not (digits / "report.html").exists()


def test_webgl_which_needs_eval_is_not_drawn() -> None:
    with pytest.raises(AssertionError, match="WebGL"):
        render.figure_json(go.Figure(go.Parcoords()))
