"""A search on PostgreSQL: several commands share it, two are killed, the server goes away and comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from conftest import write
from optuna.trial import TrialState

from benchmarks import postgres
from competition import cli
from competition.errors import EnvironmentFault
from competition.tuning import store, study

ROOT = Path(__file__).parent.parent
NOWHERE = "postgresql://me@127.0.0.1:9/nowhere"  # the port that discards: nobody listens
SMALL: dict[str, Any] = {"task": "tabular", "model": "extratrees", "jobs": 1, "columns": {"ignore": ["day", "note"]},
                         "params": {"n_estimators": 60, "min_samples_leaf": 4},
                         "search": {"params.min_samples_leaf": {"low": 1, "high": 20},
                                    "params.max_features": {"low": 0.2, "high": 1}}}  # fmt: skip
TUNE: dict[str, Any] = {"finalists": 0, "stop": "none", "sampler": "random"}
QUICK = """
import sys
from competition.tuning import store, study
store.HEARTBEAT, store.GRACE, study.POLL = 1, 8, 0.2
from competition import cli
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def server() -> Generator[postgres.Server]:
    if postgres.programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    with postgres.serving() as one:
        yield one


@pytest.fixture
def shared(competition: Callable[..., str], server: postgres.Server, monkeypatch: pytest.MonkeyPatch):
    """Makes the run toy/<name>, whose search stands on the server; values replace or add keys of `tune`."""
    monkeypatch.setenv("PGPASSWORD", server.password)
    competition(columns=True, folds={"n": 3})

    def make(name: str, **tune: Any) -> str:
        write(f"configs/toy/{name}.yaml", SMALL | {"tune": TUNE | {"storage": server.url} | tune})
        return f"toy/{name}"

    return make


def started(run: str, asked: int) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    output = open("output.txt", "a")  # noqa: SIM115
    return subprocess.Popen([sys.executable, "-c", QUICK, "tune", run, "--trials", str(asked)], env=environment,
                            stdout=output, stderr=subprocess.STDOUT)  # fmt: skip


def until(true: Callable[[], object], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, Path("output.txt").read_text()
        time.sleep(0.05)


def trials(run: str, server: postgres.Server) -> list[Any]:
    with store.faults(server.url):
        return optuna.load_study(study_name=run, storage=store.opened(server.url)).get_trials()


def fits(run: str) -> int:
    return len(list(Path(f"runs/{run}~tune").glob("*/fold*/fit.json")))


def tried(run: str) -> list[tuple[float, ...]]:
    """Values and fold scores of the complete trials, in the order of their values."""
    table = pd.read_csv(f"runs/{run}~tune/trials.csv")
    columns = [*SMALL["search"], "fold0", "fold1", "fold2", "score"]
    return sorted(table.loc[table["state"] == "complete", columns].itertuples(index=False, name=None))


@pytest.mark.slow
def test_four_workers_of_which_two_are_killed(shared: Callable[..., str], server: postgres.Server):
    run, asked = shared("killed"), 8
    four = [started(run, asked) for _ in range(4)]
    until(lambda: fits(run) >= 4)
    for one in four[:2]:
        one.send_signal(signal.SIGKILL)
    assert [one.wait(60) for one in four[:2]] == [-signal.SIGKILL] * 2
    assert [one.wait(300) for one in four[2:]] == [0, 0], Path("output.txt").read_text()

    every = trials(run, server)
    complete = [t for t in every if t.state is TrialState.COMPLETE]
    queued = [t for t in every if t.state is TrialState.WAITING]  # taken by one too many, and put back
    assert not any(t.state is TrialState.RUNNING for t in every) and not any("folds" in t.user_attrs for t in queued)
    assert len(complete) == len({t.user_attrs["folder"] for t in complete}) == asked
    assert fits(run) == asked * 3, "no fold was trained twice, none of another trial"
    failed = {t.number for t in every if t.state is TrialState.FAIL}
    assert failed == {number for t in (*complete, *queued) for number in t.system_attrs.get("retry_history", [])}
    assert cli.main(["tune", shared("alone", storage=None), "--trials", str(asked)]) == 0
    assert tried(run) == tried("toy/alone"), "as one undisturbed process with a file"
    texts = [p.read_text(errors="replace") for p in (*Path("runs").rglob("*.json"), *Path("runs").rglob("*.txt"))]
    assert texts and not any(server.password in text for text in (*texts, Path("output.txt").read_text()))


@pytest.mark.slow
def test_a_server_that_is_started_anew(shared: Callable[..., str], server: postgres.Server):
    run = shared("anew")
    one = started(run, 3)
    until(lambda: fits(run) >= 1)
    server.stop()
    until(lambda: "waiting for postgresql://***@127.0.0.1" in Path("output.txt").read_text())
    server.start()
    assert one.wait(240) == 0, Path("output.txt").read_text()
    assert len([t for t in trials(run, server) if t.state is TrialState.COMPLETE]) == 3 and fits(run) == 9


@pytest.mark.slow
def test_what_a_server_refuses(
    shared: Callable[..., str], server: postgres.Server, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    def told(run: str) -> str:
        capsys.readouterr()
        code = cli.main(["tune", run, "--trials", "1"])
        text = " ".join(capsys.readouterr().err.split())
        assert code in (2, 4) and "Traceback" not in text and "password1" not in text, text
        return text

    run = shared("here")
    assert cli.main(["tune", run, "--trials", "1"]) == 0
    Path("runs/toy/here~tune").rename("runs/toy/elsewhere")
    words = told(run)
    assert "HPO-STORE" in words and "share the folder runs/" in words and "no mark of it here" in words
    Path("runs/toy/elsewhere").rename("runs/toy/gone")
    write("configs/toy/here.yaml", SMALL | {"seed": 7, "tune": TUNE | {"storage": server.url}})
    assert "HPO-MISMATCH" in told(run)
    monkeypatch.setenv("PGPASSWORD", "password1-wrong")
    assert "password authentication failed" in told(shared("wrong"))
    monkeypatch.setenv("PODIUM_DB", server.url.replace("@", ":password1-wrong@"))
    monkeypatch.delenv("PGPASSWORD")
    assert "HPO-STORE" in told(shared("variable", storage="env:PODIUM_DB"))


BEGIN = """
import sys
from competition.tuning import study
study.begin(sys.argv[1], sys.argv[2], True, {"data": "a"}, [({"x": 1}, {})])
"""


@pytest.mark.slow
def test_an_empty_database_that_four_searches_begin_at_once(server: postgres.Server, monkeypatch: pytest.MonkeyPatch):
    import psycopg

    monkeypatch.setenv("PGPASSWORD", server.password)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("create database empty")
    url = server.url.removesuffix("/postgres") + "/empty"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    names = ["one", "one", "two", "three"]
    four = [subprocess.Popen([sys.executable, "-c", BEGIN, name, url], env=environment) for name in names]
    assert [one.wait(120) for one in four] == [0] * 4
    assert [len(study.found(name, url)) for name in ("one", "two", "three")] == [1, 1, 1]


@pytest.mark.slow
def test_a_server_that_is_not_there(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    run = competition(columns=True, folds={"n": 3})
    write("configs/toy/base.yaml", SMALL | {"tune": TUNE | {"storage": NOWHERE}})
    assert cli.main(["tune", run, "--trials", "1"]) == 4
    told = capsys.readouterr().err
    assert "HPO-STORE" in told and 'server at "127.0.0.1", port 9 failed' in told and "PGPASSWORD" in told


def test_a_server_that_a_search_begins_at_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"waits {seconds} s"))
    with pytest.raises(EnvironmentFault, match="port 9 failed"), store.faults(NOWHERE), store.alone(NOWHERE):
        pass
    with pytest.raises(EnvironmentFault, match="port 9 failed"), store.faults(NOWHERE):
        store.opened(NOWHERE)


def test_a_driver_that_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(EnvironmentFault, match="HPO-STORE") as fault, store.alone(NOWHERE):
        pass
    assert fault.value.findings[0].mend.endswith("--extra postgres")


def test_a_trial_whose_finder_died_before_it_was_queued_again():
    at = optuna.create_study()
    lost = at.ask()
    lost.suggest_float("x", 0, 1)
    at.tell(lost.number, state=TrialState.FAIL)
    for _ in range(2):
        study._bury(at)
    queued = study.trials(at, TrialState.WAITING)
    assert [t.params for t in queued] == [lost.params] and study.origin(queued[0]) == lost.number
