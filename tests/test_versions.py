"""Files of other versions, devices and systems: they load, or one message names both versions."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors import safe_open
from test_checkpoint import KNOBS, stopped_twice
from test_steps import CPU, fold_in, job_of, network
from torch import nn

from competition import artifacts, card, checkpoint, cli, disk, engine, loop, tables, versions
from competition.decoding import unreadable
from competition.errors import EnvironmentFault, SafetyFault
from competition.keys import Competition, ImagePaths
from competition.task import Fold


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = torch.load(artifacts.read_sealed(path), weights_only=True)
    change(values)
    artifacts.write_sealed(path, lambda file: torch.save(values, file))


def logging(fold: Fold) -> list[str]:
    told: list[str] = []
    object.__setattr__(fold, "log", lambda step, values: told.append(values.get("note", "")))
    return told


def older(values: dict[str, Any]) -> None:
    """As Podium 0.1 wrote it: that did not say its version, nor go back."""
    for key in ("first", "bad", "rollbacks", "makers", "before"):
        values.pop(key)


def of_another_torch(values: dict[str, Any]) -> None:
    values["makers"][-1]["torch"] = "2.11.0"


def test_a_fold_of_another_version_goes_on_and_says_so(tmp_path: Path):
    fold = stopped_twice(tmp_path)
    rewritten(tmp_path / "last.ckpt", of_another_torch)
    told = logging(fold)
    _, record = loop.train(job_of(network()), KNOBS, fold, CPU)
    assert f"torch 2.11.0 there, {torch.__version__.partition('+')[0]} now; bits may differ" in "".join(told)
    assert record["made_by"][0]["torch"] == "2.11.0" and len(record["made_by"]) == 2


def test_a_fold_of_the_release_before_goes_on_by_its_runs_card(tmp_path: Path):
    artifacts.write_json(tmp_path / "run.json", {"versions": versions.now() | {"podium": "0.1.0"}})
    fold = stopped_twice(tmp_path / "fold0")
    rewritten(tmp_path / "fold0/last.ckpt", older)
    told = logging(fold)
    model, record = loop.train(job_of(network()), KNOBS, fold, CPU)
    assert "podium 0.1.0 there" in "".join(told) and record["made_by"][0]["podium"] == "0.1.0"
    whole, alone = loop.train(job_of(network()), KNOBS, fold_in(tmp_path / "whole"), CPU)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), whole.state_dict().values(), strict=True))
    assert "made_by" not in alone


def test_weights_under_other_names_are_refused_with_both_versions(tmp_path: Path):
    def renamed(values: dict[str, Any]) -> None:
        of_another_torch(values)
        values["model"] = {f"module.{name}": tensor for name, tensor in values["model"].items()}

    fold = stopped_twice(tmp_path)
    rewritten(tmp_path / "last.ckpt", renamed)
    with pytest.raises(EnvironmentFault, match="CKPT-MISMATCH") as fault:
        loop.train(job_of(network()), KNOBS, fold, CPU)
    found = fault.value.findings[0]
    assert "torch 2.11.0 there" in found.found and "\n" not in found.found and len(found.found) < 400
    assert "those versions" in found.mend and str(tmp_path) in found.mend


def test_a_checkpoint_of_a_gpu_goes_on_on_a_cpu_and_back(tmp_path: Path):
    def of_a_gpu(values: dict[str, Any]) -> None:
        scaler = {"scale": 65536.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000}
        values["scaler"] = scaler | {"_growth_tracker": 0}
        values["cuda_random"] = torch.zeros(16, dtype=torch.uint8)
        values["makers"][-1]["device"] = "cuda"

    fold = stopped_twice(tmp_path)
    rewritten(tmp_path / "last.ckpt", of_a_gpu)
    told = logging(fold)
    _, record = loop.train(job_of(network()), KNOBS, fold, CPU)
    assert "device cuda there, cpu now" in "".join(told) and record["steps"] == 20

    state = loop.begin(job_of(network()), KNOBS, CPU)  # the other way: a scaler that is on takes what was saved without
    values, state.scaler = state.values(), torch.amp.GradScaler("cpu")
    state.take(values | {"step": 3})
    assert state.step == 3 and state.scaler.is_enabled() and not values["scaler"]


def test_a_checkpoint_keeps_neither_device_nor_memory_format(tmp_path: Path):
    """As it would lie on a GPU: read for any device, into weights of that network's own layout."""
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    last = plain.to(memory_format=torch.channels_last)
    state = checkpoint.State(loop.Job(last, torch.optim.AdamW(last.parameters()), 5, None, None, None), None,
                             torch.amp.GradScaler("cpu", enabled=False))  # fmt: skip
    last(torch.ones(2, 3, 8, 8)).sum().backward()
    state.job.optimizer.step()
    artifacts.write_sealed(tmp_path / "last.ckpt", lambda file: torch.save(state.values(), file))
    for device in ("cpu", "meta"):
        values = checkpoint._read(tmp_path / "last.ckpt", torch.device(device))
        assert values["model"]["0.weight"].device.type == device
    state.take(checkpoint._read(tmp_path / "last.ckpt", CPU))
    assert last[0].weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
def test_weights_say_which_versions_wrote_them(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    """And a run of other ones is predicted, or refused in one message."""
    run = competition("multiclass", run="epochs=1")
    assert cli.main(["train", run]) == 0
    fold = Path("runs/toy/base/fold0")
    with safe_open(fold / "model.safetensors", "pt") as file:
        notes, weights = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert versions.noted(notes) == versions.now()
    record = artifacts.read_json(card.path_of(run))
    record["versions"]["timm"] = "0.9.16"
    artifacts.write_json(card.path_of(run), record)
    assert cli.main(["predict", run]) == 0
    assert "made by other versions: timm 0.9.16 there" in capsys.readouterr().out

    from safetensors.torch import save_file

    notes["versions"] = json.dumps(versions.now() | {"timm": "0.9.16"})
    renamed = {name.replace("conv1", "stem"): tensor for name, tensor in weights.items()}
    save_file(renamed, fold / "model.safetensors", notes)
    fitted = artifacts.read_json(fold / "fit.json")
    fitted["files"]["model.safetensors"] = artifacts.file_digest(fold / "model.safetensors")
    artifacts.write_json(fold / "fit.json", fitted)
    (fold / "predicted.json").unlink()
    assert cli.main(["predict", run]) == 4
    err = capsys.readouterr().err
    assert "CKPT-MISMATCH" in err and "timm 0.9.16 there" in err and "Traceback" not in err
    assert len(err.splitlines()) < 8


@pytest.mark.slow
@pytest.mark.parametrize("model", ["lightgbm", "xgboost", "catboost", "tabm", "extratrees", "linear"])
def test_a_tabular_model_of_another_library_is_refused_with_both_versions(
    model: str, competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    """Its file is whole, but not as this version of the library writes it."""
    params = {"lightgbm": {"num_iterations": 5}, "xgboost": {"rounds": 5}, "catboost": {"iterations": 5},
              "tabm": {"epochs": 1}, "extratrees": {"n_estimators": 5}, "linear": {}}[model]  # fmt: skip
    run = competition("multiclass", task="tabular", run=f"model={model} bag=1 params={json.dumps(params)}")
    assert cli.main(["train", run]) == 0
    record = artifacts.read_json(card.path_of(run))
    record["versions"] |= dict.fromkeys(versions.LIBRARIES, "0.0.1")
    artifacts.write_json(card.path_of(run), record)
    for fold in Path("runs/toy/base").glob("fold*"):
        (file,) = (p for p in fold.glob("model0-*") if p.name != "model0-features.skops")
        file.write_bytes(b"a form of tomorrow\n" * 20)
        fitted = artifacts.read_json(fold / "fit.json")
        fitted["files"][file.name] = artifacts.file_digest(file)
        artifacts.write_json(fold / "fit.json", fitted)
    assert cli.main(["predict", run]) == 4
    err = capsys.readouterr().err
    assert "0.0.1 there" in err and "error CKPT-" in err and "Traceback" not in err


def test_a_search_of_another_optuna_is_refused_with_both_versions(tmp_path: Path):
    from competition.tuning import study

    url = f"sqlite:///{tmp_path / 'study.db'}"
    study.storage(url)
    with sqlite3.connect(tmp_path / "study.db") as database:
        database.execute("update version_info set schema_version = 99, library_version = '9.9.0'")
        database.execute("update alembic_version set version_num = 'v9.9.0.a'")
    with pytest.raises(EnvironmentFault, match="HPO-STORE") as fault:
        study.storage(url)
    assert "9.9.0" in fault.value.findings[0].found and "runtime optuna version" in fault.value.findings[0].found


# ---- other systems


def pictures(cells: list[str], root: Path) -> list[str]:
    toy = Competition.model_construct(data=root, image=ImagePaths.model_construct(train="images/{file}"))
    paths = tables.pictures(pd.DataFrame({"file": cells}), toy, "train")
    assert paths is not None
    return list(paths)


def test_a_cell_that_windows_wrote_names_the_same_picture(tmp_path: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "odd\\b.jpg").touch()  # what unpacks of an archive made there
    assert pictures(["day\\a.jpg", "day/a.jpg", "odd\\b.jpg"], tmp_path) == [
        f"{tmp_path}/images/day/a.jpg", f"{tmp_path}/images/day/a.jpg", f"{tmp_path}/images/odd\\b.jpg"
    ]  # fmt: skip


@pytest.mark.parametrize("cell", ["..\\..\\secret", "a\\..\\..\\..\\b"])
def test_no_cell_leaves_the_folder_by_backslashes(cell: str, tmp_path: Path):
    with pytest.raises(SafetyFault, match="SEC-PATH"):
        pictures([cell], tmp_path)


def test_a_system_without_posix_calls_writes_and_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """As on Windows: no folder is opened, no signal is masked, users have no numbers."""
    for module, name in ((os, "geteuid"), (os, "sched_getaffinity"), (signal, "pthread_sigmask")):
        monkeypatch.delattr(module, name)
    refused, plain = [], os.open

    def opening(path: Any, flags: int, *more: Any, **others: Any) -> int:
        if os.path.isdir(path):
            refused.append(path)
            raise PermissionError(errno.EACCES, "a folder", str(path))
        return plain(path, flags, *more, **others)

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(disk, "POSIX", False)
    artifacts.write_text(tmp_path / "a.txt", "text")
    assert not refused and (tmp_path / "a.txt").read_text() == "text"
    assert unreadable("a.jpg", PermissionError(errno.EACCES, "no")).code == "IMG-PERM"
    with engine._signals_wait():
        assert engine.cores() >= 1


def test_what_a_card_stores_of_files_is_written_with_slashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("configs/toy").mkdir(parents=True)
    Path("configs/toy/own.py").write_text("def read(): ...\n")
    files = card.files("toy", {"read": "own.py:read"}, {}, {})
    assert list(files) == ["configs/toy/own.py"]


@pytest.mark.slow
def test_a_run_folder_of_podium_0_1_is_ranked_and_predicted_anew(workspace: Path, capsys: pytest.CaptureFixture):
    """tests/golden/podium-0.1.0: as that release left it, a linear model on a table."""
    shutil.copytree(Path(__file__).parent / "golden/podium-0.1.0", workspace, dirs_exist_ok=True)
    before = artifacts.table_digest(artifacts.read_table(Path("runs/toy/linear/oof.parquet")))
    assert cli.main(["compare", "toy"]) == 0
    for fold in Path("runs/toy/linear").glob("fold*"):
        (fold / "predicted.json").unlink()
    assert cli.main(["submission", "toy/linear"]) == 0
    out = capsys.readouterr().out
    assert "podium 0.1.0 there" in out
    after = artifacts.read_table(Path("runs/toy/linear/oof.parquet"))
    assert artifacts.table_digest(after) == before or record_differs(), "the same versions predict the same"


def record_differs() -> bool:
    """Whether other libraries than those of the golden folder are installed."""
    return bool(versions.differences(versions.of_run(Path("runs/toy/linear")), versions.now(("scikit-learn", "numpy"))
                                     | {"podium": "0.1.0"}))  # fmt: skip
