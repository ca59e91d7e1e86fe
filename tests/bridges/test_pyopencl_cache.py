"""pyopencl's cache is switched off where no folder can hold it, and only there."""

import os
import subprocess
import sys

import pytest

CODE = """
import os
from bridges.backends.pyopencl_cache import load_pyopencl
load_pyopencl()
print(os.environ.get("PYOPENCL_NO_CACHE"))
"""


@pytest.mark.parametrize(("cache", "expected"), [("new/folder", "None"), ("file/folder", "true")])
def test_cache_is_off_only_without_a_place(tmp_path, cache, expected):
    (tmp_path / "file").touch()
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / cache)}
    environment.pop("PYOPENCL_NO_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr
