"""What is wrong with the jobs of a manifest that no file has to be opened for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bridges.errors import XTranscodeError
from transcode.encoder import find_encoder
from transcode.errors import JobError
from transcode.job import Output
from transcode.sink import container_format

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from transcode.job import Job
    from transcode.manifest import ManifestJob

__all__ = ["check_jobs"]


def check_jobs(jobs: Iterable[ManifestJob]) -> None:
    """Refuse encoders, containers and kernels that there are not, before anything runs.

    Parameters
    ----------
    jobs : iterable of ManifestJob
        Those of a manifest. What several of them name is looked up once.

    Raises
    ------
    JobError
        The message begins with the place of the first job that names it.
    """
    known: set[tuple[object, ...]] = set()
    for listed in jobs:
        for question in _questions(listed.job):
            if question not in known:
                known.add(question)
                ask, *names = question
                try:
                    ask(*names)
                except XTranscodeError as error:
                    raise JobError(f"{listed.place}: {error}") from error


def _questions(job: Job) -> Iterator[tuple[Any, ...]]:
    """Yield what is to be looked up: functions with what they are asked."""
    output = job.outputs[0]
    yield find_encoder, output.video.codec, "video"
    if output.audio.codec not in ("copy", "none"):
        yield find_encoder, output.audio.codec, "audio"
    yield _find_container, output.format, os.path.splitext(output.path)[1]
    if job.filters:
        from bridges.kernels import parse_call

        for text in job.filters:
            yield parse_call, text


def _find_container(format: str | None, ending: str) -> None:
    container_format(Output(f"output{ending}", format=format))
