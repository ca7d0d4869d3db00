"""Pictures with table columns beside them: what reaches the head, that folds stay apart, and that nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import RUNS, TRAIN, parse, write
from safetensors.numpy import load_file

from competition import cli, runs
from competition.data import load
from competition.errors import Stopped
from competition.image import beside, feed, model
from competition.image.task import ImageTask
from competition.importance import explain_fold
from competition.inspect import start
from competition.split import Split
from competition.train import Watch, fit_fold, open_fold

BESIDE = "columns=all views=plain"


def podium(*words: str) -> int:
    load.cache_clear()
    return cli.main(list(words))


def score(run: str) -> float:
    return json.loads(Path(f"runs/{run}/score.json").read_text())["score"]


def change(**columns: np.ndarray) -> None:
    """Cells of train.csv and test.csv together, or a new column of both; the target only has those of train."""
    for part, rows in (("train", slice(0, TRAIN)), ("test", slice(TRAIN, None))):
        table = pd.read_csv(f"data/{part}.csv", dtype=str, keep_default_na=False)
        new = {name: cells[rows] for name, cells in columns.items() if name != "label" or part == "train"}
        table.assign(**new).to_csv(f"data/{part}.csv", index=False)


def blind(seed: int = 0) -> np.ndarray:
    """A label that pictures and columns don't tell, but for the new column `answer`."""
    label = np.random.default_rng(seed).integers(0, 2, 72)
    change(label=np.array(["no", "yes"])[label], answer=np.array(["left", "right"])[label])
    return label


@pytest.mark.slow
def test_a_column_that_tells_the_label_reaches_the_head(competition: Callable[..., str]):
    """The score is the column's, and is lost where its cells change places while rows are predicted."""
    run = competition("binary", run=f"{BESIDE} epochs=15 batch=4 mixup=0.1", columns=True)
    blind()
    assert podium("submission", run) == 0
    assert score(run) > 0.9
    assert podium("submission", run, "--set", "columns=null", "--as", "toy/plain") == 0
    assert score("toy/plain") < 0.75
    assert podium("importance", run) == 0
    found = pd.read_csv(f"runs/{run}/importance.csv", index_col="column")
    assert found.index[0] == "answer" and found.loc["answer", "permutation"] > 0.2
    assert found["permutation"].drop("answer").abs().max() < 0.2
    assert podium("importance", "toy/plain") == 2
    plain, with_columns = (load_file(f"runs/toy/{n}/fold0/model.safetensors") for n in ("plain", "base"))
    assert {k.removeprefix("network.") for k in with_columns if k.startswith("network.")} == set(plain)


def test_features_of_a_fold_know_nothing_of_held_out_labels(
    competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    """Target means among them; and they know the training rows' labels."""
    monkeypatch.setattr(beside, "LEVELS", 2)
    run = competition("binary", run=BESIDE, columns=True)
    task = runs.resolve(run).task
    assert start.beside(load("toy")).endswith("too: 'size', 'colour', 'day', 'note'\n"), "make init says what there is"
    assert runs.look(runs.resolve(run))  # writes the fold table
    fold = open_fold(runs.resolve(run), Split(0))
    assert fold.valid is not None and fold.train.truth is not None
    before = beside.fit(task, fold)
    assert any("mean" in name for name in before.features.kept)
    labels = pd.read_csv("data/train.csv", dtype=str).set_index("id")["label"]
    for ids, same in ((fold.valid.ids, True), (fold.train.ids, False)):
        other = labels.where(~labels.index.isin(ids), labels.map({"yes": "no", "no": "yes"}))
        table = pd.read_csv("data/train.csv", dtype=str, keep_default_na=False)
        table.assign(label=other.to_numpy()).to_csv("data/train.csv", index=False)
        load.cache_clear()
        data = load("toy")
        again = beside.fit(task, replace(fold, train=data.train.take(fold.train.ids)))
        assert np.array_equal(before.cells, again.cells) == same
        assert (before.note == again.note) == same
        held = data.train.take(fold.valid.ids).table
        same_held = np.array_equal(before.features.transform(held).values, again.features.transform(held).values)
        assert same_held == same


def test_without_columns_nothing_is_new():
    """Settings, and so the identity of runs that are trained, and the network's random numbers."""
    assert ImageTask(views=("plain",)).model_dump(exclude_defaults=True) == {"views": ("plain",)}
    torch.manual_seed(0)
    plain = model.create(ImageTask(backbone="test_resnet", pretrained=False), 3, {}, "fold0")
    torch.manual_seed(0)
    both = model.create(ImageTask(backbone="test_resnet", pretrained=False), 3, {}, "fold0", 5)
    images, cells = torch.randn(2, 3, 32, 32), torch.randn(2, 5)
    torch.testing.assert_close(plain.eval()(images), both.eval()(images, cells), msg="columns add nothing at first")
    groups = model.optimizer(both, ImageTask(backbone="test_resnet", pretrained=False, head_lr=7.0)).param_groups
    rates = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    assert rates.keys() == {id(p) for p in both.parameters()}
    assert {rates[id(p)] for part in both.added() for p in part.parameters()} == {7.0}


SLOW = ("convnext_atto", "deit_tiny_distilled_patch16_224", "swin_tiny_patch4_window7_224")


@pytest.mark.parametrize(
    "backbone", ["test_vit", "mobilenetv4_conv_small", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)
def test_backbones_of_every_build_take_columns(backbone: str):
    model.check(ImageTask(backbone=backbone, pretrained=False, size=224), 3, columns=True)


def test_cells_are_mixed_as_the_pixels_are():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 16, 16, 3)).astype(np.uint8)
    one_hot, cells = torch.eye(8), torch.randn(8, 3)
    for task in (ImageTask(mixup=0.4, size=16), ImageTask(cutmix=1.0, size=16)):
        mixing = feed.Mixing.drawn(task, 8, np.random.default_rng(3))
        assert mixing is not None
        _, targets, mixed = mixing.of(torch.from_numpy(images.copy()), (one_hot, cells))
        torch.testing.assert_close(mixed, targets @ cells)


def test_a_stopped_fold_goes_on_to_the_same_weights(competition: Callable[..., str]):
    run = competition("multiclass", run=f"{BESIDE} epochs=2 drop=0.1 mixup=0.2 cutmix=1.0", columns=True)
    base, whole = runs.resolve(run), runs.resolve(run, "seed=0", "toy/whole")
    assert podium("train", "toy/whole", "--fold", "0") == 0
    shown: list[float] = []
    watch = Watch("half", lambda epoch, score: shown.append(score), lambda: len(shown) >= 1)
    with pytest.raises(Stopped):
        fit_fold(base, Split(0), watch)
    assert Path(f"runs/{run}/fold0/last.ckpt").exists()
    fit_fold(base, Split(0))
    one, two = (load_file(f"runs/{name}/fold0/model.safetensors") for name in (whole.name, run))
    assert one.keys() == two.keys() and all((one[k] == two[k]).all() for k in one)


def mistakes() -> list[tuple[str, list[str]]]:
    return [
        ("columns=[size, colur]", ["TAB-COLUMNS", "colur", "did you mean 'colour'?"]),
        ("columns=[id, label, gone]", ["names the row", "what is predicted", "'gone' is in train, and test lacks it"]),
        ("columns=[size, flat]", ["TAB-CONST", "'flat': constant"]),
        ("columns=[size] types={category: [colour]}", ["CFG-VALUE", "'colour' is none of `columns:`"]),
        ("columns={category: [colour]}", ["CFG-VALUE", "types:"]),
    ]


def test_columns_that_nothing_can_be_learned_from_are_refused(
    competition: Callable[..., str], capsys: pytest.CaptureFixture
):
    run = competition("binary", run="epochs=1", columns=True)
    change(flat=np.repeat("1", 72))
    train = pd.read_csv("data/train.csv", dtype=str)
    train.assign(gone=train["size"]).to_csv("data/train.csv", index=False)
    for n, (wrong, told) in enumerate(mistakes()):
        assert podium("train", run, "--set", wrong, "--as", f"toy/r{n}") in (2, 3)
        out, err = capsys.readouterr()
        said = " ".join((out + err).split())
        assert all(word in said for word in told), said
        assert "Traceback" not in said


def test_pictures_alone_have_no_columns_to_take(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    assert podium("train", competition("binary", run="epochs=1 columns=all")) == 3
    assert "TAB-COLUMNS" in capsys.readouterr().err


@pytest.mark.slow
def test_everything_else_takes_columns_along(competition: Callable[..., str]):
    """Weights of another run, pseudo-labels, several seeds and the refit, an average over epochs, the rate, the plan."""
    run = competition("multiclass", run=BESIDE, columns=True)
    assert podium("submission", run) == 0
    for name, keys in {
        "next": "pretrained=run:toy/base",
        "back": "pretrained=run:toy/base columns=null",
        "some": "columns=[size] pretrained=run:toy/base",
        "more": "pseudo=toy/base swa=1 freeze=1 layer_decay=0.7",
        "last": "refit=beside seeds=2 ema=0.9 accumulate=2 balance=sampling workers=1",
    }.items():
        assert podium("submission", run, "--set", keys, "--as", f"toy/{name}") == 0, name
    assert podium("lr", run) == 0
    write("configs/toy/new.yaml", RUNS["image"] | parse(BESIDE))
    assert podium("plan", "toy/new") == 0
    assert not Path("runs/toy/new/fold0").exists()
    assert podium("tune", run, "--trials", "2") == 0
    Path(f"runs/{run}/fold0/{beside.FILE}").write_bytes(b"")
    assert podium("submission", run, "--set", "views=[plain, hflip]") == 4, "CKPT-CORRUPT"


@pytest.mark.slow
def test_soups_are_of_the_same_columns(competition: Callable[..., str], capsys: pytest.CaptureFixture):
    competition("multiclass", columns=True, folds={"n": 3})
    for name, more in (("a", "lr=0.001"), ("b", "lr=0.002 seed=1"), ("c", "columns=[size, colour, day]")):
        write(f"configs/toy/{name}.yaml", RUNS["image"] | parse(f"{BESIDE} {more}"))
    write("configs/toy/soup.yaml", {"task": "soup", "of": ["toy/a", "toy/b"], "jobs": 1})
    write("configs/toy/odd.yaml", {"task": "soup", "of": ["toy/a", "toy/c"], "jobs": 1})
    assert podium("submission", "toy/soup") == 0
    assert Path(f"runs/toy/soup/fold1/{beside.FILE}").exists()
    assert podium("submission", "toy/odd") == 2
    assert "SOUP-SHAPES" in capsys.readouterr().err


@pytest.mark.slow
def test_a_blend_with_a_table_run_is_explained_as_a_whole(competition: Callable[..., str]):
    run = competition("multiclass", run=BESIDE, columns=True)
    write("configs/toy/trees.yaml", RUNS["tabular"])
    write("configs/toy/blend.yaml", {"members": [run, "toy/trees"], "method": "mean"})
    assert podium("submission", "toy/blend") == 0
    assert podium("importance", "toy/blend") == 0
    blend = runs.resolve("toy/blend")
    with runs.opened(blend) as at:
        from competition.importance import _pieces

        held = [explain_fold(blend, [], piece).plain for piece in _pieces(at)]
    there = pd.read_parquet("runs/toy/blend/oof.parquet")
    np.testing.assert_allclose(pd.concat(held).loc[there.index], there, atol=1e-6)
