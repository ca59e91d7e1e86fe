"""What of a batch is still to be done, by its journal and by the files as they are now."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from transcode.batch.journal import Record
from transcode.file_identity import FileIdentity
from transcode.publish import claim_path
from transcode.report import plain

if TYPE_CHECKING:
    from transcode.job import Job
    from transcode.manifest import ManifestJob

__all__ = ["first_record", "mark_of", "resumed"]

_OF_THE_MANIFEST = ("number", "place", "source", "profile", "device", "spec")


def first_record(listed: ManifestJob) -> Record:
    """Return what stands in a new journal of a job."""
    job = listed.job
    return Record(
        output=os.path.abspath(job.outputs[0].path),
        number=listed.index,
        place=listed.place,
        source=str(job.source),
        profile=listed.profile,
        device=job.device,
        spec=_spec(job),
        state="waiting",
        cause="new",
    )


def _spec(job: Job) -> str:
    """Return all that decides what the output is, as JSON."""
    values = plain(job)
    # Whether an old file may be replaced says nothing about the new one.
    del values["overwrite"]
    return json.dumps(values, sort_keys=True)


def mark_of(batch: str, output: str) -> str:
    """Return the mark of a job, by the mark of its batch and by what tells it from others."""
    return f"{batch}-{hashlib.blake2s(os.fsencode(output), digest_size=6).hexdigest()}"


def resumed(new: Record, old: Record, batch: str) -> tuple[Record, str | None]:
    """Return what is to become of a job, and a claim to be removed once that is written down.

    A job is skipped where the journal says that it is done and verified, and its source, its
    output and what is asked for are what they were then. The record's ``result`` is the file that
    is the batch's own to replace.

    Parameters
    ----------
    new, old : Record
        As the manifest has it, and as the journal has it.
    batch : str
        The mark of the batch.
    """
    claim = claim_path(new.output, mark_of(batch, new.output))
    same_source = FileIdentity.of(new.source) == old.input
    cause = _cause(new, old, same_source)
    record = replace(
        old,
        **{name: getattr(new, name) for name in _OF_THE_MANIFEST},
        state="waiting" if cause else "done",
        cause=cause or "verified and unchanged",
    )
    if old.state != "done" and new.spec == old.spec and same_source:
        # What was published, if anything was, is what is asked for: the next try will ask.
        return record, None
    with contextlib.suppress(OSError):
        if os.path.samefile(claim, new.output):
            record = replace(record, result=FileIdentity.of(new.output))
    return record, claim


def _cause(new: Record, old: Record, same_source: bool) -> str:
    """Return why a job has to be run again; empty where it has not."""
    if old.state == "failed":
        return "failed before"
    if old.state == "running":
        return "was interrupted"
    if old.state == "waiting":
        return "not run before" if not old.tries else "to be tried again"
    if new.spec != old.spec:
        return "the job was changed"
    if old.verified == "none":
        return "was not verified"
    if not same_source:
        return "the source was changed"
    found = FileIdentity.of(new.output)
    if found is None:
        return "the output is gone"
    return "" if found == old.result else "the output was changed"
