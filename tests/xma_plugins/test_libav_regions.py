"""QP maps as regions of interest: encoders spend their bits where they are told to."""

import logging

import numpy as np
import pytest
from av.sidedata.sidedata import Type

from bridges.backends.ffmpeg_properties import side_data as side_data_of
from tests.xma_plugins.coded import codec_of, decoded, encode, luma, moving
from tests.xma_plugins.pictures import arrays, picture
from xma_plugins.builtin.libav_frame import to_av
from xma_plugins.builtin.libav_regions import set_regions
from xma_plugins.errors import InvalidError
from xma_plugins.properties import EncoderProperties
from xma_plugins.sessions import EncoderSession
from xma_plugins.side_data import SideData, SideDataType


def session_of(codec, options=None, size=(64, 64), gop_size=0):
    params = {"codec": codec, "threads": 1, "options": options or {}}
    properties = EncoderProperties(
        plugin="libav_encoder",
        format="yuv420p",
        width=size[0],
        height=size[1],
        gop_size=gop_size,
        params=params,
    )
    return EncoderSession(properties)


@pytest.mark.parametrize(("pix_fmt", "whole"), [("yuv420p", 51), ("yuv420p10le", 63)])
def test_blocks_become_rectangles(pix_fmt, whole):
    """``AVRegionOfInterest`` of libavutil/frame.h: seven numbers of 32 bits each."""
    steps = np.array([[0, -3, -3], [127, 0, -128]], np.int8)
    with picture(pix_fmt, 40, 20) as frame:
        found = to_av(frame)
        set_regions(found, steps)
        regions = np.frombuffer(side_data_of(found, Type.REGIONS_OF_INTEREST), np.int32)
    assert regions.reshape(-1, 7).tolist() == [
        [28, 0, 16, 16, 48, -3, whole],
        [28, 16, 32, 0, 16, whole, whole],
        [28, 16, 32, 32, 48, -whole, whole],
    ]


def test_a_map_that_asks_for_nothing():
    with picture(width=40, height=20) as frame:
        found = to_av(frame)
        set_regions(found, np.zeros(6, np.int8))
        assert side_data_of(found, Type.REGIONS_OF_INTEREST) is None


def with_map(frame, steps):
    side_data = SideData(SideDataType.QP_MAP, np.asarray(steps, np.int8))
    frame.add_side_data(side_data)
    side_data.release()
    return frame


@pytest.mark.parametrize("name", ["libx264", "libx265"])
def test_a_qp_map_moves_quality(name):
    """The half that is given finer quantisers has smaller errors, whichever half it is."""
    options = {"preset": "veryfast", "tune": "zerolatency", "crf": "32"}
    width, height = 128, 96
    errors = {}
    for side in ("none", "left", "right"):
        steps = np.zeros((6, 8), np.int8)
        if side != "none":
            left = slice(0, 4) if side == "left" else slice(4, 8)
            steps[:], steps[:, left] = 12, -12
        with session_of(name, options, (width, height), gop_size=1) as session:
            frames = [
                with_map(each, steps) for each in moving(4, width=width, height=height, noise=0)
            ]
            pictures = decoded(codec_of(name), encode(session, frames))
        squares = np.zeros((height, width))
        for frame, found in zip(
            moving(4, width=width, height=height, noise=0), pictures, strict=True
        ):
            squares += (luma(found) - arrays(frame)[0]) ** 2
        errors[side] = squares[:, :64].mean(), squares[:, 64:].mean()
    assert errors["left"][0] < 0.5 * errors["none"][0] < errors["none"][1]
    assert errors["left"][0] < 0.3 * errors["left"][1]
    assert errors["right"][1] < 0.3 * errors["right"][0]
    assert errors["none"][0] == pytest.approx(errors["none"][1], rel=0.5)


def test_a_qp_map_of_another_size_is_refused():
    (frame,) = moving(1)
    with session_of("libx264") as session:
        with pytest.raises(InvalidError, match="a QP map of 64x64 has 4x4 blocks, got 11"):
            session.send_frame(with_map(frame, np.zeros(11)))
        frame.close()


def test_a_qp_map_that_does_nothing_is_told_once(caplog):
    frames = [with_map(frame, np.full(16, 3)) for frame in moving(3)]
    with caplog.at_level(logging.WARNING, "xma_plugins"), session_of("ffv1") as session:
        encode(session, frames)
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "ffv1 takes no QP_MAP; it does nothing"
    ]
