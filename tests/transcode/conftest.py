"""Transcodes of the clips, and the shared ones among them."""

from __future__ import annotations

import functools
import io
import json
import sys

import pytest

import transcode
from transcode import VideoOptions
from transcode.manifest import read_manifest
from transcode.manifest_schema import schema


@pytest.fixture
def convert(clips, tmp_path):
    """Transcode a clip by name into the test's own folder; quick where nothing else is said."""

    def run(name, target="out.mp4", **options):
        options.setdefault("video", VideoOptions(preset="ultrafast"))
        path = tmp_path / target
        return path, transcode.run(clips.path(name), path, **options)

    return run


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read a text as a manifest in the test's own folder; whatever passes has to fit the schema."""
    monkeypatch.chdir(tmp_path)

    def read(text, name="jobs.yaml", **options):
        data = text if isinstance(text, bytes) else text.encode()
        if name == "-":
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        else:
            (tmp_path / name).write_bytes(data)
        found = read_manifest(name, **options)
        if name.endswith((".yaml", ".json")):
            import yaml
            from jsonschema import Draft202012Validator

            load = json.loads if name.endswith(".json") else yaml.safe_load
            Draft202012Validator(schema()).validate(load(data))
        return found

    return read


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
