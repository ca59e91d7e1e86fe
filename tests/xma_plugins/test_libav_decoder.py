"""libav_decoder beside PyAV itself: the same pictures, times and tags, wherever they are wanted."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.codec.hwaccel import HWAccel
from av.sidedata.sidedata import Type

from bridges.backends.ffmpeg_properties import side_data
from bridges.formats import pixel_format
from bridges.frame import FrameInfo
from tests.xma_plugins.coded import (
    buffers_of,
    bytes_of,
    decode,
    head_of,
    packets_of,
    pictures_of,
)
from tests.xma_plugins.pictures import dense
from xma_plugins.buffers import BufferType
from xma_plugins.builtin.libav_frame import origin, to_av
from xma_plugins.errors import (
    BufferUseError,
    DataError,
    InvalidError,
    OrderError,
    XmaTimeoutError,
)
from xma_plugins.frames import XmaDataBuffer, XmaFrame
from xma_plugins.host_frames import to_host
from xma_plugins.kinds import DecoderType
from xma_plugins.properties import DecoderProperties
from xma_plugins.sessions import DecoderSession
from xma_plugins.status import Status

FORMS = (
    "h264",
    "bframes",
    "open_gop_hevc",
    "vp9",
    "av1_mkv",
    "mjpeg",
    "prores",
    "hdr10",
    "odd_yuv420p",
    "odd_yuv444p",
    "odd_bgr0",
    "h264_rgb",
    "ffv1_gray",
    "ffv1_gray10",
    "ffv1_bgra",
    "raw_rgb24",
    "raw_nv12",
    "vfr_mkv",
    "negative_pts",
    "ts_wrap",
)


def session_of(device=None, kind=DecoderType.MULTI, **given):
    properties = {
        name: given.pop(name)
        for name in ("intra_only", "width", "height", "frame_rate")
        if name in given
    }
    params = {"threads": 1, **given}
    return DecoderSession(
        DecoderProperties(plugin="libav_decoder", type=kind, params=params, **properties), device
    )


def of_clip(path, device=None, **given):
    """Return a session for packets of a clip that comes without its container."""
    codec, extradata, time_base, width, height = head_of(path)
    head = {"codec": codec, "extradata": extradata, "time_base": time_base}
    return session_of(device, **{**head, "width": width, "height": height, **given})


def on_host(frame):
    with frame, to_host(frame) as here:
        return dense(here)


@pytest.mark.parametrize("name", FORMS)
def test_a_stream_is_decoded_as_pyav_decodes_it(clips, name):
    path = clips.path(name)
    expected = pictures_of(path)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        with DecoderSession(
            DecoderProperties(plugin="libav_decoder", params={"stream": stream})
        ) as session:
            packets = (packet for packet in container.demux(stream) if packet.size)
            frames = decode(session, (XmaDataBuffer(packet) for packet in packets))
            assert session.ended
            assert len(frames) == len(expected) == len(clips[name].main.pts)
            for frame, picture in zip(frames, expected, strict=True):
                assert (frame.pts, frame.time_base) == (picture.pts, picture.time_base)
                assert frame.frame_rate == (stream.average_rate or None)
                assert frame.info.format.name == picture.format.name
                assert frame.info.colour.range == picture.color_range
                assert frame.info.colour.matrix == picture.colorspace
                assert frame.info.colour.primaries == picture.color_primaries
                assert frame.info.colour.transfer == picture.color_trc
                assert frame.buffer_type is BufferType.HOST
                assert not frame.is_idr
                assert on_host(frame) == bytes_of(picture)


@pytest.mark.parametrize("name", ["h264", "hdr10", "vp9", "av1", "odd_yuv420p"])
def test_bytes_with_codec_and_extradata(clips, name):
    path = clips.path(name)
    packets = packets_of(path)
    expected = [(picture.pts, bytes_of(picture)) for picture in pictures_of(path)]
    with of_clip(path) as session:
        frames = decode(
            session, [XmaDataBuffer(bytes(packet), pts=packet.pts) for packet in packets]
        )
        assert {frame.time_base for frame in frames} == {head_of(path)[2]}
        assert [(frame.pts, on_host(frame)) for frame in frames] == expected


def test_types_name_a_decoder_each(clips):
    names = {
        DecoderType.H264: "h264_ts",
        DecoderType.HEVC: "open_gop_hevc",
        DecoderType.VP9: "vp9",
        DecoderType.AV1: "av1",
        DecoderType.JPEG: "mjpeg",
    }
    for kind, name in names.items():
        path = clips.path(name)
        with session_of(kind=kind, extradata=head_of(path)[1]) as session:
            frames = decode(session, buffers_of(packets_of(path)))
            pictures = [bytes_of(picture) for picture in pictures_of(path)]
            assert [on_host(frame) for frame in frames] == pictures


def test_data_in_buffers_of_a_device(clips, device):
    path = clips.path("mjpeg")
    (packet, *_) = packets_of(path)
    coded = np.frombuffer(packet, np.uint8)
    with of_clip(path) as session:
        for device_only in (False, True):
            with device.allocate(coded.size, device_only=device_only) as buffer:
                if not device_only:
                    buffer.data[:] = coded
                buffer.put(coded)
                status, used = session.send_data(XmaDataBuffer(buffer=buffer, is_clone=True, pts=7))
            assert (status, used) == (Status.SUCCESS, coded.size)
            status, frame = session.recv_frame()
            assert (status, frame.pts) == (Status.SUCCESS, 7)
            assert on_host(frame) == bytes_of(pictures_of(path)[0])


@pytest.mark.parametrize("threads", [1, 4])
def test_a_stream_of_one_picture(clips, threads):
    path = clips.path("one_frame")
    (packet,) = packets_of(path)
    (expected,) = pictures_of(path)
    with of_clip(path, threads=threads) as session:
        status, used = session.send_data(XmaDataBuffer(packet))
        assert used == packet.size
        frames = []
        if status is Status.SUCCESS:
            frames.append(session.recv_frame()[1])
        assert session.send_data(None) == (Status.SUCCESS, 0)
        status, frame = session.recv_frame()
        while status is Status.SUCCESS:
            frames.append(frame)
            status, frame = session.recv_frame()
        assert (status, frame, session.ended) == (Status.EOS, None, True)
        assert [on_host(frame) for frame in frames] == [bytes_of(expected)]
        with pytest.raises(OrderError, match="the stream has ended"):
            session.send_data(XmaDataBuffer(packet))


def test_a_stream_of_no_picture():
    with session_of(kind=DecoderType.H264) as session:
        assert session.send_data(XmaDataBuffer.last()) == (Status.SUCCESS, 0)
        assert session.recv_frame() == (Status.EOS, None)


def test_key_frames_alone_come_at_once(clips):
    path = clips.path("mjpeg")
    with of_clip(path, threads=4, intra_only=True) as session:
        for packet in packets_of(path):
            assert session.send_data(XmaDataBuffer(packet))[0] is Status.SUCCESS
            session.recv_frame()[1].close()


def test_damaged_data_is_told_and_the_rest_decoded(clips):
    path = clips.path("prores")
    packets = packets_of(path)
    expected = pictures_of(path)
    noise = bytes(np.random.default_rng(1).integers(0, 256, packets[3].size, np.uint8))
    with of_clip(path) as session:
        frames = []
        for number, packet in enumerate(packets):
            damaged = number in (3, 7)
            data = XmaDataBuffer(b"" if number == 7 else noise if damaged else packet)
            if damaged:
                words = "no bytes; send None" if number == 7 else "prores cannot decode a packet"
                with pytest.raises(DataError, match=words):
                    session.send_data(data)
                continue
            assert session.send_data(data)[0] is Status.SUCCESS
            frames.append(session.recv_frame()[1])
        assert session.state == "open"
        assert session.send_data(None)[0] is Status.SUCCESS
        assert session.recv_frame()[0] is Status.EOS
    left = [picture for number, picture in enumerate(expected) if number not in (3, 7)]
    assert [on_host(frame) for frame in frames] == [bytes_of(picture) for picture in left]


def test_what_is_no_data_is_refused(clips):
    with session_of(kind=DecoderType.HEVC) as session:
        with pytest.raises(DataError, match=r"an av.Packet or bytes, got list"):
            session.send_data(XmaDataBuffer([1, 2]))
        assert session.state == "open"


def test_properties_are_known_once_a_head_was_read(clips):
    track = clips["h264_ts"].main
    with session_of(kind=DecoderType.H264) as session:
        assert session.get_properties() is None
        session.send_data(XmaDataBuffer(packets_of(clips.path("h264_ts"))[0]))
        info = session.get_properties()
    assert (info.format.name, info.width, info.height) == ("yuv420p", track.width, track.height)
    tags = info.colour.range, info.colour.matrix, info.colour.primaries, info.colour.transfer
    colour = track.colour
    assert tags == (colour.range, colour.matrix, colour.primaries, colour.transfer)


@pytest.mark.parametrize("zerocopy", [False, True])
def test_receiving_into_frames_of_ones_own(clips, host, zerocopy):
    path = clips.path("ffv1")
    packets = packets_of(path)
    expected = pictures_of(path)
    info = FrameInfo(pixel_format("yuv420p"), expected[0].width, expected[0].height)
    with of_clip(path, host, zerocopy=zerocopy) as session, XmaFrame.allocate(info) as own:
        memory = [plane.tensor for plane in own.planes]
        for packet, picture in zip(packets, expected, strict=True):
            session.send_data(XmaDataBuffer(packet))
            assert session.recv_frame(own) == (Status.SUCCESS, own)
            assert dense(own) == bytes_of(picture)
            assert (own.pts, own.time_base) == (picture.pts, picture.time_base)
        assert [plane.tensor for plane in own.planes] == memory
        assert host.transfers.nbytes == 0


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("format", InvalidError, "of .'yuv420p', 128, 96. cannot be copied into one of .'nv12'"),
        ("closed", BufferUseError, "this frame was closed; receive into a new one"),
        ("theirs", InvalidError, "samples belong to whoever gave it"),
    ],
)
def test_frames_that_cannot_be_received_into(clips, fault, error, words):
    path = clips.path("ffv1")
    first, second = packets_of(path)[:2]
    with of_clip(path) as session:
        session.send_data(XmaDataBuffer(first))
        if fault == "theirs":
            _, frame = session.recv_frame()
            session.send_data(XmaDataBuffer(second))
        else:
            name = "nv12" if fault == "format" else "yuv420p"
            frame = XmaFrame.allocate(FrameInfo(pixel_format(name), 128, 96))
        if fault == "closed":
            frame.close()
        with pytest.raises(error, match=words):
            session.recv_frame(frame)
        frame.close()


@pytest.mark.parametrize("name", ["h264", "hdr10", "odd_yuv420p", "ffv1_bgra"])
def test_zero_copy_gives_device_buffers(clips, device, name):
    path = clips.path(name)
    packets = packets_of(path)
    pictures = pictures_of(path)
    before = device.transfers.bytes_to_device, device.transfers.bytes_to_host
    with of_clip(path, device, zerocopy=True) as session:
        frames = decode(session, buffers_of(packets))
        there = device.transfers.bytes_to_device - before[0]
        for frame in frames:
            assert frame.buffer_type is BufferType.DEVICE_ONLY
            assert {plane.buffer.device for plane in frame.planes} == {device}
            assert {plane.buffer.data for plane in frame.planes} == {None}
        spans = [plane.tensor.info.span for frame in frames for plane in frame.planes]
        shares = device.driver.shares_host_memory
        assert there == (0 if shares else sum(spans))
        assert device.transfers.bytes_to_host == before[1]
        for frame, picture in zip(frames, pictures, strict=True):
            assert frame.pts == picture.pts
            assert on_host(frame) == bytes_of(picture)
        back = device.transfers.bytes_to_host - before[1]
        assert back == (0 if shares else sum(spans))


def test_copies_on_a_device_keep_tags_and_no_second_copy(clips, device):
    (found, *_) = pictures_of(clips.path("hdr10"))
    with of_clip(clips.path("hdr10"), device, zerocopy=True) as session:
        frames = decode(session, buffers_of(packets_of(clips.path("hdr10"))))
        kept = origin(frames[0])
        assert (kept.width == 0) == (not device.driver.shares_host_memory)
        back = to_av(frames[0])
        for kind in (Type.MASTERING_DISPLAY_METADATA, Type.CONTENT_LIGHT_LEVEL):
            assert side_data(back, kind) == side_data(found, kind) is not None
        assert (back.color_trc, back.pts, back.time_base) == (16, found.pts, found.time_base)
        assert bytes_of(back) == bytes_of(found)
        for frame in frames:
            frame.close()


def test_a_pool_of_device_buffers_has_an_end(clips):
    from tests.xma_plugins.devices import opened

    device = opened("opencl copies")
    path = clips.path("ffv1")
    packets = packets_of(path)
    with of_clip(path, device, zerocopy=True, pool=2, timeout=0.05) as session:
        frames = []
        for packet in packets[:2]:
            session.send_data(XmaDataBuffer(packet))
            frames.append(session.recv_frame()[1])
        frames[0].close()
        session.send_data(XmaDataBuffer(packets[2]))
        frames.append(session.recv_frame()[1])
        session.send_data(XmaDataBuffer(packets[3]))
        with pytest.raises(XmaTimeoutError, match="all of its pool are held by those who rec"):
            session.recv_frame()
        for frame in frames:
            frame.close()


def test_destroying_the_session_names_who_holds_its_buffers(clips):
    from tests.xma_plugins.devices import opened

    device = opened("opencl copies")
    path = clips.path("ffv1")
    session = of_clip(path, device, zerocopy=True)
    session.send_data(XmaDataBuffer(packets_of(path)[0]))
    _, frame = session.recv_frame()
    with pytest.raises(BufferUseError, match="1 of its frames are still held, by the application"):
        session.destroy()
    with pytest.raises(BufferUseError, match="was freed"):
        assert frame.planes[0].tensor
    frame.close()
    assert device.buffers == ()


@pytest.mark.parametrize("zerocopy", [False, True])
def test_pictures_outlive_the_decoder(clips, host, zerocopy):
    path = clips.path("h264")
    expected = [bytes_of(picture) for picture in pictures_of(path)]
    with of_clip(path, host, zerocopy=zerocopy) as session:
        frames = decode(session, buffers_of(packets_of(path)))
    assert [on_host(frame) for frame in frames] == expected
    assert host.buffers == ()


@pytest.mark.parametrize("pts", [-(1 << 62), -1, 0, 1 << 40, (1 << 62) + 12345])
def test_times_of_64_bits(clips, pts):
    path = clips.path("ffv1")
    packets = packets_of(path)[:3]
    with of_clip(path) as session:
        data = [XmaDataBuffer(bytes(each), pts=pts + n) for n, each in enumerate(packets)]
        assert [frame.pts for frame in decode(session, data)] == [pts, pts + 1, pts + 2]


def test_pictures_without_a_time(clips):
    path = clips.path("ffv1")
    with of_clip(path, time_base=None) as session:
        (frame,) = decode(session, [XmaDataBuffer(bytes(packets_of(path)[0]))])
        assert frame.pts is None
        assert frame.time_base is None


def test_a_frame_rate_is_handed_on(clips):
    path = clips.path("ffv1")
    rate = Fraction(30000, 1001)
    with of_clip(path, frame_rate=rate) as session:
        frames = decode(session, buffers_of(packets_of(path)))
        assert {frame.frame_rate for frame in frames} == {rate}


@pytest.mark.parametrize(
    ("kind", "params", "words"),
    [
        (DecoderType.MULTI, {}, "not told what to decode"),
        (DecoderType.MULTI, {"codec": "h265"}, "no decoder 'h265' in PyAV"),
        (DecoderType.MULTI, {"codec": "aac"}, "aac decodes audio, not video"),
        (DecoderType.H264, {"codec": "hevc"}, "of type H264, and is to decode hevc"),
        (DecoderType.H264, {"speed": 1}, "no parameter 'speed'"),
        (DecoderType.H264, {"threads": -1}, "'threads' takes a whole number"),
        (DecoderType.H264, {"stream": "clip.mp4"}, "takes an av.VideoStream, got 'clip.mp4'"),
        (DecoderType.MULTI, {"codec": "ffv1", "hwaccel": "nonsense"}, "not decoded in nonsense"),
    ],
)
def test_what_cannot_be_opened(kind, params, words):
    with pytest.raises(InvalidError, match=words):
        DecoderSession(DecoderProperties(plugin="libav_decoder", type=kind, params=params))


def test_a_stream_is_used_as_it_is(clips):
    with av.open(str(clips.path("h264"))) as container:
        stream = container.streams.video[0]
        with pytest.raises(InvalidError, match="leave threads, hwaccel out"):
            session_of(stream=stream, threads=2, hwaccel="cuda")
        with pytest.raises(InvalidError, match="of type HEVC, and is to decode h264"):
            session_of(kind=DecoderType.HEVC, stream=stream, threads=0)


def test_hardware_that_is_not_there_is_no_software():
    try:
        av.CodecContext.create("h264", "r", hwaccel=HWAccel("cuda"))
    except av.FFmpegError:
        pass
    else:
        pytest.skip("there is hardware that decodes")
    with pytest.raises(InvalidError, match="no cuda hardware to decode h264 with: "):
        session_of(kind=DecoderType.H264, hwaccel="cuda")
