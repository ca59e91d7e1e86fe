"""Journals of batches that nobody ran, with numbers that are known."""

import json
import sqlite3
from fractions import Fraction
from pathlib import Path

from transcode.batch.journal import Journal, Record
from transcode.batch.task import Outcome
from transcode.file_identity import FileIdentity
from transcode.report import Report, StreamSummary, plain

START = 1_700_000_000.0
"""When every batch began, in seconds since 1970."""
VERSIONS = "xtranscode 0.1.0, PyAV 18.1.0, FFmpeg 8.0"


def report(
    source: str,
    output: str,
    *,
    frames: int = 100,
    seconds: float = 2.0,
    nbytes: tuple[int, int] = (4_000_000, 1_000_000),
    notices: tuple[str, ...] = (),
) -> Report:
    """Return what a job may have reported."""
    video = ("mp4", "h264", "yuv420p", 320, 180, Fraction(30000, 1001), "bt709")
    return Report(
        source=StreamSummary(source, *video, nbytes[0]),
        output=StreamSummary(output, *video, nbytes[1]),
        frames=frames,
        frames_decoded=frames,
        duration_seconds=frames / 25,
        elapsed_seconds=seconds,
        fps=frames / seconds,
        device="cpu: NumPy",
        route="ffmpeg > cpu > ffmpeg",
        bytes_copied=1000 * frames,
        bytes_between=0,
        loads=(),
        kernel_ms=0.5,
        stage_seconds={"decode": seconds / 4, "process": 0.1, "encode": seconds, "verify": 0.25},
        verified="fast",
        notices=notices,
    )


def record(number: int, source: str = "", output: str = "", **fields: object) -> Record:
    """Return what stands in a journal of a job that waits."""
    return Record(
        output=output or f"/data/out/clip{number:05}.mp4",
        number=number,
        place=f"night.yaml:{number}",
        source=source or f"/data/in/clip{number:05}.mov",
        **{"profile": "small", "device": "cpu", "spec": "{}", "state": "waiting", "cause": "new"}
        | fields,
    )


def begin(journal: Journal, records: list[Record], **facts: str) -> None:
    """Write down that a batch starts."""
    facts = {
        "manifest": "/data/night.yaml",
        "versions": VERSIONS,
        "executor": "2 processes of this machine",
        "started": str(START),
        "skipped": "0",
        "stopped": "",
    } | facts
    journal.begin(records, facts)


def done(report: Report, worker: str = "alpha:11") -> Outcome:
    """Return how a try ended that went well."""
    return Outcome(
        kind="done",
        report=report,
        seconds=report.elapsed_seconds + 0.1,
        worker=worker,
        peak_nbytes=80_000_000,
        output=FileIdentity(report.output.nbytes or 0, 1, 2),
    )


def large(path: Path, count: int, *, lanes: int = 8) -> None:
    """Write a journal of many jobs that are done, one in fifty failed; not by its slow interface.

    Each change that a batch makes waits for the disk, which is too much for a test of thousands.
    """
    records, attempts = [], []
    for number in range(1, count + 1):
        made = record(number, state="done", verified="fast", tries=1, kind="done")
        seconds = 1 + number % 7
        at = START + (number - 1) // lanes * 8
        kind, error = "done", ""
        fields = {"verified": "fast", "kind": "done", "state": "done"}
        told = report(
            made.source,
            made.output,
            frames=50 + number % 100,
            seconds=seconds,
            nbytes=(1_000_000 + number * 1000, 300_000 + number * 500),
            notices=(f"{number} frames have no time", "the alpha plane was dropped"),
        )
        fields["report"] = plain(told)
        if number % 50 == 0:
            kind, error = "failed", f"{made.source}: packet {number} is damaged"
            fields = {"kind": kind, "error": error, "state": "failed"}
        records.append(record(number, tries=1, **fields))
        worker = f"alpha:{number % lanes}"
        row = (made.output, 1, VERSIONS, at, at + seconds, worker, kind, error, seconds, 1 << 26)
        attempts.append(row)
    with Journal(str(path), write=True) as journal:
        end = START + count / lanes * 8
        begin(journal, records, ended=str(end), elapsed_seconds=str(end - START))
    database = sqlite3.connect(path)
    with database:
        places = ", ".join("?" * len(attempts[0]))
        database.executemany(f"INSERT INTO attempt VALUES ({places})", attempts)
    database.close()
    assert json.loads(json.dumps(plain(told)))["frames"] == 50 + count % 100
