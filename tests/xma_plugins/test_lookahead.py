"""lookahead: scene changes of pictures that were made to have them, and maps by their formula."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridges.formats import pixel_format
from bridges.frame import FrameInfo
from tests.xma_plugins.device_pictures import DEVICES, picture_info, planes, run
from tests.xma_plugins.devices import opened
from xma_plugins.builtin.activity import difference, histogram_distance, luma, qp_map, shrunk
from xma_plugins.conformance import Setup, check_plugin
from xma_plugins.device import Device, DeviceDescription, open_device
from xma_plugins.errors import InvalidError
from xma_plugins.frames import XmaFrame
from xma_plugins.properties import FilterProperties, Port
from xma_plugins.sessions import FilterSession
from xma_plugins.side_data import SideDataType
from xma_plugins.status import Status

FORMATS = ("nv12", "p010le", "yuv420p12le", "gray16le", "yuyv422", "rgb24", "gbrp10le")


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest):
    return opened(request.param)


def scene(number: int, shift: int = 0, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """Return luma from 0 to 1: smooth shapes of a scene, moved by some pixels."""
    random = np.random.default_rng(number)
    x, y = np.meshgrid(np.arange(size[0]) + shift, np.arange(size[1]))
    found = np.full((size[1], size[0]), 0.2 + 0.6 * (number % 2))
    for _ in range(3):
        along, down, phase = random.uniform(0.02, 0.15, 3)
        found += 0.06 * np.sin(x * along + y * down + 40 * phase)
    return found.clip(0, 1)


def frame_of(name: str, picture: np.ndarray, pts: int = 0) -> XmaFrame:
    """Return a picture whose luma, or R, G and B, is that."""
    info = picture_info(name, picture.shape[1], picture.shape[0])
    frame, layout = XmaFrame.allocate(info), info.format
    codes = np.round(picture * ((1 << layout.bits) - 1)).astype(int) << layout.shift
    for channel in set("".join(plane.channels for plane in layout.planes)) - set("UVA"):
        plane, offset, step = layout.find(channel)
        array = frame.planes[plane].tensor.handle("array")
        array.reshape(array.shape[0], -1)[:, offset::step][:, : info.width] = codes
    frame.pts = pts
    return frame


def session_of(device: Device, name: str, **params: object) -> FilterSession:
    properties = FilterProperties(plugin="lookahead", input=Port(format=name), params=params)
    return FilterSession(properties, device)


def on_device(
    device: Device, frames: list[XmaFrame], name: str
) -> tuple[FilterSession, list[XmaFrame]]:
    """Return a session, and pictures in its device-only buffers; their samples are the same."""
    properties = FilterProperties(
        plugin="kernel_filter",
        input=Port(format=name),
        params={"kernel": "resize(width=96)", "zerocopy": True, "pool": 32},
    )
    session = FilterSession(properties, device)
    return session, list(run(session, frames))


CUTS = [0] * 4 + [1] * 4 + [2] * 3


@pytest.mark.parametrize("name", FORMATS)
def test_scene_changes_are_found(host: Device, name: str):
    frames = [
        frame_of(name, scene(number, shift=2 * place), place) for place, number in enumerate(CUTS)
    ]
    with session_of(host, name) as session:
        made = list(run(session, frames))
        assert [frame.pts for frame in made] == list(range(len(CUTS)))
        assert [frame.pts for frame in made if frame.is_idr] == [4, 8]
        for frame, source in zip(made, frames, strict=True):
            assert [each.tensor for each in frame.planes] == [each.tensor for each in source.planes]
            assert not source.is_idr
            frame.close()


@pytest.mark.parametrize("name", ["nv12", "p010le", "rgb24"])
def test_device_only_pictures_are_looked_at(device: Device, name: str):
    frames = [
        frame_of(name, scene(number, shift=2 * place), place) for place, number in enumerate(CUTS)
    ]
    before, near = on_device(device, frames, name)
    moved = device.transfers.bytes_to_host
    with before, session_of(device, name) as session, session_of(device, name) as other:
        made = list(run(session, near))
        assert [frame.pts for frame in made if frame.is_idr] == [4, 8]
        # A sixteenth of the samples at most, where a device has memory of its own.
        nbytes = sum(plane.nbytes for plane in frames[0].info.planes)
        assert device.transfers.bytes_to_host - moved <= len(frames) * nbytes / 16
        for frame, alike in zip(made, run(other, frames), strict=True):
            maps = [
                np.frombuffer(each.side_data(SideDataType.QP_MAP).buffer, np.int8)
                for each in (frame, alike)
            ]
            # The kernel rounds the small picture to codes.
            assert np.abs(maps[0].astype(int) - maps[1]).max() <= 1
            alike.close()
        for frame in (*made, *near):
            frame.close()


def test_a_flash_is_no_scene_change(host: Device):
    pictures = [scene(0)] * 3 + [np.ones((64, 96))] + [scene(0)] * 3
    frames = [frame_of("nv12", picture, place) for place, picture in enumerate(pictures)]
    for depth, wanted in ((1, []), (8, []), (0, [3, 4])):
        with session_of(host, "nv12", lookahead_depth=depth) as session:
            made = list(run(session, frames))
            assert [frame.pts for frame in made if frame.is_idr] == wanted
            for frame in made:
                frame.close()


def test_a_fade_and_a_pan_are_no_scene_changes(host: Device):
    fade = [scene(0) * (1 - k / 16) + scene(1) * (k / 16) for k in range(17)]
    pan = [scene(3, shift=6 * k) for k in range(12)]
    for pictures in (fade, pan):
        frames = [frame_of("yuv420p10le", each) for each in pictures]
        with session_of(host, "yuv420p10le") as session:
            for made in run(session, frames):
                assert not made.is_idr
                made.close()


def test_thresholds_are_parameters(host: Device):
    frames = [frame_of("gray", np.full((16, 16), value)) for value in (0.2, 0.3)]
    for params, wanted in (
        ({"scene_difference": 0.09}, True),
        ({"scene_difference": 0.11}, False),
        ({"scene_histogram": 1.1}, False),
    ):
        with session_of(host, "gray", **params) as session:
            made = list(run(session, frames))
            assert made[1].is_idr is wanted
            for frame in made:
                frame.close()


def test_pictures_come_so_many_later(host: Device):
    frames = [frame_of("nv12", scene(0), pts) for pts in range(5)]
    with session_of(host, "nv12", lookahead_depth=2) as session:
        said = [session.send_frame(frame) for frame in frames[:3]]
        assert said == [Status.SEND_MORE_DATA, Status.SEND_MORE_DATA, Status.SUCCESS]
        status, made = session.recv_frame()
        assert (status, made.pts) == (Status.SUCCESS, 0)
        assert session.recv_frame() == (Status.TRY_AGAIN, None)
        made.close()
    assert all(plane.refcount == 1 for frame in frames for plane in frame.planes)


def test_a_change_of_size_is_no_scene_change(host: Device):
    frames = [frame_of("nv12", scene(k, size=size)) for k, size in enumerate([(96, 64), (64, 96)])]
    with session_of(host, "nv12") as session:
        for made, blocks in zip(run(session, frames), ((4, 6), (6, 4)), strict=True):
            assert not made.is_idr
            assert made.side_data(SideDataType.QP_MAP).nbytes == blocks[0] * blocks[1]
            made.close()


@given(width=st.integers(1, 70), height=st.integers(1, 40), gain=st.sampled_from([0.5, 1, 2]))
@settings(max_examples=30)
def test_maps_are_those_of_the_formula(width: int, height: int, gain: float):
    random = np.random.default_rng(width * 100 + height)
    small = random.uniform(0, 255, (-(-height // 4), -(-width // 4))).astype(np.float32)
    small *= random.uniform(0, 1, (small.shape[0], 1))
    found = qp_map(small, width, height, gain)
    rows, columns = -(-height // 16), -(-width // 16)
    assert found.shape == (rows, columns)
    assert found.sum() == 0
    busy = np.empty((rows, columns))
    for row in range(rows):
        for column in range(columns):
            # Edges are repeated.
            ys = np.minimum(np.arange(4 * row, 4 * row + 4), small.shape[0] - 1)
            xs = np.minimum(np.arange(4 * column, 4 * column + 4), small.shape[1] - 1)
            samples = small[np.ix_(ys, xs)].astype(float)
            busy[row, column] = math.log2(1 + ((samples - samples.mean()) ** 2).mean())
    exact = (gain * (busy - busy.mean())).clip(-10, 10)
    assert np.abs(found - (exact - exact.mean())).max() < 1.001


def test_flat_blocks_get_finer_steps(host: Device):
    random = np.random.default_rng(0)
    picture = np.full((64, 64), 0.5)
    picture[:, 32:] += np.kron(random.uniform(-0.3, 0.3, (16, 8)), np.ones((4, 4)))
    with session_of(host, "yuv420p10le") as session:
        (made,) = run(session, [frame_of("yuv420p10le", picture)])
        steps = np.frombuffer(made.side_data(SideDataType.QP_MAP).buffer, np.int8).reshape(4, 4)
        assert (steps[:, :2] < -2).all()
        assert (steps[:, 2:] > 2).all()
        made.close()
    with session_of(host, "yuv420p10le", spatial_aq_gain=0) as session:
        (made,) = run(session, [frame_of("yuv420p10le", picture)])
        assert made.side_data(SideDataType.QP_MAP) is None
        made.close()


def test_measures_of_a_change():
    black, white = np.zeros((4, 4), np.float32), np.full((4, 4), 255, np.float32)
    half = np.where(np.arange(4) < 2, black, white)
    assert difference(black, white) == 1
    assert difference(black, half) == 0.5
    assert histogram_distance(black, white) == 1
    assert histogram_distance(half, half[:, ::-1]) == 0
    assert histogram_distance(black, half) == 0.5


def test_small_pictures_are_means():
    samples = np.arange(6 * 5, dtype=np.float32).reshape(6, 5)
    padded = samples[np.minimum(np.arange(8), 5)][:, np.minimum(np.arange(8), 4)]
    wanted = padded.reshape(2, 4, 2, 4).mean((1, 3))
    assert np.allclose(shrunk(samples), wanted)
    info = FrameInfo(pixel_format("rgb48le"), 1, 1)
    codes = np.array([[[65535, 0, 32768]]], np.uint16)
    assert luma([codes], info)[0, 0] == pytest.approx(127.5, abs=0.01)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"lookahead_depth": 21}, "holds up to 20 pictures, asked for 21"),
        ({"lookahead_depth": 1.5}, "takes a whole number from 0 on"),
        ({"depth": 2}, "no parameter 'depth'; it has lookahead_depth"),
    ],
)
def test_wrong_parameters_are_refused(host: Device, params, message: str):
    with pytest.raises(InvalidError, match=message):
        session_of(host, "nv12", **params)


def test_pictures_are_received_into_host_memory(device: Device):
    frame = frame_of("nv12", scene(0), 5)
    before, near = on_device(device, [frame], "nv12")
    with before, session_of(device, "nv12", lookahead_depth=0) as session:
        for sent in (frame, *near):
            into = XmaFrame.allocate(frame.info)
            assert session.send_frame(sent) is Status.SUCCESS
            assert session.recv_frame(into) == (Status.SUCCESS, into)
            assert into.pts == 5
            assert all(map(np.array_equal, planes(into), planes(frame)))
            assert into.side_data(SideDataType.QP_MAP) is not None
        near[0].close()


@pytest.mark.parametrize("depth", [0, 8, 20])
def test_keeps_the_rules(host: Device, depth: int):
    check_plugin("lookahead", Setup(params={"lookahead_depth": depth}), device=host)


def test_a_device_without_resize_cannot_see_its_pictures():
    seen = frame_of("nv12", scene(0), 7)
    before, near = on_device(opened("opencl"), [frame_of("nv12", scene(0), 6)], "nv12")
    with (
        before,
        open_device(DeviceDescription("opencl", compute_units=["invert"])) as bare,
        session_of(bare, "nv12") as session,
        near[0] as unseen,
    ):
        with pytest.raises(InvalidError, match="has no compute unit that runs resize"):
            session.send_frame(unseen)
        # What was refused is neither held nor received, and the session goes on.
        assert [plane.refcount for plane in unseen.planes] == [1, 1]
        (made,) = run(session, [seen])
        assert made.pts == 7
        made.close()
