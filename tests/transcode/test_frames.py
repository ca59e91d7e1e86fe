"""transcode.frames beside what PyAV decodes from the beginning to the end."""

from __future__ import annotations

import gc
from fractions import Fraction

import av
import numpy as np
import pytest

import transcode
from bridges import Frame
from bridges.backends.cpu import CPUContext
from bridges.errors import ClosedError, DeviceNotFoundError, FormatError, KernelError
from bridges.kernels import apply, create_runtime, get
from tests.helpers.process import open_files
from transcode.errors import JobError, SourceError

NUMPY = create_runtime(CPUContext())
CLIPS = ["h264", "bframes", "h264_ts", "vfr_mp4", "vfr_mkv", "hevc", "vp9"]


def decoded(path):
    """Return each frame's time stamp and luma, as decoded one after the other."""
    with av.open(str(path)) as container:
        pictures = list(container.decode(video=0))
    return [(each.pts, _plane(each)) for each in pictures]


def _plane(frame):
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    width = frame.width * (2 if "10" in frame.format.name else 1)
    return rows[: frame.height, :width].copy()


def luma(picture):
    """Return the first plane as bytes, whatever its samples are."""
    array = np.asarray(picture.planes[0])
    return np.ascontiguousarray(array).view(np.uint8).reshape(array.shape[0], -1)


@pytest.fixture(params=CLIPS)
def clip(request, clips):
    return clips.path(request.param)


def test_in_order(clip):
    expected = decoded(clip)
    with transcode.frames(clip) as frames:
        found = list(frames)
    assert [each.number for each in found] == list(range(len(expected)))
    for picture, (_, plane) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(luma(picture), plane)


def test_by_number_in_any_order(clip):
    expected = decoded(clip)
    places = np.random.default_rng(3).permutation(len(expected))[:12]
    with transcode.frames(clip) as frames:
        assert len(frames) == len(expected)
        for place in map(int, places):
            np.testing.assert_array_equal(luma(frames[place]), expected[place][1])
        np.testing.assert_array_equal(luma(frames[-1]), expected[-1][1])


def test_times_are_those_of_the_frames(clip):
    expected = decoded(clip)
    with transcode.frames(clip) as frames, av.open(str(clip)) as container:
        time_base = container.streams.video[0].time_base
        times = [(pts - expected[0][0]) * time_base for pts, _ in expected]
        assert list(frames.times) == times
        assert [picture.time for picture in frames] == times
        for number in (0, 1, len(times) // 2, len(times) - 1):
            assert frames.at(times[number]).number == number
            before = frames.at(times[number] - Fraction(1, 10**6))
            assert before.number == max(number - 1, 0)
        assert frames.at(10**6).number == len(times) - 1


def test_parts(clip):
    with transcode.frames(clip) as frames:
        count = len(frames)
        part = frames[2:count:3]
        assert [each.number for each in part] == list(range(2, count, 3))
        assert [each.number for each in part[1:3]] == list(range(2, count, 3))[1:3]
        assert part[-1].number == list(range(2, count, 3))[-1]
        assert [each.number for each in frames[::-4]] == list(range(count))[::-4]


def test_two_iterations_do_not_disturb_each_other(clips):
    expected = [plane for _, plane in decoded(clips.path("bframes"))]
    with transcode.frames(clips.path("bframes")) as frames:
        for first, second in zip(frames[:6], frames[6:12], strict=True):
            np.testing.assert_array_equal(luma(first), expected[first.number])
            np.testing.assert_array_equal(luma(second), expected[second.number])


def test_start_and_stop_by_number_and_by_time(clips):
    path = clips.path("vfr_mkv")
    with transcode.frames(path) as frames:
        times = frames.times
    for start, stop, step in (
        (3, 9, 2),
        (times[3], times[9], 2),
        (float(times[3]), 9, 1),
        (-4, None, 1),
    ):
        with transcode.frames(path, start=start, stop=stop, step=step) as frames:
            first = len(times) - 4 if start == -4 else 3
            last = len(times) if stop is None else 9
            assert [each.number for each in frames] == list(range(first, last, step))
    with transcode.frames(path, start="0:00", stop="0:00.0001") as frames:
        assert [each.number for each in frames] == [0]


def test_whole_numbers_of_numpy_count_frames(clips):
    path, (first, last, step) = clips.path("h264"), np.array([1, 9, 4])
    with transcode.frames(path, start=first, stop=last, step=step) as part:
        assert [picture.number for picture in part] == [1, 5]


def coded(path, codec, *, damaged=-1):
    """Write 15 frames with a key frame at every fifth; one packet may hold nothing of use."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"deadline": "realtime"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 5
        pictures = [np.full((72, 64), 16 * number, np.uint8) for number in range(15)]
        frames = [av.VideoFrame.from_ndarray(picture, "yuv420p") for picture in pictures]
        packets = [packet for frame in (*frames, None) for packet in stream.encode(frame)]
        for number, packet in enumerate(packets):
            if number == damaged:
                memoryview(packet)[:] = b"\xff" * packet.size
            container.mux(packet)
    return path


def test_a_capture_begins_with_what_can_be_decoded(tmp_path):
    path = coded(tmp_path / "whole.ts", "libx264")
    with av.open(str(path)) as container:
        start = [packet.pos for packet in container.demux(video=0)][1]
    capture = tmp_path / "capture.ts"
    capture.write_bytes(path.read_bytes()[start:])
    expected = decoded(capture)
    with transcode.frames(capture) as frames:
        assert len(frames) == len(expected) == 10
        for place in (9, 0, 5):
            np.testing.assert_array_equal(luma(frames[place]), expected[place][1])


def test_frames_around_a_damaged_one_can_be_had(tmp_path):
    path = coded(tmp_path / "damaged.webm", "libvpx-vp9", damaged=7)
    with transcode.frames(path) as frames:
        for place in (7, 12, 7, 3, 7, 14):
            if place == 7:
                with pytest.raises(SourceError, match="cannot be decoded"):
                    frames[place]
            else:
                assert abs(float(luma(frames[place]).mean()) - 16 * place) < 3


@pytest.mark.parametrize("device", ["cpu", "opencl", "sycl"])
@pytest.mark.usefixtures("needs_opencl")
def test_kernels(clips, device):
    with (
        transcode.frames(clips.path("h264")) as plain,
        transcode.frames(clips.path("h264"), device=device, kernels=["rgb_to_grayscale"]) as gray,
    ):
        for number in (0, 5, 2):
            source, made = plain[number], gray[number]
            with apply(
                NUMPY, get("rgb_to_grayscale"), Frame(source.info, source.planes)
            ) as expected:
                np.testing.assert_array_equal(np.asarray(made), np.asarray(expected.tensors[0]))
        assert "zero-copy" in gray.route


def test_every_device_computes_the_same(clips):
    made = {}
    for device in ("cpu", "auto"):
        with transcode.frames(
            clips.path("h264"), device=device, kernels=["yuv_to_rgb", "denoise"]
        ) as frames:
            made[device] = [np.asarray(picture).copy() for picture in frames]
    for mine, theirs in zip(made["cpu"], made["auto"], strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_kernel_that_reads_its_last_result_reads_that_of_the_frame_before(clips):
    with transcode.frames(clips.path("h264"), device="cpu", kernels=["denoise"]) as frames:
        in_order = [luma(picture).copy() for picture in frames]
        alone = luma(frames[4])
        np.testing.assert_array_equal(in_order[0], luma(frames[0]))
    assert not np.array_equal(in_order[4], alone)


def test_two_kernels_that_read_their_last_results_read_each_its_own(clips):
    path = clips.path("h264")
    twice = ["denoise(strength=0.2)", "denoise(strength=0.9)"]
    with transcode.frames(path, device="cpu", kernels=twice) as frames:
        made = [luma(picture).copy() for picture in frames]
    with transcode.frames(path, device="cpu", kernels=twice[:1]) as first:
        once = [luma(picture).copy() for picture in first]
    assert any(not np.array_equal(*pair) for pair in zip(made, once, strict=True))
    np.testing.assert_array_equal(made[0], once[0])


def test_numbers(clips):
    with transcode.frames(clips.path("h264"), device="cpu", kernels=["histogram"]) as frames:
        counts = np.asarray(frames[0])
        assert counts.shape == (3, 256)
        with transcode.frames(clips.path("h264")) as plain:
            assert counts[0].sum() == plain[0].planes[0].info.nbytes
        assert frames[0]._repr_png_() is None


class TestPicture:
    @pytest.fixture
    def gray(self, clips):
        with transcode.frames(
            clips.path("h264"), device="cpu", kernels=["rgb_to_grayscale"]
        ) as all_:
            yield all_[1]

    def test_it_is_an_array_without_a_copy(self, gray):
        array = np.asarray(gray)
        assert np.shares_memory(array, np.asarray(gray.planes[0]))
        assert np.shares_memory(array, np.from_dlpack(gray))
        assert not np.shares_memory(array, np.array(gray, copy=True))

    def test_an_array_outlives_it(self, gray):
        array = np.asarray(gray)
        before = array.copy()
        gray.close()
        gc.collect()
        np.testing.assert_array_equal(array, before)
        assert "closed" in repr(gray)
        with pytest.raises(ClosedError):
            np.asarray(gray)

    def test_a_notebook_shows_it(self, gray, clips):
        shown = gray._repr_png_()
        assert shown.startswith(b"\x89PNG")
        with transcode.frames(clips.path("h264")) as frames:
            assert frames[0]._repr_png_().startswith(b"\x89PNG")

    def test_several_planes_are_no_array(self, clips):
        with (
            transcode.frames(clips.path("h264")) as frames,
            pytest.raises(FormatError, match="3 arrays; take its planes"),
        ):
            np.asarray(frames[0])

    def test_several_numbers_are_no_array(self, clips):
        with (
            transcode.frames(clips.path("h264"), kernels=["statistics"]) as frames,
            pytest.raises(FormatError, match=r"this result is \d arrays; take its planes"),
        ):
            _ = frames[0].shape


class TestWrong:
    def test_files(self, tmp_path, clips):
        with pytest.raises(SourceError, match="no such file"):
            transcode.frames(tmp_path / "absent.mp4")
        (tmp_path / "text.mp4").write_text("no video")
        with pytest.raises(SourceError, match="not media"):
            transcode.frames(tmp_path / "text.mp4")

    def test_kernels_and_devices(self, clips):
        path = clips.path("h264")
        with pytest.raises(KernelError, match="absent"):
            transcode.frames(path, kernels=["absent"])
        with pytest.raises(JobError, match="list of texts"):
            transcode.frames(path, kernels="rgb_to_grayscale")
        with pytest.raises(DeviceNotFoundError):
            transcode.frames(path, device="toaster")

    def test_places(self, clips):
        path = clips.path("h264")
        with pytest.raises(JobError, match="step"):
            transcode.frames(path, step=0)
        with pytest.raises(JobError, match=r"from the first frame on, got -1\.5"):
            transcode.frames(path, start=-1.5)
        with transcode.frames(path) as frames:
            with pytest.raises(IndexError, match="no frame 10000"):
                frames[10000]
            with pytest.raises(JobError):
                frames.at("noon")
            for time in (float("nan"), float("inf"), None):
                with pytest.raises(JobError, match="no number of seconds"):
                    frames.at(time)

    def test_after_close(self, clips):
        frames = transcode.frames(clips.path("h264"))
        picture = frames[3]
        frames.close()
        frames.close()
        assert luma(picture).size
        with pytest.raises(ClosedError, match="were closed"):
            frames[0]


def test_nothing_is_left(clips):
    def use():
        with transcode.frames(clips.path("h264"), kernels=["rgb_to_grayscale"]) as frames:
            frames[3].close()
            next(iter(frames))
            len(frames)

    use()
    gc.collect()
    before = open_files()
    for _ in range(5):
        use()
    gc.collect()
    assert open_files() == before
