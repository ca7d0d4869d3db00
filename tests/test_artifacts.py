"""Files are whole or absent, whatever fails; damage is noticed."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from competition import artifacts, disk, locks
from competition.errors import EnvironmentFault

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_write_that_fails_leaves_the_old_file(
    call: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "f.json"
    artifacts.write_json(path, {"old": 1})

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(EnvironmentFault, match="ENV-PERM" if number == errno.EACCES else "ENV-DISK"):
        artifacts.write_json(path, {"new": 2})
    monkeypatch.undo()
    assert artifacts.read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["f.json"]


def test_a_sealed_file_notices_every_flipped_byte_and_cut(tmp_path: Path):
    path = tmp_path / "last.ckpt"
    artifacts.write_sealed(path, lambda f: f.write(bytes(range(200))))
    assert artifacts.read_sealed(path).read() == bytes(range(200))
    whole = path.read_bytes()
    for n in range(0, len(whole), 7):
        path.write_bytes(whole[:n] + bytes([whole[n] ^ 1]) + whole[n + 1 :])
        with pytest.raises(EnvironmentFault, match="CKPT-CORRUPT"):
            artifacts.read_sealed(path)
        path.write_bytes(whole[:n])
        with pytest.raises(EnvironmentFault, match="CKPT-CORRUPT"):
            artifacts.read_sealed(path)


def hold(folder: Path, ready, done) -> None:
    with locks.locked(folder):
        ready.set()
        done.wait(20)


def test_a_run_is_held_by_one_process_and_free_when_it_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path, ready, done))
    process.start()
    assert ready.wait(20)
    with pytest.raises(EnvironmentFault, match="RUN-LOCKED"), locks.locked(tmp_path):
        pass
    process.kill()
    process.join()
    (tmp_path / ".x.json.1.tmp").write_text("left behind")
    with locks.locked(tmp_path):
        assert not (tmp_path / ".x.json.1.tmp").exists(), "what a killed process left is swept"


@pytest.mark.skipif(not shutil.which("unshare") or os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path):
    """A real disk of 1 MB: the old file stays, exit code 4, no traceback."""
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from competition import artifacts
from competition.errors import EnvironmentFault
path = Path('disk/f.bin'); artifacts.write_bytes(path, b'old')
try:
    artifacts.write_bytes(path, bytes(5_000_000))
except EnvironmentFault as fault:
    print(fault.findings[0].code, path.read_bytes(), sorted(p.name for p in path.parent.iterdir()))
"""
    (tmp_path / "disk").mkdir()
    command = f'mount -t tmpfs -o size=1m none disk && exec {sys.executable} -c "$CODE"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", command], cwd=tmp_path, env=os.environ | {"CODE": code},
                          capture_output=True, text=True)  # fmt: skip
    if "mount" in done.stderr:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    assert done.stdout.strip() == "ENV-DISK b'old' ['f.bin']", done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare") or os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_disk_that_fills_while_a_run_trains_is_told_and_the_same_command_goes_on(competition: Callable[..., str]):
    """Real disks of 1 MB, where no weights fit, and of 100 MB."""
    run = competition("multiclass", run="epochs=2")
    Path("runs").mkdir()
    train = f"{sys.executable} -m competition train {run}"
    steps = f"mount -t tmpfs -o size=1m none runs; {train}; echo small $?; find runs -name '*.tmp' -o -name fit.json; "
    steps += f"mount -o remount,size=100m runs; {train}; echo large $?; find runs -name fit.json | wc -l"
    done = subprocess.run(["unshare", "-m", "sh", "-c", steps], env=os.environ | {"PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True)  # fmt: skip
    if "mount" in done.stderr:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    said = [line for line in done.stdout.splitlines() if line.startswith(("small", "large", "runs/"))]
    assert said == ["small 4", "large 0"] and done.stdout.endswith("2\n"), done.stdout
    assert "error ENV-DISK: the disk is full" in done.stderr and "Traceback" not in done.stderr


def flips(path: Path, step: int) -> Iterator[int]:
    """The file with one bit flipped at every step-th byte, by its place; as it was at the end."""
    whole = path.read_bytes()
    for at in range(0, len(whole), step):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 7]) + whole[at + 1 :])
        yield at
    path.write_bytes(whole)


def test_no_flipped_bit_of_a_json_or_a_table_changes_what_is_read_in_silence(tmp_path: Path):
    import pandas as pd

    value = {"score": 0.25, "folds": {"fold0": [1, 2, 3]}, "name": "cold", "none": None}
    table = pd.DataFrame({"a": [0.5, 1.5], "b": ["x", "y"]}, index=pd.Index(["007", "008"], name="id"))
    artifacts.write_json(tmp_path / "f.json", value)
    artifacts.write_table(tmp_path / "f.parquet", table)
    noticed = 0
    for read, same, name, step in (
        (artifacts.read_json, lambda found: {k: v for k, v in found.items() if k in value} == value, "f.json", 1),
        (artifacts.read_table, table.equals, "f.parquet", 11),
    ):
        for at in flips(tmp_path / name, step):
            try:
                found = read(tmp_path / name)
            except EnvironmentFault:
                noticed += 1
            else:
                assert same(found), f"byte {at} of {name}"
        assert same(read(tmp_path / name))
    assert noticed > 150
    assert pd.read_parquet(tmp_path / "f.parquet").equals(table), "any reader takes it"


def test_a_damaged_line_of_history_is_a_note_and_the_others_stay(tmp_path: Path):
    from competition.tracking.history import History, read

    history = History(tmp_path)
    for step in (1, 2, 3):
        history.log(step, {"epoch": step, "loss": step / 4})
    path = tmp_path / "history.jsonl"
    path.write_text(path.read_text().replace('"loss": 0.5', '"loss": 0.6') + '{"step": 4, "lo')
    lines = read(path)
    assert [line.get("loss") for line in lines] == [0.25, None, 0.75]
    assert "CKPT-CORRUPT: line 2" in lines[1]["note"]
    History(tmp_path).log(4, {"epoch": 4, "loss": 1.0})
    assert [line["step"] for line in read(path)] == [1, 1, 3, 4] and read(path)[1] == lines[1]


def test_a_folder_that_can_not_be_written_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    disk.writable(tmp_path / "not" / "there")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(EnvironmentFault, match="ENV-PERM"):
        disk.writable(tmp_path / "not" / "there")
