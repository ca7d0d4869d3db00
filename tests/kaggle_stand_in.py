"""A local stand-in for Kaggle's client 2.2.4: the same arguments, prints and exit codes of the calls that Podium makes, and
a host that keeps its state in the folder KAGGLE_STAND_IN: state.json (limits, what goes wrong) and submissions.json.

Held against the real client: its argparse definitions, `print_results` and `print_obj` (zeros are left out), what it says
without a token (exit 1, on stdout), without a network and on HTTP errors (exit 1, on stderr).
"""

import argparse
import json
import os
import pathlib
import shutil
import sys

HOST = pathlib.Path(os.environ["KAGGLE_STAND_IN"])
STATE = {
    "limit": 5,
    "today": 0,
    "joined": True,
    "network": True,
    "slug": "leaves",
    "looks": 1,
    "score": "0.81234",
    "status": "COMPLETE",
    "upload": True,
    "echo": False,
}


def parsed() -> argparse.Namespace:
    main = argparse.ArgumentParser(prog="kaggle")
    main.add_argument("-W", "--no-warn", action="store_true")
    competitions = main.add_subparsers(dest="command", required=True).add_parser("competitions", aliases=["c"])
    verbs = competitions.add_subparsers(dest="verb", required=True)
    for name in ("submit", "submissions", "submission-limits"):
        verb = verbs.add_parser(name)
        verb.add_argument("competition", nargs="?", default=None)
        verb.add_argument("-q", "--quiet", action="store_true")
        if name == "submit":
            verb.add_argument("-f", "--file", dest="file_name", required=False)
            verb.add_argument("-k", "--kernel", required=False)
            verb.add_argument("-m", "--message", required=True)
            verb.add_argument("-v", "--version", required=False)
            verb.add_argument("--sandbox", action="store_true")
        elif name == "submissions":
            group = verb.add_mutually_exclusive_group()
            group.add_argument("-v", "--csv", action="store_true")
            group.add_argument("--format", required=False)
            verb.add_argument("--page-size", type=int, default=20)
            verb.add_argument("--page-token", required=False)
        else:
            verb.add_argument("--json", action="store_true")
    return main.parse_args()


def token() -> str:
    """As the client looks for it, in its order."""
    home = pathlib.Path(os.environ.get("KAGGLE_CONFIG_DIR") or pathlib.Path.home() / ".kaggle")
    if os.environ.get("KAGGLE_API_TOKEN"):
        return os.environ["KAGGLE_API_TOKEN"]
    if (home / "access_token").is_file():
        return (home / "access_token").read_text().strip()
    if os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"):
        return os.environ["KAGGLE_KEY"]
    return json.loads((home / "kaggle.json").read_text())["key"] if (home / "kaggle.json").is_file() else ""


def fail(text: str) -> None:
    print(text, file=sys.stderr)
    sys.exit(1)


def main() -> None:
    options = parsed()
    if not token():
        print("Authentication required to call the Kaggle API.\n\nFirst, you will need a Kaggle account.")
        sys.exit(1)
    state = STATE | json.loads((HOST / "state.json").read_text())
    rows = json.loads((HOST / "submissions.json").read_text()) if (HOST / "submissions.json").is_file() else []
    address = "https://api.kaggle.com/v1/competitions.CompetitionApiService"
    if state["echo"]:  # a client that tells too much
        fail(f"Traceback: headers {{'Authorization': 'Bearer {token()}'}}")
    if not state["network"]:
        fail(
            f"HTTPSConnectionPool(host='api.kaggle.com', port=443): Max retries exceeded with url: {address}/X (Caused by "
            "NameResolutionError(\"HTTPSConnection(host='api.kaggle.com', port=443): Failed to resolve 'api.kaggle.com'\"))"
        )
    if options.competition != state["slug"]:
        fail(f"404 Client Error: Not Found for url: {address}/X")
    if not state["joined"] and options.verb != "submission-limits":
        fail(f"403 Client Error: Forbidden for url: {address}/X")
    if options.verb == "submission-limits":
        left = max(0, state["limit"] - state["today"]) if state["joined"] else 0
        told = {"numToday": state["today"], "numTotal": len(rows), "numAllowedNow": left}
        print(json.dumps({name: n for name, n in told.items() if n}, indent=2))
    elif options.verb == "submissions":
        for row in rows:
            row["looks"] -= 1
            if row["looks"] < 0 and row["status"] == "SubmissionStatus.PENDING":
                row |= {"status": f"SubmissionStatus.{state['status']}"}
                row |= {"publicScore": state["score"]} if state["status"] == "COMPLETE" else {}
        (HOST / "submissions.json").write_text(json.dumps(rows))
        fields = ("ref", "fileName", "date", "description", "status", "publicScore", "privateScore")
        shown = [{f: row[f] for f in fields} for row in reversed(rows)][: options.page_size]
        print(json.dumps(shown, indent=2) if shown else "No submissions found")
    else:
        submit(options, state, rows, address)


def submit(options: argparse.Namespace, state: dict, rows: list, address: str) -> None:
    file = pathlib.Path(options.file_name)
    if state["today"] >= state["limit"]:
        fail(f"400 Client Error: Bad Request for url: {address}/CreateSubmission")
    if not state["upload"]:
        print("Could not submit to competition")  # exit code 0
        return
    shutil.copy(file, HOST / f"upload{len(rows)}.csv")
    rows.append(
        {
            "ref": 1000 + len(rows),
            "fileName": file.name,
            "date": "2026-01-02T03:04:05",
            "looks": state["looks"],
            "description": options.message,
            "status": "SubmissionStatus.PENDING",
            "publicScore": "",
            "privateScore": "",
        }
    )
    (HOST / "submissions.json").write_text(json.dumps(rows))
    (HOST / "state.json").write_text(json.dumps(state | {"today": state["today"] + 1}))
    print(f"Successfully submitted to {state['slug']}")


main()
