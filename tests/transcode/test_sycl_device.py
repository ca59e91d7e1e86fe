"""Transcodes whose kernels run on SYCL."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction

import pytest

import transcode
from bridges.errors import NoRouteError
from tests.bridges.memories.sycl import sycl_backend
from tests.cli.conftest import call
from tests.transcode.output import frames_of
from transcode import VideoOptions
from transcode.runtime import choose_runtime

KERNEL = "rgb_to_grayscale"
ROUTE = "FFmpeg > CPU > SYCL > CPU > FFmpeg   zero-copy"


@pytest.fixture(scope="module", autouse=True)
def backend():
    return sycl_backend()


def contents(path):
    """Return the time and the bytes of every frame."""
    return [(frame.pts, [bytes(plane) for plane in frame.planes]) for frame in frames_of(path)]


def compare(source, folder, **options):
    found = {}
    for device in ("sycl", "opencl"):
        target = folder / f"{device}.mkv"
        report = transcode.run(
            source,
            target,
            filters=[KERNEL],
            video=VideoOptions(codec="ffv1"),
            device=device,
            **options,
        )
        found[device] = report, contents(target)
    report, frames = found["sycl"]
    assert len(frames) == report.frames > 0
    assert frames == found["opencl"][1]
    return report


@pytest.mark.usefixtures("needs_opencl")
def test_the_sample_is_that_of_opencl_bit_by_bit(sample, tmp_path):
    report = compare(sample, tmp_path, duration=Fraction(2))
    assert report.device.startswith("sycl: ")
    assert "(opencl:" in report.device
    if sycl_backend().create("opencl").shares_host_memory:
        assert (report.route, report.bytes_copied) == (ROUTE, 0)


@pytest.mark.usefixtures("needs_opencl")
@pytest.mark.parametrize("name", ["raw_bgr0", "odd_bgr0", "hdr10", "full_range"])
def test_clips_are_those_of_opencl_bit_by_bit(clips, tmp_path, name):
    compare(clips.path(name), tmp_path)


def test_on_the_command_line(clips, tmp_path):
    command = ["run", clips.path("h264"), "gray.mp4", "--filter", KERNEL, "--progress", "json"]
    done = call(*command, "--device", "sycl:opencl:cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])["report"]
    assert report["device"].startswith("sycl: ")
    assert report["device"].endswith("(opencl:cpu:0)")
    assert (report["route"], report["bytes_copied"]) == (ROUTE, 0)


def test_a_device_that_is_not_there(clips, tmp_path):
    command = ["run", clips.path("h264"), "gray.mp4", "--filter", KERNEL]
    done = call(*command, "--device", "sycl:opencl:cpu:77", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no SYCL device 'opencl:cpu:77'; there is opencl:" in done.stderr
    assert list(tmp_path.iterdir()) == []


class TestLevelZero:
    """No machine without such a GPU lists one: here one is pretended, on OpenCL's driver."""

    @pytest.fixture
    def pretend(self, backend, monkeypatch):
        from bridges.backends import sycl_devices

        (real, *_), passed_over = sycl_devices._found()

        def pretend(*drivers):
            made = [
                (dataclasses.replace(real[0], backend=driver, kind="gpu", name="GPU"), real[1])
                for driver in drivers
            ]
            monkeypatch.setattr(sycl_devices, "_found", lambda: ((*made, real), passed_over))

        return pretend

    @pytest.mark.parametrize("device", ["sycl", "sycl:gpu", "sycl:0"])
    def test_a_device_with_both_drivers_is_run_by_opencl_which_is_said(self, pretend, device):
        pretend("level_zero", "opencl")
        chosen = choose_runtime(device)
        assert chosen.runtime.context.device.selector == "opencl:gpu:0"
        assert chosen.description.endswith("(opencl:gpu:0), of its drivers the tried one")

    @pytest.mark.parametrize("device", ["sycl:level_zero", "sycl:LEVEL_ZERO:gpu:0"])
    def test_unless_the_driver_is_named(self, pretend, device):
        pretend("level_zero", "opencl")
        assert choose_runtime(device).runtime.context.device.backend == "level_zero"

    @pytest.mark.parametrize("device", ["sycl", "sycl:gpu"])
    def test_a_device_without_another_driver_is_taken(self, pretend, device):
        pretend("level_zero")
        chosen = choose_runtime(device)
        assert chosen.runtime.context.device.backend == "level_zero"
        assert chosen.description == "sycl: GPU (level_zero:gpu:0)"

    @pytest.mark.usefixtures("needs_opencl")
    def test_kernels_are_those_of_opencl_bit_by_bit(self, pretend, sample, tmp_path):
        pretend("level_zero")
        report = compare(sample, tmp_path, duration=Fraction(1))
        assert report.device == "sycl: GPU (level_zero:gpu:0)"

    def test_drivers_that_take_no_kernels_are_passed_over(self, pretend):
        pretend("cuda")
        chosen = choose_runtime("sycl")
        assert chosen.runtime.context.device.backend == "opencl"
        assert chosen.description.endswith("(opencl:cpu:0), the best that takes kernels")
        with pytest.raises(NoRouteError, match=r"cuda takes neither.*sycl:opencl:gpu"):
            choose_runtime("sycl:gpu")
