"""Tasks and manifests over the clips, for tests of batches."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from transcode.batch.task import Limits, Task
from transcode.job import Job, Output, VideoOptions
from transcode.manifest import Manifest, ManifestJob

QUICK = VideoOptions(preset="ultrafast")


@pytest.fixture
def make_task(clips, tmp_path):
    """Make a task that transcodes a clip, or a file, into the test's own folder."""

    def make(source="h264", target="out.mp4", *, number=1, is_first=True, limits=None, **fields):
        source = source if os.path.exists(source) else clips.path(str(source))
        output = Output(tmp_path / target, video=fields.pop("video", QUICK))
        job = Job(source=source, outputs=(output,), **fields)
        return Task(
            number=number,
            attempt=1,
            job=job,
            mark="mark",
            limits=limits or Limits(),
            is_first=is_first,
        )

    return make


@pytest.fixture
def make_manifest(clips, tmp_path):
    """Make a manifest of as many jobs as there are sources; names of clips, or files."""

    def make(sources, *, folder="out", slots=None, **fields):
        jobs = []
        for index, source in enumerate(sources, 1):
            path = Path(source) if os.sep in str(source) else clips.path(source)
            output = Output(tmp_path / folder / f"{index}.mp4", video=QUICK)
            jobs.append(
                ManifestJob(
                    job=Job(source=path, outputs=(output,), **fields),
                    place=f"jobs.yaml:{index}:1",
                    index=index,
                )
            )
        return Manifest(
            path=str(tmp_path / "jobs.yaml"),
            jobs=tuple(jobs),
            slots=slots or {},
            output_root=str(tmp_path),
        )

    return make
