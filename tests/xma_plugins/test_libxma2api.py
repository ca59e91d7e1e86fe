"""Frames, side data and data buffers of ours, beside those of the real libxma2api."""

from __future__ import annotations

import pytest

from bridges.formats import pixel_format
from bridges.frame import FrameInfo
from tests.xma_plugins import libxma2api_oracle as oracle
from xma_plugins.buffers import BufferType
from xma_plugins.errors import InvalidError
from xma_plugins.frames import XmaDataBuffer, XmaFrame, padded_planes
from xma_plugins.kinds import SHARED_FORMATS, FormatType
from xma_plugins.properties import MAX_DIMENSION, Port
from xma_plugins.side_data import SideData, SideDataType


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return oracle.prepare(tmp_path_factory.mktemp("oracle"))


def test_pixel_formats_have_as_many_planes(folder):
    counts = oracle.plane_counts(folder)
    assert len(counts) == len(FormatType)
    for name in SHARED_FORMATS:
        kind = FormatType.of(pixel_format(name))
        assert len(kind.pixel_format.planes) == counts[kind], kind
    assert counts[FormatType.NONE] == 0


def test_new_frames(folder):
    infos = [FrameInfo(pixel_format(name), 50, 34) for name in ("yuv420p", "rgb24", "nv12")]
    asked = [(FormatType.of(info.format), info.width, info.height, False) for info in infos]
    for info, theirs in zip(infos, oracle.allocated_frames(folder, asked), strict=True):
        ours = XmaFrame.allocate(info)
        count = len(ours.planes)
        assert [each[0] for each in theirs] == [1] * count + [0] * (3 - count)
        assert [each[1] for each in theirs[:count]] == [BufferType.HOST] * count
        assert [plane.refcount for plane in ours.planes] == [1] * count
        assert ours.buffer_type is BufferType.HOST
        # Theirs takes one byte a pixel for every plane; ours what the plane needs, in whole.
        for plane, layout, there in zip(ours.planes, info.planes, theirs[:count], strict=True):
            assert there[2]
            assert 50 * 34 <= there[3] < 50 * 34 + 64
            assert plane.tensor.info.span >= layout.nbytes
        if info.format.name == "rgb24":
            assert padded_planes(info)[0].span > theirs[0][3]  # Theirs is too small for it.


def test_dummies(folder):
    (theirs,) = oracle.allocated_frames(folder, [(FormatType.YUV420, 50, 34, True)])
    assert theirs == [[1, BufferType.NO_BUFFER, False, 0]] * 3
    assert XmaFrame().buffer_type is BufferType.NO_BUFFER
    assert XmaFrame().is_dummy


def test_the_largest_picture(folder):
    most = MAX_DIMENSION
    sizes = [(most, 1), (1, most), (most + 1, 1), (1, most + 1), (-1, 1)]
    asked = [(FormatType.RGB888, *size, False) for size in sizes]
    answers = oracle.allocated_frames(folder, asked)
    assert [answer is None for answer in answers] == [False, False, True, True, True]
    for (width, height), theirs in zip(sizes, answers, strict=True):
        if theirs is None:
            with pytest.raises(InvalidError):
                Port(format="rgb24", width=width, height=height)
        else:
            Port(format="rgb24", width=width, height=height)


def test_side_data_is_counted_alike(folder):
    theirs = oracle.side_data_counts(folder)
    frame, content = XmaFrame(), bytearray(b"abcd")
    one = SideData(SideDataType.QP_MAP, content)
    ours = {"made": one.refcount, "size": one.nbytes, "copied": one.buffer is not content}
    ours["content"] = bytes(one.buffer).decode()
    ours["add"] = 0
    frame.add_side_data(one)
    ours["added"] = one.refcount
    ours["found"] = frame.side_data(SideDataType.QP_MAP) is one
    ours["other kind"] = frame.side_data(SideDataType.HDR) is None
    one.retain()
    ours["inc"] = one.refcount
    one.release()
    ours["dec"] = one.refcount
    two = SideData(SideDataType.QP_MAP, content, copy=False)
    ours["borrowed"] = two.buffer is content
    frame.add_side_data(two)
    ours["replaced"] = [one.refcount, two.refcount]
    frame.remove_side_data(SideDataType.QP_MAP)
    ours["remove"] = 0
    ours["removed"] = [two.refcount, frame.side_data(SideDataType.QP_MAP) is None]
    ours["remove twice"] = -2  # Theirs is an error; with us there is then nothing to do.
    frame.remove_side_data(SideDataType.QP_MAP)
    frame.add_side_data(one)
    three = SideData(SideDataType.HDR, content)
    frame.add_side_data(three)
    frame.clear_side_data()
    ours["cleared"] = [one.refcount, three.refcount]
    three.release()
    ours["last"] = three.refcount
    assert ours == theirs


def test_data_buffers(folder):
    theirs, dummy = oracle.data_buffers(folder, [(1000, False), (1000, True)])
    ours = XmaDataBuffer(bytes(1000))
    assert theirs == [1, BufferType.HOST, True, ours.alloc_size, ours.is_eof, 0, ours.poc]
    assert ours.buffer_type is BufferType.HOST
    assert dummy == [1, BufferType.NO_BUFFER, False, -1, 0, 0, 0]
    assert XmaDataBuffer().buffer_type is BufferType.NO_BUFFER
    assert XmaDataBuffer().alloc_size == 0
