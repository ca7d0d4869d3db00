"""What table columns add to pictures, in toys whose truth is known: `python -m benchmarks.beside both turn noise`.

Pictures of a bar whose height tells a part of the label. both: columns tell the other part. turn: a column says which way
round the picture is to be read. noise: columns say nothing. Each toy lies in a folder of its own below --place, and a
repeated command goes on there. With --networks RUN what a run's own networks see is put beside its out-of-fold predictions.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import yaml

from competition import cli
from competition.data import load

ROWS, TEST, SIDE = 900, 100, 32
IMAGE = {"task": "image", "backbone": "test_resnet", "pretrained": False, "size": SIDE, "epochs": 12, "batch": 32,
         "lr": 0.003, "augment": "light", "views": ["plain"], "jobs": 1}  # fmt: skip
RUNS = {
    "plain": IMAGE,
    "columns": IMAGE | {"columns": "all"},
    "over": IMAGE | {"augment": "none", "symmetry": "none", "epochs": 30, "ema": 0},
    "table": {"task": "tabular", "bag": 2, "jobs": 1},
    "stack": {"task": "tabular", "bag": 2, "jobs": 1, "runs": ["toy/plain"]},
}


def make(kind: str, seed: int = 0) -> None:
    """The toy competition of a kind, in the folder at hand."""
    rng, n = np.random.default_rng(seed), ROWS + TEST
    Path("data/images").mkdir(parents=True, exist_ok=True)
    ids, seen = [f"{i:04d}" for i in range(n)], rng.normal(size=n)
    for name, height in zip(ids, np.clip(16 + 6 * seen, 2, 30).astype(int), strict=True):
        picture = rng.integers(0, 90, (SIDE, SIDE, 3)).astype(np.uint8)
        x = rng.integers(2, 26)
        picture[SIDE - height :, x : x + 4] += np.uint8(130)
        cv2.imwrite(f"data/images/{name}.png", picture)
    age, site, sex = rng.normal(size=n), rng.integers(0, 6, n), rng.integers(0, 2, n)
    width, brand = rng.lognormal(size=n), np.array(list("abcdefgh"))[rng.integers(0, 8, n)]
    odds = {
        "both": 1.5 * seen + 1.2 * age + 1.5 * (site % 3 - 1),
        "turn": 2.5 * seen * (2 * sex - 1),
        "noise": 2 * seen,
    }
    label = (rng.random(n) < 1 / (1 + np.exp(-odds[kind]))).astype(int)
    table = pd.DataFrame({
        "id": ids,
        "age": np.where(rng.random(n) < 0.1, np.nan, age * 12 + 50).round(1),
        "site": np.array(["arm", "leg", "head", "back", "hand", "foot"])[site],
        "sex": np.array(["m", "f"])[sex],
        "width": width,
        "brand": brand,
        "label": label,
    })  # fmt: skip
    table[:ROWS].to_csv("data/train.csv", index=False)
    table[ROWS:].drop(columns="label").to_csv("data/test.csv", index=False)
    table[ROWS:][["id"]].assign(label=0.5).to_csv("data/sample_submission.csv", index=False)
    keys = {
        "data": "data",
        "id": "id",
        "target": "label",
        "kind": "binary",
        "metric": "auc",
        "image": "images/{id}.png",
    }
    Path("configs/toy").mkdir(parents=True, exist_ok=True)
    for name, values in (("competition", keys | {"folds": {"n": 3}}), *RUNS.items()):
        Path(f"configs/toy/{name}.yaml").write_text(yaml.safe_dump(values))


def networks(run: str) -> dict[str, float]:
    """AUC of a linear model on the table and 16 main directions of what a fold's own network sees of every row, or of what
    the network sees that did not learn from the row, turned onto the first fold's by test rows; or the OOF prediction."""
    import torch
    from safetensors.torch import load_file
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    from competition import backbone, cache, folds
    from competition.image import fitting, model
    from competition.image.predicting import forward
    from competition.image.task import ImageTask
    from competition.tabular.columns import Columns, resolve
    from competition.tabular.features import Features
    from competition.task import together

    data, task = load("toy"), ImageTask(backbone="test_resnet", pretrained=False, size=SIDE, views=("plain",))
    table, rows = folds.load(data), together(data.train, data.test)
    pictures = cache.load(fitting.folder_of(task, data.problem))
    assert data.train.truth is not None
    y = data.train.truth.iloc[:, 0]

    def look(weights: dict[str, torch.Tensor]) -> pd.DataFrame:
        network = model.build(task, 0)
        network.load_state_dict({k: v for k, v in weights.items() if not k.startswith("fc")})
        pixels = backbone.data_config(network)
        seen = forward(network.eval(), pictures, rows, task, "plain", pixels, torch.device("cpu"))
        return pd.DataFrame(seen.numpy(), rows.ids)

    own = {s.name: look(load_file(f"runs/{run}/{s.name}/model.safetensors")) for s in table.splits}
    first = own[table.splits[0].name]
    parts = []
    for split in table.splits:
        a, b = (seen.loc[data.test.ids].to_numpy() for seen in (own[split.name], first))
        u, _, v = np.linalg.svd((a - a.mean(0)).T @ (b - b.mean(0)))
        turned = (own[split.name].to_numpy() - a.mean(0)) @ (u @ v)
        parts.append(pd.DataFrame(turned, rows.ids).loc[table.ids(split)[1]])
    apart = pd.concat(parts)
    oof = pd.read_parquet(f"runs/{run}/oof.parquet").loc[data.train.ids]
    said: dict[str, list[pd.Series]] = {}
    for split in table.splits:
        train, held = table.ids(split)
        cells = data.train.table[list(data.problem.inputs)]
        features = Features(resolve(cells.loc[train], Columns()), "dense", 32, 16)
        told = features.fit_transform(cells.loc[train], y.loc[train].to_numpy()[:, None], 0).values
        asked = features.transform(cells.loc[held]).values
        ways = {"own network": own[split.name], "out of fold, turned": apart, "OOF": np.log(oof / (1 - oof))}
        for name, seen in ways.items():
            pca = PCA(min(16, seen.shape[1]), random_state=0).fit(seen.loc[train])
            x, z = (np.hstack([t, pca.transform(seen.loc[i])]) for t, i in ((told, train), (asked, held)))
            p = LogisticRegression(max_iter=2000, C=0.1).fit(x, y.loc[train]).predict_proba(z)[:, 1]
            said.setdefault(name, []).append(pd.Series(p, held))
    return {name: float(roc_auc_score(y, pd.concat(parts).loc[y.index])) for name, parts in said.items()}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("kinds", nargs="+", choices=("both", "turn", "noise"))
    options.add_argument("--place", type=Path, default=Path("/tmp/podium-beside"))
    options.add_argument("--runs", nargs="+", default=["plain", "columns", "table", "stack"], choices=list(RUNS))
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--networks", metavar="RUN", help="a trained run of the first kind, such as over")
    asked = options.parse_args()
    for kind in asked.kinds:
        (asked.place / kind).mkdir(parents=True, exist_ok=True)
        with contextlib.chdir(asked.place / kind):
            load.cache_clear()
            if not Path("configs/toy/stack.yaml").exists():
                make(kind)
            for run in asked.runs:
                name = f"toy/{run}-{asked.seed}"
                below = f" runs=[toy/plain-{asked.seed}]" if run == "stack" else ""
                cli.main(["submission", f"toy/{run}", "--set", f"seed={asked.seed}{below}", "--as", name])
                print(f"{kind:6}{run:9}{json.loads(Path(f'runs/{name}/score.json').read_text())['score']:.4f}")
            if asked.networks:
                for name, auc in networks(f"toy/{asked.networks}-{asked.seed}").items():
                    print(f"{kind:6}{name:22}{auc:.4f}")


if __name__ == "__main__":
    main()
