"""transcode.frames on an NVIDIA GPU: what NVDEC decodes is what software decodes."""

from __future__ import annotations

import contextlib
import gc
import importlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import transcode
from bridges import AccessMode, MemoryType, TensorInfo, create_mapper
from bridges.backends import ffmpeg_decoding
from bridges.backends.cpu import CPUContext
from bridges.backends.probe import probe_all
from bridges.errors import ClosedError
from tests.bridges.memories.cuda import store
from tests.helpers.require import require
from tests.transcode.cuda_clips import CODECS, NOT_EXACT, make_clip
from transcode.errors import SourceError


@pytest.fixture(autouse=True)
def _device():
    found = next(probe for probe in probe_all() if probe.name == "cuda")
    require("cuda", found.available, f"{found.reason}; try: {found.remedy}")


@pytest.fixture
def context_class():
    return importlib.import_module("bridges.backends.cuda").CUDAContext


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("cuda"))


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
    path, atol = clip(name), 4 if name in NOT_EXACT else 0
    with transcode.frames(path) as soft, transcode.frames(path, device="cuda") as hard:
        assert hard.times == soft.times
        for number, (mine, theirs) in enumerate(zip(hard, soft, strict=True)):
            assert (mine.number, mine.memory_type) == (number, MemoryType.CUDA)
            for plane, expected in zip(on_host(mine), as_planes(theirs), strict=True):
                np.testing.assert_allclose(plane.astype(int), expected, rtol=0, atol=atol)
        for number in (len(soft) - 1, 2, 7):
            luma, expected = on_host(hard[number])[0], as_planes(soft[number])[0]
            np.testing.assert_allclose(luma.astype(int), expected, rtol=0, atol=atol)
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


def test_what_is_written_into_a_picture_is_fetched(clip):
    """Also where pictures are fetched ahead, since the ones before were."""
    with transcode.frames(clip("h264"), device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        for number, picture in enumerate(frames):
            if number == 4:
                store(picture.planes[0], 77)
                assert (np.asarray(picture) == 77).all()
                assert (np.asarray(picture.on_host().tensors[0]) == 77).all()
            else:
                before = np.asarray(picture).copy()
                np.testing.assert_array_equal(on_host(picture)[0], before)


def test_what_landed_on_the_host_is_on_the_device_where_somebody_asks(clip):
    """Results are carried to the host ahead where the pictures before were fetched."""
    with transcode.frames(clip("h264"), device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        expected = [on_host(picture)[0].copy() for picture in frames]
    asked = {5: lambda picture: picture.planes, 9: lambda picture: picture.on_host()}
    with transcode.frames(clip("h264"), device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        for number, picture in enumerate(frames):
            samples = picture._samples
            assert (picture.shape, picture.info.pts) == (expected[number].shape, samples.info.pts)
            # One is computed ahead.
            assert (type(samples).__name__ == "_Landed") == (3 <= number <= 6)
            asked.get(number, np.asarray)(picture)
            assert picture.memory_type is MemoryType.CUDA
            np.testing.assert_array_equal(np.asarray(picture), expected[number])
            if number in asked:
                np.testing.assert_array_equal(on_host(picture)[0], expected[number])
                np.testing.assert_array_equal(np.asarray(picture), expected[number])


def test_a_thread_that_has_entered_no_context_reads_on(clip):
    with transcode.frames(clip("h264"), device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        expected = [np.asarray(picture).copy() for picture in frames]
    with transcode.frames(clip("h264"), device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        pictures = iter(frames)
        found = [np.asarray(next(pictures)).copy() for _ in range(4)]
        thread = threading.Thread(
            target=lambda: found.extend(np.asarray(picture).copy() for picture in pictures)
        )
        thread.start()
        thread.join()
    np.testing.assert_array_equal(found, expected)


def test_what_was_fetched_is_not_fetched_again(clip):
    with transcode.frames(clip("h264"), device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        for picture in frames:
            info = picture.on_host().info
            assert (info.width, info.height, info.pts) == (322, 242, picture.info.pts)
            assert np.shares_memory(np.asarray(picture), on_host(picture)[0])


def test_pictures_that_landed_outlive_their_frames(clip):
    with transcode.frames(clip("h264"), device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        expected = [on_host(picture)[0].copy() for picture in frames]
    with transcode.frames(clip("h264"), device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        pictures = []
        for picture in frames:
            np.asarray(picture)
            pictures.append(picture)
    for picture, gray in zip(pictures, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(picture), gray)
        np.testing.assert_array_equal(on_host(picture)[0], gray)


def test_a_frame_of_pyav_that_nobody_holds_is_filled_again(clip, monkeypatch):
    made, frame_class = [], ffmpeg_decoding.VideoFrame

    def make(*form):
        made.append(form)
        return frame_class(*form)

    monkeypatch.setattr(ffmpeg_decoding, "VideoFrame", make)
    with transcode.frames(clip("h264"), device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        count = len([np.asarray(picture).shape for picture in frames])
    assert made == [(0, 0, "cuda")]
    with transcode.frames(clip("h264"), device="cuda") as frames:
        pictures = list(frames)
    assert len(pictures) == count <= len(made) - 1


@pytest.mark.parametrize("kernels", [[], ["rgb_to_grayscale"], ["denoise", "invert"]])
def test_pictures_outlive_their_frames(clip, kernels):
    with transcode.frames(clip("h264"), device="cuda", kernels=kernels) as frames:
        expected = [on_host(picture)[0].copy() for picture in frames]
    with transcode.frames(clip("h264"), device="cuda", kernels=kernels) as frames:
        pictures = list(frames)
    gc.collect()
    for picture, luma in zip(pictures, expected, strict=True):
        np.testing.assert_array_equal(on_host(picture)[0], luma)
        picture.close()
        with pytest.raises(ClosedError, match=r"closed"):
            on_host(picture)


def test_the_surface_of_a_forgotten_picture_goes_back_in_order(clip, context_class, monkeypatch):
    """FFmpeg's stream waits for the context's, whether a picture was closed or not.

    It does where it is another one, as for decoders whose device cannot be reached.
    """
    waits = []
    monkeypatch.setattr("transcode.hardware.decode_on_stream", lambda decoder, stream: None)
    join = context_class.join

    def counted(context, waiting, working):
        waits.append(waiting == context.stream_handle)
        join(context, waiting, working)

    monkeypatch.setattr(context_class, "join", counted)
    with transcode.frames(clip("h264"), device="cuda") as frames:
        for number, picture in enumerate(frames):
            assert picture.planes
            if number % 2:
                picture.close()
        del picture
        gc.collect()
        assert waits.count(True) == waits.count(False) == len(frames)


@pytest.mark.parametrize("kernels", [[], ["invert"], ["denoise"], ["rgb_to_grayscale"]])
def test_memory_is_not_used_again_before_others_are_through_with_it(clip, kernels):
    """Others work on the legacy default stream, which is far behind here."""
    from cuda.bindings import driver

    from bridges.backends.cuda import CUDAContext

    with transcode.frames(clip("h264"), device="cuda", kernels=kernels) as frames:
        expected = [on_host(picture)[0].copy() for picture in frames]
    big = TensorInfo((1 << 28,), np.dtype("u1"))
    with CUDAContext() as other, other.allocate(big) as large, contextlib.ExitStack() as stack:
        copies = []
        with transcode.frames(clip("h264"), device="cuda", kernels=kernels) as frames:
            for picture in frames:
                plane = picture.planes[0]
                copy = stack.enter_context(
                    other.allocate(TensorInfo((plane.info.span,), np.dtype("u1")))
                )
                other.wait()
                lent = plane.__dlpack__(stream=1, max_version=(1, 0))
                with other.current:
                    for _ in range(8):
                        driver.cuMemsetD8Async(large.handle("data"), 0, big.nbytes, 1)
                    source, target = plane.handle("data"), copy.handle("data")
                    driver.cuMemcpyDtoDAsync(target, source, plane.info.span, 1)
                copies.append((copy, plane.info))
                picture.close()
                del lent, plane, picture
        with other.current:
            driver.cuStreamSynchronize(1)
        for (copy, info), samples in zip(copies, expected, strict=True):
            flat = np.asarray(create_mapper([other, CPUContext()]).map(copy, AccessMode.READ))
            found = np.ndarray(info.shape, info.dtype, flat.data, 0, info.strides)
            np.testing.assert_array_equal(found, samples)


def test_several_threads_fetch_pictures_of_one_video(clip):
    with transcode.frames(clip("h264"), device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        expected = [on_host(picture)[0].copy() for picture in frames]
    with transcode.frames(clip("h264"), device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        pictures = list(frames)
        with ThreadPoolExecutor(8) as threads:
            arrays = list(threads.map(np.asarray, pictures))
    np.testing.assert_array_equal(arrays, expected)


def test_planes_that_were_written_are_fetched_anew(clip):
    with transcode.frames(clip("h264"), device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        for number, picture in enumerate(frames):
            assert np.asarray(picture).any()
            if number > 3:
                store(picture.planes[0], 77)
                assert (np.asarray(picture) == 77).all()


def test_what_is_refused_changes_nothing(clip):
    with transcode.frames(clip("h264"), device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        for number, picture in enumerate(frames):
            np.asarray(picture)
            if number > 2:
                with pytest.raises(ValueError, match="as a copy only"):
                    np.array(picture, copy=False)
                assert type(picture._samples).__name__ == "_Landed"


def test_a_decoder_works_on_the_stream_of_the_context(clip, context_class, monkeypatch):
    """Nothing has to wait then, for either, nor for other decoders."""
    joined = []
    monkeypatch.setattr(context_class, "join", lambda _, *streams: joined.append(streams))
    with transcode.frames(clip("h264"), device="cuda", kernels=["invert"]) as frames:
        for picture in frames:
            streams = {plane.handle("cuda_stream") for plane in picture.planes}
    (stream,) = streams
    assert stream not in (0, 1)  # The legacy default stream.
    assert set(joined) == {(stream, stream)}


def test_many_files_leave_no_memory(clip, context_class):
    from cuda.bindings import driver

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

    with context_class() as context, context.current:
        read(30)
        before = used()
        read(50)
        # The device's memory is given out 2 MiB at a time; a decoder takes some 80.
        assert used() - before < 8 << 20
