"""The README's Python examples, run as they stand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_there_are_examples():
    assert len(EXAMPLES) == 3


@pytest.mark.usefixtures("needs_opencl")
@pytest.mark.parametrize("example", EXAMPLES, ids=["transcode", "frames", "memory"])
def test_example_runs(example, clips, tmp_path):
    shutil.copy(clips.path("bframes"), tmp_path / "talk.mp4")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "FFmpeg > CPU > OpenCL" in done.stdout
    assert "zero-copy" in done.stdout
