"""The TabM network: it learns, learns nothing from noise, repeats to the byte, and refuses what it can't do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from competition.errors import DataFault, Stopped
from competition.tabular import net

NUMERIC, ROWS, HELD = 3, 300, 200
SMALL = {"k": 4, "d_block": 32, "epochs": 30, "batch": 64}
LOSSES = ("softmax", "sigmoid", "squared", "absolute", "pinball")


def toy(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """x: three quantities, a one-hot column of three and a constant. The value that is to be learnt: [rows]."""
    rng = np.random.default_rng(seed)
    numbers, group = rng.normal(size=(rows, NUMERIC)), rng.integers(0, 3, rows)
    value = np.sin(2 * numbers[:, 0]) + numbers[:, 1] * (group - 1)
    x = np.column_stack([numbers, np.eye(3)[group], np.ones(rows)]).astype(np.float32)
    return x, value / value.std()


def targets(value: np.ndarray, loss: str) -> np.ndarray:
    columns = {
        "softmax": np.eye(3)[np.digitize(value, [-0.5, 0.5])],
        "sigmoid": np.column_stack([value > 0, value > 1]),
    }
    return columns.get(loss, value[:, None]).astype(np.float32)


def fitted(
    x: np.ndarray, y: np.ndarray, loss: net.Loss = "squared", weight: np.ndarray | None = None, valid: Any = None,
    seed: int = 0, **params: Any,
) -> tuple[net.Net, dict[str, Any]]:  # fmt: skip
    weight = np.ones(len(x)) if weight is None else weight
    return net.fit(
        x, y, weight, valid, loss, SMALL | params, seed, "cpu", lambda *_: None, lambda: False, numeric=NUMERIC
    )


def squared_error(n: net.Net, x: np.ndarray, y: np.ndarray) -> float:
    return float(np.square(net.predict(n, x) - y).mean())


@pytest.mark.parametrize("embeddings", ["none", "periodic", "piecewise"])
def test_it_learns_and_the_best_epoch_is_the_one_kept(embeddings: str):
    x, value = toy(ROWS + HELD)
    y = targets(value, "squared")
    held = x[ROWS:], y[ROWS:]
    texts = []
    fit, record = net.fit(
        x[:ROWS], y[:ROWS], np.ones(ROWS), held, "squared", SMALL | {"embeddings": embeddings, "patience": 8}, 0, "cpu",
        lambda done, total, text: texts.append((done, total, text)), lambda: False, numeric=NUMERIC,
    )  # fmt: skip
    assert squared_error(fit, *held) < 0.4  # 1.0 is the mean's
    shown = [float(text.split("valid ")[1]) for _, _, text in texts]
    assert record["best_epoch"] == 1 + int(np.argmin(shown))
    assert squared_error(fit, *held) == pytest.approx(min(shown), abs=1e-4)
    assert [done for done, _, _ in texts] == list(range(1, record["epochs"] + 1))


def test_patience_ends_a_fit_that_gets_no_better():
    x, _ = toy(ROWS)
    noise = np.random.default_rng(1).normal(size=(ROWS, 1)).astype(np.float32)
    _, record = fitted(x, noise, valid=(x, -noise), patience=3, embeddings="none")
    assert record["epochs"] == record["best_epoch"] + 3 < SMALL["epochs"]


def test_shuffled_truth_teaches_nothing():
    x, value = toy(ROWS + HELD)
    y = targets(value, "softmax")
    shuffled = np.random.default_rng(1).permutation(y[:ROWS])
    half = ROWS // 2
    fit, _ = fitted(x[:half], shuffled[:half], "softmax", valid=(x[half:ROWS], shuffled[half:]))
    p = net.predict(fit, x[ROWS:])
    gain = -np.log((np.tile(y[:ROWS].mean(0), (HELD, 1)) * y[ROWS:]).sum(1)) + np.log((p * y[ROWS:]).sum(1))
    assert gain.mean() < 3 * gain.std() / HELD**0.5


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_is_fitted_and_comes_back_from_its_file_equal(loss: net.Loss, tmp_path: Path):
    x, value = toy(ROWS)
    y = targets(value, loss)
    fit, record = fitted(x, y, loss, embeddings="piecewise" if loss == "softmax" else "periodic")
    assert record["epochs"] == record["best_epoch"] == SMALL["epochs"]
    p = net.predict(fit, x)
    assert p.shape == y.shape and np.isfinite(p).all()
    assert np.abs(p - y).mean() < 0.7 * np.abs(y.mean(0) - y).mean()
    if loss == "softmax":
        np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    state = torch.get_rng_state()
    net.save(fit, tmp_path / "net.safetensors")
    np.testing.assert_array_equal(net.predict(net.load(tmp_path / "net.safetensors", "cpu"), x), p)
    assert torch.equal(torch.get_rng_state(), state)


def test_pinball_fits_the_quantile_that_it_is_asked_for():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1000, NUMERIC)).astype(np.float32), rng.normal(size=(1000, 1)).astype(np.float32)
    fit, _ = fitted(x, y, "pinball", alpha=0.9, embeddings="none", epochs=5, lr=0.01)
    assert (y < net.predict(fit, x)).mean() == pytest.approx(0.9, abs=0.04)


def test_same_seed_same_bytes_and_the_global_state_is_left_alone(tmp_path: Path):
    x, value = toy(ROWS)
    y = targets(value, "squared")
    state = torch.get_rng_state()
    for name, seed in {"a": 0, "b": 0, "c": 1}.items():
        torch.rand(1)
        before = torch.get_rng_state()
        net.save(fitted(x, y, seed=seed, epochs=3, valid=(x, y))[0], tmp_path / name)
        assert torch.equal(torch.get_rng_state(), before)
    torch.set_rng_state(state)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_rows_of_weight_0_count_nothing_and_the_scale_of_the_weights_neither():
    x, value = toy(ROWS)
    y = targets(value, "squared")
    garbage, dropped = np.arange(ROWS) % 2 == 1, np.arange(ROWS) % 2 == 0
    spoilt = np.where(garbage[:, None], 1000, y).astype(np.float32)
    weighted, _ = fitted(x, spoilt, weight=2.0 * dropped, epochs=5)
    alone, _ = fitted(x[dropped], y[dropped], epochs=5)
    np.testing.assert_array_equal(net.predict(weighted, x), net.predict(alone, x))


def test_a_row_counts_as_much_as_its_weight():
    x, y = np.zeros((ROWS, NUMERIC), np.float32), (np.arange(ROWS)[:, None] % 2).astype(np.float32)
    fit, _ = fitted(x, y, "sigmoid", weight=np.where(y[:, 0] == 1, 1.5, 0.5), dropout=0.0, epochs=50)
    assert net.predict(fit, x[:1]).item() == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    "params, message",
    [({"d_blok": 8}, "no parameter 'd_blok': did you mean 'd_block'"), ({"embeddings": "periodik"}, "'periodic'")],
)
def test_what_it_does_not_know_is_refused(params: dict[str, Any], message: str):
    x, value = toy(20)
    with pytest.raises(ValueError, match=message):
        fitted(x, targets(value, "squared"), **params)


def test_stop_ends_it_within_a_batch():
    x, value = toy(ROWS)
    y, calls = targets(value, "squared"), []
    with pytest.raises(Stopped):
        net.fit(x, y, np.ones(ROWS), None, "squared", SMALL, 0, "cpu", lambda *_: None,
                lambda: calls.append(1) or len(calls) > 7, numeric=NUMERIC)  # fmt: skip
    assert len(calls) == 8


def test_a_loss_that_is_no_number_is_told():
    x, value = toy(ROWS)
    with pytest.raises(DataFault, match="RUN-DIVERGED"):
        fitted(x, targets(value, "squared"), lr=1e30)


def test_automatic_sizes_bound_the_work():
    for rows in (100, 1200, 20_000, 200_000):
        for device in ("cpu", "cuda"):
            chosen = net.settings({}, rows, 30, 20, device)
            assert 4 <= chosen.epochs <= 200 and chosen.batch <= 1024
    assert rows * net.settings({}, rows, 30, 20, "cpu").epochs < 3e6
    assert net.settings({"k": 3}, 100, 30, 20, "cpu").k == 3
