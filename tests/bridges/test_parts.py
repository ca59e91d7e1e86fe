"""Parts of tensors and of frames: the same memory, seen in part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges import AccessMode, MemoryType, TensorInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.errors import ClosedError, FormatError
from tests.bridges.picture import Picture, frame_info

U8, U16 = np.dtype("u1"), np.dtype("<u2")


@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    item=st.sampled_from([U8, U16]),
    padding=st.integers(0, 5),
    data=st.data(),
)
def test_a_part_is_what_numpy_says(shape, item, padding, data):
    wide = np.zeros((*shape[:-1], shape[-1] + padding), item)
    array = wide[..., : shape[-1]]
    index = tuple(
        data.draw(st.slices(length).filter(lambda s: s.step is None or s.step > 0))
        for length in shape[: data.draw(st.integers(1, len(shape)))]
    )
    info = TensorInfo(array.shape, array.dtype, array.strides)
    expected = array[index]
    if expected.size == 0:
        with pytest.raises(FormatError, match="empty or backward"):
            info.slice(index)
        return
    part, offset = info.slice(index)
    assert part.shape == expected.shape
    assert offset == expected.ctypes.data - array.ctypes.data
    for length, one, other in zip(part.shape, part.strides, expected.strides, strict=True):
        assert length == 1 or one == other


@pytest.mark.parametrize("index", [(slice(None),) * 3, (1, 2), 5, slice(None, None, -1)])
def test_what_is_no_part_is_refused(index):
    with pytest.raises(FormatError):
        TensorInfo((4, 4), U8).slice(index)


def test_a_part_of_host_memory_is_a_view():
    tensor = CPUContext().wrap(np.arange(24, dtype=np.uint8).reshape(4, 6))
    part = tensor[1:3, 2:]
    assert part.parent is tensor
    part.handle("array")[...] = 99
    assert tensor.handle("array")[1:3, 2:].tolist() == [[99] * 4] * 2
    part.close()
    assert not tensor.closed
    tensor.close()
    with pytest.raises(ClosedError):
        tensor[0:1]


@pytest.mark.parametrize("name", ["yuv420p", "nv12", "p010le", "rgb24", "yuyv422", "gray"])
def test_a_region_has_the_pixels_of_its_place(name):
    picture = Picture.create(frame_info(name, (33, 21)), padding=3, seed=1)
    region = picture.frame.region(4, 6, 29, 15)
    assert (region.info.width, region.info.height) == (29, 15)
    assert region.parent is picture.frame
    assert region.metadata is picture.frame.metadata
    for plane, part, whole in zip(
        region.info.format.planes, region.tensors, picture.arrays, strict=True
    ):
        x, y = 4 >> plane.log2_width, 6 >> plane.log2_height
        assert np.array_equal(part.handle("array"), whole[y:, x:])
        assert np.shares_memory(part.handle("array"), whole)
    for tensor, dense in zip(region.tensors, region.info.planes, strict=True):
        assert tensor.info.shape == dense.shape


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 34, 2), "not within 33x21"),
        ((-2, 0, 4, 4), "not within"),
        ((0, 0, 0, 4), "not within"),
        ((1, 0, 4, 4), "cut through a chroma sample"),
        ((0, 0, 4, 3), "multiples of 2"),
    ],
)
def test_a_region_that_is_none_is_refused(box, words):
    frame = Picture.create(frame_info("yuv420p", (33, 21))).frame
    with pytest.raises(FormatError, match=words):
        frame.region(*box)


@pytest.mark.parametrize("shares", [True, False])
def test_a_region_of_a_device_s_memory(opencl, cpu, shares):
    """Cut on the device and at home, at places that no alignment asks for."""
    picture = Picture.create(frame_info("gray", (512, 16)), seed=4)
    mapped = create_mapper([cpu, opencl]).map(picture.frame, AccessMode.READ)
    opencl.shares_host_memory = shares
    back = create_mapper([opencl, cpu])
    for x in (0, 128, 130):
        if not shares and x % 128 and not mapped.tensors[0].address:
            continue
        with (
            mapped.region(x, 3, 70, 9) as region,
            back.map(region, AccessMode.READ) as seen,
        ):
            assert region.memory_type is MemoryType.OPENCL
            assert np.array_equal(
                seen.tensors[0].handle("array"), picture.arrays[0][3:12, x : x + 70]
            )
    mapped.close()


def test_a_distant_device_cuts_where_it_can(opencl):
    opencl.shares_host_memory = False
    tensor = opencl.allocate(TensorInfo((4, 256), U8))
    with tensor[1:2, 0:8] as part:
        assert part.handle("cl_mem").size == 8
    with pytest.raises(FormatError, match="multiples of"):
        tensor[0:1, 1:8]
