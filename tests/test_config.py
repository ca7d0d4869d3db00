"""The two YAML files: what they take, and what each mistake gives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import RUNS, write

from competition import cli, config, schema, yaml
from competition.errors import ConfigFault, Fault, SafetyFault

ROOT = Path(__file__).parent.parent
COMPETITION = {"data": "d", "id": "id", "target": "y", "kind": "binary", "metric": "auc"}


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*/*.yaml")), ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_every_shipped_config_loads(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    if path.stem == "competition":
        config.load_competition(path.parent.name)
    else:
        config.load_run(f"{path.parent.name}/{path.stem}")


def test_reference_is_generated_from_the_types():
    assert (ROOT / "docs/config.md").read_text().strip() == schema.markdown().strip(), "run `make docs`"
    assert all(help for *_, help in schema.schema())
    assert {"image.train", "boxes.source", "boxes.template", "folds.n"} <= {key for _, key, *_ in schema.schema()}


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("007", "007"), ("no", "no"), ("12:30:00", "12:30:00"), ("true", True), ("1_000", 1000), ("", ""),
     ("null", None), ("[a, 1]", ["a", 1]), ("-2.5", -2.5), (".5", 0.5), ("1e5", 100000.0), ("'1'", "1")],
)  # fmt: skip
def test_scalars_are_what_they_look_like(text: str, value: object):
    assert yaml.scalar(text) == value
    assert type(yaml.scalar(text)) is type(value)


def fault_of(text: str, workspace: Path, error: type[Fault] = ConfigFault) -> Fault:
    write("configs/c/competition.yaml", COMPETITION)
    Path("configs/c/r.yaml").write_text(text)
    with pytest.raises(error) as fault:
        config.load_run("c/r")
    return fault.value


@pytest.mark.parametrize(
    ("text", "code", "where", "mend"),
    [
        ("task: image\nepohcs: 3\n", "CFG-UNKNOWN", "configs/c/r.yaml line 2, key epohcs", "'epochs'"),
        ("task: imgae\n", "CFG-TASK", "line 1, key task", "image"),
        ("size: 3\n", "CFG-TASK", "configs/c/r.yaml", "image"),
        ("task: image\namp: bf61\n", "CFG-VALUE", "line 2, key amp", "'bf16'"),
        ("task: image\nepochs: 0\n", "CFG-VALUE", "line 2, key epochs", "schema"),
        ("task: image\nlr: fast\n", "CFG-VALUE", "line 2, key lr", "schema"),
        ("task: image\nlr: 1\nlr: 2\n", "CFG-DUPKEY", "line 3, key lr", "remove"),
        ("task: image\n\tlr: 1\n", "CFG-SYNTAX", "line 2", "spaces"),
        ("- a\n", "CFG-SYNTAX", "configs/c/r.yaml", ""),
        ("members: [c/a]\n", "CFG-VALUE", "key members", ""),
        ("members: [c/a, c/b]\nepochs: 3\n", "CFG-UNKNOWN", "key epochs", ""),
    ],
)
def test_mistakes_name_file_line_key_and_the_nearest(text: str, code: str, where: str, mend: str, workspace: Path):
    finding = fault_of(text, workspace).findings[0]
    assert finding.code == code
    assert where in finding.where
    assert mend in finding.mend


def test_all_mistakes_of_a_file_come_at_once(workspace: Path):
    assert len(fault_of("task: image\nepohcs: 3\namp: x\nsize: big\n", workspace).findings) == 3


@pytest.mark.parametrize("text", ["task: !!python/object/apply:os.system ['touch hacked']\n", "a: &x [1]\nb: *x\n"])
def test_code_and_bombs_are_refused(text: str, workspace: Path):
    assert fault_of(text, workspace, SafetyFault).exit_code == 5
    assert not Path("hacked").exists()


def test_missing_files_offer_the_nearest(workspace: Path, capsys: pytest.CaptureFixture):
    write("configs/leaves/competition.yaml", COMPETITION)
    write("configs/leaves/baseline.yaml", RUNS["image"])
    assert cli.main(["train", "leaves/baselin"]) == 2
    assert "baseline.yaml" in capsys.readouterr().err
    assert cli.main(["train", "leafs/baseline"]) == 2
    assert "'leaves'" in capsys.readouterr().err
    assert cli.main(["--json", "train", "baseline"]) == 2
    assert '"exit_code": 2' in capsys.readouterr().err


def test_extends_takes_the_parents_values_and_set_wins(workspace: Path):
    write("configs/c/a.yaml", RUNS["image"])
    write("configs/c/b.yaml", {"extends": "a.yaml", "epochs": 7})
    run = config.load_run("c/b", "lr=1e-4 views=[plain, zoom]")
    assert (run.task.epochs, run.task.lr, run.task.size, run.task.views) == (
        7,
        1e-4,
        RUNS["image"]["size"],
        ("plain", "zoom"),
    )
    assert config.make_run("c/b", run.config()) == run, "what run.json records makes the same run"
    config.write_variant("c/b", "c/d", {"seed": 3})
    assert config.load_run("c/d").task.epochs == 7
    assert config.load_run("c/d").seed == 3
    with pytest.raises(ConfigFault, match="CFG-EXISTS"):
        config.write_variant("c/b", "c/d", {"seed": 4})
    write("configs/c/x.yaml", {"extends": "y.yaml"})
    write("configs/c/y.yaml", {"extends": "x.yaml"})
    with pytest.raises(ConfigFault, match="extends itself"):
        config.load_run("c/x")


def test_help_is_quick_and_imports_no_torch():
    import subprocess
    import sys

    code = "import sys; from competition import cli, words; words.parser(); print({'torch', 'pandas'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=os.environ, check=True
    )
    assert done.stdout.strip() == "set()"
