"""Uploads to a local stand-in of Kaggle's client, scores into the ledger, and what CV and public scores say together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from competition import artifacts, host, leaderboard, ledger, upload
from competition.cli import main
from competition.data import load
from competition.errors import Fault
from competition.ledger import COLUMNS

STAND_IN = Path(__file__).parent / "kaggle_stand_in.py"
CANARY = "kgl-canary-5f3a9b7e21c4"
FILE = "submissions/toy/base.csv"
IDENTITY = {"config": "c0ffee00aa", "data": "d", "folds": "f"}


@pytest.fixture
def hosted(competition, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A competition with one submission and its row of the ledger; returns the folder of the host's state."""
    competition("multiclass", slug="leaves")
    state, home = workspace / "host", workspace / "home"
    (home / ".kaggle").mkdir(parents=True)
    state.mkdir()
    (state / "state.json").write_text("{}")
    program = workspace / "bin" / "kaggle"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable} -IS\n{STAND_IN.read_text()}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(home))
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_STAND_IN", str(state))
    monkeypatch.setattr(upload, "PAUSES", (0.1, 0.2, 0.4))
    monkeypatch.setenv("KAGGLE_API_TOKEN", CANARY)
    submitted("toy/base", 0.75)
    return state


def submitted(run: str, cv: float | str, **row: object) -> None:
    """A submission in the form of the sample, and its row."""
    sample = pd.read_csv("data/sample_submission.csv", dtype=str)
    rng = np.random.default_rng(len(ledger.read()))
    path = artifacts.submission_csv(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    sample.assign(label=rng.choice(["dark", "grey", "light"], len(sample))).to_csv(path, index=False)
    values = {"time": "now", "competition": "toy", "run": run, "metric": "accuracy", "cv": cv, "cv_std": 0.02}
    ledger.record(values | IDENTITY | row)


def listed(state: Path) -> list[dict]:
    path = state / "submissions.json"
    return json.loads(path.read_text()) if path.exists() else []


def set_state(state: Path, **values: object) -> None:
    (state / "state.json").write_text(json.dumps(values))


def test_an_upload_waits_for_its_score_and_is_not_repeated(hosted: Path, capsys: pytest.CaptureFixture):
    assert main(["upload", FILE, "--wait"]) == 0
    (one,) = listed(hosted)
    mark = artifacts.file_digest(Path(FILE))[: upload.DIGITS]
    assert one["description"] == f"toy/base accuracy 0.75 ± 0.02 config c0ffee00 file {mark}"
    assert (hosted / "upload0.csv").read_bytes() == Path(FILE).read_bytes()
    assert ledger.read()[0]["public"] == "0.81234" and ledger.read()[0]["cv"] == "0.75"
    said = capsys.readouterr().out
    assert "0 submitted today, 5 left" in said and "1 submitted today, 4 left" in said
    before = artifacts.LEDGER.read_bytes()
    assert main(["upload", FILE]) == 0
    assert "uploaded before" in capsys.readouterr().out
    assert len(listed(hosted)) == 1 and artifacts.LEDGER.read_bytes() == before
    assert main(["upload", FILE, "--force"]) == 0
    assert len(listed(hosted)) == 2


@pytest.mark.slow
def test_the_score_of_an_earlier_upload_is_fetched_later(hosted: Path, capsys: pytest.CaptureFixture):
    set_state(hosted, looks=2)
    assert main(["upload", FILE, "--message=mine"]) == 0
    assert listed(hosted)[0]["description"].startswith("mine file ")
    assert "not scored yet" in capsys.readouterr().out and ledger.read()[0]["public"] == ""
    assert main(["upload", FILE, "--wait"]) == 0
    assert len(listed(hosted)) == 1 and ledger.read()[0]["public"] == "0.81234"


FAILURES = {
    "no token": ({}, {"KAGGLE_API_TOKEN": ""}, "ENV-TOKEN", 4),
    "no network": ({"network": False}, {}, "ENV-NETWORK", 4),
    "limit reached": ({"today": 5}, {}, "HOST-LIMIT", 4),
    "not joined": ({"joined": False}, {}, "HOST-JOIN", 4),
    "no such competition": ({"slug": "flowers"}, {}, "HOST-NAME", 2),
    "the upload breaks off": ({"upload": False}, {}, "HOST-REFUSED", 4),
    "the client tells its token": ({"echo": True}, {}, "HOST-REFUSED", 4),
    "no client": ({}, {"PATH": "/nowhere"}, "ENV-CLIENT", 4),
}


@pytest.mark.parametrize("state, environment, code, exit_code", FAILURES.values(), ids=FAILURES)
def test_a_failed_upload_changes_nothing(
    state: dict, environment: dict, code: str, exit_code: int, hosted: Path, monkeypatch, capsys
):
    set_state(hosted, **state)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = artifacts.LEDGER.read_bytes()
    assert main(["upload", FILE, "--wait"]) == exit_code
    told = capsys.readouterr()
    assert f"error {code}: " in told.err and "mend:" in told.err and "Traceback (most" not in told.err
    assert CANARY not in told.out + told.err
    assert artifacts.LEDGER.read_bytes() == before and not listed(hosted)


def test_a_file_that_cannot_be_scored(hosted: Path, capsys: pytest.CaptureFixture):
    set_state(hosted, status="ERROR")
    assert main(["upload", FILE, "--wait"]) == 3
    assert "error HOST-SCORE" in capsys.readouterr().err and ledger.read()[0]["public"] == ""
    set_state(hosted)
    assert main(["upload", FILE, "--wait"]) == 0, "what ended with an error may be uploaded again"
    assert len(listed(hosted)) == 2 and ledger.read()[0]["public"] == "0.81234"


def test_a_wrong_file_never_reaches_the_host(hosted: Path, capsys: pytest.CaptureFixture):
    assert main(["upload", FILE, "--competition", "other"]) == 2
    assert "the file is of another competition" in capsys.readouterr().err
    Path(FILE).write_text(Path(FILE).read_text().replace("grey", "gray"))
    assert main(["upload", FILE]) == 3
    assert "SUB-LABEL" in capsys.readouterr().err and not listed(hosted)


@pytest.mark.slow
def test_a_file_of_no_run_gets_a_row_of_its_own(hosted: Path):
    Path("mine.csv").write_bytes(Path(FILE).read_bytes())
    assert main(["upload", "mine.csv", "--competition", "toy", "--wait"]) == 0
    rows = ledger.read()
    assert [(r["run"], r["public"], r["cv"]) for r in rows] == [("toy/base", "", "0.75"), ("mine.csv", "0.81234", "")]
    Path("mine.csv").write_text(Path("mine.csv").read_text().replace("grey", "dark"))
    set_state(hosted, score="0.5")
    assert main(["upload", "mine.csv", "--competition", "toy", "--wait"]) == 0
    assert [r["public"] for r in ledger.read()] == ["", "0.81234", "0.5"], "another file of the same name is another"


def test_make_takes_0_for_no():
    """FORCE=0 must not force."""
    for value, flags in (("0", ""), ("1", "--wait --force")):
        words = [
            "make",
            "--no-print-directory",
            "-n",
            "upload",
            "FILE=x.csv",
            f"WAIT={value}",
            f"FORCE={value}",
            "PYTHON=python",
        ]
        told = subprocess.run(words, cwd=STAND_IN.parent.parent, capture_output=True, text=True, check=True).stdout
        assert told.replace("\\\n", " ").partition('COMP"}')[2].split() == flags.split()


def test_a_name_that_no_host_has(hosted: Path, capsys: pytest.CaptureFixture):
    path = artifacts.competition_yaml("toy")
    path.write_text(path.read_text().replace("slug: leaves", "slug: Leaves 2026"))
    load.cache_clear()
    assert main(["upload", FILE]) == 2
    assert "CFG-MISSING" in capsys.readouterr().err


def test_the_slug_is_no_part_of_the_data(hosted: Path):
    path, before = artifacts.competition_yaml("toy"), load("toy").hash
    path.write_text(path.read_text().replace("slug: leaves\n", ""))
    load.cache_clear()
    assert load("toy").config.slug is None and load("toy").hash == before and upload.slug_of("toy") == "toy"


SLOW = [pytest.param(where, marks=pytest.mark.slow) for where in ("KAGGLE_API_TOKEN", "KAGGLE_KEY", "access_token")]


@pytest.mark.parametrize("where", ["kaggle.json", *SLOW])
def test_no_token_gets_anywhere(where: str, hosted: Path, monkeypatch: pytest.MonkeyPatch, capfd):
    """Canary: every byte that the command prints, raises or writes."""
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    home = Path(os.environ["HOME"]) / ".kaggle"
    if where.startswith("KAGGLE"):
        monkeypatch.setenv("KAGGLE_USERNAME", "me")
        monkeypatch.setenv(where, CANARY)
    else:
        text = json.dumps({"username": "me", "key": CANARY}) if where == "kaggle.json" else CANARY
        (home / where).write_text(text)
        (home / where).chmod(0o644)
    assert main(["upload", FILE]) == 0
    for state in ({"echo": True}, {"network": False}):
        set_state(hosted, **state)
        assert main(["--json", "upload", FILE, "--force"]) == 4
        with pytest.raises(Fault) as raised:
            main(["--debug", "upload", FILE, "--force"])
        print("".join(traceback.format_exception(raised.value)))
    told = "".join(capfd.readouterr())
    assert "uploaded submissions/toy/base.csv" in told and "Bearer ***" in told and "Traceback" in told
    assert ("SEC-TOKEN" in told) == (not where.startswith("KAGGLE"))
    assert CANARY not in told
    files = [p for p in Path().rglob("*") if p.is_file() and home not in p.resolve().parents]
    assert len(files) > 5 and not [p for p in files if CANARY.encode() in p.read_bytes()]


def test_secrets_are_cut_out_whole(hosted: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOME_PASSWORD", f"{CANARY}-longer")
    assert host.clean(f"a {CANARY}-longer b {CANARY} c") == "a *** b *** c"


# The ledger -----------------------------------------------------------------------------------------------------------


def test_scores_by_hand_leave_the_other_rows_byte_for_byte(hosted: Path, capsys: pytest.CaptureFixture):
    submitted("toy/other", 0.5, members="a\nb;c")
    artifacts.LEDGER.write_bytes(
        artifacts.LEDGER.read_bytes() + b"\n" + b'then,toy,"toy/third",,accuracy,0.1,,,"0,5",,,,\n'
    )
    before = artifacts.LEDGER.read_text().splitlines(keepends=True)
    assert main(["score", "--", FILE, "-0.25", "0.5"]) == 0
    after = artifacts.LEDGER.read_text().splitlines(keepends=True)
    assert after[1] == before[1].replace("0.02,,,", "0.02,-0.25,0.5,") and after[2:] == before[2:]
    assert main(["score", FILE, "0.3"]) == 0
    row = ledger.read()[0]
    assert (row["public"], row["private"]) == ("0.3", "0.5"), "a score that is not given stays"
    assert main(["score", FILE, "high"]) == 2 and main(["score", "submissions/toy/none.csv", "1"]) == 3
    assert main(["score", "submissions/toy/other.csv", "0.9"]) == 0
    assert [r["public"] for r in ledger.read()] == ["0.3", "0.9", ""] and ledger.read()[1]["members"] == "a\nb;c"
    assert ledger.read()[2]["private"] == "0,5"
    assert list(pd.read_csv(artifacts.LEDGER).columns) == list(COLUMNS)


def test_of_several_rows_the_one_of_the_run_as_it_is(hosted: Path):
    submitted("toy/base", 0.8, config="later")
    ledger.fill("toy/base", {"config": IDENTITY["config"]}, public="0.1")
    assert [*leaderboard.scored(load("toy"))["cv"]] == [0.75], "the last one has no score yet"
    ledger.fill("toy/base", {}, public="0.2")
    assert [(r["cv"], r["public"]) for r in ledger.read()] == [("0.75", "0.1"), ("0.8", "0.2")]


# CV and the public score ----------------------------------------------------------------------------------------------


def board_of(scores: dict[str, tuple[float, str]]) -> tuple[pd.DataFrame, list[str]]:
    for run, (cv, public) in scores.items():
        submitted(f"toy/{run}", cv)
        ledger.fill(f"toy/{run}", {}, public=public)
    rows = leaderboard.scored(load("toy"))
    return rows, leaderboard.advice(rows, load("toy"))


def test_ranks_agree_or_not(hosted: Path):
    rows, _ = board_of({f"r{n}": (0.5 + n / 100, str(0.6 + n / 50)) for n in range(8)})
    assert rows["run"][0] == "toy/r7"
    told = leaderboard.agreement(rows)
    assert told.rank == pytest.approx(1) and told.low == pytest.approx(1) and "goes with" in str(told)
    shuffled = leaderboard.agreement(rows.assign(public=[0.3, 0.1, 0.8, 0.2, 0.7, 0.4, 0.5, 0.6]))
    assert shuffled.low < 0 < shuffled.high and "too few rows" in str(shuffled)
    assert leaderboard.agreement(rows.head(3)).rank is None
    rng = np.random.default_rng(0)
    many = pd.DataFrame({"cv": rng.random(50), "public": rng.random(50)})
    assert "don't go together" in str(leaderboard.agreement(many))


def test_the_two_to_choose(hosted: Path):
    rows, told = board_of({"a": (0.80, "0.70"), "b": (0.79, "0.72"), "lucky": (0.60, "0.90"), "c": (0.785, "0.60")})
    text = "\n".join(told)
    assert "choose toy/a: the best CV" in text and "and toy/b: the best public score, 0.72" in text
    assert "not toy/lucky" in text
    rows["public"] = [0.95, 0.1, 0.2, 0.3]
    _, *rest = leaderboard.advice(rows, load("toy"))
    alike = {run: leaderboard.likeness(load("toy"), "toy/a", run) for run in ("toy/b", "toy/c")}
    assert f"and {min(alike, key=lambda run: alike[run])}: the first has the best public score too" in rest[0]
    artifacts.submission_csv("toy/a").unlink()
    assert "can't be told" in "\n".join(leaderboard.advice(rows, load("toy")))
    assert leaderboard.advice(rows.head(1), load("toy")) == [
        "choose toy/a: it is the only one with a CV and a public score"
    ]


def test_the_table_and_the_picture(hosted: Path, capsys: pytest.CaptureFixture):
    assert main(["leaderboard", "toy"]) == 3
    assert "LEDGER-ROW" in capsys.readouterr().err
    submitted("toy/mine", "", public="0.6")
    assert main(["leaderboard", "toy"]) == 0
    assert "0 rows have a CV" in capsys.readouterr().out and not Path("runs/toy/leaderboard.png").exists()
    board_of({"a": (0.80, "0.70"), "b": (0.79, "0.72")})
    assert main(["leaderboard", "toy"]) == 0
    said = capsys.readouterr().out
    assert "0.80000 ± 0.0200" in said and "unknown" in said and "2 rows have a CV and a public score" in said
    assert Path("runs/toy/leaderboard.png").read_bytes().startswith(b"\x89PNG")
