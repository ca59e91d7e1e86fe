"""libav_encoder: what PyAV decodes of its packets is what was sent, as its properties have it."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from bridges.edges.cpu_to_ffmpeg import held_planes
from bridges.frame import Colour, ColourRange, Matrix
from tests.xma_plugins.coded import (
    bytes_of,
    codec_of,
    decoded,
    encode,
    luma,
    moving,
    pictures_of,
)
from tests.xma_plugins.pictures import arrays, dense, picture
from xma_plugins.builtin.libav_frame import from_av, to_av
from xma_plugins.errors import BufferUseError, InvalidError
from xma_plugins.frames import XmaDataBuffer, XmaFrame
from xma_plugins.kinds import EncoderType, FormatType
from xma_plugins.properties import EncoderProperties
from xma_plugins.sessions import EncoderSession
from xma_plugins.status import Status

WIDTH, HEIGHT = 64, 64
FAST = {"preset": "ultrafast", "tune": "zerolatency"}
X264 = {"codec": "libx264", "options": FAST}


OTHER_FORMS = [("yuv420p", (WIDTH + 2, HEIGHT)), ("nv12", (WIDTH, HEIGHT))]


def over_samples(source):
    """Return a frame with a copy of a picture's samples, which says where it comes from."""
    with from_av(source) as given:
        frame = XmaFrame.allocate(given.info)
        frame.copy_from(given)
    return frame


def session_of(params=X264, *, pix_fmt="yuv420p", size=(WIDTH, HEIGHT), **properties):
    return EncoderSession(
        EncoderProperties(
            plugin="libav_encoder",
            format=pix_fmt,
            width=size[0],
            height=size[1],
            params={"threads": 1, **params},
            **properties,
        )
    )


ENCODERS = {
    "libx264": {"preset": "ultrafast"},
    "libx265": {"preset": "ultrafast"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8"},
    "mpeg4": {},
}


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_give_what_pyav_decodes(name):
    with session_of({"codec": name, "options": ENCODERS[name]}, bitrate=2000) as session:
        packets = encode(session, moving(8))
        assert session.ended
    assert [packet.pts for packet in sorted(packets, key=lambda each: each.pts)] == list(range(8))
    assert {packet.time_base for packet in packets} == {Fraction(1, 25)}
    assert packets[0].is_keyframe
    pictures = decoded(codec_of(name), packets)
    for frame, found in zip(moving(8), pictures, strict=True):
        error = luma(found) - arrays(frame)[0]
        assert np.sqrt((error**2).mean()) < 12


LOSSLESS = [
    ({"codec": "rawvideo"}, "yuv420p", (33, 17)),
    ({"codec": "rawvideo"}, "yuv444p16le", (5, 3)),
    ({"codec": "rawvideo"}, "rgb24", (33, 17)),
    ({"codec": "rawvideo"}, "nv12", (34, 18)),
    ({"codec": "ffv1"}, "yuv420p", (33, 17)),
    ({"codec": "ffv1"}, "yuv422p10le", (33, 17)),
    ({"codec": "ffv1"}, "yuva420p", (34, 18)),
    ({"codec": "ffv1"}, "yuva444p10le", (33, 17)),
    ({"codec": "ffv1"}, "gray", (33, 17)),
    ({"codec": "ffv1"}, "gray10le", (33, 17)),
    ({"codec": "ffv1"}, "bgra", (33, 17)),
    ({"codec": "ffv1"}, "gbrp10le", (33, 17)),
    ({"codec": "libx264", "options": {"preset": "ultrafast", "qp": "0"}}, "yuv444p", (33, 17)),
    ({"codec": "libx264", "options": {"preset": "ultrafast", "qp": "0"}}, "yuv420p10le", (34, 18)),
    ({"codec": "libx265", "options": {"x265-params": "lossless=1"}}, "yuv420p", (34, 18)),
]


@pytest.mark.parametrize(("params", "pix_fmt", "size"), LOSSLESS)
def test_what_is_lossless_comes_back_bit_by_bit(params, pix_fmt, size):
    frames = [picture(pix_fmt, *size, seed=number, pts=number) for number in range(3)]
    expected = [dense(frame) for frame in frames]
    with session_of(params, pix_fmt=pix_fmt, size=size) as session:
        packets = encode(session, frames)
    if params["codec"] == "rawvideo":
        assert [bytes(packet) for packet in packets] == expected
        return
    context = av.CodecContext.create(codec_of(params["codec"]), "r")
    # FFV1 leaves size and format to the container.
    context.width, context.height, context.pix_fmt = *size, pix_fmt
    context.extradata = head_of_encoder(params, pix_fmt, size)
    pictures = [found for packet in [*packets, None] for found in context.decode(packet)]
    assert [found.format.name for found in pictures] == [pix_fmt] * 3
    assert [bytes_of(found) for found in pictures] == expected
    assert held_planes() == 0


def head_of_encoder(params, pix_fmt, size):
    """Return the extradata of the same encoder, opened by PyAV alone."""
    context = av.CodecContext.create(params["codec"], "w")
    context.width, context.height, context.pix_fmt = *size, pix_fmt
    context.time_base, context.options = Fraction(1, 25), params.get("options", {})
    context.open()
    return context.extradata


def test_types_name_an_encoder_each():
    names = {
        EncoderType.H264: "h264",
        EncoderType.HEVC: "hevc",
        EncoderType.VP9: "vp9",
        EncoderType.AV1: "av1",
    }
    (frame,) = moving(1)
    for kind, name in names.items():
        with session_of({}, type=kind, pix_fmt=FormatType.YUV420) as session:
            packets = encode(session, [frame], close=False)
        (found,) = decoded(name, packets)
        assert np.abs(luma(found) - arrays(frame)[0]).mean() < 10
    with session_of({}, type=EncoderType.COPY) as session:
        assert bytes(*encode(session, [frame], close=False)) == dense(frame)
    full = Colour(range=ColourRange.FULL)
    with session_of({"colour": full}, type=EncoderType.JPEG) as session:
        (found,) = decoded("mjpeg", encode(session, [frame]))
    assert found.format.name == "yuvj420p"


def test_colour_is_written():
    colour = Colour(Matrix.BT2020_NCL, ColourRange.FULL, 9, 16)
    with session_of({**X264, "colour": colour}) as session:
        found = decoded("h264", encode(session, moving(2)))[0]
    tags = found.colorspace, found.color_range, found.color_primaries, found.color_trc
    assert tags == (9, 2, 9, 16)


def sizes(**properties):
    with session_of(**properties) as session:
        return [packet.size for packet in encode(session, moving(40, noise=20))]


def test_bitrate():
    few, many = (sum(sizes(bitrate=rate)) * 8 * 25 / 40 / 1000 for rate in (400, 800))
    assert few < 0.75 * many
    assert many == pytest.approx(800, rel=0.25)
    own = {"codec": "libx264", "options": {**FAST, "b": "800000"}}
    assert sizes(bitrate=800) == sizes(params=own)


def test_qp_is_constant():
    means = [np.mean(sizes(qp=qp)) for qp in (20, 30, 40)]
    assert means[0] > 1.5 * means[1] > 3 * means[2]
    assert sizes(qp=30) == sizes(params={"codec": "libx264", "options": {**FAST, "qp": "30"}})
    for name in ("libx265", "libsvtav1", "libvpx-vp9", "mpeg4"):
        params = {"codec": name, "options": ENCODERS[name]}
        few, many = (sum(sizes(params=params, qp=qp)) for qp in (28, 10))
        assert many > 1.5 * few


def test_min_qp_holds_down_what_a_rate_would_allow():
    free, held = sum(sizes(bitrate=2000)), sum(sizes(bitrate=2000, min_qp=40))
    assert held < 0.5 * free
    exact = {"codec": "libx264", "options": {**FAST, "b": "2000000", "qmin": "40"}}
    assert held == sum(sizes(params=exact))


@pytest.mark.parametrize(
    ("given", "every"), [({"gop_size": 10}, 10), ({"idr_interval": 8, "gop_size": 8}, 8)]
)
@pytest.mark.parametrize("name", ["libx264", "libvpx-vp9", "mpeg4"])
def test_key_frames_come_at_intervals(name, given, every):
    params = {"codec": name, "options": ENCODERS[name]}
    with session_of(params, bitrate=500, **given) as session:
        packets = encode(session, moving(30))
    assert [packet.pts for packet in packets if packet.is_keyframe] == list(range(0, 30, every))


def delay(name, options, depth):
    """Return how many pictures an encoder takes before it gives the first packet."""
    with session_of({"codec": name, "options": options}, lookahead_depth=depth) as session:
        for number, frame in enumerate(moving(60)):
            with frame:
                if session.send_frame(frame) is Status.SUCCESS:
                    return number
    raise AssertionError(f"{name} gives nothing")


@pytest.mark.parametrize("name", ["libx264", "libx265", "libsvtav1", "libvpx-vp9"])
def test_a_look_ahead_delays(name):
    options = {
        "libx264": {"preset": "fast", "bf": "0"},
        "libx265": {"preset": "ultrafast", "x265-params": "bframes=0:frame-threads=1:rc-grain=0"},
        "libsvtav1": {**ENCODERS["libsvtav1"], "crf": "35"},
        "libvpx-vp9": {"deadline": "good", "cpu-used": "5"},
    }
    short, long = (delay(name, options[name], depth) for depth in (8, 20))
    assert short >= 7
    assert long - short == (20 - 8 if name != "libsvtav1" else pytest.approx(12, abs=8))


def test_aq_mode_moves_bits():
    options = {"preset": "veryfast", "tune": "zerolatency", "crf": "25"}
    by_mode = {
        mode: sizes(params={"codec": "libx264", "options": options}, aq_mode=mode)
        for mode in (1, 2, 3)
    }
    assert len({tuple(each) for each in by_mode.values()}) == 3
    own = {"codec": "libx264", "options": {**options, "aq-mode": "3"}}
    assert by_mode[3] == sizes(params=own)


def test_options_of_x265_are_joined():
    options = {"preset": "ultrafast", "x265-params": "lossless=1"}
    frames = [picture(width=34, height=18, seed=number, pts=number) for number in range(2)]
    expected = [dense(frame) for frame in frames]
    params = {"codec": "libx265", "options": options}
    with session_of(params, size=(34, 18), aq_mode=1, lookahead_depth=6) as session:
        pictures = decoded("hevc", encode(session, frames))
    assert [bytes_of(found) for found in pictures] == expected


REFUSED = {
    "qp_offset_i": 1,
    "qp_offset_b0": 1,
    "qp_offset_b1": 1,
    "qp_offset_b2": 1,
    "temporal_aq_gain": 10,
    "spatial_aq_gain": 10,
    "rc_mode": 1,
}


@pytest.mark.parametrize("name", REFUSED)
def test_properties_that_an_encoder_does_not_know_are_named(name):
    with pytest.raises(InvalidError, match=f"libx264 takes no {name}; say it in the encoder's own"):
        session_of(**{name: REFUSED[name]})


@pytest.mark.parametrize(
    ("params", "properties", "words"),
    [
        ({}, {}, "not told how to encode"),
        ({"codec": "h265"}, {}, "no encoder 'h265' in PyAV"),
        ({"codec": "aac"}, {}, "aac encodes audio, not video"),
        ({"codec": "libx264"}, {"type": EncoderType.HEVC}, "type HEVC, and libx264 makes h264"),
        ({"codec": "libx264"}, {"pix_fmt": None}, "not told the pixel format"),
        ({"codec": "libx264"}, {"pix_fmt": "rgba"}, "libx264 refused: .*rgba"),
        ({"codec": "libx264"}, {"size": (33, 17)}, r"libx264 refused: .*not divisible by 2"),
        ({"codec": "libx264"}, {"size": (0, 0)}, "libx264 refused: "),
        ({"codec": "libx264", "options": {"crff": "3"}}, {}, "libx264 has no option crff"),
        ({"codec": "libx264", "options": {"preset": "x"}}, {}, "libx264 refused: .*preset"),
        ({"codec": "libx264", "options": "crf=3"}, {}, "'options' takes a mapping"),
        ({"codec": "libx264", "colour": "bt709"}, {}, "colour is a bridges.frame.Colour"),
        ({"codec": "libx264", "speed": 1}, {}, "no parameter 'speed'"),
        ({"codec": "ffv1"}, {"bitrate": 100}, "ffv1 takes no bitrate"),
        ({"codec": "ffv1"}, {"qp": 3, "min_qp": 1}, "ffv1 takes no min_qp, qp"),
        ({"codec": "prores_ks"}, {"gop_size": 5}, "prores_ks takes no gop_size"),
        ({"codec": "libx264"}, {"qp": 3, "bitrate": 100}, "qp is constant"),
        ({"codec": "libx264"}, {"gop_size": 3, "idr_interval": 6}, "let idr_interval be gop_size"),
        ({"stream": "out.mp4"}, {}, "takes an output's av.VideoStream, got 'out.mp4'"),
    ],
)
def test_what_cannot_be_opened(params, properties, words):
    with pytest.raises(InvalidError, match=words):
        session_of(params, **properties)


def test_idr_pictures_are_key_frames():
    for name, options in ENCODERS.items():
        with session_of({"codec": name, "options": options}, bitrate=500) as session:
            frames = list(moving(12))
            for number in (5, 9):
                frames[number].is_idr = True
            packets = encode(session, frames)
        keys = sorted(packet.pts for packet in packets if packet.is_keyframe)
        assert keys == [0, 5, 9], name


def test_decoded_pictures_do_not_order_their_coding(clips):
    """They say how they were coded before."""
    path = clips.path("bframes")
    found = pictures_of(path)
    assert {PictureType(each.pict_type).name for each in found} == {"I", "P", "B"}
    for each in found:
        each.pict_type = PictureType.I
    track = clips["bframes"].main
    with session_of(size=(track.width, track.height), time_base=found[0].time_base) as session:
        packets = encode(session, [from_av(each) for each in found])
    assert sum(packet.is_keyframe for packet in packets) == 1
    assert [packet.pts for packet in packets] == list(track.pts)
    assert {each.pict_type for each in found} == {PictureType.I}


def test_pictures_that_are_not_to_be_encoded():
    with session_of() as session:
        frames = list(moving(6))
        for number in (1, 4):
            frames[number].do_not_encode = True
        assert [packet.pts for packet in encode(session, frames)] == [0, 2, 3, 5]


def test_one_picture_goes_to_two_encoders(clips):
    """Neither sees what the other one makes of times and types."""
    found = pictures_of(clips.path("bframes"))[:6]
    track = clips["bframes"].main
    size = track.width, track.height
    with (
        session_of(size=size, time_base=Fraction(1, 1000)) as one,
        session_of({"codec": "ffv1"}, size=size, time_base=found[0].time_base) as two,
    ):
        first, second = [], []
        for each in found:
            with from_av(each) as frame:
                for session, packets in ((one, first), (two, second)):
                    frame.is_idr = session is one
                    assert session.send_frame(frame) is Status.SUCCESS
                    packets.append(session.recv_data()[1].data)
    times = [each.pts for each in found]
    assert [packet.pts for packet in second] == times
    assert {packet.time_base for packet in first} == {Fraction(1, 1000)}
    assert [float(packet.pts * packet.time_base) for packet in first] == [
        pytest.approx(float(pts * found[0].time_base), abs=0.001) for pts in times
    ]
    assert all(packet.is_keyframe for packet in first)


def test_times_that_were_changed_count(clips):
    found = pictures_of(clips.path("ffv1"))[:3]
    track = clips["ffv1"].main
    with session_of(size=(track.width, track.height), time_base=Fraction(1, 90000)) as session:
        frames = [from_av(each) for each in found]
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = (1 << 40) + number, Fraction(1, 90000)
        assert [packet.pts for packet in encode(session, frames)] == [
            (1 << 40) + number for number in range(3)
        ]
    assert [each.pts for each in found] == list(track.pts[:3])


@pytest.mark.parametrize(
    "times", [[-5, -3, 7], [(1 << 55) - 2, 1 << 55], [None, None, None], [100, None, None]]
)
def test_times(times):
    frames = list(moving(len(times)))
    for frame, pts in zip(frames, times, strict=True):
        frame.pts, frame.time_base = pts, None
    start = times[0] or 0
    expected = times if None not in times else [start, start + 1, start + 2]
    with session_of({"codec": "ffv1"}) as session:
        assert [packet.pts for packet in encode(session, frames)] == expected


def test_pictures_on_a_device(device):
    """Those in buffers with a host's side, and those without one, as host memory."""
    frames = [picture(width=WIDTH, height=HEIGHT, seed=number, pts=number) for number in range(3)]
    expected = [dense(frame) for frame in frames]
    before, shares = device.transfers.nbytes, device.driver.shares_host_memory
    for device_only in (False, True):
        with session_of({"codec": "ffv1"}) as session:
            extradata = head_of_encoder({"codec": "ffv1"}, "yuv420p", (WIDTH, HEIGHT))
            there = [on_device(device, frame, device_only=device_only) for frame in frames]
            spans = sum(plane.tensor.info.span for frame in there for plane in frame.planes)
            packets = encode(session, there)
        context = av.CodecContext.create("ffv1", "r")
        context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        context.extradata = extradata
        found = [bytes_of(each) for packet in [*packets, None] for each in context.decode(packet)]
        assert found == expected
        moved = device.transfers.nbytes - before
        assert moved == (0 if shares else 2 * spans)
        before = device.transfers.nbytes


def on_device(device, frame, *, device_only):
    """Return a picture in buffers of a device."""
    from xma_plugins.frames import padded_planes

    buffers = []
    for plane, layout in zip(frame.planes, padded_planes(frame.info), strict=True):
        buffer = device.allocate(layout.span, device_only=device_only, holder="the test")
        block = np.zeros(layout.span, np.uint8)
        shaped = np.ndarray(layout.shape, layout.dtype, block, strides=layout.strides)
        shaped[...] = plane.tensor.handle("array")
        buffer.put(block)
        buffers.append(buffer)
    made = XmaFrame.from_device_buffers(frame.info, buffers)
    made.describe_as(frame)
    return made


@pytest.mark.parametrize(("pix_fmt", "size"), [("nv12", (64, 64)), ("yuv420p", (48, 64))])
def test_pictures_of_another_form_are_refused(pix_fmt, size):
    with session_of() as session, picture(pix_fmt, *size) as frame:
        words = f"encodes yuv420p of 64x64, and is sent {pix_fmt} of {size[0]}x{size[1]}"
        with pytest.raises(InvalidError, match=words):
            session.send_frame(frame)


def test_one_of_another_form_is_refused_among_right_ones():
    with session_of({"codec": "rawvideo"}) as session:
        for right in (True, False, True, False, True):
            for pix_fmt, size in [("yuv420p", (WIDTH, HEIGHT))] if right else OTHER_FORMS:
                with picture(pix_fmt, *size) as frame:
                    if right:
                        assert session.send_frame(frame) is Status.SUCCESS
                        assert session.recv_data()[0] is Status.SUCCESS
                        continue
                    with pytest.raises(InvalidError, match="scale or convert first"):
                        session.send_frame(frame)


@pytest.mark.parametrize("made", [from_av, over_samples])
def test_a_time_without_a_base_counts_in_the_session_s(made):
    """Whatever the base was of the frame before, or of the picture that the samples come from."""
    source = av.VideoFrame.from_ndarray(np.zeros((HEIGHT * 3 // 2, WIDTH), np.uint8), "yuv420p")
    with session_of({"codec": "mpeg4"}) as session:
        packets = []
        for number in range(6):
            source.pts, source.time_base = 40 * number, Fraction(1, 1000)
            with made(source) as frame:
                if number % 2:
                    frame.pts, frame.time_base = number, None
                if session.send_frame(frame) is Status.SUCCESS:
                    packets.append(session.recv_data()[1].data.pts)
        session.send_frame(None)
        while (received := session.recv_data())[0] is Status.SUCCESS:
            packets.append(received[1].data.pts)
    assert packets == list(range(6))


def test_closed_frames_and_dummies_are_refused():
    with session_of() as session:
        frame = picture(width=WIDTH, height=HEIGHT)
        frame.close()
        with pytest.raises(BufferUseError, match="a frame that was closed was sent to encoder"):
            session.send_frame(frame)
        with pytest.raises(InvalidError, match="a frame without planes was sent to encoder"):
            session.send_frame(XmaFrame())
        assert len(encode(session, moving(2))) == 2


def test_data_comes_into_what_is_given(host):
    with session_of() as session:
        first, second = moving(2)
        own = XmaDataBuffer()
        session.send_frame(first)
        assert session.recv_data(own) == (Status.SUCCESS, own)
        (found, *_) = [own.data]
        assert (own.pts, own.alloc_size) == (0, found.size)
        session.send_frame(second)
        session.recv_data(own)
        assert own.pts == 1
        assert own.data is not found
        first.close()
        second.close()
    with session_of() as session, host.allocate(100) as buffer:
        (frame,) = moving(1)
        session.send_frame(frame)
        with pytest.raises(InvalidError, match="receive into a dummy"):
            session.recv_data(XmaDataBuffer(buffer=buffer, is_clone=True))
        frame.close()


def test_what_was_encoded_is_not_held():
    """Whatever comes next, and when."""
    with session_of({"codec": "ffv1"}) as session:
        for frame in moving(3):
            with frame, from_av(to_av(frame)) as again:
                assert session.send_frame(again) is Status.SUCCESS
                assert session.recv_data()[1] is not None
            assert held_planes() == 0


def test_destroying_lets_go_of_what_the_encoder_holds(host):
    """In mid-stream, with pictures in its look-ahead and packets that nobody received."""
    session = session_of({"codec": "ffv1", "threads": 4, "options": {"slices": "4"}})
    frames = [on_device(host, frame, device_only=True) for frame in moving(6)]
    for frame in frames:
        if session.send_frame(frame) is Status.SUCCESS:
            session.recv_data()
        frame.close()
    session.destroy()
    assert held_planes() == 0
    assert host.buffers == ()
    session.destroy()


def test_the_stream_of_a_container(tmp_path):
    path = tmp_path / "out.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=FAST)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.open()
        with pytest.raises(InvalidError, match="leave options, bitrate, qp out"):
            session_of({"stream": stream, "options": FAST, "threads": 0}, bitrate=1, qp=2)
        with pytest.raises(InvalidError, match="take nv12 of 64x64, and its stream takes yuv420p"):
            session_of({"stream": stream, "threads": 0}, pix_fmt="nv12")
        with session_of({"stream": stream, "threads": 0}) as session:
            container.mux(encode(session, moving(5)))
    assert [found.pts * found.time_base * 25 for found in pictures_of(path)] == list(range(5))
