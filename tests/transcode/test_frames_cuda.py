"""transcode.frames on an NVIDIA GPU: what NVDEC decodes is what software decodes."""

from __future__ import annotations

import functools
import gc
from fractions import Fraction

import av
import numpy as np
import pytest

import transcode
from bridges import MemoryType
from bridges.backends.probe import probe_all
from tests.helpers.require import require
from transcode.errors import SourceError

CODECS = {
    "h264": ("libx264", "yuv420p", {"bf": "3"}),
    "hevc": ("libx265", "yuv420p", {"x265-params": "log-level=error"}),
    "hevc of 10 bits": ("libx265", "yuv420p10le", {"x265-params": "log-level=error"}),
    "vp9": ("libvpx-vp9", "yuv420p", {"deadline": "realtime"}),
}
TIMES = np.cumsum([0, 40, 20, 60, 40, 33, 33, 34, 80, 10, 40, 40, 40, 55, 25, 40, 40, 40, 40, 40])
"""In milliseconds; the rate varies."""


@pytest.fixture(autouse=True)
def _device():
    found = next(probe for probe in probe_all() if probe.name == "cuda")
    require("cuda", found.available, f"{found.reason}; try: {found.remedy}")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cuda")

    @functools.cache
    def make(name, size=(322, 242)):
        codec, pix_fmt, options = CODECS[name]
        path = folder / f"{name}.mkv"
        y, x = np.mgrid[: size[1], : size[0]]
        with av.open(str(path), "w") as out:
            stream = out.add_stream(codec, rate=25, options={"g": "8", **options})
            stream.width, stream.height = size
            stream.pix_fmt, stream.time_base = pix_fmt, Fraction(1, 1000)
            stream.codec_context.time_base = Fraction(1, 1000)
            for number, time in enumerate(TIMES):
                planes = ((x + 7 * number) % 256, (2 * y + number) % 256, (x + y) % 256)
                frame = av.VideoFrame.from_ndarray(np.dstack(planes).astype(np.uint8), "rgb24")
                frame = frame.reformat(format=pix_fmt)
                frame.pts, frame.time_base = int(time), Fraction(1, 1000)
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        return path

    return make


def on_host(picture):
    return [np.asarray(tensor) for tensor in picture.on_host().tensors]


def as_planes(frame):
    """Return yuv420p's planes as nv12 or p010le has them."""
    luma, first, second = (np.asarray(plane) for plane in frame.planes)
    chroma = np.stack((first, second), axis=-1)
    shift = 6 if luma.dtype.itemsize == 2 else 0
    return [luma << shift, chroma << shift]


@pytest.mark.parametrize("name", CODECS)
def test_the_samples_are_those_of_software(clip, name):
    path = clip(name)
    with transcode.frames(path) as soft, transcode.frames(path, device="cuda") as hard:
        assert hard.times == soft.times
        for number, (mine, theirs) in enumerate(zip(hard, soft, strict=True)):
            assert (mine.number, mine.memory_type) == (number, MemoryType.CUDA)
            for plane, expected in zip(on_host(mine), as_planes(theirs), strict=True):
                np.testing.assert_array_equal(plane, expected)
        for number in (len(soft) - 1, 2, 7):
            np.testing.assert_array_equal(on_host(hard[number])[0], as_planes(soft[number])[0])
        assert hard.route == "FFmpeg > CUDA   zero-copy"


def test_gray_is_what_the_host_computes(clip):
    path = clip("h264")
    with (
        transcode.frames(path, device="cpu", kernels=["rgb_to_grayscale"]) as host,
        transcode.frames(path, device="cuda", kernels=["rgb_to_grayscale"]) as device,
    ):
        for mine, theirs in zip(device, host, strict=True):
            np.testing.assert_array_equal(np.asarray(mine), np.asarray(theirs))


def test_other_libraries_take_pictures_in_place(clip):
    torch = pytest.importorskip("torch")
    cupy = pytest.importorskip("cupy")
    with transcode.frames(clip("h264"), device="cuda", kernels=["yuv_to_rgb"]) as frames:
        picture = frames[3]
        tensor, array = torch.from_dlpack(picture), cupy.asarray(picture)
        address = picture.planes[0].handle("data")
        assert tensor.data_ptr() == array.data.ptr == address
        expected = np.asarray(picture)
        picture.close()
    gc.collect()
    np.testing.assert_array_equal(tensor.cpu().numpy(), expected)
    np.testing.assert_array_equal(cupy.asnumpy(array), expected)


def test_what_nvdec_does_not_decode_is_told(clips):
    path = clips.path("ffv1")
    with pytest.raises(SourceError, match="no video that FFmpeg decodes on such a device"):
        transcode.frames(path, device="cuda")


def test_many_files_leave_no_memory(clip):
    from cuda.bindings import driver

    from bridges.backends.cuda import CUDAContext

    path = clip("h264")

    def used():
        gc.collect()
        _, free, total = driver.cuMemGetInfo()
        return int(total) - int(free)

    def read(count):
        for _ in range(count):
            with transcode.frames(path, device="cuda", kernels=["rgb_to_grayscale"]) as frames:
                for picture in frames:
                    np.asarray(picture)

    with CUDAContext() as context, context.current:
        read(30)
        before = used()
        read(50)
        # The device's memory is given out 2 MiB at a time; a decoder takes some 80.
        assert used() - before < 8 << 20
