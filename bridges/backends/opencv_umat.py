"""OpenCV's memory on its OpenCL device: ``cv::UMat``.

Where OpenCV has no OpenCL, a UMat lies in host memory that Python cannot reach: it is copied from
and to, and not shared.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyopencl as cl

from bridges.backends.opencl import OpenCLContext, OpenCLTensor, host_bytes, opencl_errors
from bridges.backends.opencv import OpenCVContext, check_mat, mat_type
from bridges.backends.opencv_opencl import OpenCVDevice, open_device
from bridges.backends.probe import Probe
from bridges.context import Context
from bridges.errors import ClosedError, DeviceError, FormatError
from bridges.tensor import AccessMode, MemoryType, Tensor, TensorInfo

__all__ = [
    "NO_OPENCL",
    "OpenCVUMatContext",
    "OpenCVUMatTensor",
    "create",
    "opencv_errors",
    "over",
    "probe",
    "row_pitch",
    "row_region",
]

NO_OPENCL = (
    "OpenCV found no OpenCL device when it first looked; open OpenCV_UMat before any other use of "
    "a UMat, or set OPENCV_OPENCL_DEVICE=:CPU:0 before the start"
)
_ALL = (-(2**31), 2**31 - 1)
"""``cv::Range::all()``."""
_BYTE = np.dtype("u1")


@contextmanager
def opencv_errors(action: str) -> Iterator[None]:
    """Translate OpenCV's errors; ``action`` completes "OpenCV cannot ...".

    Raises
    ------
    DeviceError
        OpenCV reported a failure.
    """
    try:
        yield
    except (cv2.error, SystemError) as error:
        raise DeviceError(f"OpenCV cannot {action}: {_own(error)}") from _own(error)


def _own(error: Exception) -> cv2.error:
    """Return OpenCV's own error; its UMat constructor hides it behind a SystemError."""
    own = error.__cause__ if isinstance(error, SystemError) else error
    if not isinstance(own, cv2.error):
        raise error
    return own


class OpenCVUMatTensor(Tensor):
    """A block of samples in a UMat.

    Parameters
    ----------
    umat : cv2.UMat
        May be a part of another one.
    info, context, parent, on_open, on_close
        As for `Tensor`.
    """

    memory_type = MemoryType.OPENCV_UMAT
    context: "OpenCVUMatContext"

    def __init__(self, umat: Any, info: TensorInfo, **tensor: Any) -> None:
        super().__init__(info, **tensor)
        self._umat: Any = umat
        self._whole: OpenCLTensor | None = None

    @property
    def native(self) -> Any:
        """The ``cv2.UMat``."""
        return self.handle("cv_umat")

    @property
    def is_on_device(self) -> bool:
        """Whether the UMat is in a ``cl_mem``: not so if made while OpenCV's OpenCL was off."""
        with opencv_errors("tell where a UMat is"):
            return bool(self.native.handle(cv2.ACCESS_READ))

    @property
    def whole(self) -> OpenCLTensor:
        """All bytes of the buffer that the UMat is in; it keeps the UMat, which recycles buffers.

        Raises
        ------
        FormatError
            The UMat is in host memory.
        """
        if self._whole is None:
            umat = self.native
            if self.context.opencl is None or not self.is_on_device:
                raise FormatError(
                    "this UMat is in host memory, out of Python's reach: OpenCL was off as it was "
                    "made, or its device was full; make it after cv2.ocl.setUseOpenCL(True), in "
                    "the same thread"
                )
            with opencl_errors("take a UMat's buffer"):
                buffer = cl.Buffer.from_int_ptr(umat.handle(cv2.ACCESS_READ), retain=True)
                info = TensorInfo((buffer.size,), _BYTE)
            self._whole = OpenCLTensor(buffer, info, keep=umat, context=self.context.opencl)
        return self._whole

    def settle(self, access: AccessMode) -> None:
        """Wait for OpenCV's work on the device, and tell OpenCV of writes that are to come."""
        if access & AccessMode.WRITE:
            # A copy on the host, where OpenCV keeps one, is out of date from here on.
            with opencv_errors("mark a UMat as written to"):
                self._umat.handle(cv2.ACCESS_WRITE)
        self.context.finish()

    def fetch(self, array: npt.NDArray[Any]) -> int:
        """Copy all samples into an array that a Mat can describe; return the bytes copied."""
        if self.is_on_device:
            return self._transfer(array, fetches=True)
        with opencv_errors("read a UMat"):
            array[...] = self.native.get().reshape(array.shape)
        return 2 * self.info.nbytes

    def store(self, array: npt.NDArray[Any]) -> int:
        """Copy all samples from an array that a Mat can describe; return the bytes copied."""
        if self.is_on_device:
            return self._transfer(array, fetches=False)
        with opencv_errors("write a UMat"):
            # By way of another UMat: OpenCV's one function that writes into a UMat takes no Mat.
            cv2.copyTo(array, None, self.native)
        return 2 * self.info.nbytes

    def _transfer(self, array: npt.NDArray[Any], *, fetches: bool) -> int:
        info = TensorInfo(array.shape, array.dtype, array.strides)
        host = host_bytes(array.ctypes.data, info.span)
        buffer = self.whole.native
        self.settle(AccessMode.READ if fetches else AccessMode.WRITE)
        with opencl_errors(f"copy {info.nbytes} bytes for OpenCV"):
            cl.enqueue_copy(
                self.context.queue,
                *((host, buffer) if fetches else (buffer, host)),
                buffer_origin=self.origin,
                host_origin=(0, 0),
                region=row_region(info),
                buffer_pitches=row_pitch(self.info),
                host_pitches=row_pitch(info),
            )
        return info.nbytes

    @property
    def origin(self) -> tuple[int, int]:
        """Where the samples start in the buffer: bytes into a row, rows."""
        (pitch,) = row_pitch(self.info)
        row, column = divmod(self.native.offset, pitch)
        return column, row

    def _handles(self) -> dict[str, Any]:
        handles = {"cv_umat": self._umat}
        if self.context.opencl is not None and self._umat.handle(cv2.ACCESS_READ):
            handles |= {"cl_mem": self.whole.native, "offset": self._umat.offset}
        return handles

    def handle(self, key: str) -> Any:
        """Return ``"cv_umat"``, or ``"cl_mem"`` and ``"offset"`` where the UMat is on the device.

        The samples start ``offset`` bytes from the buffer's first; see `Tensor.handle`.
        """
        if key == "cv_umat" and not self._closed:
            return self._umat
        return super().handle(key)

    def _part(self, info: TensorInfo, offset: int) -> "OpenCVUMatTensor":
        own = self.info
        is_stepped = info.strides[1:] != own.strides[1:] or (
            info.strides[0] != own.strides[0] and info.shape[0] > 1
        )
        if is_stepped or info.shape[2:] != own.shape[2:]:
            raise FormatError(
                f"a UMat is cut into rectangles of whole pixels, not into {info.shape} with "
                f"strides {info.strides} out of {own.shape} with strides {own.strides}"
            )
        row, left = divmod(offset, own.strides[0])
        rectangle = (left // own.strides[1], row, info.shape[1], info.shape[0])
        with opencv_errors("cut a UMat"):
            part = cv2.UMat(self.native, rectangle)
        laid = TensorInfo(info.shape, info.dtype, own.strides)
        return OpenCVUMatTensor(part, laid, context=self.context, parent=self)

    def _release(self) -> None:
        self._umat = None
        self._whole = None


def row_region(info: TensorInfo) -> tuple[int, int]:
    """Return how long a row is, in bytes, and how many there are."""
    return info.strides[1] * info.shape[1], info.shape[0]


def row_pitch(info: TensorInfo) -> tuple[int]:
    """Return how many bytes lie between the starts of two rows; one row needs no gap."""
    return (max(info.strides[0], info.strides[1] * info.shape[1]),)


class OpenCVUMatContext(Context):
    """OpenCV and the one OpenCL device that it uses, if there is one.

    Parameters
    ----------
    found : OpenCVDevice or None
        As `bridges.backends.opencv_opencl.open_device` returns it.

    Attributes
    ----------
    opencl : OpenCLContext or None
        OpenCV's own ``cl_context``; None where UMats lie in host memory.
    """

    memory_type = MemoryType.OPENCV_UMAT

    def __init__(self, found: OpenCVDevice | None) -> None:
        super().__init__()
        self._found = found
        self.opencl = _own_context(found) if found is not None else None
        where = str(self.opencl.device) if self.opencl is not None else "host memory"
        self.name = f"OpenCV {cv2.__version__} on {where}"
        self.shares_host_memory = self.opencl is not None and self.opencl.shares_host_memory

    @property
    def is_on_the_host(self) -> bool:
        """Whether UMats lie in host memory, be it within Python's reach or not."""
        return self.opencl is None or self.shares_host_memory

    def _handles(self) -> dict[str, Any]:
        return self.opencl._handles() if self.opencl is not None else {}

    @property
    def queue(self) -> Any:
        """OpenCV's in-order queue; None where there is no OpenCL. Tensors outlive the context."""
        return self._found.queue if self._found is not None else None

    def finish(self) -> None:
        """Wait for what OpenCV has enqueued."""
        if self.opencl is not None:
            self.opencl.finish()

    def allocate(self, info: TensorInfo) -> OpenCVUMatTensor:
        """Return a tensor in a new, dense UMat; the samples start undefined.

        Raises
        ------
        FormatError
            No UMat has this shape or sample type.
        DeviceError
            There is too little memory.
        ClosedError
            The context was closed.
        """
        self._check_open()
        dense = TensorInfo(info.shape, info.dtype)
        check_mat(dense)
        with opencv_errors(f"allocate a UMat of {dense.nbytes} bytes"):
            umat = cv2.UMat(dense.shape[0], dense.shape[1], mat_type(dense))
        return OpenCVUMatTensor(umat, dense, context=self)

    def wrap(self, umat: Any, info: TensorInfo | None = None) -> OpenCVUMatTensor:
        """Return a tensor over a UMat, without a copy.

        Parameters
        ----------
        umat : cv2.UMat
            Two-dimensional, with channels.
        info : TensorInfo, optional
            Its layout, where it is known; Python has no way to ask, so that otherwise one row and
            one column are fetched (0.2 ms).

        Raises
        ------
        FormatError
            ``info`` does not fit, or no layout of ours describes the UMat.
        ClosedError
            The context was closed.
        """
        self._check_open()
        try:
            if info is None:
                info = _layout(umat)
            else:
                _check_corner(umat, info)
        except (cv2.error, SystemError) as error:
            asked = f"a UMat of {info.shape}" if info is not None else "a UMat of rows and columns"
            raise FormatError(f"OpenCV cannot show {asked}: {_own(error)}") from _own(error)
        check_mat(info)
        return OpenCVUMatTensor(umat, info, context=self)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the {self.memory_type.value} context {self.name} was closed")

    def _derive(self, memory_type: MemoryType) -> Context | None:
        if memory_type is MemoryType.OPENCL and self._found is not None:
            return _own_context(self._found)
        if memory_type is MemoryType.OPENCV and self.is_on_the_host:
            return OpenCVContext()
        return None


def _layout(umat: Any) -> TensorInfo:
    row = cv2.UMat(umat, (0, 1)).get()
    rows = cv2.UMat(umat, _ALL, (0, 1)).get().shape[0]
    dense = TensorInfo((rows, *row.shape[1:]), row.dtype)
    if rows == 1:
        return dense
    step = cv2.UMat(umat, (1, 2)).offset - umat.offset
    return TensorInfo(dense.shape, dense.dtype, (step, *dense.strides[1:]))


def _check_corner(umat: Any, info: TensorInfo) -> None:
    """Check that the last pixel is where a layout has it."""
    row, column = info.shape[0] - 1, info.shape[1] - 1
    found = cv2.UMat(umat, (column, row, 1, 1)).offset - umat.offset
    expected = row * info.strides[0] + column * info.strides[1]
    if found != expected:
        raise FormatError(
            f"in this UMat the pixel in row {row}, column {column} is at byte {found}, not at "
            f"{expected} as in {info.shape} of {info.dtype} with strides {info.strides}"
        )


def _own_context(found: OpenCVDevice) -> OpenCLContext:
    """Return OpenCV's own ``cl_context``, device and queue, as OpenCL's backend uses them."""
    device = found.device
    return OpenCLContext(
        found.context, found.queue, name=f"{device.platform}: {device.name} (OpenCV's)"
    )


def over(context: OpenCLContext) -> OpenCVUMatContext | None:
    """Return OpenCV on an OpenCL context; None where that is not OpenCV's own."""
    found = open_device()
    if found is None or found.context != context.native:
        return None
    return OpenCVUMatContext(found)


def create(selector: str = "") -> OpenCVUMatContext:
    """Open OpenCV on its OpenCL device, or in host memory where it has none.

    Raises
    ------
    DeviceNotFoundError
        A device was named that OpenCV does not use; see `open_device`.
    """
    return OpenCVUMatContext(open_device(selector))


def probe() -> Probe:
    """Report OpenCV and the OpenCL device that it uses, which is opened by this."""
    found = open_device()
    if found is None:
        reason = f"OpenCV {cv2.__version__}; a UMat is copied, not shared: {NO_OPENCL}"
        return Probe("opencv_umat", True, reason, devices=("host memory",))
    return Probe(
        "opencv_umat", True, f"OpenCV {cv2.__version__}, with OpenCL", devices=(str(found.device),)
    )
