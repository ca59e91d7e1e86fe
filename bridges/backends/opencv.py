"""OpenCV's memory on the host: ``cv::Mat``, which in Python is a NumPy array.

OpenCV takes an array in place where a ``Mat`` can describe it. Any other layout it copies, silently
where the array is an input; so what it would copy, or convert, is refused here.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from bridges.backends.host_array import HostArray
from bridges.backends.probe import Probe
from bridges.context import Context
from bridges.errors import DeviceNotFoundError, FormatError
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo

__all__ = [
    "MAX_CHANNELS",
    "OpenCVContext",
    "OpenCVTensor",
    "check_mat",
    "create",
    "mat_type",
    "probe",
    "seen_for",
]

MAX_CHANNELS = 128 if int(cv2.__version__.partition(".")[0]) >= 5 else 512
"""``CV_CN_MAX`` of opencv2/core/hal/interface.h; beyond it a third dimension is no channel."""

_DEPTHS = {
    np.dtype(name): depth
    for name, depth in (
        ("u1", cv2.CV_8U),
        ("i1", cv2.CV_8S),
        ("u2", cv2.CV_16U),
        ("i2", cv2.CV_16S),
        # OpenCV 5 has it. 64-bit integers it converts to 32 bits when they come from Python.
        ("u4", getattr(cv2, "CV_32U", None)),
        ("i4", cv2.CV_32S),
        ("f2", cv2.CV_16F),
        ("f4", cv2.CV_32F),
        ("f8", cv2.CV_64F),
    )
    if depth is not None
}


def check_mat(info: TensorInfo) -> None:
    """Check that a ``Mat`` can describe samples where they are.

    Raises
    ------
    FormatError
        It cannot: the sample type is not one of OpenCV's, there are too many channels, samples of a
        row are not side by side, or rows overlap, run backward or are off the samples' grid.
    """
    shape, strides, item = info.shape, info.strides, info.dtype.itemsize
    pixel = item * shape[2] if len(shape) == 3 else item
    fits = (
        info.dtype in _DEPTHS
        and 2 <= len(shape) <= 3
        and min(shape) > 0
        and strides[1] == pixel
        and pixel == item * (shape[2] if strides[2:] == (item,) else 1)
        and pixel <= item * MAX_CHANNELS
        and (shape[0] == 1 or (strides[0] >= pixel * shape[1] and strides[0] % item == 0))
    )
    if not fits:
        types = ", ".join(str(dtype) for dtype in _DEPTHS)
        raise FormatError(
            f"OpenCV takes (rows, columns) or (rows, columns, 1 to {MAX_CHANNELS} channels) of "
            f"{types} in native byte order, samples of a row side by side and rows a whole number "
            f"of samples apart, got {shape} of {info.dtype.str} with strides {strides}; copy the "
            "samples into a dense array first"
        )


def mat_type(info: TensorInfo) -> int:
    """Return OpenCV's number for one element of a checked layout, such as ``cv2.CV_8UC3``."""
    channels = info.shape[2] if len(info.shape) == 3 else 1
    number: int = cv2.CV_MAKETYPE(_DEPTHS[info.dtype], channels)
    return number


def seen_for(access: AccessMode, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array as the holder of a mapping may use it: read-only without WRITE.

    Raises
    ------
    FormatError
        WRITE is asked of an array that is read-only.
    """
    if not access & AccessMode.WRITE:
        # A view: the array itself stays as writeable as it was.
        array = array.view()
        array.flags.writeable = False
    elif not array.flags.writeable:
        raise FormatError(
            f"a mapping for {access} was asked of samples that are read-only; map what they came "
            "from for WRITE, or ask for READ"
        )
    return array


class OpenCVTensor(HostArray, Tensor):
    """A block of samples as a ``Mat``.

    Parameters
    ----------
    mat : numpy.ndarray
        Samples of a layout that `check_mat` passes; never copied.
    info, context, parent, on_open, on_close
        As for `Tensor`.
    """

    memory_type = MemoryType.OPENCV

    def __init__(self, mat: npt.NDArray[Any], info: TensorInfo, **tensor: Any) -> None:
        super().__init__(info, **tensor)
        self._mat: npt.NDArray[Any] | None = mat
        self._address = 0

    @property
    def mat(self) -> npt.NDArray[Any]:
        """The samples, as OpenCV's functions take them."""
        return self.handle("cv_mat")  # type: ignore[no-any-return]

    def _handles(self) -> dict[str, Any]:
        assert self._mat is not None
        # NumPy takes a microsecond to tell it.
        self._address = self._address or self._mat.ctypes.data
        return {"cv_mat": self._mat, "data": self._address}

    def __getitem__(self, index: slice | tuple[slice, ...]) -> "OpenCVTensor":
        """Return a part of the samples, over the same memory; see `Tensor`.

        Raises
        ------
        FormatError
            The part is empty or runs backward, or is no ``Mat``: columns or channels were left out.
        """
        self.info.slice(index)  # Refuses what NumPy would take for something else.
        part = self.mat[index]
        info = TensorInfo(part.shape, part.dtype, part.strides)
        check_mat(info)
        return OpenCVTensor(part, info, context=self.context, parent=self)

    def _host_array(self) -> npt.NDArray[Any]:
        return self.mat

    def _release(self) -> None:
        self._mat = None


class OpenCVContext(Context):
    """OpenCV on the host."""

    memory_type = MemoryType.OPENCV
    name = f"OpenCV {cv2.__version__}"
    shares_host_memory = True

    def allocate(self, info: TensorInfo) -> OpenCVTensor:
        """Return a tensor of new, dense host memory.

        Raises
        ------
        FormatError
            No ``Mat`` has this shape or sample type.
        """
        dense = TensorInfo(info.shape, info.dtype)
        check_mat(dense)
        return OpenCVTensor(np.empty(dense.shape, dense.dtype), dense, context=self)

    def wrap(self, mat: npt.NDArray[Any]) -> OpenCVTensor:
        """Return a tensor over what an OpenCV function returned, or takes, without a copy.

        Raises
        ------
        FormatError
            OpenCV would copy the array instead of using it.
        """
        info = TensorInfo(mat.shape, mat.dtype, mat.strides)
        check_mat(info)
        return OpenCVTensor(mat, info, context=self)

    def _derive(self, memory_type: MemoryType) -> Context | None:
        if memory_type is not MemoryType.OPENCV_UMAT:
            return None
        from bridges.backends import opencv_umat

        derived = opencv_umat.create()
        return derived if derived.is_on_the_host else None


def create(selector: str = "") -> OpenCVContext:
    """Return OpenCV on the host.

    Raises
    ------
    DeviceNotFoundError
        A device was named: a ``Mat`` is in host memory.
    """
    if selector:
        raise DeviceNotFoundError(
            f"no OpenCV device {selector!r}: a Mat is in host memory. Leave the name out, or ask "
            "for OpenCV_UMat to use an OpenCL device"
        )
    return OpenCVContext()


def probe() -> Probe:
    """Report OpenCV."""
    device = f"host memory, {cv2.getNumThreads()} threads"
    return Probe("opencv", True, f"OpenCV {cv2.__version__}", devices=(device,))
