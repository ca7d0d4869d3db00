"""Rows 98 to 108: configuration, secrets, search, archives, clocks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from conftest import write

from competition import cli
from faults.case import Case, Make
from faults.making import BASE, FIT, TINY, TRAIN, absent, photos, run_file, table, text

TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz0123"


def unseen(*secrets: str) -> Callable[[], None]:
    """None of them stands in anything that was written, but for the file that the user wrote."""

    def holds() -> None:
        written = [p for p in Path().rglob("*") if p.is_file() and p != Path("configs/toy/base.yaml")]
        assert not [p for p in written for secret in secrets if secret.encode() in p.read_bytes()]

    return holds


def searched(change: Callable[[], object], **keys: object) -> Callable[[Make], None]:
    """A search of one trial, and then something happens to it."""

    def build(make: Make) -> None:
        table()(make)
        space = {"search": {"params.min_samples_leaf": {"low": 1, "high": 9}}, "tune": {"finalists": 0}}
        write("configs/toy/base.yaml", TINY | space | keys)
        if change is not None:
            change()

    return build


def one_trial() -> None:
    assert cli.main(("tune", BASE, "--trials", "1")) == 0


def no_database() -> None:
    Path("runs/toy/base~tune").mkdir(parents=True)
    Path("runs/toy/base~tune/study.db").write_text("no database " * 100)


def other_space() -> None:
    one_trial()
    space = {"search": {"params.min_samples_leaf": {"low": 5, "high": 6}}, "tune": {"finalists": 0}}
    write("configs/toy/base.yaml", TINY | space)


def archive() -> None:
    shutil.rmtree("data/images", ignore_errors=True)
    shutil.make_archive("data/packed", "zip", "data", "train.csv")
    shutil.copy("data/packed.zip", TRAIN)


CASES = [
    Case(98, "a number that YAML 1.1 reads as text", run_file("task: image\nlr: 1e-3x\n"), FIT, "error", "CFG-VALUE", 2,
         ("line 2, key lr", "'1e-3x'")),
    Case(98, "no is no false", run_file("task: image\ncompile: maybe\n"), FIT, "error", "CFG-VALUE", 2, ("key compile",)),
    Case(98, "a number without end", run_file("task: image\nlr: 1e999\n"), FIT, "error", "CFG-VALUE", 2, ("finite number",)),
    Case(98, "a key twice", run_file("task: image\nlr: 1\nlr: 2\n"), FIT, "error", "CFG-DUPKEY", 2, ("line 3, key lr",)),
    Case(98, "a key twice in a list", run_file("task: image\naugment: [{A: 1, A: 2}]\n"), FIT, "error", "CFG-DUPKEY", 2),
    Case(99, "a misspelt key", run_file("task: image\nepohcs: 3\n"), FIT, "error", "CFG-UNKNOWN", 2, ("'epochs'",)),
    Case(99, "a misspelt argument of an augmentation",
         photos(run="epochs=1 augment=[{RandomBrightnessContrast: {brigthness_limit: 0.2}}]"), FIT, "error",
         "CFG-UNKNOWN", 2, ("brigthness_limit",)),
    Case(99, "a task that is a list", run_file("task: [image]\n"), FIT, "error", "CFG-TASK", 2),
    Case(100, "a tab", run_file("task: image\n\tlr: 1\n"), FIT, "error", "CFG-SYNTAX", 2, ("line 2",)),
    Case(100, "a NUL", run_file("task: image\nlr: \0\n"), FIT, "error", "CFG-SYNTAX", 2),
    Case(100, "not UTF-8", photos(text("configs/toy/base.yaml", b"task: caf\xe9\n")), FIT, "error", "CFG-SYNTAX", 2),
    Case(100, "a folder", photos(lambda: (Path("configs/toy/base.yaml").unlink(), Path("configs/toy/base.yaml").mkdir())),
         FIT, "error", "CFG-SYNTAX", 2, ("Is a directory",)),
    Case(100, "a tag of Python", run_file("task: !!python/object/apply:os.system ['touch hacked']\n"), FIT, "error",
         "SEC-TAG", 5, ("line 1",), absent("hacked")),
    Case(100, "a tag of a type", run_file("task: image\nlr: !!float x\n"), FIT, "error", "SEC-TAG", 5, ("line 2",)),
    Case(100, "anchors", run_file("a: &x [1]\nb: [*x, *x]\n"), FIT, "error", "SEC-ALIAS", 5, ("anchor",)),
    Case(100, "brackets in brackets", run_file(f"task: image\naugment: {'[' * 3000}{']' * 3000}\n"), FIT, "error",
         "SEC-ALIAS", 5, ("50 levels",)),
    Case(100, "too many values", run_file(f"task: image\naugment: [{'1,' * 11_000}]\n"), FIT, "error", "SEC-ALIAS", 5,
         ("10,000 values",)),
    Case(100, "over 1 MB", run_file(f"task: {'x' * 1_000_001}\n"), FIT, "error", "SEC-ALIAS", 5),
    Case(101, "a token in a file", run_file(f"task: image\npretrained: {TOKEN}\n"), FIT, "error", "SEC-SECRET", 5,
         ("line 2, key pretrained",), unseen(TOKEN)),
    Case(101, "a token in SET", photos(), (*FIT, "--set", f"wandb_api_key={TOKEN}"), "error", "SEC-SECRET", 5,
         ("SET, key wandb_api_key",), unseen(TOKEN)),
    Case(101, "a password in a URL", photos(), (*FIT, "--set", "tune.storage=postgresql://me:s3cret@host/db"), "error",
         "SEC-SECRET", 5, ("tune.storage", "env:NAME"), unseen("s3cret")),
    Case(101, "a password by its name", run_file("task: image\nparams: {db_password: tellnobody}\n"), FIT, "error",
         "SEC-SECRET", 5, ("params.db_password",), unseen("tellnobody")),
    Case(102, "another space under the same search", searched(other_space), ("tune", BASE, "--trials", "2"), "error",
         "HPO-MISMATCH", 2, ("another search space",), slow=True),
    Case(104, "a database that is none", searched(no_database), ("tune", BASE, "--trials", "1"), "error", "HPO-STORE", 4,
         ("study.db", "move it away")),
    Case(105, "values that no model takes",
         searched(lambda: None, search={"params.max_features": [-3.0, -4.0]}), ("tune", BASE, "--trials", "2"), "error",
         "HPO-NONE", 4, ("2 trials ended early", "TAB-MODEL"), slow=True),
    Case(107, "a packed table", table(archive), FIT, "error", "SEC-ARCHIVE", 5, ("train.csv", "unpack"),
         absent("train.csv", "data/train")),
    Case(107, "a run that leaves its folder", photos(), (*FIT, "--as", "../../x/y"), "error", "CFG-VALUE", 2,
         holds=absent("../../x")),
    Case(107, "escape sequences in a name", photos(), ("train", "toy/b\x1b[31mx"), "error", "CFG-VALUE", 2, ("\\x1b[31m",)),
]  # fmt: skip

UNTRIED: dict[int, str] = {
    103: "killed trials: tests/test_tune.py kills one of three commands, and one before its first sign of life",
    106: "a cluster that is not there, or obeys anybody, lost workers: tests/test_cluster.py",
    108: "clocks: all durations and deadlines are of time.monotonic: tests/test_security.py reads the source for others",
}
