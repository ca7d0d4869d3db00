"""Files that nodes without a common disk have from the command, and bring back: what the actor lets in, and the copies.

The actor is called here as Ray would call it; the last test has it on real nodes.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cluster import ROOT, checkpoints, given_to, predictions, until

from benchmarks.cluster import QUIET, begun, workers
from competition import engine
from competition.cluster import copies
from competition.cluster.files import Files
from competition.cluster.sharing import SCRATCH
from competition.engine import Needs
from competition.errors import EnvironmentFault, Stopped

FOLDS = frozenset({"fold0", "fold1", "foldall"})


class Here:
    """The actor's handle: each method answers at once, in the command's folder."""

    def __init__(self, actor: Files, folder: Path):
        self.actor, self.folder = actor, folder

    def __getattr__(self, name: str) -> Any:
        def remote(*given: Any) -> Callable[[], Any]:
            before = Path.cwd()
            os.chdir(self.folder)
            try:
                value = getattr(self.actor, name)(*given)
            finally:
                os.chdir(before)
            return lambda: value

        return type("Method", (), {"remote": staticmethod(remote)})


class Machines:
    """The command's folder, and a node's, in which this process is."""

    def __init__(self, top: Path):
        self.command, self.node, self.book = top / "command", top / "node", top / "book"
        self.command.mkdir()
        self.node.mkdir()
        self.files = Here(Files(self.command), self.command)
        os.chdir(self.node)

    def write(self, name: str, content: str | bytes) -> None:
        path = self.command / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def item(self, own: str | None = "fold0") -> Any:
        run = Path("runs/toy/base")
        read = (Path("configs"), Path("data"), Path("folds.csv"))
        needs = Needs(lambda: None, lambda: None, read, (run, run / "late"), FOLDS)
        return copies.copied(self.files, self.book, needs, own)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def answered(method: Any, *given: Any, first: Any = None) -> Any:
    """As `copies._asked`, without Ray."""
    return (first or method.remote(*given))()


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(copies, "_asked", answered)
    monkeypatch.setattr(copies, "PIECE", 1000)
    monkeypatch.setattr(copies, "EVERY", 0.01)
    yield Machines(tmp_path)
    engine.go_on()


def test_a_node_has_what_the_command_has_before_each_item(machines: Machines):
    rng = random.Random(0)
    machines.write("data/train.csv", rng.randbytes(4321))
    machines.write("data/images/0.png", rng.randbytes(1000))
    machines.write("data/empty.csv", b"")
    machines.write("configs/toy/base.yaml", "task: image")
    machines.write("folds.csv", "id,fold")
    machines.write("runs/toy/base/run.json", "{}")
    machines.write("runs/toy/base/fold0/last.ckpt", "step 3")
    machines.write("runs/toy/base/fold1/last.ckpt", "of another fold")
    machines.write("runs/toy/base/.lock", "")
    machines.write("runs/toy/base/fold1/predicted.json", "by which it is done")
    machines.write("runs/toy/other/run.json", "of another run")
    machines.write("data/fold1/0.png", "a picture")
    ours = {*tree(machines.command)} - {
        f"runs/toy/{name}" for name in ("base/fold1/last.ckpt", "base/.lock", "other/run.json")
    }
    with machines.item(None), machines.item():
        assert tree(machines.node) == {name: tree(machines.command)[name] for name in ours}
        stamps = {p: p.stat().st_mtime_ns for p in machines.node.rglob("*") if p.is_file()}
    with machines.item(None), machines.item():
        assert stamps == {p: p.stat().st_mtime_ns for p in machines.node.rglob("*") if p.is_file()}, "nothing twice"
    machines.write("data/train.csv", "changed")
    (machines.command / "data/empty.csv").unlink()
    (machines.node / "data/images/0.png").unlink()  # as what cleans /tmp does
    (machines.node / "configs/toy/base.yaml").write_text("damaged")
    with machines.item(None), machines.item():
        assert tree(machines.node) == {name: tree(machines.command)[name] for name in ours - {"data/empty.csv"}}
    assert tree(machines.command)["data/images/0.png"] == tree(machines.node)["data/images/0.png"]


def test_what_a_fold_writes_comes_to_the_command_and_nothing_else(machines: Machines):
    machines.write("runs/toy/base/fold0/last.ckpt", "step 3")
    machines.write("runs/toy/base/fold0/previous.ckpt", "step 2")
    machines.write("runs/toy/base/fold1/fit.json", "whole")
    machines.write("data/train.csv", "rows")
    fold = machines.node / "runs/toy/base/fold0"
    with machines.item(None), machines.item():
        (fold / "model.safetensors").write_bytes(bytes(3500))
        (fold / "history.jsonl").write_text("{}")
        os.replace(fold / "last.ckpt", fold / "previous.ckpt")
        (fold / "last.ckpt").write_text("step 4")
        (machines.node / "data/train.csv").unlink()
        (machines.node / "runs/toy/base/fold1").mkdir()
        (machines.node / "runs/toy/base/fold1/fit.json").write_text("of nobody")
    assert tree(machines.command) == {
        "data/train.csv": b"rows",
        "runs/toy/base/fold0/history.jsonl": b"{}",
        "runs/toy/base/fold0/last.ckpt": b"step 4",
        "runs/toy/base/fold0/model.safetensors": bytes(3500),
        "runs/toy/base/fold0/previous.ckpt": b"step 3",
        "runs/toy/base/fold1/fit.json": b"whole",
    }
    with machines.item():
        (fold / "fit.json").write_text("{}")
        for name in ("last.ckpt", "previous.ckpt", "model.safetensors"):
            (fold / name).unlink()
    left = {name for name in tree(machines.command) if "fold0" in name}
    assert left == {f"runs/toy/base/fold0/{name}" for name in ("history.jsonl", "model.safetensors", "fit.json")}


def test_an_item_that_begins_leaves_alone_what_another_at_its_node_has_just_written(machines: Machines):
    stale, fresh = (Path(f"runs/toy/base/{fold}/predicted.json") for fold in ("foldall", "fold0"))
    stale.parent.mkdir(parents=True)
    stale.write_text("of a run that was removed at the command")
    with machines.item("fold0"):
        fresh.parent.mkdir(parents=True)
        fresh.write_text("{}")
        with machines.item("fold1"):
            assert fresh.exists() and not stale.exists()
    assert tree(machines.command) == {fresh.as_posix(): b"{}"}


def test_an_item_that_fails_brings_what_it_wrote(machines: Machines):
    def failing() -> None:
        with machines.item():
            path = Path("runs/toy/base/fold0/last.ckpt")
            path.parent.mkdir(parents=True)
            path.write_text("step 9")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert (machines.command / "runs/toy/base/fold0/last.ckpt").read_text() == "step 9"


def test_a_worker_that_was_given_up_writes_no_more(machines: Machines):
    folder = Path("runs/toy/base/fold0")

    def cut_off() -> None:
        with machines.item():
            with machines.item():
                (folder / "last.ckpt").parent.mkdir(parents=True, exist_ok=True)
                (folder / "last.ckpt").write_text("of the second")
            (folder / "last.ckpt").write_text("of the first, which was cut off")

    with pytest.raises(Stopped, match="another worker"):
        cut_off()
    assert engine.stopping()
    assert (machines.command / folder / "last.ckpt").read_text() == "of the second"


def test_a_file_in_pieces_is_whole_or_not_there(machines: Machines):
    files, folder = Files(machines.command), Path("runs/toy/base/fold0")
    files.begin([folder], "one")
    assert files.write(folder, "one", "model.bin", 0, b"begin", last=False)
    assert not (folder / "model.bin").exists()
    files.begin([folder], "two")
    assert not [*folder.iterdir()], "what the first began is gone"
    assert not files.write(folder, "one", "model.bin", 5, b"end", last=True)
    for start, content, last in ((0, b"begin", False), (0, b"begin", False), (5, b" end", True), (5, b" end", True)):
        assert files.write(folder, "two", "model.bin", start, content, last), "asked twice"
    assert (folder / "model.bin").read_bytes() == b"begin end"


@pytest.mark.parametrize("name", ["../../other/run.json", "/etc/passwd", "../fold1/fit.json"])
def test_a_name_that_leads_out_of_the_folder_is_not_written(machines: Machines, name: str):
    files, folder = Files(machines.command), Path("runs/toy/base/fold0")
    files.begin([folder], "one")
    before = tree(machines.command)
    assert not files.write(folder, "one", name, 0, b"x", last=True)
    files.remove(folder, "one", [name])
    assert tree(machines.command) == before


def test_only_checkpoints_are_removed(machines: Machines):
    machines.write("runs/toy/base/fold0/model.bin", "x")
    machines.write("runs/toy/base/fold0/last.ckpt", "x")
    files, folder = Files(machines.command), Path("runs/toy/base/fold0")
    files.begin([folder], "one")
    files.remove(folder, "one", ["model.bin", "last.ckpt", "epoch.ckpt"])
    assert len(tree(machines.command)) == 2, "the fold is not trained: a node that lost its folder says nothing of it"
    machines.write("runs/toy/base/fold0/fit.json", "{}")
    files.remove(folder, "one", ["model.bin", "last.ckpt", "epoch.ckpt"])
    assert [*tree(machines.command)] == ["runs/toy/base/fold0/fit.json", "runs/toy/base/fold0/model.bin"]


def test_a_node_that_loses_its_folder_takes_nothing_from_the_command(machines: Machines):
    machines.write("runs/toy/base/fold0/last.ckpt", "step 3")
    machines.write("runs/toy/base/fold0/model.bin", "weights")
    before = tree(machines.command)
    with machines.item():
        shutil.rmtree(machines.node / "runs")
    assert tree(machines.command) == before


def test_a_piece_that_the_disk_refuses_leaves_nothing_and_comes_again(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
):
    files, folder = Files(machines.command), Path("runs/toy/base/fold0")
    files.begin([folder], "one")
    assert files.write(folder, "one", "model.bin", 0, b"0123456789", last=False)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full")))
        with pytest.raises(EnvironmentFault, match="ENV-DISK"):
            files.write(folder, "one", "model.bin", 10, b"abc", last=True)
    assert tree(machines.command) == {}
    assert files.write(folder, "one", "model.bin", 0, b"new", last=True)
    assert tree(machines.command) == {"runs/toy/base/fold0/model.bin": b"new"}


def test_a_file_that_shrinks_is_told(machines: Machines):
    machines.write("data/train.csv", bytes(2500))
    read = machines.files.actor.read

    def shrinking(pieces: Any) -> list[bytes]:
        (machines.command / "data/train.csv").write_bytes(bytes(1200))
        return read(pieces)

    machines.files.actor.read = shrinking
    with machines.item(None):
        assert (machines.node / "data/train.csv").read_bytes() == bytes(1200), "taken once more"

    def vanishing(pieces: Any) -> list[bytes]:
        (machines.command / "data/other.csv").unlink(missing_ok=True)
        found = read(pieces)
        machines.write("data/other.csv", "again")
        return found

    machines.write("data/other.csv", "rows")
    machines.files.actor.read = vanishing
    with pytest.raises(EnvironmentFault, match=r"RAY-FILES(.*\n)*.*data/other.csv"), machines.item(None):
        pass
    assert not (machines.node / "data/other.csv").exists()


def test_links_lead_to_what_they_mean_and_never_round_and_round(machines: Machines, tmp_path: Path):
    (tmp_path / "large").mkdir()
    (tmp_path / "large/0.png").write_text("picture")
    machines.write("data/train.csv", "rows")
    (machines.command / "data/images").symlink_to(tmp_path / "large", target_is_directory=True)
    (machines.command / "data/round").symlink_to(machines.command / "data", target_is_directory=True)
    (machines.command / "data/nothing.csv").symlink_to(tmp_path / "gone")
    os.mkfifo(machines.command / "data/pipe")
    (machines.command / os.fsdecode(b"data/caf\xe9.csv")).write_text("a name that is no UTF-8")
    with machines.item(None):
        found = {os.fsencode(name): content for name, content in tree(machines.node).items()}
    assert found == {
        b"data/train.csv": b"rows", b"data/images/0.png": b"picture", b"data/caf\xe9.csv": b"a name that is no UTF-8",
    }  # fmt: skip


@given(sizes=st.lists(st.integers(0, 5000), max_size=30))
def test_pieces_are_all_of_each_file_in_order(sizes: list[int]):
    named = {str(n): size for n, size in enumerate(sizes)}
    groups = [*copies._grouped(named)]
    assert all(sum(size for _, _, size in group) <= copies.PIECE for group in groups)
    for name, size in named.items():
        pieces = [(start, length) for group in groups for n, start, length in group if n == name]
        assert sum(length for _, length in pieces) == size and pieces
        assert [start for start, _ in pieces] == [copies.PIECE * n for n in range(len(pieces))]


LATE = """
from pathlib import Path
from competition.cluster import nodes
from competition.cluster.sharing import Home
from competition.engine import Needs
nodes.ray.get_runtime_context = lambda: type("Context", (), {"get_node_id": lambda self: "late"})()
nodes.ray.util.get_node_ip_address = lambda: "10.0.0.9"
home = Home(Path("/nowhere/podium"), "head", Path("/nowhere/token"), None, nodes.present(), frozenset({"first"}))
needs = Needs(lambda: None, lambda: None, (), (), frozenset())
print(nodes.meet(home, needs))
"""


@pytest.mark.slow
def test_a_node_that_joined_late_is_known_to_work_on_copies():
    """In a process of its own: Ray reads what it is told as it is imported."""
    environment = {key: value for key, value in os.environ.items() if key != SCRATCH} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", LATE], env=environment, capture_output=True, text=True, check=True)
    assert "RAY-SHARED" in done.stdout and "node 10.0.0.9" in done.stdout and "on copies" in done.stdout, done.stdout


@pytest.mark.slow
def test_nodes_that_share_no_disk_work_on_copies(
    competition: Callable[..., str], tmp_path_factory: Any, monkeypatch: Any
):
    """Nodes with a folder each. A third one joins, a worker is killed, then the whole command; a search is refused."""
    run, scratch = competition("multiclass", folds={"n": 3}), tmp_path_factory.mktemp("scratch")
    settings = ("--set", "epochs=200 jobs=3")
    local = [sys.executable, "-m", "competition", "submission", run, *settings]
    subprocess.run(local, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True, stdout=subprocess.DEVNULL)
    expected = predictions()
    shutil.rmtree("runs")
    shutil.rmtree("submissions")
    for key, value in QUIET.items():
        monkeypatch.setenv(key, value)
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    there = [begun(cluster, scratch / name) for name in ("a", "b")]
    try:
        process = given_to(cluster, "submission", run, *settings)
        until(checkpoints, process)
        there.append(begun(cluster, scratch / "c"))
        until(lambda: [*(scratch / "c").rglob("last.ckpt")], process)
        until(lambda: workers(there), process)
        os.kill(min(workers(there)), signal.SIGKILL)
        until(lambda: [*Path("runs/toy/base").glob("fold*/fit.json")], process)
        until(checkpoints, process)
        process.kill()
        process.communicate()
        steps = {path: path.stat().st_mtime_ns for path in Path("runs/toy/base").glob("fold*/fit.json")}
        process = given_to(cluster, "submission", run, *settings)
        said, _ = process.communicate(timeout=560)
        searched = given_to(cluster, "tune", run, "--trials", "2")
        refused, _ = searched.communicate(timeout=300)
    finally:
        cluster.shutdown()
    assert process.returncode == 0 and said.count("works on copies") == 3, said
    assert predictions() == expected
    assert not checkpoints() and len([*Path("runs/toy/base").glob("fold*/fit.json")]) == 3
    assert all(path.stat().st_mtime_ns == at for path, at in steps.items()), "what was trained was not trained again"
    copied = {p.relative_to(scratch).parts[0]: p.read_bytes() for p in scratch.rglob("data/train.csv")}
    assert copied == dict.fromkeys("abc", Path("data/train.csv").read_bytes())
    assert searched.returncode == 4 and "RAY-SHARED" in refused and "a search, and a soup" in refused, refused
