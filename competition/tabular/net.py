"""TabM, k perceptrons that share their matrices (Gorishniy, Kotelnikov, Babenko, ICLR 2025), and the loop that fits it.

The heads are trained by the mean of their k losses, never by the loss of their average, which is taken afterwards.
Network and embeddings are the authors' own packages (`tabm`, `rtdl_num_embeddings`), and the loop is as in their
examples: AdamW, no schedule, the epoch that is best on held-out rows.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from rtdl_num_embeddings import PeriodicEmbeddings, PiecewiseLinearEmbeddings
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from tabm import LinearEnsemble, ensemble_view, make_tabm_backbone
from torch import Tensor, nn
from torch.nn import functional

from competition import disk
from competition.errors import DataFault, Finding, Stopped, nearest
from competition.task import Progress

Loss = Literal["softmax", "sigmoid", "squared", "absolute", "pinball"]
Embeddings = Literal["none", "periodic", "piecewise"]

DEFAULTS: dict[str, Any] = {
    "k": "auto",
    "d_block": "auto",
    "n_blocks": 2,
    "dropout": 0.1,
    "lr": 2e-3,
    "weight_decay": 3e-4,
    "batch": "auto",
    "epochs": "auto",
    "patience": 16,
    "embeddings": "periodic",
    "clip": 1.0,
    "alpha": 0.5,
}
WIDTH = 8  # of a numeric column's embedding
BINS = 32  # of the piecewise one, at most
FREQUENCIES, SIGMA = 24, 0.05  # of the periodic one
PREDICTED = 1024  # rows at a time; k * inputs floats each
EPSILON = 1e-7  # keeps the logarithm of an averaged probability finite in float32


@dataclass(frozen=True)
class Settings:
    """DEFAULTS under the caller's values, with `auto` resolved.

    k: heads. d_block, n_blocks: width and depth. batch: rows a step. patience: epochs without a better hold-out that
    end the fit. clip: largest norm of the gradient, 0 for none. alpha: the quantile that the pinball loss fits.
    """

    k: int
    d_block: int
    n_blocks: int
    dropout: float
    lr: float
    weight_decay: float
    batch: int
    epochs: int
    patience: int
    embeddings: Embeddings
    clip: float
    alpha: float


@dataclass(frozen=True)
class Architecture:
    """All that rebuilds the network but its weights.

    embedded: positions in x of the embedded columns. edges: of their bins, where the embeddings are piecewise.
    """

    loss: Loss
    features: int
    outputs: int
    k: int
    d_block: int
    n_blocks: int
    dropout: float
    embeddings: Embeddings
    embedded: list[int]
    edges: list[list[float]]


@dataclass(frozen=True)
class Net:
    """A fitted network in evaluation mode, on its device."""

    network: Network
    architecture: Architecture
    device: torch.device


@dataclass(frozen=True)
class Table:
    """Rows on the device, float32. x: [n, features], y: [n, outputs], weight: [n]."""

    x: Tensor
    y: Tensor
    weight: Tensor


def fit(
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    valid: tuple[np.ndarray, np.ndarray] | None,
    loss: Loss,
    params: dict[str, Any],
    seed: int,
    device: str,
    progress: Progress,
    stop: Callable[[], bool],
    *,
    numeric: int,
) -> tuple[Net, dict[str, Any]]:
    """The net and a record: epochs, best_epoch, parameters, seconds.

    x: [n, features] without NaN, scaled; its first `numeric` columns are quantities, the others 0 or 1. y: [n, outputs],
    one-hot or soft classes, 0 or 1, or standardised values. weight: [n]; rows of weight 0 are left out. valid: x and y
    of the rows that choose the epoch; None keeps the last of `params["epochs"]`, which is then the caller's to choose.
    params: over DEFAULTS. Same seed, data and number of threads: same bytes (on a CPU).

    Raises ValueError for unknown params, Stopped, and DataFault RUN-DIVERGED.
    """
    began = time.monotonic()
    counted = weight > 0
    x, y, weight = x[counted], y[counted], weight[counted] / weight[counted].mean()
    chosen = settings(params, len(x), x.shape[1], numeric, device)
    architecture = _architecture(chosen, x, y.shape[1], numeric, loss)
    at = torch.device(device)
    train, held = _table(at, x, y, weight), _table(at, *valid, np.ones(len(valid[0]))) if valid else None
    with torch.random.fork_rng([at] if at.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also touch GPUs that are not forked here
        if at.type == "cuda":
            torch.cuda.manual_seed(seed)
        training = Training(Network(architecture).to(at), loss, chosen, progress, stop)
        epochs, best_epoch = training.run(train, held, seed)
    net = Net(training.network.eval(), architecture, at)
    parameters = sum(p.numel() for p in net.network.parameters())
    seconds = round(time.monotonic() - began, 1)
    return net, {"epochs": epochs, "best_epoch": best_epoch, "parameters": parameters, "seconds": seconds}


def predict(net: Net, x: np.ndarray) -> np.ndarray:
    """[n, outputs] float32: probabilities (softmax, sigmoid) or values, averaged over the heads."""
    rows = torch.tensor(x, dtype=torch.float32, device=net.device)
    return _predict(net.network, rows, net.architecture.loss).cpu().numpy()


def save(net: Net, path: Path) -> None:
    """One safetensors file; its only note is the architecture (several are written in no fixed order)."""
    notes = {"architecture": json.dumps(asdict(net.architecture))}
    with disk.writing(path) as file:
        file.write(to_bytes(net.network.state_dict(), notes))


def load(path: Path, device: str) -> Net:
    with safe_open(path, "pt") as file:
        architecture = Architecture(**json.loads(file.metadata()["architecture"]))
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    with torch.random.fork_rng([]):  # the weights that are overwritten next are drawn
        network = Network(architecture)
    network.load_state_dict(weights)
    at = torch.device(device)
    return Net(network.to(at).eval(), architecture, at)


def settings(params: dict[str, Any], rows: int, features: int, numeric: int, device: str) -> Settings:
    """Raises ValueError for a key or an embedding that does not exist."""
    for key in sorted(params.keys() - DEFAULTS.keys()):
        raise ValueError(f"the net has no parameter {key!r}: {nearest(key, DEFAULTS)}")
    values = DEFAULTS | params
    kind, kinds = values["embeddings"], get_args(Embeddings)
    if kind not in kinds:
        raise ValueError(f"the net has no embeddings {kind!r}: {nearest(kind, kinds)}")
    inputs = features if kind == "none" else features + (WIDTH - 1) * numeric
    resolved = automatic(rows, inputs, device)
    filled: dict[str, Any] = {key: resolved[key] if value == "auto" else value for key, value in values.items()}
    return Settings(**filled)


def automatic(rows: int, inputs: int, device: str) -> dict[str, int]:
    """What `auto` stands for.

    On a GPU the size of the paper. A CPU has half its heads at a quarter of its width, for which a core takes about
    0.4 us * (inputs + 225) a row and epoch, whatever the batch: so batches stay small, and the epochs are those of
    five minutes, from 4 to 200 (`patience` ends small tables long before).
    """
    if device != "cpu":
        return {"k": 32, "d_block": 512, "batch": 256 if rows < 50_000 else 1024, "epochs": 200}
    epochs = round(300 / (rows * (inputs + 225) * 0.4e-6))
    return {"k": 16, "d_block": 128, "batch": 128 if rows < 10_000 else 256, "epochs": min(200, max(4, epochs))}


def _architecture(chosen: Settings, x: np.ndarray, outputs: int, numeric: int, loss: Loss) -> Architecture:
    """Numeric columns of one bin (constants, flags) are not embedded."""
    edges = {n: _edges(x[:, n]) for n in range(numeric if chosen.embeddings != "none" else 0)}
    edges = {n: e for n, e in edges.items() if len(e) > 2}
    return Architecture(
        loss=loss,
        features=x.shape[1],
        outputs=outputs,
        k=chosen.k,
        d_block=chosen.d_block,
        n_blocks=chosen.n_blocks,
        dropout=chosen.dropout,
        embeddings=chosen.embeddings,
        embedded=list(edges),
        edges=list(edges.values()) if chosen.embeddings == "piecewise" else [],
    )


def _edges(column: np.ndarray) -> list[float]:
    """The distinct ones of a column's BINS + 1 quantiles."""
    return np.unique(np.quantile(column, np.linspace(0, 1, BINS + 1)).astype(np.float32)).tolist()


def _table(device: torch.device, *arrays: np.ndarray) -> Table:
    return Table(*(torch.tensor(a, dtype=torch.float32, device=device) for a in arrays))


class Network(nn.Module):
    """[batch, features] -> [batch, k, outputs]: logits, or values."""

    embedded: Tensor
    plain: Tensor

    def __init__(self, a: Architecture):
        super().__init__()
        plain = sorted(set(range(a.features)) - set(a.embedded))
        self.register_buffer("embedded", torch.tensor(a.embedded, dtype=torch.long), persistent=False)
        self.register_buffer("plain", torch.tensor(plain, dtype=torch.long), persistent=False)
        self.embedding = _embedding(a) if a.embedded else None
        chunks = [WIDTH] * len(a.embedded) + [1] * len(plain)
        self.k = a.k
        self.backbone = make_tabm_backbone(
            d_in=sum(chunks),
            n_blocks=a.n_blocks,
            d_block=a.d_block,
            dropout=a.dropout,
            k=a.k,
            start_scaling_init="normal" if a.embedded else "random-signs",
            start_scaling_init_chunks=chunks,
        )
        self.output = LinearEnsemble(a.d_block, a.outputs, k=a.k)

    def forward(self, x: Tensor) -> Tensor:
        if self.embedding is not None:
            x = torch.cat([self.embedding(x[:, self.embedded]).flatten(1), x[:, self.plain]], 1)
        return self.output(self.backbone(ensemble_view(x, self.k, self.training)))


def _embedding(a: Architecture) -> nn.Module:
    if a.embeddings == "piecewise":
        edges = [torch.tensor(e) for e in a.edges]
        return PiecewiseLinearEmbeddings(edges, WIDTH, activation=False, version="B")
    columns = len(a.embedded)
    return PeriodicEmbeddings(columns, WIDTH, n_frequencies=FREQUENCIES, frequency_init_scale=SIGMA, lite=False)


@dataclass(frozen=True)
class Training:
    """One fit at work."""

    network: Network
    loss: Loss
    chosen: Settings
    progress: Progress
    stop: Callable[[], bool]

    def run(self, train: Table, held: Table | None, seed: int) -> tuple[int, int]:
        """(epochs run, best epoch), whose weights the network then has."""
        chosen, shuffles = self.chosen, torch.Generator().manual_seed(seed)
        rate, decay = chosen.lr, chosen.weight_decay
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=rate, weight_decay=decay, fused=True)
        epoch, best_epoch, best, weights = 0, 0, math.inf, self.network.state_dict()
        while epoch < chosen.epochs and (held is None or epoch - best_epoch < chosen.patience):
            epoch += 1
            order = torch.randperm(len(train.x), generator=shuffles).to(train.x.device)
            text = f"epoch {epoch}/{chosen.epochs}  loss {self.learn(optimizer, train, order):.4f}"
            if not all(bool(p.isfinite().all()) for p in self.network.parameters()):
                raise DataFault(_diverged(epoch, chosen))
            score = self.score(held) if held else -math.inf
            if score < best or not held:
                best, best_epoch = score, epoch
                weights = {name: value.clone() for name, value in self.network.state_dict().items()}
            self.progress(epoch, chosen.epochs, f"{text}  valid {score:.4f}" if held else text)
        self.network.load_state_dict(weights)
        return epoch, best_epoch

    def learn(self, optimizer: torch.optim.Optimizer, train: Table, order: Tensor) -> float:
        """One epoch; the mean loss of its rows."""
        self.network.train()
        total = torch.zeros((), device=order.device)
        for rows in order.tensor_split(math.ceil(len(order) / self.chosen.batch)):
            if self.stop():
                raise Stopped("stopped while the net was fitted: it begins anew")
            losses = self.losses(self.network(train.x[rows]), train.y[rows].unsqueeze(1)).mean(1)
            loss = (losses * train.weight[rows]).mean()
            loss.backward()
            if self.chosen.clip:
                nn.utils.clip_grad_norm_(self.network.parameters(), self.chosen.clip)
            optimizer.step()
            optimizer.zero_grad()
            total += loss.detach() * len(rows)
        return float(total) / len(order)

    def score(self, held: Table) -> float:
        """The loss of the averaged prediction: what `predict` will give."""
        prediction = _predict(self.network.eval(), held.x, self.loss)
        if self.loss == "softmax":
            prediction = prediction.clamp_min(EPSILON).log()
        elif self.loss == "sigmoid":
            prediction = prediction.logit(EPSILON)
        return float(self.losses(prediction, held.y).mean())

    def losses(self, outputs: Tensor, y: Tensor) -> Tensor:
        """[..., outputs] logits or values, and y that broadcasts to them -> [...]."""
        if self.loss == "softmax":
            return -(y * outputs.log_softmax(-1)).sum(-1)
        if self.loss == "sigmoid":
            return functional.binary_cross_entropy_with_logits(outputs, y.expand_as(outputs), reduction="none").mean(-1)
        above = y - outputs
        if self.loss == "squared":
            return above.square().mean(-1)
        if self.loss == "absolute":
            return above.abs().mean(-1)
        return torch.maximum(self.chosen.alpha * above, (self.chosen.alpha - 1) * above).mean(-1)


@torch.inference_mode()
def _predict(network: Network, x: Tensor, loss: Loss) -> Tensor:
    """[rows, outputs], in the space of the truth."""
    link = {"softmax": lambda raw: raw.softmax(-1), "sigmoid": torch.sigmoid}.get(loss, lambda raw: raw)
    return torch.cat([link(network(rows)).mean(1) for rows in x.split(PREDICTED)])


def _diverged(epoch: int, chosen: Settings) -> Finding:
    return Finding(
        code="RUN-DIVERGED",
        what="the net's loss is not a number any more",
        where=f"epoch {epoch} of {chosen.epochs}",
        found=f"learning rate {chosen.lr:g}, clip {chosen.clip:g}",
        risk="its weights are lost",
        mend="a lower `lr`, `clip: 1.0`, or columns without infinite or enormous values",
    )
