"""OpenVINO: memory of the host as its tensors, and back."""

import gc
import itertools
import weakref

import numpy as np
import pytest

from bridges import AccessMode, MemoryType, TensorInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.errors import (
    ClosedError,
    DeviceError,
    DeviceNotFoundError,
    FormatError,
    NoRouteError,
)
from tests.bridges.openvino_models import backend, ov, share
from tests.bridges.picture import Picture, frame_info

READ, WRITE, READ_WRITE = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
DENSE = TensorInfo((4, 6), np.dtype("u1"))
SAMPLES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "?")


@pytest.fixture(scope="module")
def there(openvino):
    return create_mapper([CPUContext(), openvino])


@pytest.fixture(scope="module")
def back(openvino):
    return create_mapper([openvino, CPUContext()])


def test_selectors(openvino):
    assert openvino.device == "CPU"
    assert openvino.name.startswith("OpenVINO CPU: ")
    assert openvino.shares_host_memory
    with backend.create("cpu") as context:
        assert context.name == openvino.name


@pytest.mark.parametrize("selector", ["FPGA", "CPU.7", "GPU.99"])
def test_a_device_that_is_not_there_is_named(openvino, selector: str):
    with pytest.raises(DeviceNotFoundError, match="there is CPU") as caught:
        backend.create(selector)
    assert repr(selector) in str(caught.value)


def test_probe_tells_version_and_devices(openvino):
    found = backend.probe()
    assert found.name == "openvino"
    assert ov.get_version() in found.reason
    assert f"CPU: {ov.Core().get_property('CPU', 'FULL_DEVICE_NAME')}" in found.devices
    assert not found.remedy


def test_the_core_is_made_when_it_is_asked_for():
    context = backend.OpenVINOContext()
    core = context.handle("ov_core")
    assert isinstance(core, ov.Core)
    assert context.core is core
    with pytest.raises(KeyError, match="ov_core"):
        context.handle("ov_remote_context")
    context.close()
    context.close()
    with pytest.raises(ClosedError):
        context.handle("ov_core")


def test_what_can_be_derived(openvino):
    assert isinstance(openvino.derive(MemoryType.CPU), CPUContext)
    assert openvino.derive(MemoryType.OPENVINO) is openvino
    with pytest.raises(NoRouteError, match="OpenVINO"):
        openvino.derive(MemoryType.VAAPI)


# Tensors


def test_tensors_and_handles(openvino):
    tensor = openvino.allocate(DENSE)
    assert tensor.memory_type is MemoryType.OPENVINO
    assert tensor.native is tensor.handle("ov_tensor")
    assert tensor.native.data.ctypes.data == tensor.handle("data")
    assert tuple(tensor.native.shape) == DENSE.shape
    with pytest.raises(KeyError, match="ov_tensor"):
        tensor.handle("cl_mem")
    tensor.close()
    tensor.close()
    for read in (lambda: tensor.array, lambda: tensor.native, lambda: tensor[0:1], tensor.batch):
        with pytest.raises(ClosedError):
            read()


@pytest.mark.parametrize("code", SAMPLES)
def test_every_sample_type_is_its_own(openvino, there, back, code: str):
    array = (np.arange(15).reshape(3, 5) % 2 * 3).astype(code)
    with share(there, array) as mapped:
        assert mapped.native.data.dtype == array.dtype
        assert np.array_equal(mapped.native.data, array)
        with back.map(mapped, READ) as again:
            assert again.info == mapped.info
    wrapped = openvino.wrap(ov.Tensor(array))
    assert wrapped.info == TensorInfo(array.shape, array.dtype)
    assert np.array_equal(wrapped.array, array)


@pytest.mark.parametrize("code", [">u2", ">f4", "c8", "S3"])
def test_other_sample_types_are_refused(there, code: str):
    with pytest.raises(FormatError, match=r"has no samples of type .*uint16"):
        share(there, np.zeros((2, 2), code))


@pytest.mark.parametrize("kind", ["bf16", "u4", "i4", "u1", "f8e4m3", "nf4"])
def test_types_that_numpy_has_not_are_refused(openvino, kind: str):
    with pytest.raises(FormatError, match="NumPy has no samples"):
        openvino.wrap(ov.Tensor(getattr(ov.Type, kind), [2, 8]))


def test_wrapped_memory_is_not_copied(openvino, back):
    array = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    native = ov.Tensor(array, shared_memory=True)
    tensor = openvino.wrap(native, keep=array)
    assert tensor.native is native
    with back.map(tensor, READ_WRITE) as mapped:
        assert mapped.handle("data") == array.ctypes.data
        mapped.array[1, 2, 3] = 999
    assert array[1, 2, 3] == 999
    assert back.audit.bytes_copied == 0


def test_wrapped_memory_lives_as_long_as_any_view(openvino, back):
    class Memory(np.ndarray):
        pass

    array = np.arange(60, dtype=np.uint8).reshape(6, 10).view(Memory)
    gone = weakref.ref(array)
    dense = ov.Tensor(array, shared_memory=True)
    box = ov.Tensor(dense, [1, 2], [5, 8])
    expected = array[1:5, 2:8].copy()
    tensor = openvino.wrap(box, keep=(dense, array))
    mapped = back.map(tensor, READ)
    view = np.asarray(mapped)
    del array, dense, box
    mapped.close()
    tensor.close()
    del tensor, mapped
    gc.collect()
    assert gone() is not None
    assert np.array_equal(view, expected)
    del view
    gc.collect()
    assert gone() is None


def test_a_mapping_lets_go_of_the_array(there):
    class Memory(np.ndarray):
        pass

    for columns in (10, 8):  # dense, and cut out of wider rows
        array = np.zeros((6, 10), np.uint8).view(Memory)
        gone = weakref.ref(array)
        mapped = share(there, array[:, :columns])
        batch = mapped.batch()
        mapped.close()
        del array, mapped
        gc.collect()
        assert gone() is not None
        batch.close()
        del batch
        gc.collect()
        assert gone() is None


def test_strides_are_kept_and_padding_survives(there):
    for name, padding in itertools.product(("rgb24", "nv12", "p010le", "gray16le"), (0, 6, 26)):
        picture = Picture.create(frame_info(name, (31, 5)), padding=padding, shift=2, seed=1)
        before = [memory.copy() for memory in picture.memory]
        with there.map(picture.frame, WRITE) as mapped:
            for tensor, array in zip(mapped.tensors, picture.arrays, strict=True):
                data = tensor.native.data
                assert data.ctypes.data == array.ctypes.data
                assert data.strides[0] == array.strides[0] == tensor.info.strides[0]
                data[...] = 77
        for array, memory, around, was in zip(
            picture.arrays, picture.memory, picture.around, before, strict=True
        ):
            assert (array == 77).all()
            assert np.array_equal(memory[around], was[around])
    assert there.audit.bytes_copied == 0


@pytest.mark.parametrize(
    ("padding", "shape"), [(0, (5, 7, 3)), (3, (5, 7, 3)), (2, (5, 21)), (4, (5, 21))]
)
def test_rows_that_are_no_whole_pixels_apart_are_rows_of_samples(there, padding, shape):
    memory = np.zeros((5, 21 + padding), np.uint8)
    array = np.ndarray((5, 7, 3), np.uint8, memory, strides=(21 + padding, 3, 1))
    array[...] = np.arange(105).reshape(5, 7, 3)
    with share(there, array) as mapped:
        assert tuple(mapped.native.shape) == shape
        assert np.array_equal(mapped.native.data.reshape(5, 7, 3), array)
        assert mapped.info.shape == (5, 7, 3)
        assert np.array_equal(mapped.array, array)
        if shape == array.shape:
            assert np.array_equal(mapped.batch().native.data[0], array)
        else:
            with pytest.raises(FormatError, match="no whole number"):
                mapped.batch()


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (5, 1, 3), (1, 7, 3), (5, 1), (1, 7), (9,)])
@pytest.mark.parametrize("padding", [0, 5])
def test_dimensions_of_one_may_have_any_stride(there, shape, padding):
    row = int(np.prod(shape[1:])) + padding if len(shape) > 1 else 1
    strides = (row, *TensorInfo(shape, np.dtype("u1")).strides[1:])
    array = np.ndarray(shape, np.uint8, np.arange(256, dtype=np.uint8), strides=strides)
    with share(there, array) as mapped:
        assert tuple(mapped.native.shape) == shape
        assert np.array_equal(mapped.native.data, array)
        assert mapped.info.strides == strides


def test_channels_left_out_are_padding(there):
    array = np.zeros((8, 6, 3), np.uint8)
    with share(there, array[..., :2]) as mapped:
        assert tuple(mapped.native.shape) == (8, 6, 2)
        mapped.native.data[...] = 9
    assert array.reshape(-1, 3).tolist() == [[9, 9, 0]] * 48


CROOKED = {
    "bottom up": lambda array: array[::-1],
    "every third byte": lambda array: array[..., 0],
    "transposed": lambda array: array.transpose(1, 0, 2),
    "rows repeated": lambda array: np.broadcast_to(array[:1], array.shape),
    "rows not aligned": lambda array: np.ndarray((3, 4), np.uint16, array, strides=(9, 2)),
    "rows overlap": lambda array: np.ndarray((3, 4), np.uint8, array, strides=(2, 1)),
}


@pytest.mark.parametrize("what", CROOKED)
def test_layouts_that_openvino_has_not_are_refused(there, what):
    array = CROOKED[what](np.zeros((8, 6, 3), np.uint8))
    with pytest.raises(FormatError, match=r"copy the array first"):
        share(there, array, READ)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (3, 0, 3)])
def test_nothing_is_refused(openvino, there, shape):
    with pytest.raises(FormatError, match="at least one sample"):
        share(there, np.zeros(shape, np.uint8))
    with pytest.raises(FormatError, match="at least one sample"):
        openvino.allocate(TensorInfo(shape, np.dtype("u1")))


def test_too_much_memory_is_a_device_error(openvino):
    with pytest.raises(DeviceError, match=r"cannot allocate \d+ bytes") as caught:
        openvino.allocate(TensorInfo((1 << 40, 1 << 20), np.dtype("u1")))
    assert isinstance(caught.value.__cause__, RuntimeError | MemoryError)


def test_parts_are_the_same_memory(openvino, there):
    array = np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)
    with share(there, array) as mapped, mapped[1:7:2, 3:9] as part:
        assert part.parent is mapped
        assert np.array_equal(part.native.data, array[1:7:2, 3:9])
        part.native.data[...] = 200
        assert (array[1:7:2, 3:9] == 200).all()
        assert np.count_nonzero(array == 200) <= 3 * 6 * 3 + 1
        with pytest.raises(FormatError):
            mapped[..., ::2]
        with mapped[:, ::2] as columns:
            assert np.array_equal(columns.native.data, array[:, ::2])
    allocated = openvino.allocate(TensorInfo((5, 7, 3), np.dtype("u2"), (64, 6, 2)))
    allocated.array[...] = 5
    inner = allocated[2:4, 1:3]
    allocated.close()
    gc.collect()
    assert (inner.array == 5).all()


def test_region_of_a_frame(there):
    picture = Picture.create(frame_info("nv12", (32, 16)), padding=2, seed=3)
    with there.map(picture.frame, READ) as mapped, mapped.region(4, 6, 8, 4) as part:
        luma, chroma = (tensor.array for tensor in part.tensors)
        assert np.array_equal(luma, picture.arrays[0][6:10, 4:12])
        assert np.array_equal(chroma, picture.arrays[1][3:5, 2:6])


def test_read_is_kept_where_it_can_be(there, back):
    array = np.arange(24, dtype=np.uint8).reshape(4, 6)
    array.flags.writeable = False
    with share(there, array, READ) as mapped:
        assert mapped.native.data.ctypes.data == array.ctypes.data
        for view in (mapped.array, mapped[1:3].array, mapped.batch().array, np.asarray(mapped)):
            assert not view.flags.writeable
        with back.map(mapped, READ) as again, pytest.raises(ValueError, match="read-only"):
            again.array[0, 0] = 1
        for access in (WRITE, READ_WRITE):
            with pytest.raises(FormatError, match="READ mapping"):
                back.map(mapped, access)
    for access in (WRITE, READ_WRITE):
        with pytest.raises(FormatError, match="read-only"):
            share(there, array, access)


def test_array_protocols(there):
    array = np.arange(24, dtype=np.uint8).reshape(4, 6)
    with share(there, array) as mapped:
        assert np.asarray(mapped).ctypes.data == array.ctypes.data
        assert np.from_dlpack(mapped).ctypes.data == array.ctypes.data
        assert mapped.__dlpack_device__() == (1, 0)
        kept = np.asarray(mapped)
    assert np.array_equal(kept, array)


def test_a_cache_lends_the_same_tensor_again(openvino):
    mapper = create_mapper([CPUContext(), openvino], cache=4)
    array = np.zeros((4, 6), np.uint8)
    source = CPUContext().wrap(array)
    for value in range(5):
        array[...] = value
        with mapper.map(source, READ) as mapped:
            assert (mapped.native.data == value).all()
    assert mapper.statistics.hits == 4
