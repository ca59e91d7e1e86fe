"""What importing openvino does to a process: nothing to other runtimes, nothing to its user."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridges.backends.opencl import OpenCLContext
from tests.helpers.require import require

ROOT = Path(__file__).resolve().parents[2]


def run(code, **environment):
    """Run code in a process of its own, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


WORK = """
import numpy as np
ov = load_openvino()
op = __import__("openvino.opset13", fromlist=["op"])
port = op.parameter([2, 2], ov.Type.f32)
model = ov.Model([op.result(op.multiply(port, op.constant(np.float32(3))))], [port], "m")
request = ov.Core().compile_model(model, "CPU").create_infer_request()
print("model", request.infer([np.ones((2, 2), np.float32)])[0].sum())
"""
OPENVINO = "import bridges.backends.openvino\n"
LIBRARY = "from bridges.backends.openvino_library import load_openvino\n"
OPENCL = "from bridges.backends.opencl import OpenCLContext, devices\n"
LISTING = "print('devices', sorted(device.platform for device in devices()))\n"
KERNEL = """
from bridges.kernels import create_runtime
print("runtime", bool(create_runtime(OpenCLContext.create())))
"""


@pytest.mark.parametrize(
    "code",
    [
        OPENVINO + LIBRARY + WORK + OPENCL + LISTING + KERNEL,
        OPENCL + LISTING + KERNEL + OPENVINO + LIBRARY + WORK,
        OPENVINO + OPENCL + LISTING + KERNEL + LIBRARY + WORK,
    ],
    ids=["openvino first", "opencl first", "imported first, used last"],
)
def test_openvino_hides_no_opencl_runtime(opencl: OpenCLContext, code: str):
    alone = run(OPENCL + LISTING).splitlines()
    found = run(code).splitlines()
    assert sorted(found) == sorted([*alone, "model 12.0", "runtime True"])


def test_the_runtime_from_pip_is_listed_beside_openvino(opencl: OpenCLContext):
    from bridges.backends.opencl_vendors import wheel_library

    require("intel-opencl-rt", wheel_library() is not None, "its wheel is not installed")
    assert "Intel(R) OpenCL" in run(OPENVINO + OPENCL + LISTING)


def test_importing_reports_nothing_and_leaves_nothing(tmp_path: Path):
    pytest.importorskip("openvino_telemetry")
    code = (
        OPENVINO
        + LIBRARY
        + """
import sys, threading
ov = load_openvino()
print(sorted(name for name in sys.modules if name.startswith("openvino_telemetry")))
print(threading.active_count(), callable(ov.convert_model))
import openvino_telemetry
"""
    )
    environment = dict.fromkeys(("CI", "BUILD_BUILDID", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI"), "")
    assert run(code, HOME=str(tmp_path), **environment).splitlines() == ["[]", "1 True"]
    assert not (tmp_path / "intel").exists()


def test_openvino_s_telemetry_stays_for_who_imported_it():
    code = (
        "import sys\nimport openvino_telemetry as first\n"
        + LIBRARY
        + "load_openvino()\nprint(sys.modules['openvino_telemetry'] is first)"
    )
    pytest.importorskip("openvino_telemetry")
    assert run(code) == "True\n"
