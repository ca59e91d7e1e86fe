"""OpenCV's Mat: an array that OpenCV takes in place, or a refusal."""

from __future__ import annotations

import numpy as np
import pytest

from bridges import AccessMode, Frame, MemoryType, TensorInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.probe import open_context
from bridges.errors import ClosedError, DeviceNotFoundError, FormatError, NoRouteError
from tests.bridges.picture import Picture, frame_info

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")
from bridges.backends import opencv, opencv_umat  # noqa: E402
from bridges.backends.opencv import MAX_CHANNELS, OpenCVContext, check_mat, mat_type  # noqa: E402

READ, WRITE, BOTH = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
U8 = np.dtype("u1")
BASE = np.zeros((8, 16, 3), np.uint8)


def taken_in_place(array):
    """Return whether OpenCV itself writes into an array where it is."""
    before = array.copy()
    try:
        cv2.copyTo(np.full(array.shape, 7, array.dtype), None, array)
    except cv2.error:
        return False
    written = bool((array == 7).all())
    array[...] = before
    return written


@pytest.fixture(scope="module", autouse=True)
def _device_first():
    # Where no overload for a Mat fits, OpenCV tries the one for a UMat, and looks for a device once
    # and for all: later tests need the one that we show it.
    opencv_umat.create()


@pytest.fixture
def context():
    return OpenCVContext()


@pytest.mark.parametrize("name", ["rgb24", "nv12", "gray16le", "bgra"])
@pytest.mark.parametrize("padding", [0, 5])
def test_opencv_writes_into_the_frame_itself(context, name, padding):
    picture = Picture.create(frame_info(name, (31, 7)), padding=padding * 2, seed=1)
    mapper = create_mapper([CPUContext(), context])
    with mapper.map(picture.frame, WRITE) as mapped:
        for tensor in mapped.tensors:
            mat = tensor.handle("cv_mat")
            returned = cv2.copyTo(np.full(mat.shape, 9, mat.dtype), None, mat)
            assert returned.ctypes.data == mat.ctypes.data == tensor.handle("data")
    assert all((array == 9).all() for array in picture.arrays)
    assert picture.guards_hold()
    assert mapper.audit.bytes_copied == 0


def test_opencv_computes_on_a_decoder_s_frame(context):
    ffmpeg = FFmpegContext()
    frame = ffmpeg.allocate_frame(frame_info("bgr24", (33, 5)))
    samples = np.random.default_rng(4).integers(0, 256, (5, 33, 3)).astype(np.uint8)
    with create_mapper([ffmpeg, CPUContext()]).map(frame, WRITE) as host:
        host.tensors[0].handle("array")[...] = samples
    mapper = create_mapper([ffmpeg, context])
    with mapper.map(frame, READ) as mapped:
        tensor = mapped.tensors[0]
        assert tensor.handle("data") == frame.tensors[0].handle("data")
        gray = cv2.cvtColor(tensor.handle("cv_mat"), cv2.COLOR_BGR2GRAY)
    # BT.601, which is what OpenCV means by gray.
    expected = samples @ np.array([0.114, 0.587, 0.299])
    assert np.abs(gray - expected).max() < 1
    assert mapper.explain() == "FFmpeg > CPU > OpenCV   zero-copy"


def test_opencv_s_result_goes_on_as_host_memory(context):
    blurred = cv2.GaussianBlur(np.eye(16, dtype=np.uint8) * 255, (3, 3), 0)
    tensor = context.wrap(blurred)
    with create_mapper([context, CPUContext()]).map(tensor, BOTH) as mapped:
        array = mapped.handle("array")
        assert array.ctypes.data == blurred.ctypes.data
        array[...] = 3
    assert (blurred == 3).all()


def test_a_read_mapping_is_no_output_and_leaves_the_source_writeable(context):
    array = np.ones((4, 6), np.uint8)
    with create_mapper([CPUContext(), context]).map(CPUContext().wrap(array), READ) as mapped:
        mat = mapped.handle("cv_mat")
        assert cv2.countNonZero(mat) == 24
        with pytest.raises(cv2.error, match="output argument"):
            cv2.flip(np.zeros_like(array), 0, mat)
    with create_mapper([context, CPUContext()]).map(context.wrap(array), READ) as mapped:
        assert not mapped.handle("array").flags.writeable
    assert array.flags.writeable
    assert (array == 1).all()


def test_what_is_read_only_cannot_be_mapped_for_writing(context):
    array = np.zeros((4, 6), np.uint8)
    array.flags.writeable = False
    for contexts, tensor in (
        ((CPUContext(), context), CPUContext().wrap(array)),
        ((context, CPUContext()), context.wrap(array)),
    ):
        mapper = create_mapper(contexts)
        mapper.map(tensor, READ).close()
        with pytest.raises(FormatError, match="read-only"):
            mapper.map(tensor, WRITE)


TAKEN = {
    "dense": BASE,
    "padded rows": BASE[:, :5],
    "every second row": BASE[::2],
    "one column": BASE[:, :1],
    "one row": BASE[:1],
    "one channel": np.zeros((4, 5, 1), np.uint8),
    "many channels": np.zeros((2, 2, MAX_CHANNELS), np.uint8),
    "float16": np.zeros((3, 4), np.float16),
    "int32": np.zeros((3, 4), np.int32),
    "padded 16 bits": np.zeros((4, 9), np.uint16)[:, :7],
}
COPIED = {
    "bottom-up": BASE[::-1],
    "every second column": BASE[:, ::2],
    "some channels": BASE[..., :2],
    "a channel": BASE[..., 0],
    "transposed": BASE[..., 0].T,
    "one column of two channels": BASE[:, :1, :2],
}
REFUSED = {
    **COPIED,
    "repeated row": np.broadcast_to(np.zeros((1, 4), np.uint8), (3, 4)),
    "one dimension": np.zeros(5, np.uint8),
    "four dimensions": np.zeros((2, 2, 2, 2), np.uint8),
    "too many channels": np.zeros((2, 2, MAX_CHANNELS + 1), np.uint8),
    "empty": np.zeros((0, 4), np.uint8),
    "64 bits": np.zeros((3, 4), np.int64),
    "unsigned 64 bits": np.zeros((3, 4), np.uint64),
    "complex": np.zeros((3, 4), np.complex64),
    "foreign byte order": np.zeros((3, 4), ">u2"),
    "rows off the grid": np.ndarray((3, 4), np.uint16, bytes(99), 0, (11, 2)),
    "overlapping rows": np.ndarray((3, 4), np.uint8, bytes(99), 0, (3, 1)),
}


@pytest.mark.parametrize("name", TAKEN)
def test_layouts_that_opencv_takes(context, name):
    array = TAKEN[name]
    assert taken_in_place(array)
    tensor = context.wrap(array)
    assert tensor.handle("data") == array.ctypes.data
    assert tensor.info.strides == array.strides
    create_mapper([CPUContext(), context]).map(CPUContext().wrap(array), READ).close()


@pytest.mark.parametrize("name", COPIED)
def test_what_is_refused_opencv_would_have_copied(name):
    assert not taken_in_place(COPIED[name])


@pytest.mark.parametrize("name", REFUSED)
def test_layouts_that_are_refused(context, name):
    array = REFUSED[name]
    with pytest.raises(FormatError, match=r"OpenCV takes .*, got .* copy the samples"):
        context.wrap(array)
    with pytest.raises(FormatError, match="OpenCV takes"):
        create_mapper([CPUContext(), context]).map(CPUContext().wrap(array), READ)


def test_opencv_s_numbers_of_types():
    for shape, dtype, expected in (
        ((2, 3), "u1", cv2.CV_8UC1),
        ((2, 3, 3), "u1", cv2.CV_8UC3),
        ((2, 3, 2), "u2", cv2.CV_16UC2),
        ((2, 3, 4), "f4", cv2.CV_32FC4),
    ):
        assert mat_type(TensorInfo(shape, np.dtype(dtype))) == expected


def test_parts_are_what_numpy_says(context):
    array = np.arange(8 * 16 * 3, dtype=np.uint16).reshape(8, 16, 3)
    tensor = context.wrap(array)
    part = tensor[1:6:2, 3:9]
    assert np.array_equal(part.handle("cv_mat"), array[1:6:2, 3:9])
    assert taken_in_place(part.handle("cv_mat"))
    assert part.parent is tensor
    for index in (np.s_[:, ::2], np.s_[:, :, :2]):
        with pytest.raises(FormatError, match="OpenCV takes"):
            tensor[index]
    with pytest.raises(FormatError, match="empty or backward"):
        tensor[::-1]
    tensor.close()
    with pytest.raises(ClosedError):
        tensor[1:2]


def test_allocation_and_handles(context):
    tensor = context.allocate(TensorInfo((5, 7, 3), U8, (64, 3, 1)))
    assert tensor.info == TensorInfo((5, 7, 3), U8)
    assert tensor.memory_type is MemoryType.OPENCV
    assert tensor.mat is tensor.handle("cv_mat")
    assert tensor.handle("data") == tensor.mat.ctypes.data
    with pytest.raises(KeyError, match="cv_mat"):
        tensor.handle("cl_mem")
    with pytest.raises(FormatError, match="OpenCV takes"):
        context.allocate(TensorInfo((5,), U8))
    tensor.close()
    tensor.close()
    with pytest.raises(ClosedError):
        tensor.handle("cv_mat")


def test_other_libraries_take_a_mat(context):
    tensor = context.wrap(BASE[:, :5])
    for array in (np.asarray(tensor), np.from_dlpack(tensor)):
        assert (array.ctypes.data, array.strides) == (BASE.ctypes.data, BASE.strides)
    assert tensor.__dlpack_device__() == (1, 0)


def test_contexts(context):
    assert context.derive(MemoryType.CPU).memory_type is MemoryType.CPU
    assert context.derive(MemoryType.OPENCV) is context
    with pytest.raises(NoRouteError, match="no CUDA context"):
        context.derive(MemoryType.CUDA)
    assert context.name == f"OpenCV {cv2.__version__}"
    with pytest.raises(DeviceNotFoundError, match=r"'gpu'.*host memory"):
        open_context(MemoryType.OPENCV, "gpu")
    probe = opencv.probe()
    assert (probe.name, probe.available, probe.remedy) == ("opencv", True, "")
    assert cv2.__version__ in probe.reason


def test_a_frame_keeps_its_info(context):
    frame: Frame = Picture.create(frame_info("yuv420p", (6, 4)), seed=1).frame
    with create_mapper([CPUContext(), context]).map(frame, READ) as mapped:
        assert mapped.info is frame.info
        for tensor in mapped.tensors:
            check_mat(tensor.info)
