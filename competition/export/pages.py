"""What a person reads of a bundle: README.md, a notebook, and the file by which Kaggle's client makes a dataset of it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from competition import artifacts, scoring
from competition.runs import Opened

TITLE = (6, 50)  # characters of a dataset's title, as Kaggle has it
OWNER = "INSERT_USERNAME_HERE"
README = """# {run}, exported

{score}.

{told}

In a notebook without a network that has this dataset and the competition's data:

    python predict.py --data /kaggle/input/<competition> --out submission.csv --time 8h45m

`predict.ipynb` does that. `--time`: what adds least is turned off so that all rows are predicted by then. A CSV made of the
training labels alone is written first, so that there is a valid file whatever happens. A picture that can't be used costs
its own row only. The sample submission decides the form, and the order where it has all the rows of test.

Upload: put your name into dataset-metadata.json, then `kaggle datasets create -p <this folder> --dir-mode zip`, later
`kaggle datasets version -p <this folder> --dir-mode zip -m <why>`.

- recipe.json, truth.parquet, models/: what is decided on out-of-fold predictions, the training labels, the weights
- configs/, folds/: the configuration and the fold table; competition/: the package; wheels/: what a notebook may lack
- manifest.json: bytes and SHA-256 of every file, which predict.py checks first; the versions that it was exported by

Wheels of your own that fit the notebook's Python may be put into wheels/ (another scikit-learn, say): they go first.
"""
FIND = """import json
from pathlib import Path

def inputs_with(name):
    found = [path for depth in range(1, 6) for path in Path("/kaggle/input").glob("*/" * depth + name)]
    return [path.parents[name.count("/")] for path in found]

bundles = [b for b in inputs_with("recipe.json") if json.loads((b / "recipe.json").read_text()).get("run") == "{run}"]
data = [d for d in inputs_with("{sample}") if (d / "{test}").exists()]
assert len(bundles) == 1, f"one input must be the exported run {run}; found {{bundles}}"
assert len(data) == 1, f"one input must hold the competition's {sample} and {test}; found {{data}}"
bundle, data = bundles[0], data[0]
print(bundle, data)"""
RUN = """!python "{bundle}/predict.py" --data "{data}" --out /kaggle/working/submission.csv --time 8h45m
if _exit_code:  # told, not raised: a notebook that raises submits nothing, and the CSV is valid
    print("#" * 99, f"predict.py ended with {_exit_code}: the CSV is not all that the run would say", "#" * 99, sep="\\n")"""


def write(at: Opened, into: Path, told: Sequence[str]) -> None:
    score = scoring.headline(artifacts.read_json(at.folder / "score.json"))
    readme = README.format(run=at.run.name, score=score, told="\n".join(told))
    artifacts.write_text(into / "README.md", readme)
    content = notebook(at.run.name, at.data.config.sample, at.data.config.test)
    artifacts.write_text(into / "predict.ipynb", json.dumps(content, indent=1) + "\n")
    artifacts.write_text(into / "dataset-metadata.json", json.dumps(metadata(at.run.name), indent=1) + "\n")


def notebook(run: str, sample: str, test: str) -> dict[str, Any]:
    """nbformat 4.5. sample, test: their paths below the data folder."""
    cells = [
        ("markdown", f"`{run}` predicts the test rows without a network."),
        ("code", FIND.format(run=run, sample=sample, test=test)),
        ("code", RUN),
        ("code", 'import pandas as pd\n\npd.read_csv("/kaggle/working/submission.csv").head()'),
    ]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"language_info": {"name": "python"}},
            "cells": [_cell(n, kind, text) for n, (kind, text) in enumerate(cells)]}  # fmt: skip


def _cell(number: int, kind: str, text: str) -> dict[str, Any]:
    run = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": text.splitlines(keepends=True)} | run


def metadata(run: str) -> dict[str, Any]:
    """As `kaggle datasets create` wants it."""
    title = f"{run.replace('/', ' ')} models"[: TITLE[1]].ljust(TITLE[0], "s")
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    return {"title": title, "id": f"{OWNER}/{slug}", "licenses": [{"name": "other"}]}
