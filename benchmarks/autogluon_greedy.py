"""AutoGluon's greedy selection on the tables that `python -m benchmarks.blending --save FOLDER` wrote.

It runs in an environment of its own, since AutoGluon holds pandas at 2.3:

    python3 -m venv ag && ag/bin/pip install autogluon.core
    OMP_NUM_THREADS=1 ag/bin/python benchmarks/autogluon_greedy.py FOLDER

For each fold the weights are fitted on the rows of the others; FOLDER/<name>-chosen.npz gets weights [folds, members] and
CPU seconds of all folds.
"""

import sys
import time
from pathlib import Path

import numpy as np
from autogluon.core.metrics import get_metric
from autogluon.core.models.greedy_ensemble.ensemble_selection import EnsembleSelection

SIZES = (25, 100)
METRICS = {"logloss": "log_loss", "auc": "roc_auc"}  # by our name, where theirs differs
PROBLEMS = {"multiclass": "multiclass", "binary": "binary", "regression": "regression"}


def weights(p: list, t: np.ndarray, metric: str, kind: str, size: int) -> np.ndarray:
    y = t.argmax(axis=1) if kind == "multiclass" else t[:, 0].astype(int if kind == "binary" else float)
    scorer = get_metric(METRICS.get(metric, metric), PROBLEMS[kind])
    selection = EnsembleSelection(ensemble_size=size, problem_type=PROBLEMS[kind], metric=scorer)
    return selection.fit(p if kind == "multiclass" else [one[:, 0] for one in p], y).weights_


def main() -> None:
    folder = Path(sys.argv[1])
    for path in [path for path in sorted(folder.glob("*.npz")) if not path.stem.endswith("-chosen")]:
        saved = np.load(path)
        metric, kind, fold = str(saved["metric"]), str(saved["kind"]), saved["fold"]
        chosen = {}
        for size in SIZES:
            began = time.process_time()
            by_fold = [
                weights([one[fold != k] for one in saved["members"]], saved["truth"][fold != k], metric, kind, size)
                for k in np.unique(fold)
            ]
            chosen |= {f"weights{size}": np.array(by_fold), f"seconds{size}": time.process_time() - began}
        np.savez(folder / f"{path.stem}-chosen.npz", **chosen)
        print(path.stem, {k: v for k, v in chosen.items() if k.startswith("seconds")})


if __name__ == "__main__":
    main()
