"""The first training pictures as the network is given them: `make look RUN=leaves/baseline` -> look.png.

By the feed that trains fold 0, with augmentation, mixing and the targets that follow; before anything is trained.
"""

from __future__ import annotations

from pathlib import Path

from competition import artifacts, board, contact, pseudo, rehearsal
from competition.config import Run, task_name
from competition.errors import ConfigFault, Finding
from competition.runs import Opened
from competition.task import Seen
from competition.train import check


def look(at: Opened) -> Path:
    """Draws look.png. Raises ConfigFault CFG-TASK, those of `pseudo.check` and of the task's `prepare`."""
    refuse(at.run)
    check(at)
    if at.run.pseudo:
        pseudo.check(at)
    split = at.table.splits[0]
    with rehearsal.fold_of(at.run, split) as fold:
        strips = at.run.task.strips(fold)
    path = at.folder / "look.png"
    title = f"{at.run.name}, {split.name}: what the network is given" + f" with {at.overrides}" * bool(at.overrides)
    artifacts.write_bytes(path, contact.sheet(strips, at.data.problem.classes, title))
    for strip in strips:
        board.say(f"{len(strip.sights):3d}  {strip.title}")
    board.say(f"{at.run.name}: {path} shows them")
    return path


def refuse(run: Run) -> None:
    """Raises ConfigFault CFG-TASK where the run learns from no pictures."""
    if isinstance(run.task, Seen) and run.preset is None:
        return
    what, where = "there are no training pictures to look at", f"RUN={run.name}"
    if run.members is not None and run.preset is None:
        raise ConfigFault(
            Finding("CFG-TASK", what, where, f"members: {', '.join(run.members)}", "RUN=<one of them with pictures>")
        )
    mend = (
        f"RUN=<a run of the task image or detection>; of tables make check COMP={run.competition} shows what goes in, and "
        f"make importance RUN={run.name} what it is worth once the run is trained"
    )
    raise ConfigFault(Finding("CFG-TASK", what, where, f"task: {task_name(run.task)}", mend))
