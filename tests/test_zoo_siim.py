"""SIIM COVID-19: two competitions of one folder, and the join of their submissions that its host accepts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import RUNS, write
from zoo.boxes_siim import HOOKS, SIIM_BOXES, judge_siim, siim

from competition import artifacts, settings
from competition.cli import main
from competition.inspect import infer

FOLDER = Path("downloads/siim")
TASKS = {"detect": "detection", "submission": "image"}


def submitted(name: str, command: str, metric: str, given: str) -> Path:
    artifacts.write_text(artifacts.CONFIGS / name / "siim.py", HOOKS)
    guesses = infer.infer(FOLDER, name, metric, {"folds.n": 2} | settings.parse(given))
    artifacts.write_text(artifacts.competition_yaml(name), infer.to_yaml(guesses))
    write(f"configs/{name}/tiny.yaml", RUNS[TASKS[command]] | {"epochs": 1, "views": ["plain"]})
    assert main([command, f"{name}/tiny"]) == 0
    return artifacts.submission_csv(f"{name}/tiny")


@pytest.mark.slow
def test_images_and_studies_join_into_the_hosts_file(workspace: Path) -> None:
    siim(FOLDER)
    parts = [submitted(f"siim_{e.command}", e.command, e.metric, e.set) for e in SIIM_BOXES]
    script, sample = artifacts.CONFIGS / "siim_detect" / "siim.py", FOLDER / "sample_submission.csv"
    subprocess.run([sys.executable, script, sample, *parts, "submissions/siim.csv"], check=True)
    assert judge_siim(Path("submissions/siim.csv"), FOLDER) == []


def test_the_join_refuses_rows_that_are_not_the_samples(tmp_path: Path) -> None:
    siim(tmp_path)
    (tmp_path / "siim.py").write_text(HOOKS)
    (tmp_path / "images.csv").write_text("id,PredictionString\na_image,none 1 0 0 1 1\n")
    classes = "Negative for Pneumonia,Typical Appearance,Indeterminate Appearance,Atypical Appearance"
    (tmp_path / "studies.csv").write_text(f"id,{classes}\na_study,0.7,0.1,0.1,0.1\n")
    files = ["siim.py", "sample_submission.csv", "images.csv", "studies.csv", "joined.csv"]
    done = subprocess.run([sys.executable, *files], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0 and "have not the ids of" in done.stderr and not (tmp_path / "joined.csv").exists()
