"""What git knows of the folder that commands run in, where it is a repository."""

from __future__ import annotations

from pathlib import Path


def sha() -> str | None:
    """The commit of the working tree, `+` behind it where files differ; None outside a repository."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    return (
        None
        if commit is None
        else commit.decode().strip() + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    )


def committed(commit: str | None, path: Path) -> bytes | None:
    """What a file below this folder held in the commit of a `sha`, None where git has no such file."""
    return _git("show", f"{commit.rstrip('+')}:./{path}") if commit else None


def _git(*words: str) -> bytes | None:
    import subprocess

    try:
        done = subprocess.run(["git", *words], capture_output=True, timeout=10)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
