"""Follows the folder of a run, or of a search, and tells a service what is new in it; a cursor in the folder remembers what
the service knows, so that nothing is told twice, whoever goes on."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from competition import artifacts
from competition.tracking import history
from competition.tracking.service import Curve, Service
from competition.tracking.told import MIRRORED, Followed

if TYPE_CHECKING:
    import pandas as pd

ENDED = ("complete", "pruned")  # states of trials


class Tail:
    """One at a time follows a folder: the others wait until it has ended."""

    def __init__(self, told: Followed, service: Service):
        self.told, self.service, self.folder = told, service, told.folder
        self.path = self.folder / MIRRORED / f"{service.name}.json"
        self.lock = FileLock(self.folder / MIRRORED / ".lock", timeout=0)
        self.curves: dict[str, Curve] = {}
        self.seen: dict[Path, tuple[int, int]] = {}
        self.cursor: dict[str, Any] = {}
        self.done = False  # the service knows all that the folder has
        self.kept = ""  # the cursor as the file has it
        self.sure: dict[
            str, Any
        ] = {}  # the cursor a poll ago: services take a moment to write; what is lost is told again

    def poll(self) -> bool:
        """Tells what is new. False where another process follows this folder."""
        if not self.lock.is_locked and not self._take():
            return False
        self._keep()
        if self.told.keys is None:
            for folder in sorted(self.folder.glob("fold*")):
                self._fold(folder)
            self._score()
        else:
            self._trials()
        self.sure = copy.deepcopy(self.cursor)
        return True

    def close(self) -> None:
        """The last poll's news are with the service; folds that are not trained yet may go on."""
        for curve in self.curves.values():
            curve.close(None)
        self.curves.clear()
        if self.told.keys is not None and self.lock.is_locked:
            self._search()
        if self.lock.is_locked:
            self._keep()

    def forget(self, whole: bool = True) -> None:
        """Once what the service was told lies on the disk: the cursor is kept and the folder is free."""
        if self.lock.is_locked:
            self.done = whole
            self.sure = self.cursor
            self._keep()
            self.lock.release()

    def drop(self) -> None:
        """Where the service fails: what it was told last may be lost, as on a full disk, and is told again."""
        if self.lock.is_locked:
            self.lock.release()

    def _take(self) -> bool:
        try:
            self.path.parent.mkdir(exist_ok=True)
            self.lock.acquire()
        except Timeout:
            return False
        self.kept = self.path.read_text(encoding="utf-8") if self.path.exists() else "{}"
        self.cursor, self.sure = json.loads(self.kept), json.loads(self.kept)
        return True

    def _keep(self) -> None:
        text = json.dumps(self.sure)
        if text != self.kept and self.path.parent.exists():  # a run that was removed meanwhile does not come back
            artifacts.write_text(self.path, text)
            self.kept = text

    def _changed(self, *paths: Path) -> bool:
        """Whether one of the files is another than when this was asked last."""
        now = {path: (at.st_mtime_ns, at.st_size) for path in paths if path.exists() and (at := path.stat())}
        changed = any(self.seen.get(path) != at for path, at in now.items())
        self.seen |= now
        return changed

    def _fold(self, folder: Path) -> None:
        fit, lines = folder / "fit.json", folder / history.NAME
        if not self._changed(fit, lines):
            return
        place = self.cursor.setdefault(folder.name, {"step": -1, "notes": 0, "fitted": ""})
        record = artifacts.read_json(fit) if fit.exists() else None  # before the lines, which are then whole
        told = history.read(lines, steps=True)
        new = [line for line in told if "note" not in line and line["step"] > place["step"]]
        notes = [line["note"] for line in told if "note" in line]
        ended = record is not None and record["finished"] != place["fitted"]
        if not (new or ended or len(notes) > place["notes"]):
            return
        curve = self.curves.get(folder.name) or self.service.curve(self.told, folder.name)
        self.curves[folder.name] = curve
        for line in new:
            curve.log(line)
            place["step"] = line["step"]
        if len(notes) > place["notes"]:
            curve.note("\n".join(notes))
            place["notes"] = len(notes)
        if record is not None:
            self.curves.pop(folder.name).close(record)
            place["fitted"] = record["finished"]
            self.sure[folder.name] = dict(place)  # a closed curve lies on the disk
            self._keep()

    def _score(self) -> None:
        score, csv = self.folder / "score.json", artifacts.submission_csv(self.told.run)
        card = self.folder / "run.json"
        if not score.exists() or not self._changed(score, csv, card):
            return
        basis = artifacts.read_json(score)["basis"]
        if basis != self.cursor.get("score"):
            from competition.tracking import summary

            self.service.summary(self.told, summary.of(self.told.run))
            self.cursor["score"] = basis
        if csv.exists():
            digest = artifacts.file_digest(csv)
            of_this = artifacts.read_json(card).get("results", {}).get("csv") == digest  # not of a score before
            if of_this and digest != self.cursor.get("submission"):
                self.service.submission(self.told)
                self.cursor["submission"] = digest

    def _trials(self) -> None:
        path = self.folder / "trials.csv"
        if not self._changed(path):
            return
        table, known = _trials(path), self.cursor.setdefault("trials", [])
        for row in table[table["state"].isin(ENDED)].to_dict("records"):
            if row["number"] not in known:
                known_cells = {key: value for key, value in row.items() if value == value}  # nan is not itself
                self.service.trial(self.told, known_cells)
                known.append(row["number"])

    def _search(self) -> None:
        path = self.folder / "trials.csv"
        if path.exists() and (digest := artifacts.file_digest(path)) != self.cursor.get("search"):
            self.service.search(self.told, _trials(path))
            self.cursor["search"] = digest


def _trials(path: Path) -> pd.DataFrame:
    import pandas as pd

    return pd.read_csv(path)
