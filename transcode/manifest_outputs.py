"""Checks of all outputs of a manifest together, before anything runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from transcode.manifest_template import is_url
from transcode.manifest_tree import PlacedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transcode.manifest import ManifestJob

__all__ = ["check_outputs"]


def check_outputs(jobs: Iterable[ManifestJob], *, root: str, manifest: str) -> None:
    """Refuse outputs that would meet each other, an input or the manifest, or leave their root.

    Files are the same where their real paths are, all links resolved, be they there yet or not.

    Parameters
    ----------
    jobs : iterable of ManifestJob
        All of them.
    root : str
        The folder that outputs have to lie in.
    manifest : str
        The manifest's own file.

    Raises
    ------
    PlacedError
        The message has the places of both jobs.
    """
    jobs = list(jobs)
    resolve = _Resolver()
    inputs: dict[str, ManifestJob] = {}
    for job in jobs:
        path = _local(str(job.job.source))
        if path is not None:
            inputs.setdefault(resolve(path), job)
    own = resolve(manifest) if manifest != "-" else ""
    inside = resolve(os.path.join(root, "")).rstrip("/") + "/"
    outputs: dict[str, ManifestJob] = {}
    for job in jobs:
        for output in job.job.outputs:
            path = str(output.path)
            real = resolve(path)
            if real == own:
                raise PlacedError(f"{job.place}: {path!r} is this manifest; name another output")
            if not real.startswith(inside):
                raise PlacedError(
                    f"{job.place}: {path!r} lies outside of the folder for outputs, "
                    f"{inside.rstrip('/') or '/'}; name another, or say "
                    f"output_root: {os.path.dirname(real)}"
                )
            if real in inputs:
                raise PlacedError(_over_input(path, job, inputs[real]))
            if real in outputs:
                raise PlacedError(_twice(path, job, outputs[real]))
            outputs[real] = job


def _over_input(path: str, job: ManifestJob, reader: ManifestJob) -> str:
    if reader is job:
        return f"{job.place}: {path!r} is the input itself; name another output"
    return f"{job.place}: {path!r} is the source of the job at {reader.place}; name another output"


def _twice(path: str, job: ManifestJob, first: ManifestJob) -> str:
    return (
        f"{job.place}: two jobs with one output: {path!r} of {str(job.job.source)!r} here, and of "
        f"{str(first.job.source)!r} at {first.place}; tell them apart, with "
        "{stem}, {dir}, {profile}, {index} or a name of the matrix"
    )


def _local(source: str) -> str | None:
    """Return the file that a source is, or None."""
    if not is_url(source):
        return source
    return source.removeprefix("file:") if source.startswith("file:") else None


class _Resolver:
    """Resolves links, those of each folder once."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def __call__(self, path: str) -> str:
        folder, name = os.path.split(path)
        if name in ("", ".", "..") or os.path.islink(path):
            return os.path.realpath(path)
        real = self._folders.get(folder)
        if real is None:
            real = self._folders[folder] = os.path.realpath(folder)
        return os.path.join(real, name)
