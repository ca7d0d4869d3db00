"""The database that a search stands in: a file of SQLite in its folder, or a server that several machines share.

A server's password is in the environment (`env:NAME`, PGPASSWORD) or in ~/.pgpass, and is shown nowhere. Each call has a
connection of its own, 8 ms of CPU here: a thousand workers would hold more idle ones than a server lets in, 100 by default.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import event
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from competition import board, watchdog
from competition.engine import stopping
from competition.errors import ConfigFault, EnvironmentFault, Finding, Stopped

Thing = TypeVar("Thing")
HEARTBEAT = 60  # seconds between two signs of life of a trial
GRACE = 180  # seconds without one after which a trial goes back into the queue
LOCKED = 60  # seconds that a locked SQLite file is waited for
GONE = 300.0  # seconds that a worker waits for a server that no longer answers: it may be started anew
AGAIN = 2.0  # seconds between two attempts to reach it
CONNECTION = {
    "connect_timeout": 10,  # seconds, each; a line that is cut is noticed within a minute, not after two hours
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}
BEGINNING = 0x706F6469756D  # number of the server's lock under which tables and studies are made
FILE = (
    "a file that is no database, or one of another version of Optuna that you can't take: move it away, the folders of its "
    "trials are used again; a locked one: stop what holds it"
)
SERVER = (
    "is the server up, does it let this machine in, and is its password in PGPASSWORD, in ~/.pgpass or in the variable that "
    "`env:NAME` names? the same command goes on with the search"
)
DRIVER = ".venv/bin/uv pip install --python .venv/bin/python -r pyproject.toml --extra postgres"


def database(folder: Path) -> str:
    return f"sqlite:///{(folder / 'study.db').absolute()}"


def address(text: str) -> str:
    """The URL that `tune.storage` means: itself, or of `env:NAME` the value of that variable. Raises ConfigFault."""
    if not text.startswith("env:"):
        return text
    name = text.removeprefix("env:")
    if not os.environ.get(name):
        what, mend = "the variable that holds the database's URL is not set", f"export {name}=postgresql://..."
        raise ConfigFault(Finding("CFG-VALUE", what, "key tune.storage", text, mend))
    return os.environ[name]


def shown(url: str) -> str:
    """The URL without its password, whatever else is wrong with it."""
    before, at, host = url.rpartition("@")
    return re.sub(r"(password=)[^&]*", r"\1***", f"{before.partition('://')[0]}://***@{host}" if at else url)


def of_a_server(url: str) -> bool:
    return not url.startswith("sqlite")


@contextmanager
def faults(url: str) -> Generator[None]:
    """Turns what a database refuses into HPO-STORE; a password is not shown."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as e:
        raise _fault(url, str(e.__cause__ or e)) from None


def _fault(url: str, cause: str, mend: str | None = None) -> EnvironmentFault:
    return EnvironmentFault(
        Finding(
            code="HPO-STORE",
            what="the database of the search can't be used",
            where=f"key tune.storage: {shown(url)}",
            found=cause.split("\n")[0].replace(url, shown(url)),
            risk="no trial was lost that had come to an end",
            mend=mend or (SERVER if of_a_server(url) else FILE),
        )
    )


@contextmanager
def _making(url: str) -> Generator[None]:
    """Raises EnvironmentFault HPO-STORE where the driver is missing, or tables are of another version of Optuna."""
    try:
        yield
    except ImportError as e:
        missing = DRIVER if url.startswith("postgres") else None
        raise _fault(url, str(e.__cause__ or e), missing) from None
    except RuntimeError as e:
        raise _fault(url, str(e), None if of_a_server(url) else FILE) from None


def opened(url: str, wait: float = 0.0) -> RDBStorage:
    """Optuna's storage; its tables are made where there are none. wait: seconds that a server which does not answer is
    waited for, now and later."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not of_a_server(url):
        made = _opened(url, {"connect_args": {"timeout": LOCKED}})
    else:
        made = _patient(lambda: _opened(url, _options(url)), OperationalError, url, wait)
        _wait_for_connections(made.engine, url, wait)
    watchdog.statements(made.engine, lambda: f"waiting for the database of the search, {shown(url)}")
    return made


def _opened(url: str, options: dict[str, Any]) -> RDBStorage:
    with _making(url), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RDBStorage(_driven(url), options, heartbeat_interval=HEARTBEAT, grace_period=GRACE)


def _options(url: str) -> dict[str, Any]:
    return {"poolclass": sqlalchemy.NullPool} | ({"connect_args": CONNECTION} if url.startswith("postgres") else {})


def _driven(url: str) -> str:
    """The URL with the driver that the extra `postgres` brings; SQLAlchemy before 2.1 would take another one."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)


def _wait_for_connections(engine: sqlalchemy.Engine, url: str, wait: float) -> None:
    def connect(dialect: Any, _: Any, args: Any, options: Any) -> Any:
        return _patient(lambda: dialect.connect(*args, **options), dialect.loaded_dbapi.OperationalError, url, wait)

    event.listen(engine, "do_connect", connect)


def _patient(call: Callable[[], Thing], fault: type[Exception], url: str, wait: float) -> Thing:
    """What `call` gives, tried again for `wait` seconds while it raises `fault`. Raises Stopped."""
    began = time.monotonic()
    while True:
        try:
            return call()
        except fault as e:
            waited, cause = time.monotonic() - began, str(e.__cause__ or e).split("\n")[0]
            if waited >= wait:
                raise
        if stopping():
            raise Stopped("stopped while the database did not answer")
        board.show(f"waiting for {shown(url)}", int(waited), int(wait), cause)
        time.sleep(AGAIN)


@contextmanager
def alone(url: str) -> Generator[None]:
    """One process at a time, of all that share a PostgreSQL server: of two that make its tables at once one would fail.

    The server drops the lock with the connection. Of a file, whose folder is locked, nothing is asked.
    """
    if not url.startswith("postgres"):
        yield
        return
    with _making(url):
        engine = sqlalchemy.create_engine(_driven(url), **_options(url))
    with engine.connect() as connection:
        connection.execute(sqlalchemy.select(sqlalchemy.func.pg_advisory_lock(BEGINNING)))
        yield
