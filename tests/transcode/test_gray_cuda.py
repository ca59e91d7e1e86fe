"""The main job on NVIDIA GPUs, and what devices that do not share the host's memory take."""

from __future__ import annotations

import re

import av
import numpy as np
import pytest

import transcode
from bridges.backends.opencl import OpenCLContext
from bridges.backends.probe import probe_all
from bridges.errors import DeviceNotFoundError
from bridges.kernels import get
from tests.assets.picture import channel_of, luma_of
from tests.helpers.require import require
from tests.transcode.output import frames_of
from transcode import VideoOptions
from transcode.kernel_step import KernelStep
from transcode.notices import Notices
from transcode.runtime import choose_runtime
from xma_plugins.device import Device
from xma_plugins.drivers import driver_of

LOSSLESS = VideoOptions(codec="ffv1")
# Bytes a pixel that go there: all planes; and what comes back: luma alone.
CLIPS = [("h264_10bit", 3, 2), ("raw_rgb24", 3, 1), ("raw_nv12", 1.5, 1)]
"""What NVDEC does not decode."""


@pytest.fixture(scope="module")
def found():
    return next(probe for probe in probe_all() if probe.name == "cuda")


@pytest.fixture
def needs_cuda(found):
    require("cuda", found.available, f"{found.reason}; try: {found.remedy}")
    try:
        choose_runtime("cuda")
    except DeviceNotFoundError as error:  # No NVRTC.
        require("cuda", False, str(error))


def test_without_a_gpu_the_error_says_what_is_missing(found, clips, tmp_path):
    if found.available:
        pytest.skip("there is a CUDA device")
    for device in ("cuda", "cuda:0"):
        with pytest.raises(DeviceNotFoundError, match=re.escape(found.remedy)) as told:
            transcode.run(
                clips.path("h264"),
                tmp_path / "gray.mkv",
                filters=["rgb_to_grayscale"],
                device=device,
            )
        assert "CUDA" in str(told.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("needs_cuda")
@pytest.mark.parametrize(("name", "there", "back"), CLIPS)
def test_gray_of_what_software_decodes_is_that_of_the_host(clips, tmp_path, name, there, back):
    def run(device):
        path = tmp_path / f"{device}.mkv"
        options = {"filters": ["rgb_to_grayscale"], "device": device, "video": LOSSLESS}
        options["software_fallback"] = device == "cuda"
        report = transcode.run(clips.path(name), path, **options)
        return frames_of(path), report

    ours, report = run("cuda")
    theirs, _ = run("cpu")
    assert len(ours) == len(theirs) == report.frames > 0
    for our, their in zip(ours, theirs, strict=True):
        assert our.format.name == their.format.name
        for plane, other in zip(our.planes, their.planes, strict=True):
            assert bytes(plane) == bytes(other)
    assert report.device.startswith("cuda: CUDA device 0 NVIDIA")
    assert report.route == "FFmpeg > CPU > CUDA > CPU > FFmpeg   with copies"
    # The padding of rows goes along.
    pixels = ours[0].width * ours[0].height
    assert 1 <= report.bytes_copied / (report.frames * pixels * (there + back)) < 1.35
    assert report.bytes_between == 0


@pytest.mark.usefixtures("needs_cuda")
def test_a_device_that_is_not_there(found):
    with pytest.raises(DeviceNotFoundError, match=f"no CUDA device {len(found.devices)}; there is"):
        choose_runtime(f"cuda:{len(found.devices)}")


@pytest.mark.usefixtures("needs_opencl")
def test_chroma_stays_neutral_on_devices_without_shared_memory(monkeypatch):
    context = OpenCLContext.create()
    monkeypatch.setattr(context, "shares_host_memory", False)
    device = Device(driver_of(context), compute_units=())
    step = KernelStep(
        [(get("rgb_to_grayscale"), {})],
        device,
        codec=av.Codec("libx264", "w"),
        pix_fmt="yuv420p",
        notices=Notices(),
    )
    random = np.random.default_rng(2)
    frame = av.VideoFrame.from_ndarray(random.integers(0, 256, (36, 50, 3), np.uint8), "rgb24")
    frame.pts = 0
    (result,) = step.process(frame)
    assert result.format.name == "yuv420p"
    assert luma_of(result).std() > 0
    for channel in "uv":
        assert (channel_of(result, channel) == 128).all()
    # The padding of rows goes along; luma alone comes back, whose rows begin at multiples of 128.
    there, back = frame.planes[0].line_size * 35 + 150, 128 * 35 + 50
    assert step.bytes_copied == there + back
    assert not step.is_zero_copy
    step.close()
    device.close()
