"""Runs on a Ray cluster: what is refused before it begins; and, slowly, on real nodes of this machine: same bytes, losses,
stops, faults."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cluster import QUIET, begun, workers
from competition import artifacts, cli
from competition.cluster import choice, joining
from competition.cluster.losses import DEATHS, Losses
from competition.config import load_run
from competition.errors import ConfigFault, EnvironmentFault, Finding, SafetyFault

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "engine, address, found",
    [
        ("local", "auto", "an address is of a Ray cluster"),
        ("rya", None, "no such engine"),
        ("ray", "ray://10.0.0.4:10001", "a client from outside"),
        ("ray", "10.0.0.4", "no host and port"),
        ("ray", "", "no host and port"),
    ],
)
def test_a_wrong_place_is_told_at_once(engine: str, address: str | None, found: str):
    with pytest.raises(ConfigFault, match=found) as fault:
        choice.asked(engine, address)
    assert fault.value.findings[0].code == "CFG-VALUE"
    assert choice.asked("local", None) is None


def test_without_ray_its_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match="ENV-EXTRA.*\n.*\n.*not installed(.*\n)*.*--extra ray"):
        choice.asked("ray", None)


def test_a_ray_that_knows_no_token_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choice, "version", lambda name: "2.51.1")
    with pytest.raises(EnvironmentFault, match="ENV-EXTRA.*\n.*\n.*ray 2.51.1(.*\n)*.*--extra ray"):
        choice.asked("ray", None)


def test_where_nobody_listens_there_is_no_cluster():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(EnvironmentFault, match="RAY-LOST"):
        joining.join(f"127.0.0.1:{port}")


def test_a_cluster_that_obeys_anybody_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    joining._guarded(["127.0.0.1"])
    with pytest.raises(SafetyFault, match="RAY-OPEN"):
        joining._guarded(["127.0.0.1", "10.0.0.4"])
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    joining._guarded(["127.0.0.1", "10.0.0.4"])


def test_losses_end_where_no_attempt_comes_further():
    losses = Losses(1, ["fold0", "fold1"])
    for step in range(3 * DEATHS):  # each a step further than the last
        losses.heard(1, 0, "7 on a", "show", "run fold0", step, 100, "")
        losses.again(0, "gone")
    for _ in range(DEATHS - 2):
        losses.heard(1, 0, "8 on b", "show", "run fold0", 5, 100, "")
        losses.again(0, "gone")
    with pytest.raises(EnvironmentFault, match="RUN-WORKER(.*\n)*.*8 on b: gone"):
        losses.again(0, "gone")
    assert not losses.deaths[1]


def test_a_lock_is_waited_for_only_after_a_loss():
    losses, locked = Losses(1, ["fold0"]), EnvironmentFault(Finding("RUN-LOCKED", "a", "b", "c", "d"))
    assert not losses.still_held(0, locked)
    losses.again(0, "gone")
    assert losses.still_held(0, locked)
    assert not losses.still_held(0, EnvironmentFault(Finding("ENV-DISK", "a", "b", "c", "d")))


def test_shares_of_a_node_are_no_part_of_what_a_run_is(competition: Callable[..., str]):
    from competition import runs

    run = load_run(competition("multiclass"))
    other = load_run("toy/base", "cpus=2 gpus=0.5")
    assert (other.demand.cpus, other.demand.gpus) == (2, 0.5)
    assert runs.identity(run, ("fit", "predict")) == runs.identity(other, ("fit", "predict"))
    assert cli.main(["train", "toy/base", "--set", "cpus=0"]) == 2


# On real nodes --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Any, list[Any]]]:
    """A cluster of three nodes with a core each; this process is none of its."""
    before = dict(os.environ)
    os.environ |= QUIET
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    yield cluster, [begun(cluster) for _ in range(3)]
    cluster.shutdown()
    os.environ.clear()
    os.environ |= before


def given_to(cluster: Any, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "competition", *words, "--engine", "ray", "--address", cluster.address]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def predictions() -> dict[str, str]:
    found = {str(path): artifacts.file_digest(path) for path in Path("runs/toy/base").rglob("*.parquet")}
    return found | {"csv": artifacts.file_digest(Path("submissions/toy/base.csv"))}


def until(seen: Callable[[], object], process: subprocess.Popen[str], seconds: float = 240) -> None:
    ends = time.monotonic() + seconds
    while not seen():
        assert process.poll() is None and time.monotonic() < ends, process.communicate(timeout=60)[0]
        time.sleep(0.05)


def checkpoints() -> list[Path]:
    return [*Path("runs/toy/base").glob("fold*/last.ckpt")]


@pytest.mark.slow
def test_lost_workers_a_sigterm_and_a_ctrl_c_change_no_byte(nodes: Any, competition: Callable[..., str]):
    cluster, there = nodes
    run = competition("multiclass", folds={"n": 3})
    settings = ("--set", "epochs=60 jobs=3")
    local = [sys.executable, "-m", "competition", "submission", run, *settings]
    subprocess.run(local, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, stdout=subprocess.DEVNULL)
    expected = predictions()
    shutil.rmtree("runs/toy")
    shutil.rmtree("submissions")
    process = given_to(cluster, "submission", run, *settings)
    until(checkpoints, process)
    for number in (signal.SIGKILL, signal.SIGTERM):
        until(lambda: workers(there), process)
        with suppress(ProcessLookupError):
            os.kill(min(workers(there)), number)
        time.sleep(2)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 75 and "Traceback" not in said, said
    assert "was lost" in said
    process = given_to(cluster, "submission", run, *settings)
    said, _ = process.communicate(timeout=560)
    assert process.returncode == 0, said
    assert predictions() == expected
    assert not checkpoints() and not [*Path("runs/.cluster").iterdir()]


@pytest.mark.slow
def test_a_fault_of_a_worker_comes_whole_and_what_no_node_has_is_told(nodes: Any, competition: Callable[..., str]):
    run = competition("multiclass")
    said, _ = (process := given_to(nodes[0], "train", run, "--set", "cpus=2")).communicate(timeout=300)
    assert process.returncode == 4 and "RAY-ROOM" in said and "cpus: 2" in said, said
    said, _ = (process := given_to(nodes[0], "train", run, "--set", "lr=1e9 clip=0")).communicate(timeout=300)
    assert process.returncode == 4 and "RUN-NAN" in said and "Traceback" not in said, said


@pytest.mark.slow
def test_time_that_is_up_leaves_a_submission_of_unfinished_folds(nodes: Any, competition: Callable[..., str]):
    run = competition("multiclass", folds={"n": 3})
    process = given_to(nodes[0], "submission", run, "--set", "epochs=100000 jobs=2", "--time", "45s")
    began = time.monotonic()
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and time.monotonic() - began < 50, said
    assert "made of unfinished folds: fold0" in " ".join(said.split()), said
    assert Path("submissions/toy/base.csv").exists() and checkpoints()
