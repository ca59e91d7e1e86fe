"""Whatever is wrong with a job is said in one clear line, and nothing is left behind."""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import subprocess
import tempfile
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import pytest

import transcode
from bridges.errors import DeviceNotFoundError, FormatError, XTranscodeError
from transcode import AudioOptions, VideoOptions
from transcode.errors import (
    EncodeError,
    FilterError,
    JobError,
    OutputError,
    SourceError,
)

QUICK = VideoOptions(preset="ultrafast")
OLD = b"what stood here before"


def fds():
    return sorted(os.listdir("/proc/self/fd"))


def settles(condition):
    """Wait a little for threads that have done their work to end."""
    deadline = time.monotonic() + 2
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


@pytest.fixture(autouse=True)
def nothing_kept(clips):
    """Hold that a test leaves no thread and no descriptor behind, PyAV's own included."""
    transcode.probe(clips.path("h264"))  # Whatever is opened once per process is open now.
    gc.collect()
    threads, descriptors = set(threading.enumerate()), fds()
    yield
    gc.collect()
    assert settles(lambda: set(threading.enumerate()) <= threads), threading.enumerate()
    assert fds() == descriptors


@pytest.fixture
def refused(tmp_path):
    """Run a job that must fail; hold that an old output survives and nothing else is there."""

    def run(error, words, source, target="out.mp4", **options):
        folder = tmp_path / "refused"
        folder.mkdir(exist_ok=True)
        old = folder / target
        old.write_bytes(OLD)
        options.setdefault("video", QUICK)
        with pytest.raises(XTranscodeError) as caught:
            transcode.run(source, old, **{"overwrite": True, **options})
        assert type(caught.value) is error
        message = str(caught.value)
        assert words in message
        assert "\n" not in message
        assert old.read_bytes() == OLD
        assert os.listdir(folder) == [target]
        return message

    return run


def hidden_files(folder):
    return [name for name in os.listdir(folder) if name.startswith(".")]


class TestSources:
    def test_missing_file(self, refused, tmp_path):
        path = tmp_path / "missing.mp4"
        assert refused(SourceError, "no such file", path) == f"{path}: no such file"

    def test_missing_file_with_a_colon_in_its_name(self, refused, tmp_path):
        refused(SourceError, "no such file", tmp_path / "a:b.mp4")
        refused(SourceError, "no such file", "a:b.mp4")

    def test_folder(self, refused, tmp_path):
        assert refused(SourceError, "folder", tmp_path) == f"{tmp_path}: is a folder"

    def test_empty_name(self, refused):
        refused(SourceError, "the input has no name", "")

    def test_name_with_a_zero_byte(self, refused):
        refused(SourceError, "is no file name", "a\0b.mp4")

    def test_unknown_protocol(self, refused):
        refused(SourceError, "no such protocol", "nosuch://host/clip.mp4")

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("empty", "empty file"),
            ("text", "a text file, not media"),
            ("truncated", "an MP4 file without a readable index"),
            ("audio_only", "no video stream"),
            ("audio_cover", "no video stream"),
            ("zero_frames", "no frame could be decoded"),
            ("noise", "no frame could be decoded"),
        ],
    )
    @pytest.mark.parametrize("damaged", ["fail", "keep"])
    def test_nothing_to_decode(self, refused, clips, name, words, damaged):
        path = clips.path(name)
        message = refused(SourceError, words, path, damaged=damaged)
        assert message.startswith(f"{path}: ")

    def test_file_of_random_bytes(self, refused, tmp_path):
        path = tmp_path / "random.mp4"
        path.write_bytes(bytes(range(256)) * 40)
        refused(SourceError, "not a media file", path)

    def test_permission_denied(self):
        with world_readable_folder() as folder:
            (folder / "in.mp4").write_bytes(b"x")
            (folder / "in.mp4").chmod(0)
            (folder / "out").mkdir()
            (folder / "out").chmod(0o777)
            said = run_as_nobody(folder / "in.mp4", folder / "out" / "out.mp4")
            assert said == f"SourceError {folder}/in.mp4: permission denied"
            assert os.listdir(folder / "out") == []

    @pytest.mark.parametrize(
        ("name", "words"), [("cut_mkv", "breaks off"), ("overwritten", "is corrupt")]
    )
    def test_damage_is_an_error_by_default(self, refused, clips, name, words):
        message = refused(SourceError, words, clips.path(name))
        assert "--damaged keep" in message

    @pytest.mark.parametrize("name", ["cut_mkv", "cut_ts", "overwritten"])
    def test_damaged_keep_writes_what_is_good(self, clips, tmp_path, name):
        least, most = clips[name].damage.decodable
        report = transcode.run(
            clips.path(name), tmp_path / "out.mp4", damaged="keep", video=QUICK, verify="full"
        )
        assert least <= report.frames <= most
        assert report.frames == report.frames_decoded
        if name != "cut_ts":  # A stream that is broadcast has no end that could be missed.
            assert any(notice.startswith("damaged: ") for notice in report.notices)
            assert any("in all" in notice for notice in report.notices)

    def test_index_in_front_of_a_file_cut_in_the_middle(self, refused, clips, tmp_path):
        path, there = cut_behind_its_index(clips.path("long_gop"), tmp_path / "cut.mp4")
        message = refused(SourceError, f"{path}: ", path)
        assert message.endswith("say --damaged keep to go on")
        report = transcode.run(path, tmp_path / "out.mp4", damaged="keep", video=QUICK)
        assert there - 2 <= report.frames <= there
        assert any("its index has 100 frames" in notice for notice in report.notices)

    def test_start_behind_the_end(self, refused, clips):
        refused(SourceError, "no frame lies in the part", clips.path("h264"), start=Fraction(99))


def cut_behind_its_index(source, target):
    """Copy with the index in front, and cut; return the file and the number of whole packets."""
    whole = target.with_name("whole.mp4")
    options = {"movflags": "+faststart"}
    with av.open(str(source)) as read, av.open(str(whole), "w", options=options) as write:
        stream = write.add_stream_from_template(read.streams.video[0])
        for packet in read.demux(read.streams.video[0]):
            if packet.size:
                packet.stream = stream
                write.mux(packet)
    with av.open(str(whole)) as read:
        ends = sorted(p.pos + p.size for p in read.demux(read.streams.video[0]) if p.size)
    data = whole.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    cut = ends[len(ends) // 2] + 1
    target.write_bytes(data[:cut])
    whole.unlink()
    return target, sum(end <= cut for end in ends)


class TestOptions:
    @pytest.mark.parametrize(
        ("error", "words", "options"),
        [
            (EncodeError, "unknown video encoder 'libx999'", {"codec": "libx999"}),
            (EncodeError, "aac encodes audio, not video", {"codec": "aac"}),
            (EncodeError, "unknown pixel format 'nosuch'", {"pix_fmt": "nosuch"}),
            (EncodeError, "libx264 does not take pixel format rgb24", {"pix_fmt": "rgb24"}),
            (EncodeError, "libx264 has no option nosuch", {"options": {"nosuch": "1"}}),
        ],
    )
    def test_video_option(self, refused, clips, error, words, options):
        refused(error, words, clips.path("h264"), video=VideoOptions(**options))

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"preset": "nosuch"}, "libx264 was refused: Error setting preset/tune nosuch"),
            ({"profile": "nosuch"}, "libx264 was refused: Error setting profile nosuch"),
            ({"crf": -99}, "libx264 was refused: "),
            ({"codec": "libsvtav1", "preset": "99"}, "libsvtav1 was refused: "),
        ],
    )
    def test_value_that_the_encoder_rejects(self, refused, clips, options, words):
        message = refused(EncodeError, words, clips.path("h264"), video=VideoOptions(**options))
        assert "Errno" not in message
        assert "avcodec_open2" not in message

    @pytest.mark.parametrize(
        ("codec", "words"),
        [("zzz", "unknown audio encoder 'zzz'"), ("libx264", "encodes video, not audio")],
    )
    def test_audio_encoder(self, refused, clips, codec, words):
        refused(EncodeError, words, clips.path("h264"), audio=AudioOptions(codec=codec))

    @pytest.mark.parametrize(
        ("chain", "words"),
        [
            ("nosuch", "unknown filter 'nosuch'"),
            ("hflip,,vflip", "unknown filter ''"),
            ("", "unknown filter ''"),
            ("split[a][b];[a]hflip", "branches at '['"),
            ("drawtext='a", "ends inside a quote"),
        ],
    )
    def test_filter_chain(self, refused, clips, chain, words):
        refused(FilterError, words, clips.path("h264"), vf=chain)

    @pytest.mark.parametrize(
        ("chain", "words"),
        [
            ("scale=abc:def", "Cannot parse expression for width: 'abc'"),
            ("hflip=nosuch=1", "No such option: nosuch"),
            ("anull", "Media type mismatch"),
            ("overlay", "not connected"),
        ],
    )
    def test_filter_that_refuses(self, refused, clips, chain, words):
        message = refused(FilterError, words, clips.path("h264"), vf=chain)
        assert message.startswith(f"filter chain {chain!r} was refused: ")
        assert "returned" not in message
        assert "Errno" not in message

    @pytest.mark.parametrize(
        ("device", "words"),
        [
            ("gpu", "unknown device 'gpu'; devices are auto, cpu, opencl"),
            ("cuda:x", "has the form cuda[:n]"),
            ("cpu:1", "has the form cpu"),
            ("xrt", "say --device opencl, sycl, cuda, vaapi, cpu or auto"),
        ],
    )
    def test_device(self, refused, clips, device, words):
        refused(DeviceNotFoundError, words, clips.path("h264"), device=device)

    @pytest.mark.parametrize("target", ["out.xyz", "out"])
    def test_name_that_tells_no_container(self, refused, clips, target):
        refused(JobError, "no container for", clips.path("h264"), target)

    def test_unknown_container(self, refused, clips):
        refused(JobError, "no container 'xyz'", clips.path("h264"), format="xyz")

    @pytest.mark.parametrize(
        ("target", "words"),
        [
            ("out.webm", "webm cannot hold libx264"),
            ("out.wav", "wav cannot hold libx264: it holds no video"),
        ],
    )
    def test_codec_that_the_container_cannot_hold(self, refused, clips, target, words):
        refused(EncodeError, words, clips.path("h264"), target, video=VideoOptions())

    def test_audio_that_the_container_cannot_hold(self, refused, clips):
        video = VideoOptions(codec="libvpx-vp9")
        words = "webm cannot hold aac audio"
        message = refused(EncodeError, words, clips.path("two_audio_mp4"), "out.webm", video=video)
        assert "say --audio" in message

    @pytest.mark.parametrize(
        "fields",
        [
            {"verify": "maybe"},
            {"damaged": "maybe"},
            {"start": Fraction(-1)},
            {"duration": Fraction(0)},
        ],
    )
    def test_field_of_a_job(self, refused, clips, fields):
        refused(JobError, next(iter(fields)), clips.path("h264"), **fields)

    def test_unknown_keyword(self, clips, tmp_path):
        with pytest.raises(TypeError, match="nosuch"):
            transcode.run(clips.path("h264"), tmp_path / "out.mp4", nosuch=1)
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("kernel", ["nosuch", "rgb_to_grayscale:", "rgb_to_grayscale:a=b"])
    def test_unknown_kernel(self, refused, clips, kernel):
        errors = pytest.importorskip("bridges.errors")
        pytest.importorskip("bridges.kernels.reference")
        refused(errors.KernelError, kernel.split(":")[0], clips.path("h264"), filters=[kernel])


class TestOutputs:
    @pytest.mark.parametrize("way", ["same", "relative", "symbolic", "hard", "dots"])
    def test_input_is_output(self, clips, tmp_path, monkeypatch, way):
        source = tmp_path / "clip.mp4"
        shutil.copy(clips.path("h264"), source)
        before = source.read_bytes()
        monkeypatch.chdir(tmp_path)
        target = {"same": source, "relative": "clip.mp4", "dots": "./../" + tmp_path.name}.get(
            way, "other.mp4"
        )
        if way == "dots":
            target += "/clip.mp4"
        if way == "symbolic":
            os.symlink("clip.mp4", "other.mp4")
        if way == "hard":
            os.link("clip.mp4", "other.mp4")
        names = sorted(os.listdir(tmp_path))
        with pytest.raises(OutputError, match="is the input itself"):
            transcode.run(source, target, overwrite=True)
        assert source.read_bytes() == before
        assert sorted(os.listdir(tmp_path)) == names

    def test_output_is_a_folder(self, clips, tmp_path):
        (tmp_path / "out.mp4").mkdir()
        with pytest.raises(OutputError, match="is a folder"):
            transcode.run(clips.path("h264"), tmp_path / "out.mp4", overwrite=True)
        assert os.listdir(tmp_path) == ["out.mp4"]

    def test_missing_folder(self, clips, tmp_path):
        with pytest.raises(OutputError, match=f"there is no folder {tmp_path}/a/b"):
            transcode.run(clips.path("h264"), tmp_path / "a" / "b" / "out.mp4")
        assert os.listdir(tmp_path) == []

    def test_folder_that_is_a_file(self, clips, tmp_path):
        (tmp_path / "a").write_bytes(OLD)
        with pytest.raises(OutputError, match=r"out.mp4: "):
            transcode.run(clips.path("h264"), tmp_path / "a" / "out.mp4")
        assert (tmp_path / "a").read_bytes() == OLD

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_immutable_folder(self, clips, tmp_path, overwrite):
        with immutable(tmp_path), pytest.raises(OutputError, match="cannot write into its folder"):
            transcode.run(clips.path("h264"), tmp_path / "out.mp4", overwrite=overwrite)
        assert os.listdir(tmp_path) == []

    def test_folder_of_somebody_else(self, clips):
        with world_readable_folder() as folder:
            shutil.copy(clips.path("h264"), folder / "in.mp4")
            (folder / "in.mp4").chmod(0o644)
            said = run_as_nobody(folder / "in.mp4", folder / "out.mp4")
            words = "cannot write into its folder: permission denied"
            assert said == f"OutputError {folder}/out.mp4: {words}"
            assert os.listdir(folder) == ["in.mp4"]

    def test_existing_output_without_overwrite(self, refused, clips):
        refused(OutputError, "exists already; say -y", clips.path("h264"), overwrite=False)

    @pytest.mark.parametrize("overwrite", [False, True])
    def test_device_file(self, clips, overwrite):
        with pytest.raises(OutputError, match="/dev/null: is no regular file"):
            transcode.run(clips.path("h264"), "/dev/null", format="mp4", overwrite=overwrite)
        assert not Path("/dev/null").is_file()

    def test_fifo(self, clips, tmp_path):
        os.mkfifo(tmp_path / "out.mp4")
        with pytest.raises(OutputError, match="is no regular file"):
            transcode.run(clips.path("h264"), tmp_path / "out.mp4", overwrite=True)
        assert (tmp_path / "out.mp4").is_fifo()
        assert os.listdir(tmp_path) == ["out.mp4"]

    def test_link_that_points_to_itself(self, clips, tmp_path):
        os.symlink("out.mp4", tmp_path / "out.mp4")
        with pytest.raises(OutputError, match="symbolic links"):
            transcode.run(clips.path("h264"), tmp_path / "out.mp4", overwrite=True)
        assert os.listdir(tmp_path) == ["out.mp4"]

    def test_standard_output_needs_a_container(self):
        with pytest.raises(JobError, match="standard output needs a container"):
            transcode.Output("-")

    def test_empty_name(self):
        with pytest.raises(JobError, match="the output has no name"):
            transcode.Output("")

    def test_name_with_a_zero_byte(self, clips, tmp_path):
        with pytest.raises((JobError, OutputError), match="is no file name"):
            transcode.run(clips.path("h264"), str(tmp_path / "a\0b.mp4"))
        assert os.listdir(tmp_path) == []

    def test_stdout_is_not_closed_by_a_failure(self, clips, tmp_path):
        with pytest.raises(EncodeError, match="unknown video encoder"):
            transcode.run(clips.path("h264"), "-", format="nut", video=VideoOptions(codec="none"))
        os.fstat(1)


class TestSizes:
    @pytest.mark.parametrize(
        ("codec", "size", "said"),
        [("libx264", (126, 94), "cropped 127x95 > 126x94"), ("ffv1", (127, 95), "")],
    )
    def test_odd_size(self, clips, tmp_path, codec, size, said):
        report = transcode.run(
            clips.path("odd_yuv420p"), tmp_path / "out.mkv", video=VideoOptions(codec=codec)
        )
        assert (report.output.width, report.output.height) == size
        assert any(notice.startswith(said) for notice in report.notices) == bool(said)
        with av.open(str(tmp_path / "out.mkv")) as container:
            frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.format.name) == (*size, "yuv420p")

    @pytest.mark.parametrize(
        ("pix_fmt", "options"),
        [
            ("yuv444p", {}),
            ("yuv420p", {"pix_fmt": "yuv444p"}),
            ("yuv420p", {"codec": "ffv1"}),
        ],
    )
    def test_one_pixel(self, tmp_path, pix_fmt, options):
        source = one_pixel_clip(tmp_path / "in.mkv", pix_fmt)
        report = transcode.run(source, tmp_path / "out.mkv", video=VideoOptions(**options))
        assert (report.frames, report.output.width, report.output.height) == (3, 1, 1)

    def test_one_pixel_of_subsampled_chroma(self, refused, tmp_path):
        source = one_pixel_clip(tmp_path / "in.mkv", "yuv420p")
        message = refused(FormatError, "1x1 is too small for yuv420p", source)
        assert message.endswith("say --pix-fmt yuv444p")

    def test_scaled_to_an_odd_size(self, clips, tmp_path):
        video = VideoOptions(size=(65, 49), preset="ultrafast")
        report = transcode.run(clips.path("h264"), tmp_path / "out.mp4", video=video)
        assert (report.output.width, report.output.height) == (64, 48)
        assert any(notice.startswith("size 65x49 > 64x48") for notice in report.notices)


def one_pixel_clip(path, pix_fmt):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo" if pix_fmt == "yuv420p" else "ffv1", rate=25)
        stream.width = stream.height = 1
        stream.pix_fmt = pix_fmt
        for index in range(3):
            frame = av.VideoFrame(1, 1, pix_fmt)
            frame.pts = index
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@contextlib.contextmanager
def immutable(folder):
    """Make a folder refuse new files, to the superuser too."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)
        return
    if (
        not shutil.which("chattr")
        or subprocess.run(["chattr", "+i", folder], capture_output=True, check=False).returncode
    ):
        pytest.skip("no chattr +i on this file system, and permissions do not bind root")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)


@contextlib.contextmanager
def world_readable_folder():
    """A folder that another user can look into; pytest's own ones are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            yield folder.resolve()
        finally:
            folder.chmod(0o700)


AS_NOBODY = """
import os, sys, transcode, transcode.errors
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    transcode.run(sys.argv[1], sys.argv[2])
except Exception as error:
    print(type(error).__name__, error)
"""


def run_as_nobody(source, target):
    """Run a job as a user who owns nothing; return the error's class and message."""
    if os.geteuid() != 0:
        target.parent.chmod(0o555)
    return run_python(AS_NOBODY, source, target).stdout.strip()


ROOT = Path(__file__).resolve().parents[2]


def run_python(code, *arguments, **options):
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done


class TestFullDisk:
    # 50 frames of 18 kB: several times what is let through, in many writes.
    RAW = """
import sys, transcode
from transcode import VideoOptions
try:
    transcode.run(sys.argv[1], sys.argv[2], video=VideoOptions(codec="rawvideo"),
                  overwrite=True, verify=sys.argv[3])
except Exception as error:
    print(type(error).__name__, error)
"""
    LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000,) * 2)\n" + RAW

    @pytest.mark.parametrize("verify", ["none", "fast"])
    @pytest.mark.parametrize("suffix", [".mkv", ".mov", ".nut"])
    def test_file_size_limit(self, clips, tmp_path, verify, suffix):
        target = tmp_path / f"out{suffix}"
        target.write_bytes(OLD)
        done = run_python(self.LIMITED, clips.path("long_gop"), target, verify)
        assert done.stdout.strip() == f"OutputError {target}: file too large"
        assert target.read_bytes() == OLD
        assert os.listdir(tmp_path) == [target.name]

    def test_limit_below_the_first_write(self, clips, tmp_path):
        # What fits into libav's buffer is written at the end only.
        code = self.LIMITED.replace("100_000", "1000")
        done = run_python(code, clips.path("one_frame"), tmp_path / "out.mkv", "none")
        assert done.stdout.strip() == f"OutputError {tmp_path}/out.mkv: file too large"
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("verify", ["none", "fast"])
    def test_small_file_system(self, clips, tmp_path, verify):
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("a file system can be mounted by the superuser only")
        try:
            target = disk / "out.mkv"
            target.write_bytes(OLD)
            done = run_python(self.RAW, clips.path("long_gop"), target, verify)
            assert done.stdout.strip() == f"OutputError {target}: no space left on device"
            assert target.read_bytes() == OLD
            assert os.listdir(disk) == ["out.mkv"]
        finally:
            subprocess.run(["umount", disk], check=True)
