"""The bare step in a process of its own, as the others are: `python -m benchmarks.rivals.bare recipe.json FOLDER`.

Forward, backward and AdamW on one preloaded batch, on all cores; FOLDER gets trained.json: when, and how many pictures.
"""

import json
import sys
import time
from pathlib import Path

from benchmarks.loop import BATCH, Bare
from competition import devices
from competition.image.task import ImageTask

WARM = 3


def main() -> None:
    recipe, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    bare = Bare(
        ImageTask(backbone=recipe["backbone"], pretrained=False, size=recipe["size"]),
        devices.device_of(recipe["device"]),
    )
    bare.rate(WARM)
    began = time.time()
    bare.rate(recipe["steps"])
    (folder / "trained.json").write_text(json.dumps([[began, time.time(), recipe["steps"] * BATCH]]))


if __name__ == "__main__":
    main()
