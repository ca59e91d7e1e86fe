"""The whole chain on a VA device, from the file to the encoded file: FFmpeg > VAAPI > DMA > kernel.

Everything is real but the device: a PyAV whose FFmpeg has VA-API, libva, OpenCL and SYCL, and on
`NODE` the software driver, whose surfaces are dma-bufs in the virtual machine and memfds elsewhere.
Its encoder loses nothing, so that each sample can be compared with what software makes.
``tests/lab/vaapi_root`` makes a root folder with such a PyAV, and says how to run this in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.hwaccel import hwdevices_available

from bridges.backends.vaapi_pyav import BUILD
from tests.helpers.require import require
from tests.lab.software_va import NODE, software_va
from tests.lab.vp9_streams import STREAMS, make

ROOT = Path(__file__).resolve().parents[2]
RUN = "import sys; from cli.main import main; sys.exit(main())"
GRAY = ("--filter", "rgb_to_grayscale")
TILED = "0x100000000000002"  # I915_FORMAT_MOD_Y_TILED of drm_fourcc.h.


@pytest.fixture(scope="module")
def driver():
    has_vaapi = "vaapi" in hwdevices_available()
    require("av-vaapi", has_vaapi, f"the FFmpeg in this PyAV is built without VA-API; {BUILD}")
    return software_va()


@pytest.fixture(scope="module")
def streams(tmp_path_factory):
    return tmp_path_factory.mktemp("streams")


class Bench:
    """Runs xtranscode in processes of their own, and looks at what they leave."""

    def __init__(self, driver, folder):
        self._driver, self._folder = driver, folder

    def run(self, source, *options, name="out.nut", device=f"vaapi:{NODE}", **failures):
        """Return the target, the exit status, and the last event."""
        left, target = self._folder / "left", self._folder / name
        left.unlink(missing_ok=True)
        command = ("-c", RUN, "run", source, target, "-y", "--progress", "json", "--device", device)
        done = run_python(self._driver, *command, *options, REPORT=str(left), **failures)
        assert "Traceback" not in done.stderr, done.stderr
        if left.exists():
            counts = dict(line.split() for line in left.read_text().splitlines())
            del counts["syncs"]
            assert set(counts.values()) == {"0"}, counts
        return target, done.returncode, json.loads(done.stdout.splitlines()[-1])

    def report(self, *arguments, **options):
        """Return the target and the report of a run that has to succeed on the device."""
        target, status, event = self.run(*arguments, **options)
        assert status == 0, event
        return target, event["report"]


def run_python(driver, *arguments, **options):
    """Run Python with the driver; return the process."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | driver.variables(**options),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.fixture
def bench(driver, tmp_path):
    return Bench(driver, tmp_path)


def samples(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]


def assert_same(first, second):
    first, second = samples(first), samples(second)
    assert len(first) == len(second) > 0
    for mine, theirs in zip(first, second, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("options", [(), GRAY, ("--filter", "invert")], ids=" ".join)
@pytest.mark.parametrize("name", ["8-bit", "10-bit", "hidden"])
def test_an_encoder_in_software_gets_what_software_would_give_it(bench, streams, name, options):
    source = make(name, streams)
    lossless = ("--codec", "ffv1", "--pix-fmt", "yuv420p10le" if "10" in name else "yuv420p")
    target, report = bench.report(source, *options, *lossless, NO_DERIVE="1")
    expected, _ = bench.report(source, *options, *lossless, name="sw.nut", device="auto")
    assert report["frames"] == STREAMS[name][1]
    assert_same(target, expected)
    if options:
        assert report["route"].startswith("FFmpeg > VAAPI > DMA > CPU > OpenCL")
        assert report["route"].endswith("zero-copy")
        assert report["bytes_copied"] == 0


@pytest.mark.parametrize("options", [(), GRAY], ids=" ".join)
@pytest.mark.parametrize("name", ["8-bit", "hidden"])
def test_an_encoder_of_the_device_gets_surfaces(bench, streams, name, options):
    source = make(name, streams)
    target, report = bench.report(
        source, *options, "--codec", "h264_vaapi", name="out.mp4", NO_DERIVE="1"
    )
    lossless = ("--codec", "ffv1", "--pix-fmt", "yuv420p")
    expected, _ = bench.report(source, *options, *lossless, name="sw.nut", device="auto")
    assert report["bytes_copied"] == 0
    assert report["output"]["pix_fmt"] == "nv12"
    assert_same(target, expected)


def test_what_a_kernel_makes_of_copies_is_the_same(bench, streams):
    source = make("8-bit", streams)
    in_place, _ = bench.report(source, *GRAY, "--codec", "h264_vaapi", name="in_place.mp4")
    tiled, report = bench.report(
        source, *GRAY, "--codec", "h264_vaapi", name="tiled.mp4", MODIFIER=TILED
    )
    assert_same(in_place, tiled)
    assert report["bytes_copied"] > 0
    assert report["route"].endswith("with copies")
    assert any("0x0100000000000002" in notice for notice in report["notices"])


def test_sizes_and_formats_change_on_the_device(bench, streams):
    source = make("10-bit", streams)
    target, report = bench.report(
        source, "--size", "160x-2", "--codec", "h264_vaapi", name="out.mp4"
    )
    assert report["bytes_copied"] == 0
    assert (report["output"]["width"], report["output"]["height"]) == (160, 88)
    assert any("p010le > nv12" in notice for notice in report["notices"])
    _, report = bench.report(source, "--pix-fmt", "nv12", "--codec", "h264_vaapi", name="asked.mp4")
    assert not any("p010le > nv12" in notice for notice in report["notices"])
    assert len(samples(target)) == STREAMS["10-bit"][1]


def test_both_kinds_of_encoders_get_the_same_scaled_samples(bench, streams):
    source, size = make("8-bit", streams), ("--size", "160x88")
    by_device, report = bench.report(source, *size, "--codec", "h264_vaapi", name="out.mp4")
    lossless = ("--codec", "ffv1", "--pix-fmt", "yuv420p")
    by_software, _ = bench.report(source, *size, *lossless)
    assert report["bytes_copied"] == 0
    assert_same(by_device, by_software)


def test_what_is_fetched_to_be_converted_for_a_kernel_is_counted(bench, streams):
    source = make("8-bit", streams)
    _, report = bench.report(source, "--filter", "rgb_to_yuv", "--codec", "ffv1")
    size = report["source"]["width"] * report["source"]["height"]
    assert report["bytes_copied"] == report["frames"] * size * 3 // 2
    assert report["route"].endswith("with copies")
    assert any(notice.endswith("which rgb_to_yuv reads") for notice in report["notices"])


@pytest.mark.parametrize("codec", ["h264_vaapi", "libx264"])
@pytest.mark.parametrize("options", [(), GRAY], ids=" ".join)
def test_the_size_changes_in_the_middle(bench, streams, options, codec):
    source = make("resized", streams)
    target, report = bench.report(source, *options, "--codec", codec, name="out.mp4")
    found = samples(target)
    assert len(found) == report["frames"] == STREAMS["resized"][1]
    if codec == "h264_vaapi" and not options:
        with av.open(str(source)) as container:
            decoded = list(container.decode(video=0))
        # Up to the change they are what was decoded; from there on they are scaled to that.
        sizes = [(frame.width, frame.height) for frame in decoded]
        change = next(number for number, size in enumerate(sizes) if size != sizes[0])
        for mine, theirs in zip(found[:change], decoded[:change], strict=True):
            np.testing.assert_array_equal(mine, theirs.to_ndarray())
    assert any("frames change" in notice for notice in report["notices"])


def test_odd_sizes_are_cropped_on_the_device(bench, streams):
    source = make("8-bit-odd", streams)
    target, report = bench.report(source, "--codec", "h264_vaapi", name="out.mp4")
    assert (report["output"]["width"], report["output"]["height"]) == (34, 16)
    assert any("35x17 > 34x16" in notice for notice in report["notices"])
    with av.open(str(source)) as container:
        whole = [np.asarray(frame.planes[0]) for frame in container.decode(video=0)]
    for mine, theirs in zip(samples(target), whole, strict=True):
        np.testing.assert_array_equal(mine[:16], theirs.reshape(17, -1)[:16, :34])


@pytest.mark.parametrize("failure", ["FAIL_EXPORT", "FAIL_SURFACE", "FAIL_DECODE"], ids=str.lower)
def test_a_driver_that_fails_is_an_error_and_leaves_nothing(bench, streams, failure):
    source = make("8-bit", streams)
    target, status, event = bench.run(
        source, *GRAY, "--codec", "h264_vaapi", name="out.mp4", NO_DERIVE="1", **{failure: "9"}
    )
    assert status == 1
    assert event["type"] == "error"
    assert len(event["message"]) < 500
    assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] in ([], ["left"])


def test_what_the_device_does_not_decode_is_told_and_decoded_in_software_if_asked(bench, streams):
    source = streams / "h264.mkv"
    with av.open(str(source), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            array = np.full((72, 64), 40 * number, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(array, "yuv420p")))
        out.mux(stream.encode())
    _, status, event = bench.run(source)
    assert status == 1
    assert "cannot decode h264" in event["message"]
    assert "--software-fallback" in event["message"]
    target, report = bench.report(
        source, "--software-fallback", "--codec", "h264_vaapi", name="out.mp4"
    )
    assert any(notice.startswith("decoded in software") for notice in report["notices"])
    assert report["bytes_copied"] == 5 * 64 * 72  # Into the encoder's surfaces.
    assert_same(target, source)


def test_what_no_device_decodes_is_told_and_decoded_in_software_if_asked(bench, streams):
    source, _ = bench.report(make("8-bit", streams), "--codec", "ffv1", name="in.mkv")
    _, status, event = bench.run(source)
    assert status == 1
    assert event["message"].endswith("say --software-fallback to decode it in software")
    target, report = bench.report(source, "--software-fallback", "--codec", "ffv1")
    told = [notice for notice in report["notices"] if notice.startswith("decoded in software")]
    assert told == ["decoded in software: FFmpeg decodes ffv1 on no vaapi device"]
    assert_same(target, source)


@pytest.mark.parametrize(
    ("memory", "route"),
    [("SYCL", "DMA > CPU > SYCL"), ("OpenCL", "DMA > OpenCL"), ("CPU", "DMA > CPU")],
)
def test_the_sample_takes_the_same_chain(driver, streams, tmp_path, memory, route):
    source, made = make("8-bit", streams), []
    for node, expected in ((NODE, f"FFmpeg > VAAPI > {route}"), ("", "FFmpeg > CPU")):
        made.append(tmp_path / f"{len(made)}.gray")
        sample = ("samples/rgb_to_grayscale.py", source, made[-1], memory, node)
        done = run_python(driver, *sample, NO_DERIVE="1")
        assert done.stdout.startswith(f"{STREAMS['8-bit'][1]} pictures by {expected}"), done
        assert done.stdout.endswith("zero-copy\n")
    assert made[0].read_bytes() == made[1].read_bytes()


def test_frames_for_python_are_copies_where_surfaces_are_tiled(driver, streams):
    script = (
        "import sys, numpy, transcode\n"
        "path, node = sys.argv[1:]\n"
        "gray = {'kernels': ['rgb_to_grayscale'], 'device': 'cpu'}\n"
        "with transcode.frames(path, **gray) as soft:\n"
        "    expected = [numpy.asarray(picture) for picture in soft]\n"
        "with transcode.frames(path, **gray | {'device': 'vaapi:' + node}) as hard:\n"
        "    for number in (3, 0, 7):\n"
        "        assert (numpy.asarray(hard[number]) == expected[number]).all()\n"
        "    print(hard.route)\n"
    )
    for options, words in (({}, "zero-copy"), ({"MODIFIER": TILED}, "B copied in")):
        done = run_python(driver, "-c", script, make("8-bit", streams), NODE, **options)
        assert done.returncode == 0, done.stderr
        assert words in done.stdout


def test_ten_thousand_frames_leave_nothing(driver, streams):
    source = make("8-bit", streams)
    mapping = ("-m", "tests.lab.map_surfaces", source, NODE, "10000")
    done = run_python(driver, *mapping, NO_DERIVE="1")
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    assert after == before
