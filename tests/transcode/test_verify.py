"""A file that is not what was written is refused, whatever happened to it in between."""

from __future__ import annotations

import dataclasses
import os
from array import array
from fractions import Fraction

import av
import pytest

import transcode
from transcode import Progress, VideoOptions
from transcode.errors import VerifyError
from transcode.notices import Notices
from transcode.verify import Expected, verify, video_tags

OLD = b"what stood here before"


@pytest.fixture(scope="module")
def written(clips, tmp_path_factory):
    """A file, and what must be in it."""
    path = tmp_path_factory.mktemp("written") / "out.mkv"
    video = VideoOptions(preset="ultrafast")
    transcode.run(clips.path("everything_mkv"), path, video=video)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        kinds = [each.type for each in container.streams]
        tags, time_base = video_tags(stream), stream.time_base
        times = array("q", (p.pts for p in container.demux(stream) if p.size))
    assert len(times) == 25
    return path, Expected(
        path="asked.mkv",
        times=times,
        time_base=time_base,
        codec="h264",
        width=128,
        height=96,
        tags=tags,
        streams={kind: kinds.count(kind) for kind in kinds},
    )


def check(path, expected, *, decode=True):
    notices = Notices()
    verify(str(path), expected, decode=decode, check=lambda: None, notices=notices)
    return notices.messages


class TestExpectation:
    @pytest.mark.parametrize("decode", [False, True])
    def test_true(self, written, decode):
        assert check(*written, decode=decode) == ()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"codec": "hevc"}, "should be"),
            ({"width": 126}, "should be"),
            ({"height": 94}, "should be"),
            ({"streams": {"video": 3}}, "has 2 video streams, should have 3"),
            ({"streams": {"video": 1, "audio": 3}}, "has 2 audio streams, should have 3"),
            ({"streams": {"data": 1}}, "has 0 data streams, should have 1"),
        ],
    )
    def test_stream(self, written, change, words):
        path, expected = written
        with pytest.raises(VerifyError, match=f"^asked.mkv: .*{words}"):
            check(path, dataclasses.replace(expected, **change))

    def test_fewer_frames(self, written):
        path, expected = written
        more = array("q", [*expected.times, expected.times[-1] + 40])
        with pytest.raises(VerifyError, match="has 25 frames, should have 26"):
            check(path, dataclasses.replace(expected, times=more))

    def test_more_frames(self, written):
        path, expected = written
        with pytest.raises(VerifyError, match="has 25 frames, should have 24"):
            check(path, dataclasses.replace(expected, times=expected.times[:-1]))

    @pytest.mark.parametrize("place", [1, 12, -1])
    def test_one_time_is_off(self, written, place):
        path, expected = written
        times = array("q", sorted(expected.times))
        times[place] += 2
        with pytest.raises(VerifyError, match=r"off by up to 0\.002"):
            check(path, dataclasses.replace(expected, times=times))

    def test_first_time_is_off(self, written):
        path, expected = written
        times = array("q", sorted(expected.times))
        times[0] += 2
        with pytest.raises(VerifyError, match=r"off by up to 0\.002"):
            check(path, dataclasses.replace(expected, times=times))

    def test_clock_is_off(self, written):
        path, expected = written
        with pytest.raises(VerifyError, match="frame times are off"):
            check(path, dataclasses.replace(expected, time_base=Fraction(1, 900)))

    def test_order_of_times_is_of_no_matter(self, written):
        path, expected = written
        times = array("q", reversed(expected.times))
        assert check(path, dataclasses.replace(expected, times=times)) == ()

    def test_rounding_is_told(self, written):
        path, expected = written
        finer = array("q", (1000 * time + 400 * (time > 0) for time in expected.times))
        notices = check(
            path, dataclasses.replace(expected, times=finer, time_base=Fraction(1, 1_000_000))
        )
        assert notices == ("times rounded to 1/1000 s, as the container stores them",)

    def test_lost_tag_is_told(self, written):
        path, expected = written
        tags = {**expected.tags, "colour matrix": 9}
        notices = check(path, dataclasses.replace(expected, tags=tags))
        assert notices == ("colour matrix not carried: 9 was written, 1 is read back",)

    def test_what_check_raises_ends_it(self, written):
        path, expected = written

        def interrupt():
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            verify(str(path), expected, decode=False, check=interrupt, notices=Notices())


class TestDamage:
    @pytest.mark.parametrize("decode", [False, True])
    def test_missing(self, written, tmp_path, decode):
        _, expected = written
        with pytest.raises(VerifyError, match="cannot be read again") as caught:
            check(tmp_path / "missing.mkv", expected, decode=decode)
        assert str(caught.value).startswith("asked.mkv: ")

    @pytest.mark.parametrize("content", [b"", b"text\n", bytes(range(256)) * 8])
    def test_no_media(self, written, tmp_path, content):
        path = tmp_path / "bad.mkv"
        path.write_bytes(content)
        with pytest.raises(VerifyError, match="cannot be read again"):
            check(path, written[1])

    @pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
    @pytest.mark.parametrize("decode", [False, True])
    def test_cut(self, written, tmp_path, part, decode):
        path, expected = written
        data = path.read_bytes()
        with av.open(str(path)) as container:
            last = max(p.pos for p in container.demux(video=0) if p.size)
        cut = tmp_path / "cut.mkv"
        cut.write_bytes(data[: int(last * part)])
        with pytest.raises(VerifyError, match=r"^asked.mkv: "):
            check(cut, expected, decode=decode)

    def test_packets_that_cannot_be_decoded(self, clips, tmp_path):
        # What the file holds is right in number and times; only decoding finds the noise.
        path = tmp_path / "noise.mkv"
        with av.open(str(clips.path("ffv1"))) as read, av.open(str(path), "w") as write:
            source = read.streams.video[0]
            stream = write.add_stream_from_template(source)
            times = array("q")
            for packet in read.demux(source):
                if packet.size:
                    times.append(packet.pts)
                    noise = av.Packet(bytes(reversed(bytes(packet))))
                    noise.pts, noise.dts = packet.pts, packet.dts
                    noise.time_base, noise.is_keyframe = packet.time_base, True
                    noise.stream = stream
                    write.mux(noise if len(times) == 5 else self._moved(packet, stream))
            tags = video_tags(source)
        expected = Expected(
            path="asked.mkv",
            times=times,
            time_base=Fraction(1, 1000),
            codec="ffv1",
            width=128,
            height=96,
            tags=tags,
            streams={"video": 1},
        )
        check(path, expected, decode=False)
        with pytest.raises(VerifyError, match=r"^asked.mkv: ") as caught:
            check(path, expected, decode=True)
        assert "Errno" not in str(caught.value)

    @staticmethod
    def _moved(packet, stream):
        packet.stream = stream
        return packet

    @pytest.mark.parametrize(("codec", "place"), [("libx264", 3), ("libx264", 12), ("mpeg4", 12)])
    def test_bits_that_are_wrong(self, written, clips, tmp_path, codec, place):
        # Decoders conceal what they cannot decode; a whole number of frames proves nothing.
        path, expected = written
        if codec == "mpeg4":
            path = tmp_path / "out.mkv"
            transcode.run(clips.path("everything_mkv"), path, video=VideoOptions(codec=codec))
            expected = dataclasses.replace(expected, codec="mpeg4")
        with av.open(str(path)) as container:
            packet = [p for p in container.demux(video=0) if p.size][place]
            content = bytes(packet)
        data = bytearray(path.read_bytes())
        start = data.index(content[8:]) + len(content) // 2
        length = min(40, len(content) // 3)
        data[start : start + length] = bytes(b ^ 0x5A for b in data[start : start + length])
        bad = tmp_path / "bad.mkv"
        bad.write_bytes(data)
        with pytest.raises(VerifyError, match=r"^asked.mkv: "):
            check(bad, expected, decode=True)


class TestRuns:
    """The file is changed by the caller's own callback, after the last frame was written."""

    def _run(self, clips, target, tamper, **options):
        def on_progress(event):
            if isinstance(event, Progress) and event.frames_encoded == event.total_frames:
                (part,) = [p for p in target.parent.iterdir() if ".part." in p.name]
                tamper(part)

        target.write_bytes(OLD)
        try:
            return transcode.run(
                clips.path("long_gop"),
                target,
                overwrite=True,
                on_progress=on_progress,
                video=VideoOptions(preset="ultrafast"),
                **options,
            )
        finally:
            assert os.listdir(target.parent) == [target.name]

    def test_untouched(self, clips, tmp_path):
        report = self._run(clips, tmp_path / "out.mp4", lambda part: None, verify="full")
        assert (report.frames, report.verified) == (100, "full")
        assert (tmp_path / "out.mp4").read_bytes() != OLD

    @pytest.mark.parametrize("verify", ["fast", "full"])
    @pytest.mark.parametrize("other", ["h264", "h264_mkv", "two_videos", "audio_only", "text"])
    def test_another_file(self, clips, tmp_path, verify, other):
        content = clips.path(other).read_bytes()
        with pytest.raises(VerifyError, match=r"out\.mp4: "):
            self._run(
                clips, tmp_path / "out.mp4", lambda part: part.write_bytes(content), verify=verify
            )
        assert (tmp_path / "out.mp4").read_bytes() == OLD

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
    def test_cut(self, clips, tmp_path, suffix):
        target = tmp_path / f"out{suffix}"
        with pytest.raises(VerifyError, match=f"out{suffix}: "):
            self._run(clips, target, lambda part: os.truncate(part, part.stat().st_size // 2))
        assert target.read_bytes() == OLD

    def test_removed(self, clips, tmp_path):
        with pytest.raises(VerifyError, match=r"out\.mp4: .*no such file"):
            self._run(clips, tmp_path / "out.mp4", lambda part: part.unlink())
        assert (tmp_path / "out.mp4").read_bytes() == OLD

    def test_none_checks_nothing(self, clips, tmp_path):
        content = clips.path("h264").read_bytes()
        report = self._run(
            clips, tmp_path / "out.mp4", lambda part: part.write_bytes(content), verify="none"
        )
        assert report.verified == "none"
        assert (tmp_path / "out.mp4").read_bytes() == content
