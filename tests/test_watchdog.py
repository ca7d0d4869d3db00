"""What work is stuck on is told: a batch and its pictures, a file, a database's lock, a worker that says nothing."""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from competition import board, watchdog
from competition.engine import Demand
from competition.local import Local
from competition.prefetch import in_turn


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was said, by a watchdog for which a quarter of a second is long."""
    lines: list[str] = []
    monkeypatch.setattr(board, "say", lambda text, log=None: lines.append(text))
    monkeypatch.setattr(watchdog, "LEAST", 0.25)
    monkeypatch.setattr(watchdog, "LOOK", 0.02)
    for thread in threading.enumerate():  # one of an earlier test looks more seldom
        if thread.name == "watchdog":
            thread.join(10)
    return lines


def until(told: list[str]) -> None:
    """Waits for a line, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not told and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_that_takes_long_is_told_with_its_thread_and_its_place(workers: int, said: list[str]):
    def slow(step: int) -> int:
        if step == 3:
            until(said)
        return step

    assert list(in_turn(slow, range(5), workers, lambda step: f"pictures of {step}")) == [0, 1, 2, 3, 4]
    assert "the batch of step 4, pictures of 3" in said[0]
    assert ("in thread feed_" if workers else "in thread MainThread") in said[0]
    assert re.search(r"at test_watchdog\.py:\d+ until < prefetch\.py:\d+ watched", said[0])


def test_it_is_said_again_when_the_time_has_doubled():
    work = watchdog.at(lambda: "work")
    told = [seconds for seconds in range(300) if work.told(work.began + seconds)]
    assert told == [30, 60, 120, 240]


def test_work_that_is_always_slow_is_not_called_stuck(said: list[str]):
    pace = watchdog.Pace()
    pace.taken.extend([0.1] * 5)
    assert pace.limit() == pytest.approx(2.0)
    with watchdog.at(lambda: "a batch", pace):
        time.sleep(0.5)
    assert not said


def test_the_thread_ends_when_there_is_nothing_to_look_at(said: list[str]):
    with watchdog.at(lambda: "work"):
        assert "watchdog" in [t.name for t in threading.enumerate()]
    deadline = time.monotonic() + 10
    while "watchdog" in [t.name for t in threading.enumerate()] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "watchdog" not in [t.name for t in threading.enumerate()]


def test_watching_costs_microseconds(said: list[str]):
    with watchdog.at(lambda: "work"):
        began = time.perf_counter()
        for _ in range(1000):
            with watchdog.at(lambda: "work"):
                pass
    assert (time.perf_counter() - began) / 1000 < 1e-3


def test_a_picture_that_can_not_be_read_is_told_by_its_path(said: list[str], monkeypatch, tmp_path: Path):
    """As on a network disk that is gone: the system call does not return."""
    from competition import decoding

    path = tmp_path / "a17.jpg"
    path.write_bytes(b"picture")
    plain = os.open

    def hanging(*arguments: object) -> int:
        until(said)
        return plain(*arguments)  # ty: ignore[invalid-argument-type]

    monkeypatch.setattr(os, "open", hanging)
    assert decoding.read(str(path)) == b"picture"
    assert f"reading {path}" in said[0] and "opened" in said[0]


def test_a_locked_database_of_a_search_is_told(said: list[str], tmp_path: Path):
    from sqlalchemy import create_engine, text

    url = f"sqlite:///{tmp_path / 'study.db'}"
    engine = create_engine(url, connect_args={"timeout": 10})
    watchdog.statements(engine, lambda: "waiting for the database")
    with engine.begin() as connection:
        connection.execute(text("create table t (x int)"))
    holder = sqlite3.connect(tmp_path / "study.db", isolation_level=None, check_same_thread=False)
    holder.execute("begin exclusive")
    threading.Thread(target=lambda: (until(said), holder.execute("commit"))).start()
    with engine.begin() as connection:
        connection.execute(text("insert into t values (1)"))
    assert said and "waiting for the database" in said[0]
    assert not watchdog._works


def test_a_worker_that_says_nothing_is_told_by_what_it_works_on(monkeypatch: pytest.MonkeyPatch):
    clock = [0.0]
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    silence = watchdog.Silence()
    silence.heard(7, "fold2")
    told = []
    for clock[0] in range(0, 3000, 60):
        told += silence.told()
        if clock[0] == 1800:
            silence.heard(7)
        if clock[0] == 2700:
            silence.heard(7, None)
    assert [line.partition(" for ")[2].partition(":")[0] for line in told] == ["10 min", "20 min", "10 min"]
    assert told[0].startswith("fold2 has said nothing") and "process 7" in told[0]


def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@pytest.mark.slow
def test_the_engine_tells_which_worker_is_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.setattr(watchdog, "SILENT", 0.5)
    with Local() as engine:
        assert engine.map(wait, [0.0, 3.0], Demand("cpu", 2)) == [0.0, 3.0]
    assert "3.0 has said nothing for" in capsys.readouterr().out


def test_items_are_made_lazily(said: list[str]):
    made: list[int] = []

    def make(step: int) -> int:
        made.append(step)
        return step

    steps: Iterator[int] = in_turn(make, range(100), 0, str)
    assert next(steps) == 0 and made == [0]
