"""The OpenCL backend: finding runtimes, choosing devices, telling what is missing."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bridges import MemoryType, TensorInfo
from bridges.backends import opencl as backend
from bridges.backends import opencl_devices
from bridges.backends import opencl_vendors as vendors
from bridges.backends import probe as probes
from bridges.backends.opencl import OpenCLContext, devices
from bridges.errors import ClosedError, DeviceError, DeviceNotFoundError

DENSE = TensorInfo((4, 6), np.dtype("u1"))


def test_devices_tell_what_they_are(opencl: OpenCLContext):
    for device in devices():
        assert device.kind in ("cpu", "gpu", "accelerator")
        assert device.shares_host_memory is (device.kind == "cpu")
        assert device.name
        assert str(device).startswith(f"{device.platform_index}:{device.device_index} ")
    assert opencl.device in devices()


def test_selectors(opencl: OpenCLContext):
    for device in devices():
        exact = f"{device.platform_index}:{device.device_index}"
        with OpenCLContext.create(exact) as context:
            assert context.device == device
            assert context.name == f"{device.platform}: {device.name}"
        with OpenCLContext.create(device.platform[:4].lower()) as context:
            assert context.device.platform[:4] == device.platform[:4]
    with OpenCLContext.create() as best:
        kinds = {device.kind for device in devices()}
        assert best.device.kind == ("gpu" if "gpu" in kinds else best.device.kind)


@pytest.mark.parametrize("selector", ["99", "0:99", "no such platform"])
def test_a_device_that_is_not_there_is_named(opencl: OpenCLContext, selector: str):
    with pytest.raises(DeviceNotFoundError) as caught:
        OpenCLContext.create(selector)
    assert repr(selector) in str(caught.value)
    assert str(opencl.device) in str(caught.value)


def test_a_machine_without_a_runtime_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(opencl_devices, "_found", lambda: ())
    monkeypatch.setattr(opencl_devices, "wheel_library", lambda: None)
    with pytest.raises(DeviceNotFoundError, match=r"pip install 'xtranscode\[cpu\]'"):
        OpenCLContext.create("")
    probe = backend.probe()
    assert not probe.available
    assert probe.reason == "no OpenCL runtime is installed"
    assert probe.remedy == "pip install 'xtranscode[cpu]'"


def test_a_runtime_that_does_not_load_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    broken = tmp_path / "libintelocl.so"
    broken.write_bytes(b"no library")
    monkeypatch.setattr(opencl_devices, "_found", lambda: ())
    monkeypatch.setattr(opencl_devices, "wheel_library", lambda: broken)
    with pytest.raises(DeviceNotFoundError, match="does not load"):
        OpenCLContext.create("")


def test_tensors_and_handles(opencl: OpenCLContext):
    tensor = opencl.allocate(DENSE)
    assert tensor.memory_type is MemoryType.OPENCL
    assert tensor.native is tensor.handle("cl_mem")
    assert tensor.native.size == 24
    assert opencl.handle("cl_queue") is opencl.queue
    with pytest.raises(KeyError, match="cl_mem"):
        tensor.handle("data")
    tensor.close()
    tensor.close()
    with pytest.raises(ClosedError):
        tensor.handle("cl_mem")


def test_a_closed_context_gives_no_handles(opencl: OpenCLContext):
    context = OpenCLContext.create()
    tensor = context.allocate(DENSE)
    context.close()
    context.close()
    with pytest.raises(ClosedError):
        context.handle("cl_queue")
    tensor.close()


def test_failures_of_the_runtime_are_translated(opencl: OpenCLContext):
    with pytest.raises(DeviceError, match=r"cannot allocate \d+ bytes") as caught:
        opencl.allocate(TensorInfo((1 << 31, 1 << 20), np.dtype("u1")))
    assert type(caught.value.__cause__).__module__.startswith("pyopencl")


def test_the_wheel_is_found_below_a_target_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    library = tmp_path / "lib" / "libintelocl.so"
    library.parent.mkdir()
    library.touch()
    described = tmp_path / "intel_opencl_rt-2026.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: intel-opencl-rt\n")
    (described / "RECORD").write_text("../../libintelocl.so,,\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "elsewhere"))
    monkeypatch.syspath_prepend(tmp_path)
    assert vendors.wheel_library() == library


def test_the_system_s_runtimes_stay_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    system = tmp_path / "system"
    system.mkdir()
    (system / "other.icd").write_text("libother.so\n")
    monkeypatch.setattr(vendors, "SYSTEM_VENDORS", system)
    monkeypatch.setattr(vendors, "wheel_library", lambda: Path("/x/libintelocl.so"))
    for name in vendors.USER_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    with vendors.vendor_folder():
        folder = Path(os.environ["OCL_ICD_VENDORS"])
        files = {file.name: file.read_text() for file in folder.iterdir()}
    assert files == {"other.icd": "libother.so\n", "xtranscode-wheel.icd": "/x/libintelocl.so\n"}
    assert "OCL_ICD_VENDORS" not in os.environ
    assert not folder.exists()


def test_the_user_s_own_setting_is_respected(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vendors, "wheel_library", lambda: Path("/x/libintelocl.so"))
    monkeypatch.setenv("OCL_ICD_VENDORS", "/their/own")
    with vendors.vendor_folder():
        assert os.environ["OCL_ICD_VENDORS"] == "/their/own"
    assert os.environ["OCL_ICD_VENDORS"] == "/their/own"


def test_probe_of_this_machine(opencl: OpenCLContext):
    found = {probe.name: probe for probe in probes.probe_all()}
    assert list(found) == [name for name, _ in probes.BACKENDS.values()]
    assert all(found[name].available for name in ("cpu", "ffmpeg", "opencl"))
    assert all(probe.available or probe.remedy for probe in found.values())
    assert all(probe.available != bool(probe.remedy) for probe in found.values())
    assert str(opencl.device) in found["opencl"].devices


def test_probe_reports_what_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    real = importlib.import_module

    def absent(name: str) -> object:
        if name == "bridges.backends.opencl":
            raise ModuleNotFoundError("No module named 'pyopencl'", name="pyopencl")
        return real(name)

    monkeypatch.setattr(probes.importlib, "import_module", absent)
    found = {probe.name: probe for probe in probes.probe_all()}
    assert not found["opencl"].available
    assert "pyopencl" in found["opencl"].reason
    assert "pip install" in found["opencl"].remedy
    assert found["cpu"].available


def test_probe_hides_no_other_failure(monkeypatch: pytest.MonkeyPatch):
    def fail(name: str) -> object:
        raise DeviceError("the driver crashed")

    monkeypatch.setattr(probes.importlib, "import_module", fail)
    with pytest.raises(DeviceError):
        probes.probe_all()


def test_processes_find_devices_at_the_same_time(opencl: OpenCLContext):
    code = "from bridges.backends.opencl import devices; print(len(devices()))"
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in running:
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, f"{len(devices())}\n")
