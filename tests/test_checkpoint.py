"""What a fold goes on from: the last checkpoint, or the one before it where a disk has damaged the last."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from test_steps import CPU, fold_in, job_of, network

from competition import artifacts, loop
from competition.errors import EnvironmentFault, SafetyFault, Stopped
from competition.knobs import Training
from competition.task import Fold

KNOBS = Training(epochs=4, warmup=1, batch=8, lr=0.05)
STEPS = (7, 13)  # that the fold is stopped at, and so saved


def stopped_twice(folder: Path) -> Fold:
    """A fold of 20 steps with two checkpoints."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked in STEPS

    fold = fold_in(folder, stop)
    for _ in STEPS:
        with pytest.raises(Stopped):
            loop.train(job_of(network()), KNOBS, fold, CPU)
    return fold


def flipped(content: bytes) -> bytes:
    return content[:-99] + bytes([content[-99] ^ 1]) + content[-98:]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "a flipped bit": flipped,
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "another file": lambda content: b"<html>not found</html>" * 99,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_told_and_the_one_before_gives_the_same_bits(damage: str, tmp_path: Path):
    whole, _ = loop.train(job_of(network()), KNOBS, fold_in(tmp_path / "whole"), CPU)
    fold, told = stopped_twice(tmp_path / "cut"), []
    last = fold.folder / "last.ckpt"
    last.write_bytes(DAMAGE[damage](last.read_bytes()))
    object.__setattr__(fold, "log", lambda step, values: told.append((step, values.get("note", ""))))
    kept, _ = loop.train(job_of(network()), KNOBS, fold, CPU)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), kept.state_dict().values(), strict=True))
    step, note = told[0]
    assert STEPS[0] <= step - 1 < STEPS[1], "another may have been due between the two"
    assert "CKPT-CORRUPT" in note and "digest" in note and f"previous.ckpt, step {step - 1}" in note


def test_both_damaged_are_refused_and_left_as_they_are(tmp_path: Path):
    fold = stopped_twice(tmp_path)
    for name in artifacts.CHECKPOINTS:
        (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(EnvironmentFault, match="CKPT-CORRUPT"):
        loop.train(job_of(network()), KNOBS, fold, CPU)
    assert (tmp_path / "last.ckpt").read_bytes() == b"damaged"


def test_a_kill_between_the_two_names_leaves_one_to_go_on_from(tmp_path: Path):
    fold = stopped_twice(tmp_path)
    (tmp_path / "last.ckpt").unlink()
    _, record = loop.train(job_of(network()), KNOBS, fold, CPU)
    assert record["steps"] == 20


def test_a_checkpoint_of_another_fold_table_or_seed_is_refused_by_name(tmp_path: Path):
    fold = stopped_twice(tmp_path)
    for name, value in (("origin", {"run": "toy/base", "folds": "b"}), ("seed", 7)):
        object.__setattr__(fold, name, value)
    with pytest.raises(EnvironmentFault, match="CKPT-MISMATCH") as fault:
        loop.train(job_of(network()), KNOBS, fold, CPU)
    assert "folds: a there, b now" in fault.value.findings[0].found
    assert "seed: 0 there, 7 now" in fault.value.findings[0].found
    assert "run:" not in fault.value.findings[0].found


class Evil:
    def __reduce__(self):
        return os.system, ("touch hacked",)


@pytest.mark.parametrize("write", [pickle.dump, torch.save])
def test_a_checkpoint_that_would_run_code_is_refused(write: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    artifacts.write_sealed(tmp_path / "last.ckpt", lambda file: write(Evil(), file))
    with pytest.raises(SafetyFault, match="SEC-PICKLE"):
        loop.train(job_of(network()), KNOBS, fold_in(tmp_path), CPU)
    assert not Path("hacked").exists()
