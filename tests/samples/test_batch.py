"""The manifests and scripts to start from, run as they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.transcode.output import frames_of
from transcode.batch.journal import Journal

SAMPLES = Path(__file__).parents[2] / "samples"
MADE = {
    "gray.yaml": ["gray/bigbuckbunny.mkv"],
    "ladder.yaml": [f"{name}/bigbuckbunny.mp4" for name in ("360p", "480p", "720p")],
    "quality.yaml": [
        f"quality/bigbuckbunny-{preset}-{crf}.mkv"
        for crf in (20, 26, 32)
        for preset in ("ultrafast", "veryfast")
    ],
    "jobs.csv": ["csv/first.mp4", "csv/gray.mp4"],
    "jobs.jsonl": ["jsonl/a.mp4", "jsonl/b.webm"],
}


@pytest.fixture
def folder(tmp_path):
    """A copy of the samples; nothing is left in the project's own."""
    ignored = shutil.ignore_patterns("notebooks", "__pycache__", "out", "*.journal*")
    shutil.copytree(SAMPLES, tmp_path / "samples", ignore=ignored)
    return tmp_path / "samples" / "batch"


def run(folder, *command, **settings):
    """Run a command where ``xtranscode`` and ``dask`` are those beside this interpreter."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, **settings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done


def found(folder):
    out = folder / "out"
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


@pytest.mark.usefixtures("needs_opencl")
@pytest.mark.parametrize("name", MADE)
def test_manifest(folder, name):
    run(folder, "xtranscode", "batch", name, "--workers", "2")
    assert found(folder) == sorted(MADE[name])
    with Journal(str(folder / f"{name}.journal"), write=False) as journal:
        for record in journal.records():
            assert len(frames_of(record.output)) == record.report["frames"] > 0


def test_every_sample_is_tried_and_told_of(folder):
    index = (folder / "README.md").read_text()
    scripts = {"nightly.sh", "find_new.sh", "slurm.sh"}
    names = {path.name for path in folder.iterdir()} - {"README.md"}
    assert names == {*MADE, *scripts}
    assert all(f"`{name}`" in index for name in names)


@pytest.mark.usefixtures("needs_opencl")
def test_nightly(folder):
    run(folder, "./nightly.sh", "gray.yaml")
    run(folder, "./nightly.sh", "gray.yaml")
    summary = json.loads((folder / "gray.yaml.summary.json").read_text())
    assert (summary["done"], summary["skipped"]) == (1, 1)
    assert "bigbuckbunny" in (folder / "gray.yaml.html").read_text()


def test_find_new_takes_only_what_is_new(folder):
    os.link(folder.parent / "media" / "bigbuckbunny.mp4", folder.parent / "media" / "a [1] {b}.mp4")
    assert "2 of 2 done" in run(folder, "./find_new.sh", "../media").stderr
    assert (folder / "out" / "new" / "a [1] {b}.mkv").exists()
    assert run(folder, "./find_new.sh", "../media").stderr == ""


@pytest.mark.usefixtures("needs_opencl")
def test_slurm_without_slurm(folder):
    assert shutil.which("srun") is None
    said = run(folder, "./slurm.sh", "gray.yaml", WORKERS="1").stderr
    assert "on the Dask cluster at tcp://" in said
    assert found(folder) == MADE["gray.yaml"]
    assert not list(folder.glob(".scheduler*"))
