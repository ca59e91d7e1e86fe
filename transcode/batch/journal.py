"""The journal of a batch: what became of each job, on disk before anything else happens.

An SQLite file beside the manifest, in WAL mode: others may read it while a batch runs. Each
change of a job's state is a transaction that is on disk (``synchronous=FULL``) before the batch
goes on.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bridges.closable import Closable
from transcode.errors import JournalError
from transcode.file_identity import FileIdentity
from transcode.report import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from transcode.batch.task import Outcome

__all__ = ["Attempt", "Journal", "Record", "State"]

State = Literal["waiting", "running", "done", "failed"]

_FORMAT = "1"
_BUSY_SECONDS = 10.0
_TABLES = """
CREATE TABLE batch (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE job (
    output TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    place TEXT NOT NULL,
    source TEXT NOT NULL,
    profile TEXT NOT NULL,
    device TEXT NOT NULL,
    spec TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
    cause TEXT NOT NULL,
    input TEXT,
    result TEXT,
    verified TEXT NOT NULL DEFAULT 'none',
    kind TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    tries INTEGER NOT NULL DEFAULT 0,
    report TEXT
) WITHOUT ROWID;
CREATE INDEX job_number ON job (number);
CREATE TABLE attempt (
    output TEXT NOT NULL REFERENCES job ON DELETE CASCADE,
    try INTEGER NOT NULL,
    versions TEXT NOT NULL,
    started REAL NOT NULL,
    ended REAL,
    worker TEXT NOT NULL DEFAULT '',
    kind TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    seconds REAL,
    peak_nbytes INTEGER,
    PRIMARY KEY (output, try)
) WITHOUT ROWID;
"""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the journal says of a job.

    Attributes
    ----------
    output : str
        Where to; what tells jobs apart.
    number : int
        Of the job in its manifest, from 1.
    place : str
        Where it stands there.
    source : str
        What it reads.
    profile, device : str
        As the manifest says.
    spec : str
        The whole job, normalised, as JSON.
    state : State
        ``"running"`` is also what a batch was doing that was killed.
    cause : str
        Why it is to be run, or why it is not.
    input : FileIdentity or None
        Of the source, as it was last read.
    result : FileIdentity or None
        The file that was published last.
    verified : str
        What was checked before: ``"none"``, ``"fast"``, ``"full"``.
    kind, error : str
        How the last try ended; see `Outcome`.
    tries : int
        How many there were, all together.
    report : dict or None
        Of a job that is done; see `Report.as_dict`.
    """

    output: str
    number: int
    place: str
    source: str
    profile: str
    device: str
    spec: str
    state: State
    cause: str
    input: FileIdentity | None = None
    result: FileIdentity | None = None
    verified: str = "none"
    kind: str = ""
    error: str = ""
    tries: int = 0
    report: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try of a job.

    Attributes
    ----------
    output : str
        Of which job.
    number : int
        From 1.
    started : float
        Seconds since 1970.
    ended : float or None
        Likewise; None of one that goes on, or of which nobody saw the end.
    worker : str
        Where it ran.
    kind, error : str
        How it ended; see `Outcome`.
    seconds : float or None
        Wall time.
    peak_nbytes : int or None
        Most resident memory that was seen.
    """

    output: str
    number: int
    started: float
    ended: float | None
    worker: str
    kind: str
    error: str
    seconds: float | None
    peak_nbytes: int | None


class Journal(Closable):
    """A journal: opened to be written by one batch, or only to be read.

    Parameters
    ----------
    path : str
        The file.
    write : bool
        Whether it may be created and changed; nobody else may at the same time.

    Raises
    ------
    JournalError
        It is in use, damaged, something else, or (to be read) not there.
    """

    def __init__(self, path: str, *, write: bool) -> None:
        self.path = path
        self._lock = _locked(path) if write else None
        self._database: sqlite3.Connection | None = None
        try:
            self._database = self._open(write)
        except JournalError:
            self.close()
            raise
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise JournalError(f"{path}: cannot be read as a journal: {error}") from error

    def _open(self, write: bool) -> sqlite3.Connection:
        if not write and not os.path.isfile(self.path):
            raise JournalError(f"{self.path}: there is no journal; run the batch first")
        uri = f"file:{_quoted(self.path)}?mode={'rwc' if write else 'ro'}"
        database = sqlite3.connect(
            uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False
        )
        database.text_factory = os.fsdecode
        with contextlib.ExitStack() as stack:
            stack.callback(database.close)
            is_new = not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if write and is_new:
                _create(database)
            found = dict(database.execute("SELECT name, value FROM batch"))
            if found.get("format") != _FORMAT:
                raise JournalError(
                    f"{self.path}: is a journal of format {found.get('format')}, and this version "
                    f"knows {_FORMAT}; move it away to start anew"
                )
            if write:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                database.execute("PRAGMA foreign_keys = ON")
            self.mark = found["mark"]
            stack.pop_all()
        return database

    @property
    def _open_database(self) -> sqlite3.Connection:
        assert self._database is not None
        return self._database

    def close(self) -> None:
        """Close the file, and let others write; may be repeated."""
        database, self._database = self._database, None
        if database is not None:
            database.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    @contextlib.contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """Change all of something or nothing; it is on disk afterwards."""
        database = self._open_database
        try:
            database.execute("BEGIN IMMEDIATE")
            yield database
            database.execute("COMMIT")
        except BaseException as error:  # A signal too must leave no half of a change.
            with contextlib.suppress(sqlite3.Error):
                database.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise JournalError(f"{self.path}: cannot be written: {error}") from error
            raise

    def begin(self, records: Iterable[Record], facts: Mapping[str, str]) -> None:
        """Write down all jobs of a batch that starts; others are forgotten.

        Parameters
        ----------
        records : iterable of Record
            As they are to stand there.
        facts : mapping of str to str
            About the batch as a whole.
        """
        with self._change() as database:
            # What stands there of an end is that of the batch before.
            _note(database, {"ended": "0", "elapsed_seconds": "0", **facts})
            database.execute("CREATE TEMP TABLE IF NOT EXISTS known (output TEXT PRIMARY KEY)")
            database.execute("DELETE FROM known")
            for record in records:
                fields = _row(record)
                names = ", ".join(fields)
                places = ", ".join("?" * len(fields))
                changes = ", ".join(f"{name} = excluded.{name}" for name in fields)
                _execute(
                    database,
                    f"INSERT INTO job ({names}) VALUES ({places}) "
                    f"ON CONFLICT (output) DO UPDATE SET {changes}",
                    *fields.values(),
                )
                _execute(database, "INSERT INTO known VALUES (?)", record.output)
            database.execute("DELETE FROM job WHERE output NOT IN (SELECT output FROM known)")

    def started(self, output: str, *, input: FileIdentity | None, versions: str) -> int:
        """Write down that a job is handed out; return which try it is, all batches counted."""
        with self._change() as database:
            row = _execute(
                database,
                "UPDATE job SET state = 'running', tries = tries + 1, input = ? "
                "WHERE output = ? RETURNING tries",
                _packed(input),
                output,
            ).fetchone()
            _execute(
                database,
                "INSERT INTO attempt (output, try, versions, started) VALUES (?, ?, ?, ?)",
                output,
                row[0],
                versions,
                time.time(),
            )
        return int(row[0])

    def ended(self, output: str, outcome: Outcome, state: State, *, verified: str) -> None:
        """Write down how the last try of a job ended, what the job is now, what was checked."""
        report = outcome.report
        packed = None if report is None else json.dumps(plain(report))
        with self._change() as database:
            _execute(
                database,
                "UPDATE job SET state = ?, kind = ?, error = ?, "
                "result = coalesce(?, result), verified = ?, report = ? WHERE output = ?",
                state,
                outcome.kind,
                outcome.error,
                _packed(outcome.output),
                verified,
                packed,
                output,
            )
            _execute(
                database,
                "UPDATE attempt SET ended = ?, worker = ?, kind = ?, error = ?, seconds = ?, "
                "peak_nbytes = ? WHERE output = ? AND try = (SELECT tries FROM job "
                "WHERE output = ?)",
                time.time(),
                outcome.worker,
                outcome.kind,
                outcome.error,
                outcome.seconds,
                outcome.peak_nbytes,
                output,
                output,
            )

    def note(self, **facts: str) -> None:
        """Write down something about the batch as a whole."""
        with self._change() as database:
            _note(database, facts)

    def facts(self) -> dict[str, str]:
        """Return what was written down about the batch as a whole."""
        return dict(self._read("SELECT name, value FROM batch"))

    @property
    def is_in_use(self) -> bool:
        """Whether a batch writes it now, this one or another."""
        if self._lock is not None:
            return True
        try:
            lock = os.open(f"{self.path}.lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            return False
        finally:
            os.close(lock)

    def counts(self) -> dict[State, int]:
        """Return how many jobs are in which state."""
        counts: dict[State, int] = {"waiting": 0, "running": 0, "done": 0, "failed": 0}
        counts.update(self._read("SELECT state, count(*) FROM job GROUP BY state"))
        return counts

    def records(self, state: State | None = None) -> Iterator[Record]:
        """Yield what is known of the jobs, in the manifest's order.

        Parameters
        ----------
        state : State, optional
            Only those in it.
        """
        where, values = ("WHERE state = ? ", (state,)) if state else ("", ())
        names = tuple(Record.__dataclass_fields__)
        query = f"SELECT {', '.join(names)} FROM job {where}ORDER BY number"
        for row in self._read(query, *values):
            fields = dict(zip(names, row, strict=True))
            for name in ("input", "result"):
                fields[name] = _unpacked(fields[name])
            if fields["report"] is not None:
                fields["report"] = json.loads(fields["report"])
            yield Record(**fields)

    def attempts(self, output: str | None = None) -> Iterator[Attempt]:
        """Yield the tries, oldest first.

        Parameters
        ----------
        output : str, optional
            Only those of this job.
        """
        where, values = ("WHERE output = ? ", (output,)) if output is not None else ("", ())
        names = "output, try, started, ended, worker, kind, error, seconds, peak_nbytes"
        for row in self._read(f"SELECT {names} FROM attempt {where}ORDER BY started", *values):
            yield Attempt(**dict(zip(Attempt.__dataclass_fields__, row, strict=True)))

    def _read(self, query: str, *values: object) -> Iterator[Any]:
        try:
            yield from _execute(self._open_database, query, *values)
        except sqlite3.Error as error:
            raise JournalError(f"{self.path}: cannot be read: {error}") from error


def _create(database: sqlite3.Connection) -> None:
    database.execute("BEGIN IMMEDIATE")
    for statement in filter(str.strip, _TABLES.split(";")):
        database.execute(statement)
    facts = {"format": _FORMAT, "mark": secrets.token_hex(4), "created": str(time.time())}
    _note(database, facts)
    database.execute("COMMIT")


def _note(database: sqlite3.Connection, facts: Mapping[str, str]) -> None:
    for name, value in facts.items():
        _execute(database, "INSERT OR REPLACE INTO batch VALUES (?, ?)", name, value)


def _execute(database: sqlite3.Connection, query: str, *values: object) -> sqlite3.Cursor:
    """Execute a statement; a text in it may be the name of a file that is no UTF-8 (PEP 383)."""
    parts = query.split("?")
    places = ["CAST(? AS TEXT)" if isinstance(value, str) else "?" for value in values]
    given = [os.fsencode(value) if isinstance(value, str) else value for value in values]
    whole = "".join(part + place for part, place in zip(parts, [*places, ""], strict=True))
    return database.execute(whole, given)


def _locked(path: str) -> int:
    """Lock a file beside the journal; SQLite's own locks would keep readers away too.

    Raises
    ------
    JournalError
        Another batch holds it, or it cannot be created.
    """
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise JournalError(f"{path}.lock: {(error.strerror or str(error)).lower()}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        raise JournalError(
            f"{path}: another batch is running on it (process {holder or 'unknown'}); wait for "
            "it, or name another file with --journal"
        ) from error
    if not re.fullmatch(rb"([0-9]+\n)?", os.pread(lock, 32, 0)):
        os.close(lock)
        raise JournalError(f"{path}.lock: is no lock of a batch, but something else; move it away")
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _row(record: Record) -> dict[str, object]:
    fields = {name: getattr(record, name) for name in Record.__dataclass_fields__}
    for name in ("input", "result"):
        fields[name] = _packed(fields[name])
    fields["report"] = None if record.report is None else json.dumps(record.report)
    return fields


def _packed(identity: FileIdentity | None) -> str | None:
    return None if identity is None else json.dumps(identity)


def _unpacked(text: str | None) -> FileIdentity | None:
    return None if text is None else FileIdentity(*json.loads(text))


def _quoted(path: str) -> str:
    from urllib.parse import quote

    return quote(os.fsencode(os.path.abspath(path)))
