"""Transcodes on an NVIDIA GPU: what NVDEC decodes and kernels make is what software makes."""

from __future__ import annotations

import contextlib
import gc
import itertools
import threading
from fractions import Fraction

import av
import numpy as np
import pytest

import transcode
from bridges.backends.dma import open_descriptors
from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.ffmpeg_properties import sample_aspect_ratio, set_sample_aspect_ratio
from bridges.backends.probe import probe_all
from bridges.errors import ClosedError, DeviceError
from bridges.formats import pixel_format
from bridges.frame import FrameInfo
from tests.helpers.require import require
from tests.transcode.cuda_clips import CODECS, NOT_EXACT, OTHERS, TIMES, make_clip
from transcode import VideoOptions
from transcode.encoder import find_encoder
from transcode.errors import EncodeError, SourceError
from transcode.notices import Notices

LOSSLESS = VideoOptions(codec="ffv1")
GRAY = ["rgb_to_grayscale"]


@pytest.fixture(autouse=True)
def _device():
    found = next(probe for probe in probe_all() if probe.name == "cuda")
    require("cuda", found.available, f"{found.reason}; try: {found.remedy}")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("cuda"))


def pictures(path):
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            with FFmpegContext().wrap(frame) as wrapped:
                yield frame.time, [np.asarray(tensor).copy() for tensor in wrapped.tensors]


def span(columns, rows):
    """Return the bytes of a plane whose rows begin at multiples of 128."""
    return -(-columns // 128) * 128 * (rows - 1) + columns


def same(mine, theirs, atol=0):
    pairs = zip(pictures(mine), pictures(theirs), strict=True)
    for (time, first), (expected, second) in pairs:
        assert time == expected
        assert [plane.shape for plane in first] == [plane.shape for plane in second]
        for one, other in zip(first, second, strict=True):
            np.testing.assert_allclose(one.astype(int), other, rtol=0, atol=atol)


@pytest.fixture
def both(tmp_path):
    """Run a job on the GPU and on the host, and return the report of the first and both files."""

    def both(source, **options):
        options = {"video": LOSSLESS, "verify": "full", **options}
        mine, theirs = tmp_path / "mine.mkv", tmp_path / "theirs.mkv"
        report = transcode.run(source, mine, device="cuda", overwrite=True, **options)
        transcode.run(source, theirs, device="cpu", overwrite=True, **options)
        return report, mine, theirs

    return both


@pytest.mark.parametrize("name", CODECS)
def test_each_codec_gives_the_samples_and_times_of_software(clip, both, name):
    report, mine, theirs = both(clip(name))
    same(mine, theirs, atol=4 if name in NOT_EXACT else 0)
    assert report.frames == len(TIMES)
    assert report.route == "FFmpeg > CUDA > CPU > FFmpeg   with copies"
    assert report.device_bytes > 0


def test_an_odd_width(clip, both):
    _, mine, theirs = both(clip("vp9", (321, 242)))
    same(mine, theirs)


def test_an_odd_height_is_refused(clip, tmp_path):
    with pytest.raises(SourceError, match="321x241: FFmpeg garbles those of an odd height"):
        transcode.run(clip("vp9", (321, 241)), tmp_path / "out.mkv", device="cuda")
    assert not list(tmp_path.iterdir())
    with pytest.raises(SourceError, match="odd height"):
        transcode.frames(clip("vp9", (321, 241)), device="cuda")


def test_an_odd_height_is_left_to_software(clip, both, tmp_path):
    source = clip("vp9", (321, 241))
    report = transcode.run(
        source, tmp_path / "mine.mkv", device="cuda", video=LOSSLESS, software_fallback=True
    )
    assert any(each.startswith("decoded in software") for each in report.notices)
    transcode.run(source, tmp_path / "theirs.mkv", device="cpu", video=LOSSLESS)
    same(tmp_path / "mine.mkv", tmp_path / "theirs.mkv")
    with (
        transcode.frames(source, kernels=GRAY) as soft,
        transcode.frames(source, device="cuda", software_fallback=True, kernels=GRAY) as frames,
    ):
        assert len(frames) == len(TIMES)
        for picture, expected in zip(frames, soft, strict=True):
            np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))
        assert "software does" in frames.device


def test_of_a_gray_picture_luma_alone_is_fetched(clip, both):
    video = VideoOptions(codec="libx264", options={"qp": "0"})
    report, mine, theirs = both(clip("h264"), filters=GRAY, video=video)
    same(mine, theirs)
    assert report.output.pix_fmt == "yuv420p"
    assert report.bytes_copied == report.frames * span(322, 242)


@pytest.fixture
def makers(monkeypatch):
    """Return the list of what makes lumas without sessions, each with how many it made."""
    from transcode.cuda_luma import CUDALumaMaker

    class Counting(CUDALumaMaker):
        made = 0

        def __init__(self, *given, **named):
            super().__init__(*given, **named)
            makers.append(self)

        def make(self, frame):
            picture = super().make(frame)
            self.made += picture is not None
            return picture

    makers = []
    monkeypatch.setattr("transcode.cuda_surfaces.CUDALumaMaker", Counting)
    return makers


@pytest.mark.parametrize(
    ("name", "size", "video"),
    [
        ("h264", (322, 242), VideoOptions(codec="libx264", options={"qp": "0"})),
        ("hevc", (322, 242), LOSSLESS),
        ("hevc of 10 bits", (322, 242), LOSSLESS),
        ("vp9", (321, 242), LOSSLESS),
    ],
)
def test_lumas_that_the_gpu_carries_are_those_of_sessions(
    clip, tmp_path, monkeypatch, makers, name, size, video
):
    from transcode.cuda_surfaces import CUDASurfaces

    def run(path):
        options = {"filters": GRAY, "video": video, "verify": "full"}
        return transcode.run(clip(name, size), path, device="cuda", **options)

    mine = run(tmp_path / "mine.mkv")
    assert [maker.made for maker in makers] == [len(TIMES) - 1]
    monkeypatch.setattr(CUDASurfaces, "luma_maker", lambda *_: None)
    theirs = run(tmp_path / "theirs.mkv")
    assert len(makers) == 1
    same(tmp_path / "mine.mkv", tmp_path / "theirs.mkv")
    assert mine.bytes_copied == theirs.bytes_copied
    assert (mine.route, mine.notices) == (theirs.route, theirs.notices)
    for report in (mine, theirs):
        (load,) = report.loads
        assert load.commands == report.frames == len(TIMES)
        assert load.mean_queue_length == 1
        assert 0 < load.seconds_busy < report.elapsed_seconds


def test_where_no_luma_can_be_carried_sessions_go_on_and_say_so(clip, both, monkeypatch, makers):
    def refuse(*_):
        raise DeviceError("no memory")

    monkeypatch.setattr("transcode.cuda_luma.Landings", refuse)
    report, mine, theirs = both(clip("h264"), filters=GRAY)
    same(mine, theirs)
    assert not makers
    assert report.notices[-1].endswith("goes through a session, which is slower: no memory")


def test_a_gpu_that_fails_half_way_ends_the_run(clip, tmp_path, monkeypatch, makers):
    from transcode.cuda_luma import CUDALumaMaker

    def fail(*_):
        raise DeviceError("the GPU fell off the bus")

    monkeypatch.setattr(CUDALumaMaker, "_start", fail)
    with pytest.raises(DeviceError, match="fell off the bus"):
        transcode.run(clip("h264"), tmp_path / "out.mkv", device="cuda", filters=GRAY)
    assert len(makers) == 1
    assert not list(tmp_path.iterdir())


@pytest.fixture
def surfaces_of():
    """Return what yields a clip's surfaces on the first GPU."""
    from transcode.hardware import choose_hardware

    with contextlib.closing(choose_hardware("cuda")) as hardware, hardware.current:

        def surfaces_of(path):
            accelerator = hardware.accelerator(fallback=False)
            with av.open(str(path), hwaccel=accelerator) as container:
                yield from container.decode(video=0)

        yield surfaces_of, hardware.context


@pytest.fixture
def gray_step(surfaces_of):
    """Return a step that makes gray pictures of surfaces for libx264, and surfaces for it."""
    from bridges.kernels import get
    from transcode.cuda_surfaces import CUDASurfaces
    from transcode.kernel_step import KernelStep
    from xma_plugins.device import Device
    from xma_plugins.drivers import driver_of

    surfaces_of, context = surfaces_of
    codec, notices = find_encoder("libx264", "video"), Notices()
    with (
        Device(driver_of(context), compute_units=()) as device,
        CUDASurfaces(device, codec, VideoOptions(), notices=notices) as surfaces,
    ):
        step = KernelStep(
            [(get("rgb_to_grayscale"), {})],
            device,
            codec=codec,
            pix_fmt=None,
            notices=notices,
            surfaces=surfaces,
        )
        yield step, surfaces_of
        step.close()


def luma(picture):
    with FFmpegContext().wrap(picture) as wrapped:
        first, *rest = (np.asarray(tensor) for tensor in wrapped.tensors)
        assert all((plane == 128).all() for plane in rest)
        return first.copy()


def luma_of(surface):
    """Return the luma of 8 bits of a surface, as FFmpeg fetches it."""
    return surface.reformat(format="nv12").to_ndarray()[: surface.height]


def test_lumas_that_somebody_holds_are_not_written_again(clip, gray_step, makers):
    step, surfaces_of = gray_step
    held, expected = [], []
    for frame in surfaces_of(clip("h264")):
        held += step.process(frame)
        expected.append(luma_of(frame))
    assert len({made.planes[0].buffer_ptr for made in held}) == len(TIMES)
    assert [maker.made for maker in makers] == [len(TIMES) - 1]
    step.close()
    for made, samples in zip(held, expected, strict=True):
        np.testing.assert_array_equal(luma(made), samples)
    assert any((one != other).any() for one, other in itertools.pairwise(expected))


def test_the_memory_of_lumas_is_used_again(clip, gray_step, makers):
    step, surfaces_of = gray_step
    places = [
        made.planes[0].buffer_ptr
        for frame in surfaces_of(clip("h264"))
        for made in step.process(frame)
    ]
    assert [maker.made for maker in makers] == [len(TIMES) - 1]
    assert len(places) == len(TIMES)
    assert len(set(places[1:])) <= 2


def test_of_many_lumas_that_were_held_few_are_kept(clip, gray_step, makers):
    from bridges.edges.cpu_to_ffmpeg import held_planes

    step, surfaces_of = gray_step
    before, held = held_planes(), []
    for number, frame in enumerate(surfaces_of(clip("h264"))):
        if number < 15:
            held += step.process(frame)
            assert held_planes() - before == 3 * len(held)
        else:
            held.clear()
            list(step.process(frame))
    assert held_planes() - before == 3 * 8
    step.close()
    assert held_planes() == before
    assert [maker.made for maker in makers] == [len(TIMES) - 1]


def test_lumas_have_the_time_and_the_tags_of_their_surface(clip, gray_step, makers):
    step, surfaces_of = gray_step
    found = []
    for number, frame in enumerate(surfaces_of(clip("h264"))):
        set_sample_aspect_ratio(frame, Fraction(number + 1, 3))
        frame.colorspace, frame.color_primaries, frame.color_trc = 1, 1, 1
        (made,) = step.process(frame)
        assert (made.pts, made.time_base) == (frame.pts, frame.time_base)
        assert sample_aspect_ratio(made) == Fraction(number + 1, 3)
        found.append((made.colorspace, made.color_range, made.color_primaries, made.color_trc))
    assert len(set(found)) == 1
    frame.pts = None
    (made,) = step.process(frame)
    assert made.pts is None
    assert [maker.made for maker in makers] == [len(TIMES)]


def test_lumas_of_a_size_that_changes(tmp_path, gray_step, makers):
    step, surfaces_of = gray_step
    large, small = (322, 242), (160, 128)
    sizes = [large, small, large]
    path = tmp_path / "clip.h264"
    with path.open("wb") as joined:
        for number, (width, height) in enumerate(sizes):
            part = tmp_path / f"{number}.h264"
            with av.open(str(part), "w") as out:
                stream = out.add_stream("libx264", rate=25, options={"bf": "0"})
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                for level in range(4):
                    shade = np.full((height * 3 // 2, width), 20 + 9 * level, np.uint8)
                    shade[:, number::7] += 40
                    picture = av.VideoFrame.from_ndarray(shade, "yuv420p")
                    picture.pts = level
                    out.mux(stream.encode(picture))
                out.mux(stream.encode())
            joined.write(part.read_bytes())
    found = []
    for frame in surfaces_of(path):
        (made,) = step.process(frame)
        found.append((made.width, made.height))
        np.testing.assert_array_equal(luma(made), luma_of(frame))
    assert found == [size for size in sizes for _ in range(4)]
    assert [maker.made for maker in makers] == [3, 3, 3]
    step.cancel()
    with pytest.raises(ClosedError, match="cancelled"):
        list(step.process(frame))


def test_kernels_of_a_chain_leave_pictures_on_the_device(clip, both):
    filters = ["yuv_to_rgb", "gaussian_blur(sigma=1.5)", "rgb_to_yuv"]
    report, mine, theirs = both(clip("h264"), filters=filters)
    same(mine, theirs)
    assert report.bytes_between == 0


def test_the_size_is_made_by_the_kernel_on_the_device(clip, tmp_path):
    source, mine, theirs = clip("h264"), tmp_path / "mine.mkv", tmp_path / "theirs.mkv"
    size = VideoOptions(codec="ffv1", size=(160, -2))
    for filters, height in (([], 120), (["crop(x=2, y=4, width=200, height=100)"], 80)):
        resized = [*filters, f"resize(width=160, height={height})"]
        options = {"overwrite": True, "filters": filters}
        report = transcode.run(source, mine, device="cuda", video=size, **options)
        with_kernel = {"overwrite": True, "filters": resized, "video": LOSSLESS}
        transcode.run(source, theirs, device="cuda", **with_kernel)
        same(mine, theirs)
        planes = span(160, height) + span(160, height // 2)
        assert report.bytes_copied == report.frames * planes


def test_a_part_with_another_rate(clip, both):
    video = VideoOptions(codec="ffv1", fps=Fraction(10))
    _, mine, theirs = both(clip("h264"), start="0.2", duration="0.3", video=video)
    same(mine, theirs)


def test_what_nvdec_does_not_decode_is_refused_or_decoded_in_software(clips, tmp_path):
    source, target = clips.path("ffv1"), tmp_path / "out.mkv"
    with pytest.raises(SourceError, match=r"no video that FFmpeg decodes .* --software-fallback"):
        transcode.run(source, target, device="cuda")
    assert not list(tmp_path.iterdir())
    report = transcode.run(source, target, device="cuda", software_fallback=True, filters=GRAY)
    assert any(each.startswith("decoded in software") for each in report.notices)
    assert report.route == "FFmpeg > CPU > CUDA > CPU > FFmpeg   with copies"


@pytest.mark.parametrize("name", OTHERS)
def test_what_some_gpus_decode_is_decoded_there_or_refused_or_left_to_software(
    clip, tmp_path, name
):
    source, target, theirs = clip(name), tmp_path / "out.mkv", tmp_path / "theirs.mkv"
    options = {"device": "cuda", "video": LOSSLESS, "overwrite": True}
    try:
        report = transcode.run(source, target, **options)
    except SourceError as error:
        assert "software-fallback" in str(error)  # noqa: PT017 - either answer is right
        report = transcode.run(source, target, software_fallback=True, **options)
        assert any(each.startswith("decoded in software") for each in report.notices)
        with pytest.raises(SourceError, match="software_fallback=True"):
            next(iter(transcode.frames(source, device="cuda")))
        with transcode.frames(source, device="cuda", software_fallback=True) as frames:
            assert len(list(frames)) == len(TIMES)
    else:
        assert "decoded in software" not in " ".join(report.notices)
    transcode.run(source, theirs, device="cpu", video=LOSSLESS)
    same(target, theirs)


def test_an_encoder_on_the_device_is_there_or_is_refused_with_what_to_do(clip, tmp_path):
    target = tmp_path / "out.mp4"
    video = VideoOptions(codec="h264_nvenc")
    try:
        report = transcode.run(clip("h264"), target, device="cuda", filters=GRAY, video=video)
    except EncodeError as error:
        assert "encoder in software, such as libx264" in str(error)  # noqa: PT017 - as above
        assert not list(tmp_path.iterdir())
    else:
        assert report.bytes_copied == 0


def test_frames_for_an_encoder_on_the_device(clip, tmp_path):
    """What kernels write for NVENC, as FFmpeg itself fetches it: NVENC is not needed for that."""
    from bridges.backends.cuda import CUDAContext
    from transcode.cuda_surfaces import CUDASurfaces
    from transcode.hardware import pix_fmt_of
    from xma_plugins.device import Device
    from xma_plugins.drivers import driver_of

    codec = find_encoder("hevc_nvenc", "video")
    rng = np.random.default_rng(7)
    with (
        CUDAContext() as context,
        Device(driver_of(context), compute_units=()) as device,
        CUDASurfaces(device, codec, VideoOptions(), notices=Notices()) as surfaces,
    ):
        assert surfaces.formats(codec) == ("nv12", "p010le")
        for name in surfaces.formats(codec):
            info = FrameInfo(pixel_format(name), 70, 34)
            luma = rng.integers(0, 200, (34, 70)).astype(info.format.dtype)
            with surfaces.write(info, [0]) as made:
                array = np.zeros(made.planes[0].tensor.info.span, np.uint8)
                rows = np.ndarray(
                    luma.shape, luma.dtype, array, 0, made.planes[0].tensor.info.strides
                )
                rows[...] = luma
                made.planes[0].buffer.put(array)
                frame = made.owner
            assert (frame.format.name, pix_fmt_of(frame)) == ("cuda", name)
            fetched = frame.reformat(format=name)
            with FFmpegContext().wrap(fetched) as on_host:
                first, second = (np.asarray(tensor) for tensor in on_host.tensors)
                np.testing.assert_array_equal(first, luma)
                assert set(second.ravel().tolist()) == {128 if name == "nv12" else 1 << 15}
            # And as they come back through the bridge.
            with surfaces.read(frame) as picture:
                assert [plane.tensor.info.shape for plane in picture.planes] == [
                    (34, 70),
                    (17, 35, 2),
                ]
            del frame, fetched, first, second


def test_each_gpu_by_its_number(clip, tmp_path):
    """Where there are several; their runs go on at the same time."""
    count = len(next(probe for probe in probe_all() if probe.name == "cuda").devices)
    require("cuda:1", count > 1, f"there is {count} CUDA device; try: a machine with two")
    reports = {}

    def work(number):
        target = tmp_path / f"{number}.mkv"
        options = {"device": f"cuda:{number}", "filters": GRAY, "video": LOSSLESS}
        reports[number] = transcode.run(clip("h264"), target, **options)

    clip("h264")
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(count):
        assert reports[number].device.startswith(f"cuda: CUDA device {number} ")
        same(tmp_path / "0.mkv", tmp_path / f"{number}.mkv")
    with transcode.frames(clip("h264"), device=f"cuda:{count - 1}", kernels=GRAY) as frames:
        assert frames[3].__dlpack_device__() == (2, count - 1)


def test_many_runs_leave_nothing(clip, tmp_path):
    from cuda.bindings import driver

    from bridges.backends.cuda import CUDAContext

    def used():
        gc.collect()
        _, free, total = driver.cuMemGetInfo()
        return int(total) - int(free), open_descriptors(), threading.active_count()

    def run(count):
        for _ in range(count):
            transcode.run(
                clip("h264"), tmp_path / "o.mkv", device="cuda", filters=GRAY, overwrite=True
            )

    with CUDAContext() as context, context.current:
        run(5)
        before = used()
        run(15)
        after = used()
        assert after[0] - before[0] < 8 << 20
        assert after[1:] == before[1:]
