"""GStreamer where it is only partly installed, and beside other libraries."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from bridges.backends import gstreamer as backend
from bridges.backends import pygobject
from bridges.backends.gstreamer import probe
from bridges.errors import (
    DeviceNotFoundError,
)


class TestAbsence:
    def run(self, code):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout

    def test_nothing_else_of_the_system_is_let_in(self, gstreamer):
        out = self.run(
            "import sys; before = list(sys.path)\n"
            "from bridges.backends.gstreamer import probe\n"
            "print(probe().available, sys.path == before)\n"
            "from gi.repository import Gst\n"
            "print(Gst.is_initialized())\n"
        )
        assert out.split() == ["True", "True", "True"]

    def test_exceptions_of_other_libraries_still_work(self, gstreamer):
        out = self.run(
            "import ctypes, numpy\n"
            "from bridges.backends.gstreamer import GStreamerContext\n"
            "context = GStreamerContext()\n"
            "address = lambda lib: ctypes.cast(lib._Unwind_Resume, ctypes.c_void_p).value\n"
            "print(address(ctypes.CDLL(None)) == address(ctypes.CDLL('libgcc_s.so.1')))\n"
        )
        assert out == "True\n"

    def test_no_pygobject(self):
        out = self.run(
            "from bridges.backends import pygobject\n"
            "pygobject.SYSTEM_FOLDERS = ()\n"
            "import sys; sys.modules['gi'] = None\n"
            "from bridges.backends.gstreamer import create, probe\n"
            "found = probe(); print(found.available, found.reason, '|', found.remedy)\n"
            "from bridges.errors import DeviceNotFoundError\n"
            "try: create()\n"
            "except DeviceNotFoundError as error: print(error)\n"
        )
        said, error = out.strip().splitlines()
        assert said == (
            "False PyGObject, the Python package gi, is not installed | apt install python3-gi"
        )
        assert error.endswith("try: apt install python3-gi")

    def test_pygobject_for_another_python(self, tmp_path, monkeypatch):
        package = tmp_path / "gi"
        package.mkdir()
        (package / "__init__.py").write_text("raise AssertionError\n")
        (package / "_gi.cpython-38-x86_64-linux-gnu.so").touch()
        monkeypatch.setattr(pygobject, "SYSTEM_FOLDERS", (str(tmp_path),))
        monkeypatch.setitem(sys.modules, "gi", None)
        with pytest.raises(pygobject.NotInstalledError) as caught:
            pygobject.load_pygobject()
        assert "cpython-38" in str(caught.value)
        assert "was not built for this Python" in str(caught.value)
        assert "/usr/bin/python3 -m venv" in caught.value.remedy

    def test_a_namespace_that_is_not_installed(self, gstreamer):
        with pytest.raises(pygobject.NotInstalledError, match=r"GstNone-1\.0\.typelib") as caught:
            pygobject.load_namespaces("GstNone-1.0")
        assert caught.value.remedy == "apt install gir1.2-gst-plugins-base-1.0"

    def test_no_such_memory(self):
        with pytest.raises(DeviceNotFoundError, match="'cuda' here, only system, dmabuf, va"):
            backend.create("cuda")

    def test_probe(self, gstreamer):
        found = probe()
        assert found.reason.startswith("GStreamer 1.")
        assert not found.remedy
        assert replace(found, reason="") == backend.Probe("gstreamer", True, "")
