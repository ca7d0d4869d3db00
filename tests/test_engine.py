"""Where folds run: order of results, faults across processes, death of workers and of the parent, Ctrl-C at any time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from competition import interrupt
from competition.engine import Demand, signals, stopping
from competition.errors import DataFault, EnvironmentFault, Finding
from competition.local import START, Local

ROOT = Path(__file__).parent.parent


def square(n: int) -> int:
    return n * n


def refuse(n: int) -> int:
    if n == 1:
        raise DataFault(Finding("X-TEST", "what", "where", "found", "mend"))
    return n


def die(n: int) -> int:
    if n == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2)
    return n


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_items_and_faults_come_whole(jobs: int):
    with Local() as engine:
        assert engine.map(square, [3, 1, 2], Demand("cpu", jobs)) == [9, 1, 4]
        with pytest.raises(DataFault) as fault:
            engine.map(refuse, [0, 1, 2], Demand("cpu", jobs))
    assert fault.value.findings[0].code == "X-TEST"


def test_a_killed_worker_is_told_and_does_not_hang():
    began = time.monotonic()
    with Local() as engine, pytest.raises(EnvironmentFault, match="RUN-WORKER") as fault:
        engine.map(die, [0, 1, 2], Demand("cpu", 2))
    assert time.monotonic() - began < 30
    assert "'0'" in fault.value.findings[0].where
    assert "SIGKILL: most often the system's, for memory" in fault.value.findings[0].found


@pytest.mark.slow
def test_a_worker_that_dies_with_nothing_to_do_is_replaced():
    with Local() as engine:
        assert engine.map(die, [1, 2, 3], Demand("cpu", 2)) == [1, 2, 3]  # long enough that there are two
        worker = next(iter(engine.pool._processes.values()))
        worker.kill()
        worker.join(20)
        assert engine.map(square, [1, 2, 3], Demand("cpu", 2)) == [1, 4, 9]


def hears(process: int, number: signal.Signals, how: str = "SigCgt") -> bool:
    """Whether that process has a handler of the signal; how: SigBlk, whether it has it wait."""
    masks = dict(line.split(":") for line in Path(f"/proc/{process}/status").read_text().splitlines())
    return bool(int(masks[how], 16) >> number - 1 & 1)


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads how a process takes signals")
@pytest.mark.parametrize("after", [0.3, 2.5, *(pytest.param(t, marks=pytest.mark.slow) for t in (1.0, 6.0))])
def test_ctrl_c_at_any_time_ends_resumable_and_without_a_traceback(after: float, competition: Callable[..., str]):
    """The terminal's Ctrl-C reaches every process of the group: while it imports, spawns, decodes or trains."""
    run = competition("multiclass", run="epochs=4000")
    command = [sys.executable, "-m", "competition", "submission", run, "--set", "jobs=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                               start_new_session=True)  # fmt: skip
    while not hears(process.pid, signal.SIGTERM):  # Python itself has begun
        time.sleep(0.01)
    time.sleep(after)
    os.killpg(process.pid, signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in errors
    assert process.returncode == 75, errors
    assert not list(Path("runs").rglob("*.tmp"))


@pytest.mark.skipif(START != "forkserver", reason="there is no server")
def test_a_ctrl_c_waits_while_the_server_of_workers_imports():
    code = """
from multiprocessing import forkserver
from competition.engine import Demand
from competition.local import Local
Local().expect(2, [], Demand("cpu", 2))
print(forkserver._forkserver._forkserver_pid, flush=True)
input()
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        server = int(process.stdout.readline())
        assert all(hears(server, number, "SigBlk") for number in interrupt.SIGNALS)
        process.communicate("\n", timeout=20)


class Watched:
    pass


def amid_a_callback(number: signal.Signals) -> None:
    watched = Watched()
    gone = weakref.ref(watched, lambda _: signal.raise_signal(number))  # as that of an import's lock
    del watched
    assert gone() is None


def amid_an_import(number: signal.Signals) -> None:
    with suppress(KeyboardInterrupt):  # as a library would
        signal.raise_signal(number)


@pytest.mark.parametrize("come", [amid_an_import, amid_a_callback])
@pytest.mark.parametrize("number", interrupt.heard())
def test_a_request_that_was_swallowed_is_heard(
    number: signal.Signals,
    come: Callable[[signal.Signals], None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
):
    before = {one: signal.getsignal(one) for one in interrupt.SIGNALS}
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    try:
        interrupt.remember()
        interrupt.listen()
        come(number)
        assert interrupt.came and not capfd.readouterr().err, "Python prints a traceback of what a callback can't raise"
        with pytest.raises(KeyboardInterrupt), signals():
            raise AssertionError("work began")
    finally:
        interrupt.came = interrupt.raises = False
        for one, handler in before.items():
            signal.signal(one, handler)


def test_a_process_hears_that_its_parent_is_gone():
    code = "import os, time; from competition import below; below.end_with(0, lambda: os._exit(7)); time.sleep(30)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 7


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="reads the processes of a session")
def test_workers_and_the_server_that_forked_them_end_with_a_killed_parent(competition: Callable[..., str]):
    run = competition("multiclass", run="epochs=4000")
    command = [sys.executable, "-m", "competition", "train", run, "--set", "jobs=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)

    def left() -> list[str]:
        stats = [
            path.read_text().rpartition(")")[2].split() for path in Path("/proc").glob("[0-9]*/stat") if path.exists()
        ]
        return [stat[1] for stat in stats if stat[3] == str(process.pid) and stat[0] != "Z"]

    try:
        while len(list(Path("runs/toy/base").glob("fold*/last.ckpt"))) < 2 and process.poll() is None:
            time.sleep(0.1)
        assert len(left()) >= 4, "this one, the server, two workers"
        process.kill()
        process.wait(20)
        ends = time.monotonic() + 20
        while left() and time.monotonic() < ends:
            time.sleep(0.1)
        assert not left()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def until_stopped(n: int) -> None:
    while not stopping():
        time.sleep(0.05)
    time.sleep(3)


@pytest.mark.slow
def test_a_worker_that_dies_while_all_are_told_to_stop_leaves_nobody_waiting():
    """Before 3.11.8 the pool's thread died of the items that were cancelled, and the command waited for ever."""

    def signal_then_kill() -> None:
        time.sleep(6)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
        os.kill(next(iter(one.pool._processes)), signal.SIGKILL)

    with signals(), Local() as one:
        threading.Thread(target=signal_then_kill, daemon=True).start()
        with pytest.raises(EnvironmentFault, match="killed by the system"):
            one.map(until_stopped, range(6), Demand("cpu", 2))
