"""Tensors and frames: layout, handles, and who closes what."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bridges import AccessMode, Colour, ColourRange, Frame, FrameInfo, Matrix, TensorInfo
from bridges.backends.cpu import CPUContext, CPUTensor
from bridges.errors import ClosedError, FormatError, XTranscodeError
from bridges.formats import pixel_format
from bridges.tensor import MemoryType

U8, U16 = np.dtype("u1"), np.dtype("<u2")


@pytest.fixture
def context():
    with CPUContext() as context:
        yield context


class TestTensorInfo:
    @pytest.mark.parametrize(
        ("shape", "dtype", "strides"),
        [
            ((4, 6), U8, (6, 1)),
            ((4, 6), U16, (12, 2)),
            ((4, 6, 3), U8, (18, 3, 1)),
            ((4, 6, 4), U16, (48, 8, 2)),
            ((1, 1), U8, (1, 1)),
        ],
    )
    def test_dense(self, shape, dtype, strides):
        info = TensorInfo(shape, dtype)
        assert info.strides == strides == np.empty(shape, dtype).strides
        assert info.is_contiguous
        assert info.nbytes == info.span == np.empty(shape, dtype).nbytes

    def test_padded_rows(self):
        info = TensorInfo((4, 6), U16, (32, 2))
        assert (info.nbytes, info.span) == (48, 3 * 32 + 12)
        assert not info.is_contiguous

    @pytest.mark.parametrize("shape", [(0, 6), (4, 0)])
    def test_empty(self, shape):
        info = TensorInfo(shape, U8)
        assert (info.nbytes, info.span) == (0, 0)

    def test_as_many_strides_as_dimensions(self):
        with pytest.raises(FormatError, match=r"shape \(4, 6\) needs 2 strides, got \(6,\)"):
            TensorInfo((4, 6), U8, (6,))

    def test_equal_by_value(self):
        assert TensorInfo((4, 6), U8) == TensorInfo((4, 6), U8, (6, 1))
        assert hash(TensorInfo((4, 6), U8)) == hash(TensorInfo((4, 6), U8, (6, 1)))
        assert TensorInfo((4, 6), U8) != TensorInfo((4, 6), U8, (8, 1))


class TestCPUTensor:
    def test_wrap_copies_nothing(self, context):
        array = np.arange(24, dtype=U8).reshape(4, 6)[:, ::2]
        tensor = context.wrap(array)
        assert tensor.array is array
        assert tensor.handle("data") == array.ctypes.data
        assert tensor.info == TensorInfo((4, 3), U8, (6, 2))
        assert tensor.memory_type is MemoryType.CPU
        np.asarray(tensor)[1, 1] = 99
        assert array[1, 1] == 99

    @pytest.mark.parametrize("shape", [(3, 5), (3, 5, 4)])
    def test_allocate(self, context, shape):
        tensor = context.allocate(TensorInfo(shape, U16))
        assert (tensor.array.shape, tensor.array.dtype) == (shape, U16)
        assert tensor.info.is_contiguous
        assert tensor.context is context

    def test_unknown_handle(self, context):
        tensor = context.allocate(TensorInfo((1, 1), U8))
        with pytest.raises(KeyError, match=r"no handle 'cl_mem', only \['array', 'data'\]"):
            tensor.handle("cl_mem")

    def test_closed(self, context):
        tensor = context.allocate(TensorInfo((1, 1), U8))
        assert not tensor.closed
        tensor.close()
        tensor.close()
        assert tensor.closed
        with pytest.raises(ClosedError, match="CPU tensor was closed"):
            tensor.handle("data")
        with pytest.raises(ClosedError, match="CPU tensor was closed"):
            _ = tensor.array

    def test_with(self, context):
        with context.allocate(TensorInfo((1, 1), U8)) as tensor:
            assert not tensor.closed
        assert tensor.closed


class Parent:
    closes = 0

    def close(self):
        self.closes += 1


def tensor_of(context, **options):
    return CPUTensor(np.zeros((2, 2), U8), context=context, **options)


class TestOwnership:
    def test_on_close_comes_once_and_first(self, context):
        seen = []
        tensor = tensor_of(context, on_close=lambda: seen.append(tensor.handle("array").sum()))
        tensor.array[...] = 1
        tensor.close()
        tensor.close()
        assert seen == [4]

    def test_on_close_that_fails_still_releases(self, context):
        def fail():
            raise RuntimeError("lost")

        outer = tensor_of(context)
        tensor = tensor_of(context, parent=outer, on_close=fail)
        tensor.closes_parent = True
        with pytest.raises(RuntimeError, match="lost"):
            tensor.close()
        assert tensor.closed
        assert outer.closed
        tensor.close()

    def test_parent_is_let_go_but_not_closed(self, context):
        outer = tensor_of(context)
        tensor = tensor_of(context, parent=outer)
        assert tensor.parent is outer
        tensor.close()
        assert tensor.parent is None
        assert not outer.closed

    def test_chain_is_closed_from_its_end(self, context):
        order = []
        first = tensor_of(context, on_close=lambda: order.append("first"))
        second = tensor_of(context, parent=first, on_close=lambda: order.append("second"))
        third = tensor_of(context, parent=second, on_close=lambda: order.append("third"))
        second.closes_parent = third.closes_parent = True
        third.close()
        assert order == ["third", "second", "first"]


@pytest.fixture
def info():
    return FrameInfo(pixel_format("yuv420p"), 5, 3)


class TestFrame:
    def make(self, context, info, **options):
        return Frame(info, [context.allocate(plane) for plane in info.planes], **options)

    def test_planes(self, context, info):
        frame = self.make(context, info)
        assert [t.info.shape for t in frame.tensors] == [(3, 5), (2, 3), (2, 3)]
        assert frame.memory_type is MemoryType.CPU

    def test_close(self, context, info):
        parent = Parent()
        frame = self.make(context, info, parent=parent)
        with frame:
            assert not frame.closed
        frame.close()
        assert frame.closed
        assert all(tensor.closed for tensor in frame.tensors)
        assert (parent.closes, frame.parent) == (0, None)

    def test_closes_parent_once(self, context, info):
        parent = Parent()
        frame = self.make(context, info, parent=parent)
        frame.closes_parent = True
        frame.close()
        frame.close()
        assert parent.closes == 1

    def test_a_plane_that_fails_keeps_no_other_open(self, context, info):
        def fail():
            raise RuntimeError("lost")

        parent = Parent()
        bad = [tensor_of(context, on_close=fail)]
        good = [tensor_of(context) for _ in range(2)]
        frame = Frame(info, [good[0], bad[0], good[1]], parent=parent)
        frame.closes_parent = True
        with pytest.raises(RuntimeError, match="lost"):
            frame.close()
        assert frame.closed
        assert parent.closes == 1
        frame.close()

    def test_one_open_plane_keeps_a_frame_open(self, context, info):
        frame = self.make(context, info)
        frame.tensors[0].close()
        assert not frame.closed


class TestFrameInfo:
    @pytest.mark.parametrize(
        ("name", "tag", "full"),
        [
            ("yuv420p", ColourRange.UNSPECIFIED, False),
            ("yuv420p", ColourRange.FULL, True),
            ("yuvj420p", ColourRange.UNSPECIFIED, True),
            ("yuvj420p", ColourRange.LIMITED, False),
            ("rgb24", ColourRange.UNSPECIFIED, True),
            ("gray", ColourRange.UNSPECIFIED, False),
            ("gray", ColourRange.FULL, True),
        ],
    )
    def test_range(self, name, tag, full):
        info = FrameInfo(pixel_format(name), 2, 2, Colour(range=tag))
        assert info.is_full_range is full

    def test_dense_planes(self):
        planes = FrameInfo(pixel_format("p010le"), 5, 3).planes
        assert planes == (TensorInfo((3, 5), U16), TensorInfo((2, 3, 2), U16))

    def test_defaults(self, info):
        assert info.colour == Colour(Matrix.UNSPECIFIED, ColourRange.UNSPECIFIED, 2, 2)
        assert (info.pts, info.time_base) == (None, None)
        assert FrameInfo(info.format, 5, 3, pts=1, time_base=Fraction(1, 25)) != info

    @pytest.mark.parametrize("number", [3, 18, 255])
    def test_reserved_matrix_is_unspecified(self, number):
        assert Matrix(number) is Matrix.UNSPECIFIED


class TestContext:
    def test_close(self):
        context = CPUContext()
        with pytest.raises(KeyError, match="CPU context has no handle 'cl_context'"):
            context.handle("cl_context")
        context.close()
        context.close()
        with pytest.raises(ClosedError, match="CPU context host memory was closed"):
            context.handle("cl_context")


def test_access_modes():
    assert AccessMode.READ | AccessMode.WRITE == AccessMode.READ_WRITE
    assert not AccessMode.READ & AccessMode.WRITE


def test_errors_are_of_one_tree():
    import bridges.errors

    for name in bridges.errors.__all__:
        error = getattr(bridges.errors, name)
        if issubclass(error, Warning):
            assert not issubclass(error, XTranscodeError)
            continue
        assert issubclass(error, XTranscodeError)
        assert name == "XTranscodeError" or len(error.__bases__) == 2
