"""What an attacker puts into data, weights, runs or names: nothing of it runs, leaves its folder or reaches the terminal,
and no secret is written. Real files, of which each would leave the file `hacked` behind if it ran.
"""

from __future__ import annotations

import functools
import html
import io
import os
import pickle
import re
import struct
import subprocess
import sys
import tarfile
import time
import tomllib
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from faults.making import BASE, CHECK, FIT, SAMPLE, SUBMIT, TEST, TRAIN, cells, finished, put, table

from competition import artifacts, board, cli, config, decoding, ledger, settings
from competition.data import load

ROOT = Path(__file__).parent.parent
Make = Callable[..., str]


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


@pytest.fixture(autouse=True)
def sentinel(workspace: Path):
    yield
    assert not list(workspace.rglob("hacked")) and not Path("hacked").exists(), "something of it ran"


def refused(capsys: pytest.CaptureFixture, command: tuple[str, ...], code: str, exit: int) -> str:
    assert cli.main(command) == exit
    said = capsys.readouterr().err
    assert f"error {code}:" in said and "Traceback" not in said
    return said


# S1, S2: pickles ------------------------------------------------------------------------------------------------------


def torch_zip(path: Path) -> None:
    import torch

    torch.save({"state_dict": Evil()}, path)


def bare(path: Path) -> None:
    path.write_bytes(pickle.dumps(Evil()))


def joblib_file(path: Path) -> None:
    import joblib

    joblib.dump({"weight": Evil()}, path)


@pytest.mark.parametrize("name", ["w.pt", "w.bin", "w.safetensors"])
@pytest.mark.parametrize("write_it", [torch_zip, bare, joblib_file])
def test_weights_that_are_pickles_are_not_run(name: str, write_it: Callable, competition: Make, capsys):
    run = competition("multiclass", run=f"epochs=1 pretrained={name}")
    write_it(Path(name))
    assert cli.main(("train", run)) == (2 if name.endswith(".safetensors") else 5)
    said = capsys.readouterr().err
    assert re.search("error (SEC-PICKLE|MODEL-WEIGHTS):", said) and name in said
    assert "Traceback" not in said and "weights_only" not in said, "nobody is told how to run it"
    assert not list(Path("runs").rglob("fit.json"))


@pytest.mark.parametrize("write_it", [torch_zip, bare, joblib_file])
@pytest.mark.parametrize("file", ["model0-0.skops", "model0-features.skops"])
def test_models_in_a_run_folder_that_are_pickles_are_not_run(file: str, write_it: Callable, competition: Make, capsys):
    """Not even where the record of the fold names their digest."""
    finished(competition, "trained", lambda make: (table()(make), cli.main(FIT)))
    load.cache_clear()
    path = Path("runs/toy/base/fold0") / file
    write_it(path)
    refused(capsys, SUBMIT, "CKPT-CORRUPT", 4)
    record = artifacts.read_json(path.parent / "fit.json")
    record["files"][file] = artifacts.file_digest(path)
    artifacts.write_json(path.parent / "fit.json", record)
    assert cli.main(SUBMIT) in (4, 5)
    assert re.search("error (SKOPS-TYPE|CKPT-CORRUPT):", capsys.readouterr().err)


def test_a_skops_file_of_foreign_types_is_refused(competition: Make, capsys):
    import skops.io

    finished(competition, "trained", lambda make: (table()(make), cli.main(FIT)))
    load.cache_clear()
    path = Path("runs/toy/base/fold0/model0-0.skops")
    path.write_bytes(skops.io.dumps(Evil()))
    record = artifacts.read_json(path.parent / "fit.json")
    record["files"][path.name] = artifacts.file_digest(path)
    artifacts.write_json(path.parent / "fit.json", record)
    refused(capsys, SUBMIT, "SKOPS-TYPE", 5)


def test_arrays_of_objects_are_not_read(competition: Make, capsys):
    """The cache of decoded pictures is the only .npy; one with objects in it is told and made anew."""
    run = competition("multiclass", run="epochs=1")
    assert cli.main(("train", run, "--fold", "0")) == 0
    path = next(Path("runs/.cache").rglob("pictures.npy"))
    np.save(path, np.array([Evil()] * 72, dtype=object), allow_pickle=True)
    capsys.readouterr()
    assert cli.main(("train", run)) == 0
    assert "CKPT-CORRUPT" in capsys.readouterr().out


def test_no_line_of_ours_unpickles_or_evaluates():
    words = re.compile(
        r"allow_pickle\s*=\s*True|weights_only\s*=\s*False|pickle\.loads?\(|joblib|read_pickle|yaml\.(unsafe_|full_)?load\("
        r"|(?<![\w.])(eval|exec)\(|os\.system|shell\s*=\s*True|extractall|\.query\("
    )
    found = [f"{p}: {m}" for p in ROOT.glob("competition/**/*.py") for m in words.findall(p.read_text())]
    assert not found


# S3 to S5: archives, paths, bombs -------------------------------------------------------------------------------------


def traversing_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("../../hacked", "out")
        packed.writestr("train.csv", "id,label\n")


def traversing_tar(path: Path, mode: str = "w") -> None:
    with tarfile.open(path, mode) as packed:
        for name in ("../../hacked", "/tmp/hacked"):
            entry = tarfile.TarInfo(name)
            entry.size = 3
            packed.addfile(entry, io.BytesIO(b"out"))


PACKERS = [traversing_zip, *(functools.partial(traversing_tar, mode=mode) for mode in ("w", "w:gz", "w:xz", "w:bz2"))]


@pytest.mark.parametrize("write_it", PACKERS)
@pytest.mark.parametrize("place", [TRAIN, TEST, SAMPLE])
def test_archives_are_not_touched(place: str, write_it: Callable, competition: Make, capsys):
    table()(competition)
    write_it(Path(place))
    before = sorted(Path().rglob("*"))
    assert "unpack" in refused(capsys, FIT, "SEC-ARCHIVE", 5)
    assert sorted(Path().rglob("*")) == before


def test_an_archive_as_the_data_folder_is_to_be_unpacked_first(competition: Make, capsys):
    table()(competition)
    traversing_zip(Path("packed.zip"))
    load.cache_clear()
    config_file = Path("configs/toy/competition.yaml")
    config_file.write_text(config_file.read_text().replace("data: data", "data: packed.zip"))
    assert "unpack" in refused(capsys, FIT, "DATA-FOLDER", 3)
    assert cli.main(("init", "packed.zip", "new")) in (2, 3)
    assert not Path("configs/new").exists()


@pytest.mark.parametrize(
    "cell", ["../../../etc/passwd", "/etc/passwd", "a/../../x", "images/\\0.png", "x\x1b]0;title\x07"]
)
def test_paths_in_cells_stay_in_the_data_folder(cell: str, competition: Make, capsys):
    competition("multiclass", run="epochs=1", image="{file}")
    for path in (TRAIN, TEST):
        here = cells(path)
        put(here.assign(file=[cell.replace("\\0", "\x00"), *("images/" + here["id"][1:] + ".png")]), path)
    assert cli.main(("train", BASE)) in (3, 5)
    said = capsys.readouterr().err
    assert re.search("error (SEC-PATH|CSV-NUL|IMG-NAME):", said) and "\x1b" not in said and "root:" not in said


def png(width: int, height: int) -> bytes:
    """A whole grey PNG of that size in a few kB."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    lines = zlib.compressobj(9)
    packed = b"".join(lines.compress(bytes(1 + width // 8)) for _ in range(height)) + lines.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.parametrize("width, height", [(16_000, 8_000), (40_000, 20_000), (65_000, 65_000)])
def test_bombs_are_refused_from_their_header(width: int, height: int):
    bomb = (
        png(width, height)
        if width < 20_000
        else png(8, 8).replace(struct.pack(">II", 8, 8), struct.pack(">II", width, height))
    )
    bomb = bomb[:29] + struct.pack(">I", zlib.crc32(bomb[12:29])) + bomb[33:]
    assert len(bomb) < 200_000
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(decoding.BadPicture, match="IMG-HUGE"):
        decoding.decode(bomb, 32)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000 and time.process_time() - began < 5


def test_a_bomb_in_a_competition_is_named(competition: Make, capsys):
    run = competition("multiclass", run="epochs=1")
    Path("data/images/001.png").write_bytes(png(16_000, 8_000))
    assert "16000 x 8000" in refused(capsys, ("train", run), "IMG-HUGE", 3)


# S6, S7: what people look at ------------------------------------------------------------------------------------------

NASTY = (
    "[bold]x[/]",
    "\x1b[2J\x1b]0;owned\x07",
    "<script>alert(1)</script>",
    "$\\frac{$",
    '=HYPERLINK("http://x")',
    "\u202egnp",
)


def test_names_are_but_text_on_the_screen_and_in_the_log(workspace: Path, capsys):
    from rich.table import Table

    rows = Table("[red]name", title="[link=http://x]t")
    for name in NASTY:
        board.say(name, workspace)
        rows.add_row(name)
    board.console.print(rows)
    said = capsys.readouterr().out + (workspace / "log.txt").read_text()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said)
    assert said.count("[bold]x[/]") == 3 and "[red]name" in said and "[link=http://x]t" in said
    assert said.count("\\x1b[2J") == 3


def test_messages_hold_no_control_characters(competition: Make, capsys):
    run = competition("multiclass", run="epochs=1")
    ends = cells()["id"].replace("000", "0\x1b[31m\u202e")
    put(cells().assign(id=ends))
    assert cli.main(("train", run)) == 3
    said = capsys.readouterr().err
    assert "\x1b" not in said and "\u202e" not in said and "\\x1b" in said
    assert cli.main(("--json", "train", run)) == 3
    assert "\x1b" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_whole_run_with_such_names_is_text(competition: Make, capsys):
    """Columns, classes and categories with markup, formulas, escapes and formulas of TeX; pictures of them are drawn."""
    table()(competition)
    names = dict(zip(("dark", "grey", "light"), (NASTY[0], NASTY[2], NASTY[4])))
    for path in (TRAIN, TEST, SAMPLE):
        here = cells(path)
        if "label" in here:
            here = here.assign(label=here["label"].map(names))
        put(here.rename(columns={"size": NASTY[3], "colour": NASTY[0]}), path)
    assert cli.main(SUBMIT) == 0
    assert cli.main(CHECK) == 0
    assert cli.main(("importance", BASE)) == 0
    assert cli.main(("report", "toy")) == 0
    page = Path("runs/toy/report.html").read_text()
    assert NASTY[2] not in page and html.escape(NASTY[2]) in page
    said = "".join(capsys.readouterr())
    assert "\x1b" not in said and "CSV-FORMULA: a spreadsheet would run" in said
    written = cells("submissions/toy/base.csv")
    assert set(written["label"]) <= set(names.values()), "a submission has the host's own bytes"
    assert list(written["id"]) == list(cells(SAMPLE)["id"])


def test_formulas_stand_behind_an_apostrophe_in_the_ledger(workspace: Path):
    row = dict.fromkeys(ledger.KEY, "x") | {"run": "=cmd|' /C calc'!A0", "cv": -0.5}
    ledger.record(row)
    assert "\n" in artifacts.LEDGER.read_text() and ledger.read()[0]["run"].startswith("'=")
    assert ledger.read()[0]["cv"] == "-0.5"


def test_only_the_page_is_written_for_a_browser_and_escapes_all():
    """What is drawn elsewhere is PNG; test_report.py puts hostile names into every place of the page."""
    sources = {path: path.read_text() for path in ROOT.glob("competition/**/*.py")}
    browsers = re.compile(r"to_html|\.svg|format=.svg|<script|jinja2")
    assert {path.name for path, source in sources.items() if browsers.search(source)} == {"render.py"}
    assert "autoescape=True" in sources[ROOT / "competition/report/render.py"]


# S8, S13: secrets -----------------------------------------------------------------------------------------------------

CANARIES = {name: f"canary-{n}-Zq7Xw9Rt5Yp3" for n, name in enumerate(
    ("WANDB_API_KEY", "KAGGLE_KEY", "HF_TOKEN", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "PODIUM_DB"))}  # fmt: skip


def everything() -> bytes:
    """Every byte of every file below this folder."""
    return b"\0".join(p.read_bytes() for p in Path().rglob("*") if p.is_file())


def test_no_secret_of_the_environment_is_written_or_shown(competition: Make, monkeypatch: pytest.MonkeyPatch, capsys):
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PODIUM_DB", f"nosuch://me:{CANARIES['DB_PASSWORD']}@host/db")
    table()(competition)
    assert cli.main(SUBMIT) == 0
    assert cli.main([*SUBMIT, "--set", "seed=1", "--as", "toy/b"]) == 0
    assert cli.main(("ensemble", "toy")) == 0
    assert cli.main(("importance", BASE)) == 0
    artifacts.write_text(Path("configs/toy/t.yaml"), "extends: base.yaml\nsearch: {params.min_samples_leaf: [1, 2]}\n"
                         "tune: {storage: 'env:PODIUM_DB'}\n")  # fmt: skip
    assert cli.main(("tune", "toy/t", "--trials", "1")) == 4
    assert cli.main(("train", "toy/gone")) == 2
    said = "".join(capsys.readouterr()).encode()
    assert b"HPO-STORE" in said
    for value in CANARIES.values():
        assert value.encode() not in said + everything()


@pytest.mark.parametrize(
    "setting",
    ["pretrained={}", "params.x={}", "columns.ignore=[a, {}]", "{}", "{}=3", "augment=[{{A: {{password: {}}}}}]",
     "tune.storage=postgresql://me:{}@host/db", "search={{lr: [1, {}]}}", "wandb_api_key={}"],
)  # fmt: skip
@pytest.mark.parametrize("way", ["set", "as", "file", "competition"])
def test_a_secret_in_a_configuration_is_refused_by_its_key(
    way: str, setting: str, competition: Make, monkeypatch, capsys
):
    table()(competition)
    monkeypatch.setenv("HF_TOKEN", CANARIES["HF_TOKEN"])
    text = setting.format(CANARIES["HF_TOKEN"])
    key, _, value = text.partition("=")
    path = Path("configs/toy/competition.yaml" if way == "competition" else "configs/toy/base.yaml")
    if way in ("file", "competition"):
        path.write_text(path.read_text() + f"{key.split('.')[-1]}: {value or 1}\n")
        load.cache_clear()
    words = {"set": ("--set", text), "as": ("--set", text, "--as", "toy/x")}.get(way, ())
    said = refused(capsys, (*FIT, *words), "SEC-SECRET", 5)
    assert CANARIES["HF_TOKEN"] not in said
    assert not Path("runs").exists() and not Path("configs/toy/x.yaml").exists()


def test_what_is_no_secret_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("API_TOKEN", "short")
    for text in ("backbone=resnet18.a1_in1k", "pretrained=run:leaves/small", "params.token_pattern=abcdefghijkl",
                 "tune.storage=sqlite:///study.db", "tune.storage=env:PODIUM_DB", "oof=0123456789abcdef0123456789abcdef",
                 "columns.category=[key, token]", "pretrained=short.safetensors"):  # fmt: skip
        settings.parse(text)


def test_every_shipped_configuration_passes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    for path in sorted(Path("configs").glob("*/*.yaml")):
        config._read(path)


# S9 to S13: code, models, supply, databases -----------------------------------------------------------------------------


def test_names_of_commands_lead_nowhere_else(competition: Make, capsys):
    table()(competition)
    for words in (("train", "../x"), ("train", "toy/.."), ("check", "../toy"), ("folds", "/tmp"), ("predict", "toy/a b"),
                  ("train", BASE, "--as", "../x"), ("ensemble", "../toy"), ("init", "data", "../x"),
                  ("tune", "toy/x'; DROP TABLE studies; --"), ("compare", "--a", "../a", "--b", "toy/b")):  # fmt: skip
        assert cli.main(words) == 2, words
        assert "error CFG-VALUE" in capsys.readouterr().err, words
    assert not Path("../x.yaml").exists() and not Path("runs").exists()


def test_a_study_of_any_name_is_data_not_sql(workspace: Path):
    from competition.tuning import study

    name = "toy/x'; DROP TABLE studies; --"
    url = study.database(workspace)
    study.begin(name, url, True, {"data": "a"}, [])
    assert study.begin(name, url, True, {"data": "a"}, []).study_name == name


@pytest.mark.parametrize("backbone", ["hf-hub:someone/model", "local-dir:/tmp/x", "https://x/y.bin"])
def test_models_of_strangers_are_not_fetched(backbone: str, competition: Make, capsys):
    run = competition("multiclass", run=f"epochs=1 backbone='{backbone}'")
    refused(capsys, ("train", run), "MODEL-NAME", 2)


def test_floors_of_versions_leave_known_holes_out():
    """torch.load's bypass of weights_only until 2.9 (CVE-2025-32434, CVE-2026-24747), skops until 0.12 (CVE-2025-54412,
    CVE-2025-54886), Pillow until 12.2."""
    wanted = {"torch": (2, 10), "skops": (0, 13), "pillow": (12, 3)}
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    floors = {m[1]: tuple(map(int, m[2].split("."))) for n in needs if (m := re.match(r"([\w-]+)>=([\d.]+)", n))}
    assert {name: floors[name] >= least for name, least in wanted.items()} == dict.fromkeys(wanted, True)
    locked = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"^(lightning|pytorch-lightning|ultralytics|albumentationsx|joblib-stubs)==", locked, re.M)
    entries = re.findall(r"^[\w.-]+==\S+", locked, re.M)
    assert len(entries) > 50 and locked.count("--hash=sha256:") >= len(entries)


def test_durations_and_deadlines_are_of_a_clock_that_does_not_jump():
    found = [
        p.name
        for p in ROOT.glob("competition/**/*.py")
        if p.name != "tensorboards.py"  # whose events have a stamp
        and re.search(r"(?<!process_)\btime\.time\(|clock\.time\(|datetime\.now", p.read_text())
    ]
    assert not found


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_the_screen_and_not_the_work(competition: Make):
    """`make submission | head -1`: the pipe is closed after a line, and the submission is there all the same."""
    table()(competition)
    words = f"{sys.executable} -m competition submission {BASE} | head -1"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {words}"], env=os.environ | {"PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr and not done.stderr, done.stderr
    assert Path("submissions/toy/base.csv").exists()
