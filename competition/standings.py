"""The runs of a competition as their folders tell them: `make compare COMP=leaves`, the page and W&B show these figures."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from competition import artifacts, foldfile, ledger, runfolder
from competition.config import load_competition, metric_hash
from competition.foldfile import FoldFile
from competition.keys import AUTO, Competition
from competition.runfolder import Folder
from competition.significance import error_of_mean

NOISE = 2.0  # standard errors of a gap that are taken for noise

State = Literal[
    "scored", "unscored", "other folds", "other data", "other metric", "outdated", "older version", "damaged"
]


@dataclass(frozen=True, eq=False)
class Standing:
    """A run or a blend. name: `leaves/baseline`.

    state: `scored` where its score counts beside the others'; in every other state all figures are None and `note` says what
    is wrong and how to mend it (`unscored`: which folds are trained, and the command that goes on; `outdated`: folds or
    members are newer than the score).
    score, std, folds: nested score over all rows, standard deviation over folds, and score by fold, as the competition shows
    them. gap, error: how much worse it is than the best (0 for the best, never below) and the standard error of that
    difference over folds (`significance.error_of_mean`; None with few folds). seconds: training time of all folds, of what
    is made of other runs that of these too. parameters, epochs: of one fold's model; None where there are none. public,
    private: of its last submission. record, scored: run.json and score.json, empty where they can't be read.
    """

    name: str
    task: str  # image, detection, tabular, soup, imported; blend or preset where it has members
    state: State
    note: str = ""
    score: float | None = None
    std: float | None = None
    folds: Mapping[str, float | None] = field(default_factory=dict)
    gap: float | None = None
    error: float | None = None
    seconds: float | None = None
    parameters: int | None = None
    epochs: int | None = None
    public: float | None = None
    private: float | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    scored: Mapping[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> str:
        """Its name within the competition."""
        return self.name.partition("/")[2]

    @property
    def members(self) -> list[str]:
        """The runs that it is made of."""
        return runfolder.members(self.record, self.scored)

    @property
    def level(self) -> bool:
        """Whether its gap to the best is within noise, NOISE standard errors; `make compare A= B=` tests it closely."""
        return self.gap is not None and self.error is not None and self.gap <= NOISE * self.error


@dataclass(frozen=True)
class Now:
    """What scores must be of to count side by side. folds: hash of the fold table. table: None where its file is gone."""

    metric: str
    metric_hash: str
    greater: bool
    data: str
    folds: str
    table: FoldFile | None


def standings(competition: str, data: str | None = None) -> list[Standing]:
    """Of all run folders of a competition: those with a comparable score, the best first; then the others by name.

    data: `Data.hash`, where the caller has read the data; else that of the newest score counts, since the tables can't be
    read in a second. Raises ConfigFault and DataFault where competition.yaml, the fold table or the ledger can't be read.
    """
    config = load_competition(competition)
    folders = {name: runfolder.read(name) for name in runfolder.names(competition)}
    now = _now(competition, config, folders.values(), data)
    lines = ledger.read()
    found = [_standing(folder, folders, now, lines) for folder in folders.values()]
    scored = sorted((s for s in found if s.state == "scored"), key=lambda s: (-_signed(s.score, now), s.name))
    beside = [_beside(standing, scored[0], now) for standing in scored]
    return beside + [standing for standing in found if standing.state != "scored"]


def _now(competition: str, config: Competition, folders: Collection[Folder], data: str | None) -> Now:
    table = _table(competition, config)
    whole = [f for f in folders if f.whole]
    whole = [f for f in whole if data in (None, f.record["data"])] or whole
    whole = [f for f in whole if table is None or f.record["folds"] == table.hash] or whole
    newest = max(whole, key=lambda folder: folder.score_made, default=None)
    same = [f for f in whole if f.scored["metric"] == config.metric.name]
    greater = max(same, key=lambda folder: folder.score_made).scored["greater_is_better"] if same else True
    known = {} if newest is None else newest.record
    hashes = (data or known.get("data", ""), table.hash if table else known.get("folds", ""))
    return Now(config.metric.name, metric_hash(competition, config), greater, *hashes, table)


def _table(competition: str, config: Competition) -> FoldFile | None:
    """The fold table as its file has it; what can't be read fast is read, or refused, as every other command does."""
    path = artifacts.fold_table(competition)
    if not path.exists():
        return None
    found = foldfile.read(path, config.folds.scheme == "time", config.folds.group == AUTO)
    if found is not None:
        return found
    from competition import data, folds

    table = folds.load(data.load(competition))
    return FoldFile(table.hash, int(table.table["fold"].max()) + 1, len(table.splits), table.share)


def _standing(folder: Folder, folders: Mapping[str, Folder], now: Now, lines: Sequence[Mapping[str, str]]) -> Standing:
    state, note = next(_states(folder, folders, now), ("scored", ""))
    plain = Standing(folder.name, folder.task, state, note, record=folder.record, scored=folder.scored)
    if state != "scored":
        return plain
    made_of = [folders[name] for name in _inside(folder.name, folders)]
    seconds = [cost for part in made_of if (cost := part.seconds) is not None]
    public, private = _uploaded(folder, lines)
    return replace(
        plain,
        score=float(folder.scored["score"]),
        std=folder.std,
        folds=folder.scored["folds"],
        seconds=math.fsum(seconds) if seconds else None,
        parameters=folder.parameters,
        epochs=folder.epochs,
        public=public,
        private=private,
    )


def _states(folder: Folder, folders: Mapping[str, Folder], now: Now) -> Iterator[tuple[State, str]]:
    """Why its score does not count beside the others', the gravest first."""
    name, owner = folder.name, folder.name.partition("+")[0]
    anew = f"{'import it' if folder.task == 'imported' else 'make it'} anew under another name"
    if folder.damaged:
        yield "damaged", folder.damaged
    if folder.older:
        yield "older version", folder.older
    if folder.record.get("data") != now.data and now.data:
        yield "other data", f"of other data than the newest score; restore that data, or {anew}"
    if folder.record.get("folds") != now.folds and now.folds:
        yield "other folds", f"of another fold table than {artifacts.fold_table(name.partition('/')[0])}; {anew}"
    trained = _trained(folder, now)
    if not folder.scored:
        yield "unscored", f"{trained or 'not predicted yet'}; make submission RUN={owner} goes on"
        return
    if folder.scored["metric"] != now.metric or folder.scored["greater_is_better"] != now.greater:
        yield "other metric", f"scored by {folder.scored['metric']}, not {now.metric}; make predict RUN={name}"
    if folder.scored.get("metric_hash", now.metric_hash) != now.metric_hash:
        yield "other metric", f"{now.metric}, its file or the prior was changed since; make predict RUN={name}"
    if now.table and set(folder.scored["folds"]) != {f"fold{k}" for k in range(now.table.count)}:
        path = artifacts.run_folder(name) / "score.json"
        yield "damaged", f"score.json has not the folds of the table; delete {path}, then make predict RUN={name}"
    if trained:
        yield "outdated", f"{trained}, and the score is older; make submission RUN={owner}"
    if _refitted(folder):
        yield "outdated", f"a fold was made anew since; make submission RUN={owner}"
    for blend in (folders[part] for part in _inside(name, folders)):
        for member in _newer(blend, folders):
            path = artifacts.run_folder(blend.name) / "score.json"
            mend = f"{'' if 'inputs' in blend.scored else f'delete {path}, then '}make submission RUN={owner}"
            yield "outdated", f"{member} was made anew since; {mend}"


def _trained(folder: Folder, now: Now) -> str:
    """Which of its folds are trained, where that is not all of them."""
    if folder.task in ("blend", "preset") or now.table is None:
        return ""
    wanted = (now.table.splits + bool(folder.config.get("refit"))) * folder.seeds
    if len(folder.fits) >= wanted:
        return ""
    return f"{len(folder.fits)} of {wanted} folds are trained" + f" ({', '.join(folder.fits)})" * bool(folder.fits)


def _refitted(folder: Folder) -> bool:
    """Whether a fold is another than the score was made of; of older scores by the clock, which may have been set back."""
    known = folder.scored.get("of")
    if not isinstance(known, dict):
        return any(fitted > folder.score_made for fitted in folder.fitted)
    own = artifacts.run_folder(folder.name)
    return any(artifacts.file_digest(own / fold / "fit.json") != known[fold] for fold in folder.fits if fold in known)


def _newer(folder: Folder, folders: Mapping[str, Folder]) -> Iterator[str]:
    """Members of a blend that were fitted or scored after it, unless their predictions are still those it was made from."""
    if folder.task not in ("blend", "preset") or not folder.whole:
        return
    made, parts = folder.score_made, [*folder.scored["parts"]]
    known = folder.scored.get("of")
    if isinstance(known, dict):
        later = [name for name in parts if name in folders and folders[name].scored.get("basis") != known.get(name)]
    else:
        later = [name for name in parts if name in folders and max(folders[name].changed, default=made) > made]
    if later and folder.scored.get("inputs") != runfolder.inputs(parts):
        yield later[0]


def _inside(name: str, folders: Mapping[str, Folder]) -> list[str]:
    """A run and all that it is made of that has a folder, each once."""
    found, waiting = dict.fromkeys([name]), [name]
    while waiting:
        fresh = [m for m in folders[waiting.pop()].members if m in folders and m not in found]
        found |= dict.fromkeys(fresh)
        waiting += fresh
    return [*found]


def _beside(standing: Standing, best: Standing, now: Now) -> Standing:
    """With its gap to the best and the error of that over the folds that both have."""
    both = [
        (one, other)
        for fold, one in standing.folds.items()
        if one is not None and (other := best.folds.get(fold)) is not None
    ]
    error = None if now.table is None else error_of_mean([one - other for one, other in both], now.table.share)
    return replace(standing, gap=_signed(best.score, now) - _signed(standing.score, now), error=error)


def _uploaded(folder: Folder, lines: Sequence[Mapping[str, str]]) -> tuple[float | None, float | None]:
    """Public and private score of the last submission that the ledger has of the run as it is: of this data, fold table,
    metric and CV. What its ledger row leaves empty is taken to be right."""
    known = {"metric": folder.scored["metric"], **{key: folder.record[key] for key in ("data", "folds")}}
    own = [line for line in lines if line["run"] == folder.name and all(line[k] in ("", v) for k, v in known.items())]
    cv = round(folder.scored["score"], 6)
    own = [line for line in own if _number(line["cv"]) in (None, cv)]
    return (_number(own[-1]["public"]), _number(own[-1]["private"])) if own else (None, None)


def _number(text: str) -> float | None:
    return float(text) if ledger.NUMBER.fullmatch(text.strip()) else None


def _signed(score: float | None, now: Now) -> float:
    assert score is not None
    return score if now.greater else -score
