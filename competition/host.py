"""Kaggle's own client (`kaggle` 2.x, Apache-2.0) as a process of its own: what is left of the day's submissions, what was
submitted, and an upload. It finds its token by itself (KAGGLE_API_TOKEN, KAGGLE_USERNAME and KAGGLE_KEY, ~/.kaggle); no
value of one ever gets into a message, a log or a file here.

Importing the client authenticates, and its errors are tracebacks of requests, so it is neither imported nor trusted to
explain itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from competition import board
from competition.engine import stopping
from competition.errors import ConfigFault, EnvironmentFault, Fault, Finding, Stopped

MINUTES = 10  # that a call may take
RATE = 250_000  # bytes a second that an upload has beyond that: 2 GB may take 2 hours
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.I)  # names of variables whose values are never shown
PAGE = 200  # submissions that the host lists at once
LINES = 3  # of what the client says that a message shows
NOT = ("Could not submit to competition", "Could not find competition")  # said with exit code 0
# What the client's last words mean: pattern -> code, what, mend.
WORDS = {
    r"Authentication required|\b401\b|Unauthorized|Invalid credentials": (
        "ENV-TOKEN", "the host does not know you",
        "`kaggle auth login`, or make a token on the host's settings page and save it as ~/.kaggle/access_token (mode 600)",
    ),
    r"Failed to resolve|Max retries|ConnectionError|Connection (refused|reset|aborted)|timed out|ProxyError": (
        "ENV-NETWORK", "the host can't be reached", "look at the network, then give the same command again",
    ),
    r"(submission|daily|per day).{0,40}(limit|maximum|exceed|allowance)|\b429\b": (
        "HOST-LIMIT", "the host takes no more submissions today", "give the same command again after 00:00 UTC",
    ),
    r"\b403\b|Forbidden|accept.{0,40}rules": (
        "HOST-JOIN", "the host lets you not submit", "accept the rules on its page (Join Competition)",
    ),
    r"\b404\b|Not Found|Could not find competition": (
        "HOST-NAME", "the host knows no such competition", "set `slug:` in competition.yaml to the last part of its address",
    ),
    r"invalid choice|unrecognized arguments|No module named": (
        "ENV-CLIENT", "the Kaggle client is too old, or not whole", "pip install 'kaggle>=2' six",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """today: submissions since 00:00 UTC; left: how many more; None where the host tells nothing of this team."""

    today: int
    left: int | None

    def __str__(self) -> str:
        return f"{self.today} submitted today, {'unknown how many' if self.left is None else self.left} left"


@dataclass(frozen=True)
class Submitted:
    """One submission as the host lists it. status: PENDING, COMPLETE, ERROR. public, private: as text, "" for none."""

    ref: str
    date: str
    message: str
    status: str
    public: str
    private: str


def limits(slug: str) -> Limits:
    """Raises EnvironmentFault, as all calls do, and ConfigFault HOST-NAME."""
    told = _json(_call(slug, "submission-limits", "--json", slug), slug)
    today, left = int(told.get("numToday", 0)), int(told.get("numAllowedNow", 0))  # zeros are left out
    return Limits(today, left if left or today or told.get("numTotal") else None)


def submitted(slug: str) -> list[Submitted]:
    """The team's last submissions, the newest first."""
    text = _call(slug, "submissions", "--format", "json", "--page-size", str(PAGE), slug)
    rows = [] if "No submissions found" in text else _json(text, slug)
    return [
        Submitted(
            ref=str(row["ref"]),
            date=str(row.get("date") or ""),
            message=str(row.get("description") or ""),
            status=str(row.get("status") or "PENDING").rpartition(".")[2],
            public=str(row.get("publicScore") or ""),
            private=str(row.get("privateScore") or ""),
        )
        for row in rows
    ]


def submit(slug: str, file: Path, message: str) -> None:
    """Uploads a file. Returning says that the host has taken it, not that it could be scored."""
    seconds = 60 * MINUTES + file.stat().st_size // RATE
    _call(slug, "submit", f"--file={file.resolve()}", f"--message={message}", "--quiet", slug, seconds=seconds)


def open_to_others() -> Iterator[str]:
    """Sentences on token files that other users of this machine can read."""
    folder = Path(os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle")
    for name in ("kaggle.json", "access_token", "access_token.txt", "credentials.json"):
        path = folder / name
        if os.name == "posix" and path.is_file() and path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            yield f"SEC-TOKEN: {path} can be read by other users of this machine; chmod 600 {path}"


def clean(text: str) -> str:
    """The text without any value of a variable or a token file that is a secret."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _secrets() -> set[str]:
    found = {value for name, value in os.environ.items() if SECRET.search(name)}
    folder = Path(os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle")
    for path in folder.glob("*") if folder.is_dir() else ():
        if path.is_file() and os.access(path, os.R_OK):
            text = path.read_text(errors="replace")
            found |= {text.strip(), *re.findall(r'"(?:key|\w*token\w*|\w*secret\w*)"\s*:\s*"([^"]+)"', text, re.I)}
    return {secret for secret in found if len(secret) > 3}


def _call(slug: str, *words: str, seconds: int = 60 * MINUTES) -> str:
    """What `kaggle competitions ...` prints. Hears a request to stop, and shows that it waits."""
    program = shutil.which("kaggle") or shutil.which("kaggle", path=str(Path(sys.executable).parent))
    if program is None:
        what, mend = (
            "the Kaggle client is not installed",
            "pip install 'kaggle>=2' six, or upload the file on the host's page",
        )
        raise EnvironmentFault(Finding("ENV-CLIENT", what, "kaggle", "no such program", mend, "nothing was uploaded"))
    with tempfile.TemporaryFile() as out:
        command = [program, "--no-warn", "competitions", *words]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        late = _watched(process, words[0], seconds)
        out.seek(0)
        text = out.read().decode(errors="replace")
    if late:
        text += f"\ntimed out after {seconds // 60} minutes"
    if process.returncode or late or any(said in text for said in NOT):
        raise _fault(slug, words[0], text)
    return text


def _watched(process: subprocess.Popen, verb: str, seconds: int) -> bool:
    """Whether the process had to be ended for its time was up. Raises Stopped."""
    began, shown = time.monotonic(), 0
    while process.poll() is None:
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            passed = int(time.monotonic() - began)
            if stopping() or passed > seconds:
                process.kill()
                process.wait()
                if stopping():
                    raise Stopped(f"stopped while the client was at `{verb}`") from None
                return True
            if passed > shown:
                board.show(f"kaggle {verb}", passed, seconds, "seconds at most")
                shown = passed
    return False


def _json(text: str, slug: str) -> Any:
    """The client may print warnings before it."""
    start = re.search(r"^[\[{]", text, re.M)
    try:
        return json.loads(text[start.start() :] if start else text)
    except json.JSONDecodeError:
        raise _fault(slug, "--format json", text) from None


def _fault(slug: str, verb: str, text: str) -> Fault:
    lines = [line.strip()[:300] for line in clean(text).splitlines() if line.strip()]
    unknown = (
        "",
        ("HOST-REFUSED", "the host refused", "read what it said; the file can be uploaded on its page as well"),
    )
    pattern, (code, what, mend) = next((known for known in WORDS.items() if re.search(known[0], text, re.I)), unknown)
    telling = [line for line in lines if pattern and re.search(pattern, line, re.I)]
    found = "; ".join(telling[:1] or lines[-LINES:]) or "it said nothing"
    risk = "nothing was uploaded" if verb == "submit" else "nothing was changed"
    if verb == "submit" and code == "ENV-NETWORK":  # the line may have broken behind the last byte
        risk = "the host may have it all the same; the same command looks before it uploads again"
    finding = Finding(code, what, f"kaggle competitions {verb}, competition {slug}", found, mend, risk)
    return ConfigFault(finding) if code == "HOST-NAME" else EnvironmentFault(finding)
