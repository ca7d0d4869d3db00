"""Every file name and format of DESIGN 5, and the only code that writes them."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from competition import disk
from competition.errors import EnvironmentFault, Finding

if TYPE_CHECKING:  # half a second of every command's start
    import pandas as pd

CONFIGS = Path("configs")
FOLDS = Path("folds")
RUNS = Path("runs")
SUBMISSIONS = Path("submissions")
EXPORTS = Path("exports")
LEDGER = SUBMISSIONS / "ledger.csv"
DIGEST_SIZE = 16
SEAL = "seal"  # key of a JSON object that holds the digest of the others
MARK = b"\0podium\0"  # what a table's digest stands behind
CHECKPOINTS = ("last.ckpt", "previous.ckpt", "epoch.ckpt")  # of a fold that is being trained; see checkpoint.save


def competition_yaml(competition: str) -> Path:
    return CONFIGS / competition / "competition.yaml"


def run_yaml(run: str) -> Path:
    return CONFIGS / f"{run}.yaml"


def fold_table(competition: str) -> Path:
    return FOLDS / f"{competition}.csv"


def run_folder(run: str) -> Path:
    return RUNS / run


def check_folder(competition: str) -> Path:
    """What `make check` found, for tools and to look at."""
    return RUNS / ".check" / competition


def cache_folder(competition: str) -> Path:
    """Decoded pictures, shared by all runs of a competition; may be deleted at any time."""
    return RUNS / ".cache" / competition


def again_folder(run: str) -> Path:
    """Where `make reproduce` makes a run again: configs/, folds/, runs/ and submissions/ of its own."""
    return RUNS / ".reproduce" / run


def onnx_folder(run: str) -> Path:
    """Its networks as ONNX and torch.export; may be deleted at any time."""
    return run_folder(run) / "onnx"


def export_folder(run: str) -> Path:
    """The run as a folder that predicts without a network."""
    return EXPORTS / run


def submission_csv(run: str) -> Path:
    return SUBMISSIONS / f"{run}.csv"


def digest(*parts: bytes | str) -> str:
    """Hex BLAKE2b of the parts, each preceded by its length so that ("ab", "c") and ("a", "bc") differ."""
    h = hashlib.blake2b(digest_size=DIGEST_SIZE)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        h.update(len(data).to_bytes(8, "little"))
        h.update(data)
    return h.hexdigest()


def file_digest(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, lambda: hashlib.blake2b(digest_size=DIGEST_SIZE)).hexdigest()


def bytes_digest(content: bytes) -> str:
    """As `file_digest` of a file that holds them."""
    return _blake(content).hex()


def _blake(content: bytes | memoryview) -> bytes:
    return hashlib.blake2b(content, digest_size=DIGEST_SIZE).digest()


def table_digest(table: pd.DataFrame) -> str:
    """Of ids, columns and values, to the last bit; a parquet file holds the writer's version too."""
    from pandas.api.types import is_numeric_dtype

    columns = {"id": table.index} | {str(name): table[name] for name in table}
    content = [c.to_numpy().tobytes() if is_numeric_dtype(c) else json.dumps([*map(str, c)]) for c in columns.values()]
    return digest(*columns, *(str(c.dtype) for c in columns.values() if is_numeric_dtype(c)), *content)


def write_bytes(path: Path, data: bytes) -> None:
    with disk.writing(path) as f:
        f.write(data)


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """An object gets its digest as the last key, for a flipped digit is as good a number as any."""
    write_text(
        path, json.dumps(sealed(value) if isinstance(value, dict) else value, indent=1, ensure_ascii=False) + "\n"
    )


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    return value | {SEAL: _seal(value)}


def _seal(value: dict[str, Any]) -> str:
    return digest(json.dumps(value, ensure_ascii=False))


def parse_json(content: bytes | str) -> Any:
    """What was written, of an object without its digest; older ones have none. Raises ValueError where it is not that."""
    value = json.loads(content)
    if isinstance(value, dict) and SEAL in value:
        expected, found = value.pop(SEAL), _seal(value)
        if found != expected:
            raise ValueError(
                f"digest {found}, expected {expected}; if it was changed on purpose, leave out its key {SEAL}"
            )
    return value


def read_json(path: Path) -> Any:
    """Raises EnvironmentFault CKPT-CORRUPT where the file is gone or is not what was written."""
    try:
        return parse_json(path.read_bytes())
    except (OSError, ValueError, RecursionError) as e:
        raise EnvironmentFault(corrupt(path, str(e))) from None


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Parquet, with checksums of the pages and a digest of all.

    Without checksums 2,140 of 5,404 flipped bytes changed what was read of a small table and nothing was noticed; with
    them 38 did, all in the footer. The digest stands between pages and footer, where the format leaves room: both are
    found by their offsets, so that any reader takes the file.
    """
    buffer = io.BytesIO()
    table.to_parquet(buffer, write_page_checksum=True)
    content = buffer.getvalue()
    footer = _footer(content)
    write_bytes(path, content[:footer] + MARK + _blake(content) + content[footer:])


def read_table(path: Path) -> pd.DataFrame:
    """Raises EnvironmentFault CKPT-CORRUPT where the file is gone or is not what was written."""
    import pandas as pd

    try:
        content = path.read_bytes()
        _check_mark(content)
        return pd.read_parquet(io.BytesIO(content), page_checksum_verification=True)
    except (OSError, ValueError, KeyError, TypeError) as e:  # all that pyarrow and pandas raise for flipped bytes
        raise EnvironmentFault(corrupt(path, str(e))) from None


def _footer(content: bytes) -> int:
    """Where a parquet file's footer begins."""
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


def _check_mark(content: bytes) -> None:
    """Raises ValueError where a table has a digest and is another. Those of older versions have none."""
    if MARK in content:
        end = _footer(content)
        begin = end - DIGEST_SIZE
        found = _blake(content[: begin - len(MARK)] + content[end:])
        if content[begin - len(MARK) : end] != MARK + found:
            raise ValueError(f"digest {found.hex()}, expected {content[begin:end].hex()}")


def write_sealed(path: Path, write: Callable[[IO[bytes]], object], before: Path | None = None) -> None:
    """Writes what `write` puts out, preceded by its digest: neither torch.save nor safetensors notices a flipped byte.

    before: as of `disk.writing`.
    """
    buffer = io.BytesIO()
    write(buffer)
    payload = buffer.getbuffer()
    with disk.writing(path, before) as f:
        f.write(_blake(payload))
        f.write(payload)


def drop_checkpoints(folder: Path) -> None:
    for name in CHECKPOINTS:
        (folder / name).unlink(missing_ok=True)


def read_sealed(path: Path) -> io.BytesIO:
    """The payload of a sealed file. Raises EnvironmentFault CKPT-CORRUPT where it is not what was written."""
    with disk.faults(path):
        data = path.read_bytes()
    seal, payload = data[:DIGEST_SIZE], data[DIGEST_SIZE:]
    found = _blake(payload)
    if seal != found:
        raise EnvironmentFault(corrupt(path, f"{len(data):,} bytes, digest {found.hex()}, expected {seal.hex()}"))
    return io.BytesIO(payload)


def intact(path: Path, expected: str) -> None:
    """Raises EnvironmentFault CKPT-CORRUPT where a file is gone or has another digest."""
    found = file_digest(path) if path.is_file() else None
    if found != expected:
        raise EnvironmentFault(corrupt(path, f"digest {found}, expected {expected}" if found else "no such file"))


def corrupt(path: Path, found: str) -> Finding:
    return Finding(
        code="CKPT-CORRUPT",
        what="a file of this run is not what was written",
        where=str(path),
        found=found.split("\n")[0][:300],
        risk="damaged weights load without an error and predict nonsense",
        mend=_remade(path),
    )


def _remade(path: Path) -> str:
    """What to delete, so that the same command makes the file anew and as little as can be beside it."""
    fold = path.parent.name.startswith("fold")
    score = (path.parent.parent if fold else path.parent) / "score.json"
    predicted = path.parent / "predicted.json"
    again = "and give the same command again"
    if RUNS / ".cache" in path.parents:
        return f"delete {path.parent} {again}: it is made anew"
    if path.parts[3:4] == ("onnx",):
        return f"delete {path} {again}: it is made anew"
    if path.name == "run.json":
        return f"bring it back from a copy; or delete {path.parent} {again}: the run is trained anew"
    if path.suffix == ".parquet" or path in (predicted, score):
        delete = next((p for p in (predicted, score) if p.exists()), path)
        return f"delete {delete} {again}: it is made anew"
    return f"delete {path.parent} {again}: that fold is trained anew"


def now() -> str:
    """Local time with its zone, to the second: a stamp for people, never used to decide what is stale."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
