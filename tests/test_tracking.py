"""What services are told of runs, read back by the services' own readers, and that training never waits for them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import write

from competition import artifacts, cli, runs, tracking
from competition.data import load
from competition.standings import standings
from competition.tracking import choice, told
from competition.tracking.following import WAIT
from competition.tracking.tail import Tail

ROOT = Path(__file__).resolve().parent.parent
KEY = "f" * 40
DEAD = "http://127.0.0.1:9"


def podium(*words: str, **environ: str) -> subprocess.Popen[str]:
    given = os.environ | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "offline"} | environ
    return subprocess.Popen(
        [sys.executable, "-m", "competition", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={k: v for k, v in given.items() if v},
    )


def finished(*words: str, **environ: str) -> str:
    process = podium(*words, **environ)
    out, errors = process.communicate(timeout=500)
    assert process.returncode == 0, out + errors
    return out


def told_all() -> None:
    """On a busy machine a mirror may have left something to do, or still be at it."""
    out = "make sync again"
    while "make sync again" in out:
        process = podium("sync", "toy", WANDB_API_KEY="", NETRC="nowhere")
        out, errors = process.communicate(timeout=500)
        assert process.returncode == (4 if "ENV-TOKEN" in errors else 0), out + errors
    assert "ENV-TOKEN" in errors


class Logged:
    """What offline files hold, of all folders of one W&B run, by the client's own reader."""

    def __init__(self, files: list[Path]) -> None:
        self.run: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.artifacts: list[dict[str, Any]] = []
        self.metrics: dict[str, dict[str, Any]] = {}
        from wandb.util import get_core_path

        reader = [get_core_path(), "leet", "inspect", "--no-observability", "--json"]  # `wandb leet inspect`
        for file in files:
            words = [*reader, "--run-file", str(file), str(file.parent)]
            lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout
            for record in map(json.loads, lines.splitlines()):
                self.take(record["type"], record)

    def take(self, kind: str, record: Mapping[str, Any]) -> None:
        if kind == "run":
            self.run |= record["run"]
            self.config |= record["run"]["config"]["update"]
        elif kind == "history":
            self.history.append(record["history"]["item"])
        elif kind == "summary":
            self.summary |= record["summary"].get("update", {})
        elif kind == "artifact":
            self.artifacts.append(record["artifact"])
        elif kind == "metric":
            self.metrics[record["metric"]["name"]] = record["metric"]


def logged() -> dict[str, Logged]:
    """By `job type: name`."""
    files: dict[str, list[Path]] = defaultdict(list)
    for file in sorted(Path("runs/.wandb/toy/wandb").glob("offline-run-*/run-*.wandb")):
        files[file.name].append(file)
    found = [Logged(some) for some in files.values()]
    return {f"{one.run['job_type']}: {one.run['display_name']}": one for one in found}


def curve(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if not k.startswith("_") and isinstance(v, int | float)} for line in lines]


def every_line(run: str, fold: str = "fold0") -> list[dict[str, Any]]:
    return tracking.read(artifacts.run_folder(run) / fold / "history.jsonl", steps=True)


@pytest.mark.slow
def test_three_runs_by_two_tasks_and_a_blend_are_read_back_as_the_folders_have_them(
    competition: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("CANARY_TOKEN", "canary-in-the-mine")
    base = competition("multiclass", columns=True, tracking="wandb")
    write("configs/toy/table.yaml", {"task": "tabular", "model": "extratrees", "jobs": 1})
    assert cli.main(["submission", base]) == 0
    assert cli.main(["submission", base, "--set", "lr=0.001 epochs=2", "--as", "toy/slow"]) == 0
    assert cli.main(["submission", "toy/table"]) == 0
    assert cli.main(["ensemble", "toy"]) == 0
    assert "warning" not in capfd.readouterr().out
    told_all()
    found = logged()
    folds = [f"train: {run} fold{k}" for run in ("base", "slow", "table") for k in (0, 1)]
    scores = ["score: base", "score: slow", "score: table", "blend: blend"]
    assert sorted(found) == sorted([*folds, *scores])
    for name, one in found.items():
        assert one.run["project"] == "toy"
        assert one.run["run_group"] == name.split(": ")[1].split()[0]
    for standing in standings("toy"):
        shown = found[("blend: " if standing.task == "blend" else "score: ") + standing.run]
        assert standing.state == "scored"
        assert shown.summary["score"] == standing.score == standing.scored["score"]
        assert shown.summary["std"] == pytest.approx(standing.std)
        assert [shown.summary[f"score_fold{k}"] for k in (0, 1)] == [*standing.folds.values()]
        assert shown.summary["seconds"] == pytest.approx(standing.seconds)
        assert shown.config["made_with"]["data"] == standing.record["data"]
        assert shown.config["made_with"]["folds"] == standing.record["folds"]
        assert {"git", "versions", "hardware"} <= set(shown.config["made_with"])
        tables = {"worst_rows", "confusion_matrix", "precision_recall", "roc"}
        assert tables <= {key.removesuffix("_table") for key in _top(shown.summary)}
    for run, fold in ((run, k) for run in ("base", "slow") for k in (0, 1)):
        shown = found[f"train: {run} fold{fold}"]
        assert curve(shown.history) == curve(every_line(f"toy/{run}", f"fold{fold}"))
        assert shown.metrics["valid"]["step_metric"] == "epoch"
        assert shown.metrics["valid"]["summary"]["max"]
        assert shown.metrics["train_loss"]["step_metric"] == "step"
    kinds = {a["name"]: a for a in found["score: base"].artifacts}
    assert {"config-toy-base", "predictions-toy-base", "submission-toy-base"} <= set(kinds)
    assert kinds["folds-toy"]["use_after_commit"]
    assert kinds["weights-toy-base-fold0"]["use_after_commit"]
    (made,) = (a for a in found["train: base fold0"].artifacts if a["type"] == "weights")
    assert not made.get("use_after_commit")
    assert made["digest"] == kinds["weights-toy-base-fold0"]["digest"]
    assert {a["name"] for a in found["blend: blend"].artifacts if a.get("use_after_commit")} == {
        "folds-toy", *(f"predictions-toy-{run}" for run in ("base", "slow", "table"))
    }  # fmt: skip
    everything = b"".join(p.read_bytes() for p in Path("runs").rglob("*") if p.is_file())
    assert b"canary-in-the-mine" not in everything
    assert b"submission\x00" not in everything and b"-m competition" not in everything
    assert {p.name for p in Path().iterdir()} <= {"configs", "data", "folds", "runs", "submissions"}


def _top(summary: Mapping[str, Any]) -> set[str]:
    return {key.split(".")[0] for key in summary}


@pytest.mark.slow
def test_a_killed_fold_that_goes_on_is_one_curve_without_gaps_or_doubles(competition: Callable[..., str]):
    run = competition("multiclass", run="epochs=150")
    process = podium("train", run, "--fold", "0")
    kept = [Path("runs/toy/base/fold0/last.ckpt"), Path("runs/toy/base/.mirror/wandb.json")]
    while not all(path.exists() for path in kept) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    lock = artifacts.run_folder(run) / told.MIRRORED / ".lock"
    while _held(lock):  # the mirror tells the rest and ends by itself
        time.sleep(0.2)
    assert not Path("runs/toy/base/fold0/fit.json").exists()
    finished("train", run, "--fold", "0")
    told_all()
    files = list(Path("runs/.wandb/toy/wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) > 1
    assert len({file.name for file in files}) == 1
    (shown,) = logged().values()
    timed = ("seconds", "images_per_second")
    there = [{k: v for k, v in line.items() if k not in timed} for line in curve(shown.history)]
    assert there == [{k: v for k, v in line.items() if k not in timed} for line in curve(every_line(run))]
    assert len(there) == 150 * 3


def _held(lock: Path) -> bool:
    from filelock import FileLock, Timeout

    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True


def waited(run: str) -> float:
    """Seconds since the last fold was trained."""
    return time.time() - max(path.stat().st_mtime for path in artifacts.run_folder(run).glob("fold*/fit.json"))


@pytest.mark.slow
def test_a_dead_address_is_said_and_nothing_waits_for_it(competition: Callable[..., str]):
    run = competition("multiclass", run="epochs=2")
    out = finished("train", run, WANDB_MODE="", WANDB_API_KEY=KEY, WANDB_BASE_URL=DEAD)
    assert waited(run) < WAIT + 10
    assert "logged offline" in out
    assert "can't be reached" in out
    began = time.monotonic()
    process = podium("sync", "toy", WANDB_MODE="", WANDB_API_KEY=KEY, WANDB_BASE_URL=DEAD)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert process.returncode == 4
    assert "ENV-NETWORK" in errors
    assert KEY not in errors
    assert {name.split(":")[0] for name in logged()} == {"train"}
    assert not any(KEY.encode() in p.read_bytes() for p in Path("runs").rglob("*") if p.is_file())


@pytest.mark.slow
def test_a_server_that_takes_connections_and_says_nothing(competition: Callable[..., str]):
    run = competition("multiclass", run="epochs=2")
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        out = finished("train", run, WANDB_MODE="online", WANDB_API_KEY=KEY, WANDB_BASE_URL=url)
        assert waited(run) < WAIT + 10
        while _held(artifacts.run_folder(run) / told.MIRRORED / ".lock"):  # the mirror gives the server its time
            time.sleep(0.2)
    assert "is not mirrored" not in out
    assert len(every_line(run)) == 6
    assert set(logged()) == {"train: base fold0", "train: base fold1"}


@pytest.mark.slow
def test_what_was_trained_without_a_mirror_is_told_once_by_sync(competition: Callable[..., str]):
    run = competition("regression", task="tabular", tracking="none")
    finished("submission", run)
    assert not Path("runs/.wandb").exists()
    for count in (3, 3):
        process = podium("sync", "toy", WANDB_MODE="", WANDB_API_KEY="", NETRC="nowhere", HOME=str(Path.cwd()))
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 4
        assert "ENV-TOKEN" in errors
        assert f"{count} folders wait" in errors
    assert set(logged()) == {"train: base fold0", "train: base fold1", "score: base"}


@pytest.mark.slow
def test_trials_of_a_search_are_a_group_of_their_own(competition: Callable[..., str]):
    run = competition("binary", task="tabular")
    values = {"search": {"bag": [1, 2, 3]}, "tune": {"finalists": 1}}
    path = Path("configs/toy/base.yaml")
    path.write_text(path.read_text() + json.dumps(values)[1:-1].replace('"', "").replace("}, tune", "}\ntune") + "\n")
    finished("tune", run, "--trials", "3")
    told_all()
    table = pd.read_csv("runs/toy/base~tune/trials.csv")
    found = {name: one for name, one in logged().items() if one.run["run_group"] == "base~tune"}
    ended = table[table["state"].isin(["complete", "pruned"])]
    trials = {f"trial: base~tune {number}" for number in ended["number"]}
    assert set(found) == trials | {"search: base~tune"}
    for row in ended.to_dict("records"):
        one = found[f"trial: base~tune {row['number']}"]
        assert one.config["bag"] == row["bag"]
        assert one.summary["score"] == pytest.approx(row["score"])
    assert {"trials", "parallel_coordinates"} <= _top(found["search: base~tune"].summary)


@pytest.mark.slow
def test_tensorboard_is_read_back(competition: Callable[..., str]):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = competition("multiclass", run="epochs=2", tracking="tensorboard")
    out = finished("submission", run)
    assert "tensorboard --logdir" in out
    assert not Path("runs/.wandb").exists()
    finished("sync", "toy")  # on a busy machine the mirror may have left something to do
    events = EventAccumulator("runs/.tensorboard/toy/base/fold0").Reload()
    lines = every_line(run)
    shown = [(event.step, event.value) for event in events.Scalars("train_loss")]
    assert shown == [(line["step"], pytest.approx(line["train_loss"])) for line in lines]
    shown = [(event.step, event.value) for event in events.Scalars("valid")]
    assert shown == [(line["epoch"], pytest.approx(line["valid"])) for line in lines if "epoch" in line]
    score = EventAccumulator("runs/.tensorboard/toy/base/score", size_guidance={"images": 0}).Reload()
    record = artifacts.read_json(Path("runs/toy/base/score.json"))
    assert score.Scalars("score/score")[0].value == pytest.approx(record["score"])
    assert "confusion_matrix" in score.Tags()["images"]
    assert sum(tag.startswith("worst/") for tag in score.Tags()["images"]) == 25
    assert "_hparams_/session_start_info" in score.summary_metadata
    files = sum(1 for _ in Path("runs/.tensorboard").rglob("events*"))
    assert "nothing waits" in finished("sync", "toy")
    assert sum(1 for _ in Path("runs/.tensorboard").rglob("events*")) == files


def test_ids_are_of_what_a_run_is(competition: Callable[..., str]):
    run = competition("multiclass")
    with runs.opened(runs.resolve(run)) as at:
        first = told.of(at, "wandb")
    with runs.opened(runs.resolve(run, "views=plain jobs=2")) as at:
        again = told.of(at, "wandb")
    with runs.opened(runs.resolve(run, "lr=0.01", "toy/other")) as at:
        other = told.of(at, "wandb")
    assert first.id("fold0") == again.id("fold0")
    assert len({one.id(part) for one in (first, other) for part in ("fold0", "fold1", "score")}) == 6
    assert told.Followed(**json.loads(first.line())) == first
    assert first.growing() == {first.id("score")}
    shutil.rmtree(first.folder)
    artifacts.write_text(first.folder / told.MIRRORED / "since.txt", "another day")
    with runs.opened(runs.resolve(run)) as at:
        assert told.of(at, "wandb").id("fold0") != first.id("fold0")


def test_tracking_is_of_the_machine_and_changes_no_hash(competition: Callable[..., str]):
    competition("multiclass")
    before = load("toy").hash
    path = Path("configs/toy/competition.yaml")
    for value in ("none", "tensorboard", "wandb"):
        path.write_text(path.read_text().split("tracking")[0] + f"tracking: {value}\n")
        load.cache_clear()
        assert load("toy").hash == before


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """W&B's client anew, in an environment and with a netrc of the test's own."""
    import wandb

    def given(netrc: str = "", **environ: str) -> None:
        wandb.teardown()  # or the settings of the case before were kept
        path = tmp_path / "netrc"
        path.write_text(netrc)
        path.chmod(0o600)
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            monkeypatch.delenv(name)
        for name, value in ({"NETRC": str(path), "WANDB_CONFIG_DIR": str(tmp_path / "config")} | environ).items():
            monkeypatch.setenv(name, value)

    monkeypatch.chdir(tmp_path)
    yield given
    wandb.teardown()


@pytest.mark.parametrize(
    "environ, netrc, mode, why",
    [
        ({}, "", "offline", "no key in WANDB_API_KEY or netrc"),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": KEY}, "", "offline", ""),
        ({"WANDB_MODE": "online"}, "", "offline", "though WANDB_MODE=online"),
        ({"WANDB_API_KEY": KEY}, "", "online", ""),
        ({"WANDB_MODE": "online", "WANDB_API_KEY": KEY}, "", "online", ""),
        ({"WANDB_MODE": "onlin", "WANDB_API_KEY": KEY}, "", "offline", "is none of online, offline, disabled"),
        ({"WANDB_API_KEY": "short"}, "", "offline", "WANDB_API_KEY invalid"),
        ({}, f"machine HOST login user password {KEY}", "online", ""),
        ({}, f"machine other.example login user password {KEY}", "offline", "no key"),
        ({}, "machine", "offline", "no key"),
    ],
)
def test_mode(environ: dict[str, str], netrc: str, mode: str, why: str, client: Callable[..., None]):
    with socket.create_server(("127.0.0.1", 0)) as server:
        host = f"127.0.0.1:{server.getsockname()[1]}"
        client(netrc.replace("HOST", host), WANDB_BASE_URL=f"http://{host}", **environ)
        found = choice.mode()
    assert found[0] == mode
    assert why in found[1]
    assert bool(found[1]) == bool(why)


def test_a_closed_port_is_told_at_once_and_the_clients_own_switch_counts(client: Callable[..., None]):
    dead = {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": "http://127.0.0.1:9"}
    client(**dead)
    began = time.monotonic()
    assert choice.mode() == ("offline", "127.0.0.1 can't be reached")
    assert time.monotonic() - began < choice.CONNECTION + 1
    Path("wandb").mkdir()
    Path("wandb/settings").write_text("[default]\nmode = offline\n")  # as `wandb offline` leaves it
    client(**dead)
    assert choice.mode() == ("offline", "as `wandb offline` asked for")


def test_a_key_under_the_servers_older_name_counts(client: Callable[..., None]):
    """netrc of most users says api.wandb.ai, which the client of today calls by another name."""
    client(f"machine api.wandb.ai login user password {KEY}")
    assert choice.account().missing == ""
    client(f"machine api.example login user password {KEY}")
    assert choice.account().missing


@pytest.mark.parametrize(
    "tracking, environ, name",
    [
        ("wandb", {}, "wandb"),
        ("wandb", {"WANDB_MODE": "disabled"}, None),
        ("tensorboard", {"WANDB_MODE": "disabled"}, "tensorboard"),
        ("none", {"WANDB_MODE": "online"}, None),
    ],
)
def test_service(tracking: str, environ: dict[str, str], name: str | None):
    assert choice.service(tracking, environ) == (name, "")


def test_a_package_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(choice.NAMES, "no_such_package", "W&B")
    name, why = choice.service("no_such_package", {})
    assert name is None
    assert "not installed" in why


class Recorded:
    """A service that keeps what it is told."""

    name = "wandb"

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self.closed: list[bool] = []

    def curve(self, run: told.Followed, fold: str) -> Recorded:
        return self

    def log(self, line: dict[str, Any]) -> None:
        self.lines.append(line)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def close(self, record: Mapping[str, Any] | None) -> None:
        self.closed.append(record is not None)


def test_a_line_is_told_once_whoever_goes_on(workspace: Path):
    folder = artifacts.run_folder("toy/base") / "fold0"
    history = tracking.History(folder)
    folder.mkdir(parents=True)
    run = told.Followed("toy/base", "0", "wandb", "accuracy", True)
    first, second = Recorded(), Recorded()
    for step in (1, 2, 3):
        history.log(step, {"train_loss": 1.0 / step, "lr": 0.1})
    tail = Tail(run, first)
    assert tail.poll()
    assert not Tail(run, second).poll()  # the folder is taken
    tail.close()
    tail.forget()
    resumed = tracking.History(folder)
    for step in (2, 3, 4):
        resumed.log(step, {"train_loss": 1.0 / step, "lr": 0.1})
    resumed.log(5, {"note": "hot"})
    resumed.log(5, {"epoch": 1, "loss": 0.5, "train_loss": 0.2})
    artifacts.write_json(folder / "fit.json", {"finished": "now", "files": {}})
    tail = Tail(run, second)
    for _ in range(2):
        assert tail.poll()
    tail.close()
    tail.forget()
    (folder / "fit.json").unlink()
    resumed.log(6, {"train_loss": 0.1, "lr": 0.1})
    for third in (Recorded(), Recorded()):  # the first of them fails before it has written what it was told
        tail = Tail(run, third)
        tail.poll()
        assert [line["step"] for line in third.lines] == [6]
        tail.drop()
    assert [line["step"] for line in first.lines] == [1, 2, 3]
    assert [line["step"] for line in second.lines] == [4, 5]
    assert (first.closed, second.closed, second.notes) == ([False], [True], ["hot"])
    assert [line["step"] for line in tracking.read(folder / "history.jsonl", steps=True)] == [1, 2, 3, 4, 5, 5, 6]
    assert [line["step"] for line in tracking.read(folder / "history.jsonl")] == [5, 5]


@pytest.mark.parametrize("steps", [1, 7, 20, 29, 1000])
def test_an_epoch_has_about_twenty_lines_of_steps_and_the_last_is_its_own(steps: int):
    from competition.meter import LINES, has_line

    lines = [n for n in range(1, steps + 1) if has_line(n, steps)]
    assert len(lines) == min(LINES, steps)
    assert lines[-1] == steps


def test_sync_without_a_key_says_so_and_loses_nothing(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("NETRC", "nowhere")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert cli.main(["sync"]) == 0
    waiting = Path("runs/.wandb/toy/wandb/offline-run-20260101_000000-a/run-a.wandb")
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(b"")
    assert cli.main(["sync", "toy"]) == 4
    assert "ENV-TOKEN" in capsys.readouterr().err
    waiting.with_name("run-a.wandb.synced").write_bytes(b"")
    assert cli.main(["sync", "toy"]) == 0
    assert "nothing waits" in capsys.readouterr().out


def test_a_history_that_goes_back_drops_what_is_done_again_and_keeps_other_notes(tmp_path: Path):
    history = tracking.History(tmp_path)
    for step in (1, 2, 3):
        history.log(step, {"train_loss": 1.0, "lr": 0.1})
    history.log(2, {"note": "gone back to step 1"})
    history.log(2, {"train_loss": 2.0, "lr": 0.05})
    resumed = tracking.History(tmp_path)
    resumed.log(2, {"note": "by another version"})
    resumed.log(2, {"train_loss": 2.0, "lr": 0.05})
    lines = tracking.read(tmp_path / "history.jsonl", steps=True)
    assert [line.get("note", line.get("train_loss")) for line in lines] == [
        1.0, "gone back to step 1", "by another version", 2.0
    ]  # fmt: skip
