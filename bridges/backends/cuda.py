"""CUDA's memory: device pointers on NVIDIA GPUs, through cuda-core.

Every context has a stream of its own, which never waits for the legacy default stream nor is waited
for by it. Work on that stream is in order with mappings; have it wait for work on other streams
before a mapping that was written to is closed, with ``context.stream.wait(other)``.
"""

import sys
import threading
from collections import deque
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt
from cuda.bindings import driver
from cuda.core import Device

from bridges.backends.cuda_driver import (
    DEVICE_MEMORY,
    HOST_MEMORY,
    LEGACY_STREAM,
    Current,
    absence,
    busy,
    check,
    check_code,
    copy_rows,
    cuda_errors,
    device_names,
    quick,
    rows_of,
)
from bridges.backends.cuda_pinned import PinnedPool
from bridges.backends.host_array import array_at
from bridges.backends.layout import check_samples
from bridges.backends.probe import Probe
from bridges.context import Context
from bridges.errors import ClosedError, DeviceNotFoundError, FormatError
from bridges.native.dlpack import CUDA, capsule
from bridges.tensor import MemoryType, Tensor, TensorInfo

__all__ = ["CUDAContext", "CUDAMemory", "CUDATensor", "Lent", "create", "probe"]


class CUDATensor(Tensor):
    """A block of samples in a GPU's memory.

    Parameters
    ----------
    address : int
        Of the first sample, as the device sees it.
    owner : object
        What owns the memory, held for as long as this tensor or any part of it is open. What
        `CUDAContext.allocate` took is given back in the order of its stream.
    writeable : bool
        What the array protocols tell of the samples.
    info, context, parent, on_open, on_close
        As for `Tensor`.
    """

    memory_type = MemoryType.CUDA
    context: "CUDAContext"

    def __init__(
        self,
        address: int,
        info: TensorInfo,
        *,
        owner: object,
        writeable: bool = True,
        **tensor: Any,
    ) -> None:
        super().__init__(info, **tensor)
        self._address = address
        self._owner: object | None = owner
        self._stream: int = self.context.stream_handle
        self.writeable = writeable

    @property
    def owner(self) -> object:
        """What owns the memory: hold it to have the memory outlive this tensor."""
        return self._owner

    def _handles(self) -> dict[str, Any]:
        return {"data": self._address, "cuda_stream": self._stream}

    def _part(self, info: TensorInfo, offset: int) -> "CUDATensor":
        return CUDATensor(
            self._address + offset,
            info,
            owner=self._owner,
            writeable=self.writeable,
            context=self.context,
            parent=self,
        )

    def _lend(self) -> None:
        if isinstance(self._owner, Lent):
            self._owner.is_lent = True

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        # Version 3: the consumer waits for "stream", on which the samples become what they are.
        self._lend()
        return {
            "shape": self.info.shape,
            "typestr": self.info.dtype.str,
            "data": (self.handle("data"), not self.writeable),
            "strides": self.info.strides,
            "stream": self._stream,
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return ``kDLCUDA`` and the device's ordinal."""
        return CUDA, self.context.ordinal

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a DLPack capsule; the consumer's stream waits for this context's.

        Parameters
        ----------
        stream : int, optional
            The consumer's ``CUstream``; 1 and None mean the legacy default stream, 2 the thread's,
            and -1 that the consumer takes care of the order itself.
        max_version, dl_device, copy
            As the array API standard has them.

        Raises
        ------
        BufferError
            Another device is asked for, or the memory cannot be told of in DLPack.
        ValueError
            ``stream`` is 0, which the standard forbids.
        ClosedError
            The tensor was closed.
        """
        address = self.handle("data")
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            raise BufferError(
                f"these samples are on DLPack device {self.__dlpack_device__()}, not {dl_device}; "
                "map them to the CPU first"
            )
        if stream == 0:
            raise ValueError("DLPack's stream 0 is ambiguous; pass 1, 2 or a CUstream")
        info, owner, is_read_only = self.info, self._owner, not self.writeable
        if copy:
            twin = self.context.copy_of(self)
            address, info, owner, is_read_only = twin._address, twin.info, twin.owner, False
        lent = capsule(
            array_at(address, info, owner=owner, writeable=not is_read_only),
            device=self.__dlpack_device__(),
            max_version=max_version,
        )
        if not copy:
            self._lend()
        if stream != -1:
            self.context.join(LEGACY_STREAM if stream is None else stream, self._stream)
        return lent

    def _release(self) -> None:
        self._owner = None


class Lent:
    """What owns memory that other libraries may work with, on streams of their own.

    Attributes
    ----------
    is_lent : bool
        Whether one of them was told of the memory. Before it is used again, everything waits for
        the legacy default stream, where most of them work; who works on another one keeps the array
        until that is through.
    """

    __slots__ = ("is_lent",)

    def __init__(self) -> None:
        self.is_lent = False


class CUDAMemory(Lent):
    """Memory of a device, from its pool: taken and given back in the order of a context's stream.

    It goes back once nobody refers to it, and holds what the stream is part of.

    Parameters
    ----------
    context : CUDAContext
        The device.
    nbytes : int
        At least 1.

    Attributes
    ----------
    address : int
        Of the first byte, a multiple of 256.
    nbytes : int
        As above.

    Raises
    ------
    DeviceError
        The device has too little memory.
    """

    __slots__ = ("_context", "_stream", "address", "nbytes")

    def __init__(self, context: "CUDAContext", nbytes: int) -> None:
        super().__init__()
        self._context, self._stream, self.nbytes = context, context.stream_handle, nbytes
        with context.current:
            # Without the interpreter's lock: the driver may be busy with other threads' decoders.
            taken = driver.cuMemAllocFromPoolAsync(nbytes, context.pool_handle, self._stream)
        address = check(taken, f"allocate {nbytes} bytes on {context.name}")
        self.address = int(address)
        context.count.add(nbytes)

    def __del__(self) -> None:
        # At its end the process takes all with it; the stream may have gone before.
        if hasattr(self, "address") and not sys.is_finalizing():
            self._context.count.add(-self.nbytes)
            if self.is_lent:
                self._context.join(self._stream, LEGACY_STREAM)
            with self._context.current:
                quick().cuMemFreeAsync(self.address, self._stream)


class _Count:
    """Bytes that are taken at a time, and at most; several threads may count."""

    def __init__(self) -> None:
        # Reentrant: memory may go by the collector within a call.
        self._lock = threading.RLock()
        self.taken = self.most = 0

    def add(self, nbytes: int) -> None:
        with self._lock:
            self.taken += nbytes
            self.most = max(self.most, self.taken)


class CUDAContext(Context):
    """One GPU, with a non-blocking stream of its own in the device's primary CUDA context.

    Parameters
    ----------
    ordinal : int
        Which device, as CUDA counts them.

    Attributes
    ----------
    ordinal : int
        As above.
    device : cuda.core.Device
        The device; of the thread that made this context.
    stream : cuda.core.Stream
        What mappings are in order with.
    count : object
        ``taken`` is the bytes that tensors of this context take, and ``most`` the most so far.
    free_events : deque
        CUDA's events that nobody waits for any more, to be recorded anew.
    current : context manager
        Makes the CUDA context the calling thread's, as launches need it.

    Raises
    ------
    DeviceNotFoundError
        There is no driver or no such device; the message lists those there are.
    DeviceError
        The device cannot be opened.
    """

    memory_type = MemoryType.CUDA

    def __init__(self, ordinal: int = 0) -> None:
        super().__init__()
        names = device_names()
        if not 0 <= ordinal < len(names):
            raise DeviceNotFoundError(
                f"no CUDA device {ordinal}; there is {'; '.join(names)}. Name one as cuda:0"
            )
        self.ordinal = ordinal
        self.name = f"CUDA device {names[ordinal]}"
        previous = check(driver.cuCtxGetCurrent(), "tell the thread's context")
        with cuda_errors(f"open {self.name}"):
            self.device: Any = Device(ordinal)
            self.device.set_current()
            try:
                self._open()
            finally:
                # A thread that works on another device goes on there.
                if int(previous):
                    driver.cuCtxSetCurrent(previous)

    def _open(self) -> None:
        native = check(driver.cuCtxGetCurrent(), "tell its context")
        self.current = Current(native)
        self.stream: Any = self.device.create_stream()
        self.stream_handle = int(self.stream.handle)
        # cuda-core's pool of the device, which keeps what is given back to it.
        self._pool: Any = self.device.memory_resource
        self.pool_handle = int(self._pool.handle)
        self.count = _Count()
        self._pinned = PinnedPool(self.current)
        self.free_events: deque[Any] = deque()
        self.cuda_handle = int(native)
        self._native = {
            "cuda_device": self.ordinal,
            "cuda_context": self.cuda_handle,
            "cuda_stream": self.stream_handle,
        }

    def _handles(self) -> dict[str, Any]:
        return self._native

    @property
    def busy(self) -> AbstractContextManager[None]:
        """A block of work that keeps the driver busy; see `bridges.backends.cuda_driver.busy`."""
        return busy()

    def allocate(self, info: TensorInfo) -> CUDATensor:
        """Return a tensor in new memory of the device; the samples start undefined.

        Raises
        ------
        FormatError
            The layout is empty or runs backward.
        DeviceError
            The device has too little memory.
        """
        self._check_open()
        check_samples("CUDA memory", info)
        memory = CUDAMemory(self, info.span)
        return CUDATensor(memory.address, info, owner=memory, context=self)

    def pinned(self, nbytes: int) -> npt.NDArray[np.uint8]:
        """Return page-locked host memory, to and from which the device copies by itself.

        It comes from a pool, and goes back once nobody refers to the array.

        Parameters
        ----------
        nbytes : int
            At least 1.

        Returns
        -------
        numpy.ndarray
            Of shape ``(nbytes,)``, with undefined contents.

        Raises
        ------
        DeviceError
            There is too little memory that can be locked.
        """
        return self._pinned.take(nbytes).array((nbytes,), np.dtype(np.uint8))

    def fetch(self, address: int, info: TensorInfo) -> npt.NDArray[Any]:
        """Return samples of the device in page-locked memory, once all work so far is done.

        Parameters
        ----------
        address : int
            Of the first sample.
        info : TensorInfo
            Their layout; the array is dense.

        Raises
        ------
        FormatError
            The samples of a row are not side by side.
        DeviceError
            There is too little memory that can be locked, or the device failed.
        """
        rows, row, pitch = rows_of(info)
        memory = self._pinned.take(info.nbytes)
        copy = copy_rows(
            (DEVICE_MEMORY, address, pitch), (HOST_MEMORY, memory.address, row), rows, row
        )
        with self.current:
            check(driver.cuMemcpy2DAsync(copy, self.stream_handle), f"copy from {self.name}")
        self.wait()
        return memory.array(info.shape, info.dtype)

    def put(self, source: int, target: int, nbytes: int) -> None:
        """Copy bytes of page-locked memory to the device, after all work so far, and wait for it.

        Parameters
        ----------
        source, target : int
            Addresses, of the host and of the device.
        nbytes : int
            How many.

        Raises
        ------
        DeviceError
            The device failed.
        """
        with self.current:
            done = driver.cuMemcpyHtoDAsync(target, source, nbytes, self.stream_handle)
            check(done, f"copy {nbytes} bytes to {self.name}")
        self.wait()

    def wait(self) -> None:
        """Wait for all work so far; other threads go on meanwhile.

        Raises
        ------
        DeviceError
            Some of it failed.
        """
        with cuda_errors(f"finish the work on {self.name}"), self.current:
            self.stream.sync()

    def wrap(self, array: Any) -> CUDATensor:
        """Return a tensor over an array of another library (CuPy, Numba, torch), without a copy.

        Parameters
        ----------
        array : object
            With ``__cuda_array_interface__``; this context's stream waits for the one it names.

        Raises
        ------
        FormatError
            The array is of another kind, on another device, empty, or runs backward.
        """
        told = getattr(array, "__cuda_array_interface__", None)
        if told is None:
            raise FormatError(
                f"a CUDA tensor wraps what has __cuda_array_interface__, {type(array).__name__} "
                "has not; see wrap_pointer"
            )
        address, is_read_only = told["data"]
        info = TensorInfo(
            tuple(told["shape"]), np.dtype(told["typestr"]), tuple(told.get("strides") or ())
        )
        tensor = self.wrap_pointer(address, info, owner=array, stream=told.get("stream"))
        tensor.writeable = not is_read_only
        return tensor

    def wrap_pointer(
        self, address: int, info: TensorInfo, *, owner: object, stream: int | None = None
    ) -> CUDATensor:
        """Return a tensor over memory that ``owner`` owns, without a copy.

        Parameters
        ----------
        address : int
            Of the first sample.
        info : TensorInfo
            Layout of the samples.
        owner : object
            Held for as long as the tensor is open.
        stream : int, optional
            The ``CUstream`` on which the samples are made, which this context's stream then waits
            for; None where they are complete.

        Raises
        ------
        FormatError
            The layout is empty or runs backward, or the memory is not on this device.
        """
        self._check_open()
        check_samples("CUDA memory", info)
        kind = driver.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
        failure, ordinal = driver.cuPointerGetAttribute(kind, address)
        if failure or ordinal != self.ordinal:
            where = "is not CUDA's" if failure else f"is on CUDA device {ordinal}"
            raise FormatError(f"{self.name} wraps its own memory, and {address:#x} {where}")
        if stream is not None:
            self.join(self.stream_handle, stream)
        return CUDATensor(address, info, owner=owner, context=self)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"the CUDA context {self.name} was closed; make another one")

    def join(self, waiting: int, working: int) -> None:
        """Have one stream of this device wait for what was put on another one so far.

        Parameters
        ----------
        waiting, working : int
            ``CUstream``; neither blocks the host. What is on one stream is in order anyway.

        Raises
        ------
        DeviceError
            One of them is no stream of this device.
        """
        if waiting == working:
            return
        with self.current:
            # No lock: memory may come back by the collector within this call, and join too.
            try:
                event = self.free_events.pop()
            except IndexError:
                event = self.stream.record()
            handle, library = int(event.handle), quick()
            code = library.cuEventRecord(handle, working)
            # Who waits for an event waits for what it recorded last, at that moment.
            code = code or library.cuStreamWaitEvent(waiting, handle, 0)
            self.free_events.append(event)
        if code:
            check_code(code, "have a stream wait for another")

    def copy_of(self, tensor: CUDATensor) -> CUDATensor:
        """Return a dense copy of a tensor of this device, in the order of the stream.

        Raises
        ------
        FormatError
            The samples of a row are not side by side.
        DeviceError
            The device has too little memory.
        """
        rows, row, pitch = rows_of(tensor.info)
        twin = self.allocate(TensorInfo(tensor.info.shape, tensor.info.dtype))
        copy = copy_rows(
            (DEVICE_MEMORY, tensor.handle("data"), pitch),
            (DEVICE_MEMORY, twin.handle("data"), row),
            rows,
            row,
        )
        with self.current:
            done = driver.cuMemcpy2DAsync(copy, self.stream_handle)
            check(done, f"copy {twin.info.nbytes} bytes on {self.name}")
        return twin

    def close(self) -> None:
        """Wait for the stream and let go of it; may be repeated.

        Tensors that are still open stay usable: each buffer holds the stream itself.
        """
        if self._closed:
            return
        self.wait()
        self._pinned.close()
        super().close()


def create(selector: str = "") -> CUDAContext:
    """Open a device.

    Parameters
    ----------
    selector : str
        Its ordinal, as in ``"0"``; empty for the first one.

    Raises
    ------
    DeviceNotFoundError
        There is no such device, or the selector is no number.
    """
    if selector and not selector.isdecimal():
        raise DeviceNotFoundError(f"a CUDA device has a number, as in cuda:0, not {selector!r}")
    return CUDAContext(int(selector or 0))


def probe() -> Probe:
    """Report the driver and the devices that it finds."""
    reason, remedy = absence()
    if reason:
        return Probe("cuda", False, reason, remedy)
    version = check(driver.cuDriverGetVersion(), "tell its version")
    # cuda.h: 1000 times the major plus 10 times the minor version.
    said = f"NVIDIA driver for CUDA {version // 1000}.{version % 1000 // 10}"
    return Probe("cuda", True, said, devices=device_names())
