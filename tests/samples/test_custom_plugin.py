"""The sample package: installed, its plugin has a name, keeps the rules, and works in a run."""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.samples.program import SAMPLES, frames_of, planes_of, run, seconds_of

COMMAND = ("-c", "from cli.main import main; main()", "plugins")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a folder with the package installed, built from a copy: a build leaves folders."""
    tree = tmp_path_factory.mktemp("plugin") / "tree"
    shutil.copytree(SAMPLES / "custom_plugin", tree)
    target = tree.parent / "site"
    words = ["install", "-q", "--no-deps", "--no-index", "--no-build-isolation", "--target"]
    command = [sys.executable, "-m", "pip", *words, target, tree]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_it_is_listed_and_keeps_the_rules(site):
    listed = run(*COMMAND, path=site).stdout.splitlines()
    (line,) = [line for line in listed if line.startswith("trails ")]
    assert "xtranscode-trails 0.1.0" in line
    assert not any(line.startswith("trails ") for line in run(*COMMAND).stdout.splitlines())
    done = run(*COMMAND, "check", "trails", path=site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("trails keeps the rules: ")
    done = run(*COMMAND, "check", "trails", "--param", "fade=2", path=site)
    assert "fade is from 0 to below 1, got 2.0" in done.stdout + done.stderr


def test_a_run(site, clips, tmp_path):
    source = clips.path("h264")
    done = run("-m", "xtranscode_trails", source, tmp_path / "out.mp4", "0.5", path=site)
    assert done.returncode == 0, done.stderr
    assert "(trails): <0 bytes to the device, 0 bytes to the host>" in done.stdout
    before, after = frames_of(source), frames_of(tmp_path / "out.mp4")
    assert seconds_of(after) == pytest.approx(seconds_of(before))
    trail = 0
    for old, new in zip(before, after, strict=True):
        luma, *chroma = planes_of(old)
        trail = np.maximum(trail * 0.5, luma)
        made, *kept = planes_of(new)
        assert np.abs(made - trail).mean() < 4  # What coding loses.
        for plane, other in zip(chroma, kept, strict=True):
            assert np.abs(plane - other).mean() < 2


def test_its_own_words(site, tmp_path):
    done = run("-m", "xtranscode_trails", path=site)
    assert "python -m xtranscode_trails in.mp4 out.mp4" in done.stderr
    done = run("-m", "xtranscode_trails", tmp_path / "absent.mp4", "out.mp4", path=site)
    assert done.returncode == 1
    assert done.stderr.startswith("trails: ")
    assert "Traceback" not in done.stderr
