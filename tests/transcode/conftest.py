"""Transcodes of the clips, and the shared ones among them."""

from __future__ import annotations

import functools

import pytest

import transcode
from transcode import VideoOptions


@pytest.fixture
def convert(clips, tmp_path):
    """Transcode a clip by name into the test's own folder; quick where nothing else is said."""

    def run(name, target="out.mp4", **options):
        options.setdefault("video", VideoOptions(preset="ultrafast"))
        path = tmp_path / target
        return path, transcode.run(clips.path(name), path, **options)

    return run


@pytest.fixture(scope="session")
def plain(clips, tmp_path_factory):
    """Transcode a clip with hardly any option, once per session and container."""
    folder = tmp_path_factory.mktemp("plain")

    @functools.cache
    def run(name, suffix):
        path = folder / f"{name}{suffix}"
        video = VideoOptions(preset="ultrafast", crf=8)
        return path, transcode.run(clips.path(name), path, video=video)

    return run
