"""libav_scaler beside libavfilter itself: the same samples, and all that pictures say."""

from fractions import Fraction

import numpy as np
import pytest
from av.filter.graph import Graph

from bridges.edges.cpu_to_ffmpeg import held_planes
from bridges.formats import pixel_format
from bridges.frame import Colour, ColourRange, FrameInfo, Matrix
from tests.xma_plugins.coded import bytes_of, pictures_of
from tests.xma_plugins.pictures import arrays, dense, picture
from xma_plugins.builtin.libav_frame import from_av, to_av
from xma_plugins.errors import FilterError, InvalidError, OrderError, PluginError
from xma_plugins.frames import XmaFrame
from xma_plugins.kinds import ScalerType
from xma_plugins.properties import Port, ScalerProperties
from xma_plugins.sessions import ScalerSession
from xma_plugins.side_data import SideData, SideDataType
from xma_plugins.status import Status
from xma_plugins.uploads import Uploads

FILTERS = {
    ScalerType.BICUBIC: "bicubic",
    ScalerType.BILINEAR: "bilinear",
    ScalerType.POLYPHASE: "lanczos",
}
FLAGS = "accurate_rnd+full_chroma_int"


def session_of(*outputs, kind=ScalerType.BICUBIC, source=None, device=None, **properties):
    ports = tuple(
        Port(width=each[0], height=each[1], format=each[2] if len(each) > 2 else None)
        if isinstance(each, tuple)
        else each
        for each in outputs
    )
    return ScalerSession(
        ScalerProperties(
            plugin="libav_scaler",
            type=kind,
            input=source or Port(),
            outputs=ports,
            **properties,
        ),
        device,
    )


def scale(session, frame):
    """Send a picture and return what comes of it."""
    with frame:
        assert session.send_frame(frame) is Status.SUCCESS
    status, made = session.recv_frame_list()
    assert status is Status.SUCCESS
    return made


def filtered(found, *filters):
    """Return what libavfilter makes of a picture of PyAV: pairs of names and arguments."""
    graph = Graph()
    source = graph.add(
        "buffer",
        f"video_size={found.width}x{found.height}:pix_fmt={found.format.name}:time_base=1/1000:"
        f"colorspace={found.colorspace}:range={found.color_range}",
    )
    nodes = [source, *(graph.add(*each) for each in filters), graph.add("buffersink")]
    graph.link_nodes(*nodes)
    graph.configure(auto_buffer=False)
    graph.vpush(found)
    return graph.vpull()


def samples(frame):
    with frame:
        return dense(frame)


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("name", ["h264", "hdr10", "ffv1_bgra", "odd_yuv444p", "ffv1_gray"])
def test_sizes_are_those_of_libavfilter(clips, kind, name):
    (found, *_) = pictures_of(clips.path(name))
    sizes = ((64, 48), (33, 17), (200, 150))
    with session_of(*sizes, kind=kind) as session:
        made = scale(session, from_av(found))
        for frame, (width, height) in zip(made, sizes, strict=True):
            flags = f"flags={FILTERS[kind]}+{FLAGS}"
            expected = filtered(found, ("scale", f"{width}:{height}:{flags}"))
            assert expected.format.name == found.format.name
            assert (frame.info.width, frame.info.height) == (width, height)
            assert frame.info.format.name == found.format.name
            tags = frame.info.colour
            assert (tags.matrix, tags.range) == (expected.colorspace, expected.color_range)
            if not found.format.is_rgb:
                assert (tags.matrix, tags.range) == (found.colorspace, found.color_range)
            assert samples(frame) == bytes_of(expected)


@pytest.mark.parametrize("count", range(1, 9))
def test_one_to_eight_outputs(count):
    sizes = [(16 + 2 * number, 40 - 2 * number) for number in range(count)]
    with session_of(*sizes) as session:
        made = scale(session, picture(width=64, height=48))
        assert [(frame.info.width, frame.info.height) for frame in made] == sizes
        for frame in made:
            frame.close()
    with pytest.raises(InvalidError, match="1 to 8 outputs, got 9"):
        session_of(*[(16, 16)] * 9)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(0, 0, (64, 48)), (32, 0, (32, 24)), (0, 12, (16, 12)), (64, 48, (64, 48))],
)
def test_sides_that_are_left_out(width, height, expected):
    source = picture(width=64, height=48)
    before = dense(source)
    with session_of((width, height)) as session:
        (made,) = scale(session, source)
        assert (made.info.width, made.info.height) == expected
        assert (samples(made) == before) == (expected == (64, 48))


def flat(pix_fmt, codes, colour=None):
    """Return a picture of one colour; codes are those of each plane."""
    info = FrameInfo(pixel_format(pix_fmt), 64, 48, colour or Colour())
    frame = XmaFrame.allocate(info)
    for array, code in zip(arrays(frame), codes, strict=True):
        array[...] = code
    return frame


LIMITED = Colour(Matrix.BT709, ColourRange.LIMITED)
FULL = Colour(Matrix.BT709, ColourRange.FULL)
BT601 = Colour(Matrix.SMPTE170M, ColourRange.LIMITED)
BT2020 = Colour(Matrix.BT2020_NCL, ColourRange.LIMITED)
# Pure green in 8 bits, by ITU-T H.273, equations 20 to 36, and the weights of its table 4.
GREEN = {"709": (173, 42, 26), "601": (145, 54, 34), "2020": (164, 47, 25)}
CONVERSIONS = [
    ("yuv420p", (90, 100, 150), LIMITED, "yuv444p", (90, 100, 150), ColourRange.LIMITED),
    ("yuv420p", (5, 100, 250), FULL, "yuv444p", (5, 100, 250), ColourRange.FULL),
    ("yuv420p", (90, 100, 150), Colour(), "nv12", (90, (100, 150)), None),
    ("yuv420p", (235, 128, 128), LIMITED, "yuvj420p", (255, 128, 128), ColourRange.FULL),
    ("yuvj420p", (250, 128, 128), FULL, "yuv420p", (250, 128, 128), ColourRange.FULL),
    ("rgb24", ((0, 255, 0),), Colour(), "yuv444p", GREEN["709"], ColourRange.LIMITED),
    ("yuv444p", GREEN["709"], LIMITED, "rgb24", ((0, 255, 0),), None),
    ("yuv444p", GREEN["601"], BT601, "rgb24", ((0, 255, 0),), None),
    ("yuv444p", GREEN["601"], Colour(), "rgb24", ((0, 255, 0),), None),
    ("yuv444p", GREEN["2020"], BT2020, "rgb24", ((0, 255, 0),), None),
    ("gray", (77,), LIMITED, "yuv420p", (77, 128, 128), ColourRange.LIMITED),
    ("gray", (250,), FULL, "yuv420p", (250, 128, 128), ColourRange.FULL),
    ("yuv420p", (77, 90, 200), LIMITED, "gray", (77,), None),
    ("gray", (235,), LIMITED, "rgb24", ((255, 255, 255),), None),
    ("rgb24", ((0, 255, 0),), Colour(), "gray", (173,), None),
    ("yuv420p", (90, 100, 150), LIMITED, "yuv420p10le", (360, 400, 600), ColourRange.LIMITED),
]


@pytest.mark.parametrize(("source", "codes", "colour", "target", "wanted", "span"), CONVERSIONS)
def test_what_conversions_do_to_colour(source, codes, colour, target, wanted, span):
    with session_of((32, 24, target)) as session:
        (made,) = scale(session, flat(source, codes, colour))
        assert made.info.format.name == target
        if span is not None:
            assert made.info.colour.range == span
        for array, code in zip(arrays(made), wanted, strict=True):
            pixels = array.reshape(-1, *array.shape[2:]).astype(int)
            assert np.abs(pixels - np.asarray(code)).max() <= 1
        made.close()


def test_a_matrix_that_swscale_does_not_know():
    colour = Colour(Matrix.ICTCP, ColourRange.LIMITED)
    with (
        session_of((32, 24, "rgb24")) as session,
        flat("yuv444p", (1, 2, 3), colour) as frame,
        pytest.raises(FilterError, match="does not know the matrix ICTCP"),
    ):
        session.send_frame(frame)


def test_half_rate():
    half = Port(width=16, height=16, is_half_rate=True)
    rated = Port(width=16, height=16, is_half_rate=True, frame_rate=Fraction(10))
    with session_of((32, 24), half, rated) as session:
        for number in range(5):
            frame = picture(width=64, height=48, pts=7 * number)
            frame.frame_rate = Fraction(30)
            every, second, third = scale(session, frame)
            assert (every.pts, every.frame_rate) == (7 * number, 30)
            assert second.is_dummy == third.is_dummy == bool(number % 2)
            if not second.is_dummy:
                assert (second.pts, second.frame_rate, third.frame_rate) == (7 * number, 15, 10)
            for each in (every, second, third):
                each.close()


def test_nothing_is_due_of_every_second_picture():
    with session_of(Port(width=16, height=16, is_half_rate=True)) as session:
        answers = []
        for number in range(4):
            with picture(pts=number) as frame:
                answers.append(session.send_frame(frame))
            if answers[-1] is Status.SUCCESS:
                session.recv_frame_list()[1][0].close()
        assert answers == [Status.SUCCESS, Status.SEND_MORE_DATA] * 2
        assert session.send_frame(None) is Status.EOS


def test_frames_of_ones_own():
    half = Port(width=20, height=10, is_half_rate=True)
    infos = [FrameInfo(pixel_format("yuv420p"), 32, 24), FrameInfo(pixel_format("yuv420p"), 20, 10)]
    with session_of((32, 24), half) as session:
        own = [XmaFrame.allocate(info) for info in infos]
        kept = []
        for number in range(2):
            with picture(width=64, height=48, seed=number, pts=number) as frame:
                session.send_frame(frame)
                expected = filtered(to_av(frame), ("scale", f"32:24:flags=bicubic+{FLAGS}"))
            assert session.recv_frame_list(own) == (Status.SUCCESS, own)
            assert dense(own[0]) == bytes_of(expected)
            assert (own[0].pts, own[0].do_not_encode) == (number, False)
            assert own[1].do_not_encode == bool(number)
            kept.append(dense(own[1]))
        assert kept[0] == kept[1]
        with pytest.raises(InvalidError, match="has 2 outputs, got 1 frames"):
            session.recv_frame_list(own[:1])


@pytest.mark.parametrize("sent", [0, 1])
def test_the_end_comes_from_sending(sent):
    with session_of((16, 16)) as session:
        if sent:
            with picture() as frame:
                assert session.send_frame(frame) is Status.SUCCESS
            with pytest.raises(OrderError, match="call recv_frame_list before it"):
                session.send_frame(None)
            session.recv_frame_list()[1][0].close()
            assert session.recv_frame_list() == (Status.TRY_AGAIN, [])
        assert session.send_frame(None) is Status.EOS
        assert session.ended
        with pytest.raises(OrderError, match="the stream has ended"):
            session.recv_frame_list()


def test_pictures_change_their_form_in_mid_stream():
    forms = [("yuv420p", 64, 48), ("nv12", 33, 17), ("rgb24", 10, 90), ("yuv420p", 64, 48)]
    with session_of((32, 24, "yuv420p"), (16, 0)) as session:
        for number, (name, width, height) in enumerate(forms):
            frame = picture(name, width, height, seed=number, pts=number)
            found = to_av(frame)
            scaling = f"32:24:flags=bicubic+{FLAGS}"
            if name == "rgb24":
                scaling += ":out_color_matrix=bt709:out_range=limited"
            expected = bytes_of(filtered(found, ("scale", scaling), ("format", "yuv420p")))
            first, second = scale(session, frame)
            assert samples(first) == expected
            assert second.info.format.name == name
            assert (second.info.width, second.pts) == (16, number)
            second.close()


def test_own_chains(clips):
    found = pictures_of(clips.path("h264"))
    chains = ["hflip,crop=50:40:3:5", "scale=32:24,setpts=PTS+1000"]
    with session_of((50, 40), (0, 0), params={"chains": chains}) as session:
        for each in found[:3]:
            flipped, later = scale(session, from_av(each))
            expected = filtered(each, ("hflip",), ("crop", "50:40:3:5"))
            assert (samples(flipped), flipped.pts) == (bytes_of(expected), each.pts)
            assert (later.info.width, later.pts) == (32, each.pts + 1000)
            later.close()


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"chains": ["hflip", "vflip"]}, InvalidError, "has 1 outputs, and needs a list"),
        ({"chains": "hflip"}, InvalidError, "needs a list of as many chains, got 'hflip'"),
        ({"chains": ["hflop"]}, FilterError, "unknown filter 'hflop'"),
        ({"chains": ["split[a][b]"]}, FilterError, "branches"),
        ({"speed": 1}, InvalidError, "no parameter 'speed'"),
    ],
)
def test_what_cannot_be_made(params, error, words):
    with pytest.raises(error, match=words):
        session_of((16, 16), params=params)


@pytest.mark.parametrize(
    ("chain", "error", "words"),
    [
        ("crop=1000:1000", FilterError, "filter chain .*1000.* was refused"),
        ("select=0", PluginError, "made 0 pictures of one"),
        ("scale=30:20", InvalidError, "makes yuv420p of 30x20, where its properties say .* 16x16"),
    ],
)
def test_chains_that_are_no_scaler(chain, error, words):
    with (
        session_of((16, 16), params={"chains": [chain]}) as session,
        picture(width=64, height=48) as frame,
        pytest.raises(error, match=words),
    ):
        session.send_frame(frame)


def test_coefficients_are_refused():
    table = np.zeros((64, 12), np.int16)
    with pytest.raises(InvalidError, match="swscale takes no coefficients; use kernel_scaler"):
        session_of((16, 16), kind=ScalerType.POLYPHASE, vertical_coefficients=table)


def test_what_was_declared_holds():
    with (
        session_of((16, 16), source=Port(format="nv12", width=64, height=48)) as session,
        pytest.raises(InvalidError, match="is sent yuv420p of 64x48, where its properties"),
    ):
        session.send_frame(picture(width=64, height=48))


def test_pictures_keep_what_they_say(clips):
    (found, *_) = pictures_of(clips.path("hdr10"))
    frame = from_av(found)
    frame.is_idr = frame.do_not_encode = True
    for kind, content in ((SideDataType.HDR, b"hdr"), (SideDataType.QP_MAP, b"map")):
        side_data = SideData(kind, content)
        frame.add_side_data(side_data)
        side_data.release()
    with session_of((32, 24)) as session:
        (made,) = scale(session, frame)
        assert made.is_idr
        assert made.do_not_encode
        assert made.time_base == found.time_base
        assert made.side_data(SideDataType.HDR).buffer == b"hdr"
        assert made.side_data(SideDataType.QP_MAP) is None
        scaled = to_av(made)
        assert {entry.type for entry in scaled.side_data} == {e.type for e in found.side_data}
        assert (scaled.width, scaled.pts, scaled.color_trc) == (32, found.pts, found.color_trc)
        made.close()


@pytest.mark.parametrize("clock", [None, Fraction(1, 90000), Fraction(1, 7)])
def test_times(clock):
    with session_of((16, 16)) as session:
        for pts in (-(1 << 62), -1, 5, 1 << 40, None):
            frame = picture(pts=pts)
            frame.time_base = clock
            (made,) = scale(session, frame)
            assert (made.pts, made.time_base) == (pts, clock)
            found = to_av(made)
            assert (found.pts, found.time_base) == (pts, clock)
            made.close()


def test_pictures_on_a_device(device):
    """They are fetched, where the device does not work in host memory."""
    source = picture(width=64, height=48)
    expected = bytes_of(filtered(to_av(source), ("scale", f"32:24:flags=bicubic+{FLAGS}")))
    with session_of((32, 24), device=device) as session:
        with Uploads(session) as uploads:
            there = uploads.take(source)
            before = device.transfers.bytes_to_host
            (made,) = scale(session, there)
            assert samples(made) == expected
        moved = device.transfers.bytes_to_host - before
        spans = sum(plane.tensor.info.span for plane in source.planes)
        assert moved == (0 if device.driver.shares_host_memory else spans)
    source.close()


def test_destroying_lets_go_of_pictures():
    session = session_of((32, 24))
    with picture(width=64, height=48) as frame:
        session.send_frame(frame)
    session.destroy()
    assert held_planes() == 0
