"""The journal: what it keeps, who may write it, and what is said of a file that is none."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.helpers.process import open_files
from transcode.batch.journal import Journal, Record
from transcode.batch.task import Outcome
from transcode.errors import JournalError
from transcode.file_identity import FileIdentity

RECORD = Record(
    output="/out/a.mp4",
    number=1,
    place="jobs.yaml:2:5",
    source="a.mp4",
    profile="gray",
    device="auto",
    spec="{}",
    state="waiting",
    cause="new",
)
SEEN = FileIdentity(10, 20, 30)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "jobs.yaml.journal")


def begin(path, *records):
    with Journal(path, write=True) as journal:
        journal.begin(records or (RECORD,), {"manifest": "jobs.yaml"})


def test_what_was_written_is_read_by_another(path):
    begin(path)
    with Journal(path, write=True) as journal:
        mark = journal.mark
        assert journal.started(RECORD.output, input=SEEN, versions="1") == 1
        with Journal(path, write=False) as reader:
            assert reader.counts() == {"waiting": 0, "running": 1, "done": 0, "failed": 0}
            assert reader.mark == mark
        outcome = Outcome(
            kind="done", seconds=1.5, worker="host:1", peak_nbytes=99, output=FileIdentity(1, 2, 3)
        )
        journal.ended(RECORD.output, outcome, "done", verified="full")
    with Journal(path, write=False) as reader:
        (record,) = reader.records()
        assert (record.state, record.verified, record.tries) == ("done", "full", 1)
        assert (record.input, record.result) == (SEEN, FileIdentity(1, 2, 3))
        (attempt,) = reader.attempts(RECORD.output)
        assert (attempt.number, attempt.kind, attempt.seconds) == (1, "done", 1.5)
        assert (attempt.worker, attempt.peak_nbytes) == ("host:1", 99)
        assert attempt.ended >= attempt.started
        assert reader.facts()["manifest"] == "jobs.yaml"
        assert list(reader.records("failed")) == []


def test_each_change_is_on_disk_when_the_call_returns(path):
    # Another process changes it and is killed at once, with no chance to close anything.
    begin(path)
    code = f"""
import os, signal
from transcode.batch.journal import Journal
journal = Journal({path!r}, write=True)
journal.started({RECORD.output!r}, input=None, versions="1")
os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == -9
    with Journal(path, write=True) as journal:
        assert journal.counts()["running"] == 1
        assert journal._open_database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert journal._open_database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_jobs_that_are_in_the_manifest_no_more_are_forgotten_with_their_tries(path):
    other = Record(**{**RECORD.__dict__, "output": "/out/b.mp4", "number": 2})
    begin(path, RECORD, other)
    with Journal(path, write=True) as journal:
        journal.started(other.output, input=None, versions="1")
        journal.begin([RECORD], {})
        assert [record.output for record in journal.records()] == [RECORD.output]
        assert list(journal.attempts()) == []


def test_a_second_writer_is_refused_and_readers_are_not(path):
    begin(path)
    with Journal(path, write=True):
        with pytest.raises(JournalError, match=rf"another batch is running.*process {os.getpid()}"):
            Journal(path, write=True)
        with Journal(path, write=False) as reader:
            assert reader.is_in_use
    with Journal(path, write=False) as reader:
        assert not reader.is_in_use
    begin(path)


def test_a_file_that_is_no_journal_is_left_alone(path):
    with open(path, "wb") as file:
        file.write(b"no database at all" * 100)
    for write in (True, False):
        with pytest.raises(JournalError, match="cannot be read as a journal: file is not a"):
            Journal(path, write=write)
    with closing(sqlite3.connect(f"{path}2")) as other:
        other.execute("CREATE TABLE people (name TEXT)")
    for write in (True, False):
        with pytest.raises(JournalError, match="cannot be read as a journal: no such table"):
            Journal(f"{path}2", write=write)
    with open(path, "rb") as file:
        assert file.read() == b"no database at all" * 100


def test_a_journal_of_another_format_is_refused(path):
    begin(path)
    with Journal(path, write=True) as journal:
        journal.note(format="99")
    with pytest.raises(JournalError, match="format 99, and this version knows 1; move it away"):
        Journal(path, write=True)


def test_a_folder_that_is_not_there(path):
    with pytest.raises(JournalError, match="no such file or directory"):
        Journal("/nowhere/jobs.journal", write=True)
    with pytest.raises(JournalError, match="there is no journal; run the batch first"):
        Journal(path, write=False)


def test_nothing_stays_open(path):
    begin(path)
    before = open_files()
    for write in (True, False):
        journal = Journal(path, write=write)
        journal.close()
        journal.close()
    with pytest.raises(JournalError):
        Journal("/proc/version", write=False)
    assert open_files() == before


def test_a_change_that_is_interrupted_is_undone(path):
    begin(path)

    def interrupted():
        yield RECORD
        raise KeyboardInterrupt

    with Journal(path, write=True) as journal:
        with pytest.raises(KeyboardInterrupt):
            journal.begin(interrupted(), {"manifest": "other.yaml"})
        assert journal.facts()["manifest"] == "jobs.yaml"
        assert journal.started(RECORD.output, input=None, versions="1") == 1


def test_a_file_of_somebody_else_beside_it_is_left_alone(path):
    with open(f"{path}.lock", "w") as file:
        file.write("[[package]]")
    with pytest.raises(JournalError, match="is no lock of a batch, but something else"):
        Journal(path, write=True)
    with open(f"{path}.lock") as file:
        assert file.read() == "[[package]]"
    other = f"{path}3"
    with closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE people (name TEXT)")
    with open(other, "rb") as file:
        before = file.read()
    with pytest.raises(JournalError):
        Journal(other, write=True)
    with open(other, "rb") as file:
        assert file.read() == before
