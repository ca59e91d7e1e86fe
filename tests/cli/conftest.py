"""Ways to call the command: in this process, and as a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import transcode
from tests.cli import fake

ROOT = Path(__file__).parents[2]
MEDIA = ROOT / "samples" / "media" / "bigbuckbunny.mp4"
COMMAND = [sys.executable, "-c", "from cli.main import main; main()"]
FAKE = [sys.executable, "-m", "tests.cli.fake"]


def environment(**changes):
    """Return this process's environment without what would change how the command looks."""
    hidden = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    kept = {key: value for key, value in os.environ.items() if key not in hidden}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **changes}


def call(*args, command=COMMAND, cwd, **changes):
    """Run the command to its end; standard input stays open and empty."""
    reading, writing = os.pipe()
    try:
        return subprocess.run(
            [*command, *map(str, args)],
            stdin=reading,
            capture_output=True,
            cwd=cwd,
            env=environment(**changes),
            text=True,
            timeout=60,
        )
    finally:
        os.close(reading)
        os.close(writing)


@pytest.fixture
def jobs(monkeypatch):
    """Replace the run by the fake one; gives the list of the jobs that it gets."""
    seen = []

    def run(job, *, on_progress):
        seen.append(job)
        return fake.run(job, on_progress=on_progress)

    monkeypatch.setattr(transcode, "run", run)
    return seen


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Call the command in this process, in an empty folder."""
    from cli.main import cli

    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "FAKE_STEP", "FAKE_ERROR"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*args, **extra):
        return CliRunner().invoke(cli, [str(arg) for arg in args], **extra)

    return invoke
