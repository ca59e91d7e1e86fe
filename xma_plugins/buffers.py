"""Buffers on a device, with a side of them on the host."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridges.closable import Closable
from bridges.tensor import Tensor, TensorInfo
from xma_plugins.code import Code
from xma_plugins.errors import BufferUseError, InvalidError

if TYPE_CHECKING:
    from xma_plugins.device import Device

__all__ = ["BufferObject", "BufferType"]


class BufferType(Code):
    """Where the samples of a frame lie; numbered as ``XmaBufferType`` of ``xmabuffers.h``."""

    HOST = 1
    DEVICE = 2
    DEVICE_ONLY = 3
    NO_BUFFER = 4


_KEPT_VIEWS = 8
"""Of a buffer; pictures of a pool are seen in one form again and again."""


class BufferObject(Closable):
    """Memory in one bank of a device, and a side of it on the host. Several threads may share it.

    `Device.allocate` makes it, as ``XmaBufferObj`` of ``xmabuffers.h`` (XRT 2.13) has it.

    A command that was given the buffer holds it: `free` refuses it to new commands at once, and
    waits for those under way before the memory goes.

    Parameters
    ----------
    device : Device
        Where it is.
    tensor : Tensor
        All of the memory, as the device's driver allocated it.
    bank_index : int
        The memory bank.
    paddr : int
        Where compute units see the first byte.
    device_only : bool
        Whether it has no side on the host.
    holder : str
        Who allocated it, for messages: ``"encoder session 3 (libav_encoder)"``.
    is_adopted : bool
        Whether the memory is somebody else's, and not of the bank; see `Device.adopt`.

    Attributes
    ----------
    size : int
        In bytes.
    dev_index, bank_index, paddr, holder, is_adopted
        As above.
    device_only_buffer : bool
        As ``device_only``.
    user_ptr : object
        For whoever uses the buffer.
    on_free : callable or None
        Called with the buffer once it was freed, by whomever.
    """

    def __init__(
        self,
        device: "Device",
        tensor: Tensor,
        *,
        bank_index: int,
        paddr: int,
        device_only: bool,
        holder: str,
        is_adopted: bool = False,
    ) -> None:
        self.device, self._tensor = device, tensor
        self.is_adopted = is_adopted
        self.size = tensor.info.nbytes
        self.dev_index, self.bank_index, self.paddr = device.index, bank_index, paddr
        self.device_only_buffer = device_only
        self.holder = holder
        self.user_ptr: Any = None
        self.on_free: Callable[[BufferObject], None] | None = None
        self._ref_cnt = 0
        self._freed_at = ""
        self._users = self._commands = 0
        self._changed = threading.Condition()
        self._views: dict[tuple[TensorInfo, int], Tensor] = {}
        self._data: npt.NDArray[np.uint8] | None = None
        if not device_only:
            side = device.driver.host_side(tensor)
            self._data = np.zeros(self.size, np.uint8) if side is None else side

    def __str__(self) -> str:
        return f"buffer of {self.size} bytes of {self.holder}"

    def __repr__(self) -> str:
        state = "freed" if self._freed_at else f"at {self.paddr:#x}"
        return f"<{self}, {state}>"

    @property
    def buffer_type(self) -> BufferType:
        """DEVICE, or DEVICE_ONLY where there is no side on the host."""
        return BufferType.DEVICE_ONLY if self.device_only_buffer else BufferType.DEVICE

    @property
    def data(self) -> npt.NDArray[np.uint8] | None:
        """The host's side, of shape ``(size,)``, which starts zeroed; None where there is none.

        Raises
        ------
        BufferUseError
            The buffer was freed.
        """
        self.check()
        return self._data

    @property
    def tensor(self) -> Tensor:
        """The device's side, of shape ``(size,)`` and dtype uint8.

        Raises
        ------
        BufferUseError
            The buffer was freed.
        """
        self.check()
        return self._tensor

    @property
    def ref_cnt(self) -> int:
        """A count for whoever uses the buffer; it starts at 0, and frees nothing."""
        return self._ref_cnt

    def add_ref_cnt(self, number: int) -> int:
        """Add to `ref_cnt`, all threads considered, and return what it is then."""
        with self._changed:
            self._ref_cnt += number
            return self._ref_cnt

    @property
    def is_freed(self) -> bool:
        """Whether ``free()`` was called."""
        return bool(self._freed_at)

    def check(self) -> None:
        """Refuse a buffer that was freed.

        Raises
        ------
        BufferUseError
            The message names who held it, and where it was freed.
        """
        if self._freed_at:
            raise BufferUseError(f"this {self} was freed at {self._freed_at}; allocate another")

    def view(self, info: TensorInfo, offset: int = 0) -> Tensor:
        """Return part of the device's side in another form, over the same memory.

        It is the buffer's, which closes it when it is freed.

        Parameters
        ----------
        info : TensorInfo
            Shape, dtype and strides.
        offset : int
            Bytes from the start of the buffer to the first sample.

        Raises
        ------
        InvalidError
            It leaves the buffer.
        FormatError
            The device cannot address memory from there on.
        BufferUseError
            The buffer was freed.
        """
        self.check()
        view = self._views.get((info, offset))
        if view is None:
            self._check_range(info.span, offset)
            view = self.device.driver.view(self._tensor, info, offset)
            if len(self._views) >= _KEPT_VIEWS:
                self._views.clear()
            self._views[info, offset] = view
        return view

    def write(self, size: int | None = None, offset: int = 0) -> None:
        """Carry bytes of the host's side to the device, and wait; 0 bytes are carried at once.

        Parameters
        ----------
        size : int, optional
            Bytes; by default all from ``offset`` on.
        offset : int
            From where on, on both sides.

        Raises
        ------
        InvalidError
            They are not inside of the buffer, or it has no side on the host.
        BufferUseError
            The buffer was freed.
        DeviceError
            The transfer failed.
        """
        with self._in_use():
            part = self._part(size, offset)
            if part.size:
                self._send(part, offset)

    def read(self, size: int | None = None, offset: int = 0) -> None:
        """Carry bytes of the device to the host's side, and wait; as `write`.

        It comes after all commands that were given the buffer.
        """
        with self._in_use():
            part = self._part(size, offset)
            if part.size:
                self._fetch(part, offset)

    def put(self, data: npt.NDArray[np.uint8], offset: int = 0) -> None:
        """Carry bytes of an array to the device, and wait; for device-only buffers too.

        Parameters
        ----------
        data : numpy.ndarray
            Dense, of shape ``(nbytes,)`` and dtype uint8.
        offset : int
            From which byte of the buffer on.

        Raises
        ------
        InvalidError, BufferUseError, DeviceError
            As of `write`.
        """
        with self._in_use():
            self._check_range(data.nbytes, offset)
            if not data.nbytes:
                return
            side = self.device.driver.host_side(self._tensor)
            if side is not None:
                side = side[offset : offset + data.nbytes]
                side[...] = data
                data = side
            self._send(data, offset)

    def get(self, out: npt.NDArray[np.uint8], offset: int = 0) -> None:
        """Carry bytes of the device to an array, and wait; for device-only buffers too.

        It comes after all commands that were given the buffer. Parameters and errors are as of
        `put`.
        """
        with self._in_use():
            self._check_range(out.nbytes, offset)
            if not out.nbytes:
                return
            side = self.device.driver.host_side(self._tensor)
            if side is None:
                self._fetch(out, offset)
                return
            side = side[offset : offset + out.nbytes]
            self._fetch(side, offset)
            out[...] = side

    def in_host_memory(self) -> npt.NDArray[np.uint8] | None:
        """Return the device's memory itself, once all commands that were given it are done.

        Returns
        -------
        numpy.ndarray or None
            Of shape ``(size,)``, also of device-only buffers; None where the device does not work
            in host memory.
        """
        if not self.device.driver.shares_host_memory:
            return None
        self.device.check_process()
        self.check()
        # A command that is done has written where the host reads; the queue may go on.
        self._wait_for_commands()
        return self.device.driver.host_side(self._tensor)

    def _send(self, part: npt.NDArray[np.uint8], offset: int) -> None:
        driver = self.device.driver
        driver.write(self._tensor, offset, part)
        if not driver.shares_host_memory:
            self.device.transfers.add(to_device=part.nbytes)

    def _fetch(self, part: npt.NDArray[np.uint8], offset: int) -> None:
        driver = self.device.driver
        if not driver.is_in_order:
            self._wait_for_commands()
        driver.read(self._tensor, offset, part)
        if not driver.shares_host_memory:
            self.device.transfers.add(to_host=part.nbytes)

    def _wait_for_commands(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._commands)

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Keep the memory while bytes are carried."""
        self.device.check_process()
        with self._changed:
            self.check()
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def _part(self, size: int | None, offset: int) -> npt.NDArray[np.uint8]:
        """Return part of the host's side."""
        if self._data is None:
            raise InvalidError(
                f"this {self} is device-only: it has no side on the host to carry to or from"
            )
        size = self.size - offset if size is None else size
        self._check_range(size, offset)
        return self._data[offset : offset + size]

    def _check_range(self, size: int, offset: int) -> None:
        if size < 0 or offset < 0 or offset + size > self.size:
            raise InvalidError(f"{size} bytes from byte {offset} on are not inside of this {self}")

    def hold(self) -> None:
        """Keep the memory for a command, until `let_go`.

        Raises
        ------
        BufferUseError
            The buffer was freed.
        """
        with self._changed:
            self.check()
            self._users += 1
            self._commands += 1

    def let_go(self) -> None:
        """End what `hold` began."""
        with self._changed:
            self._users -= 1
            self._commands -= 1
            self._changed.notify_all()

    def free(self) -> None:
        """Give the memory back, once the commands and transfers that use it are done.

        Raises
        ------
        BufferUseError
            The buffer was freed before.
        """
        with self._changed:
            if self._freed_at:
                raise BufferUseError(
                    f"this {self} is freed twice: it was freed at {self._freed_at} before"
                )
            self._freed_at = _caller()
            self._changed.wait_for(lambda: not self._users)
        self._data = None
        for view in self._views.values():
            view.close()
        self._views = {}
        self.device.forget(self, self._freed_at)
        self._tensor.close()
        on_free, self.on_free = self.on_free, None
        if on_free is not None:
            on_free(self)

    def close(self) -> None:
        """Free the buffer; may be repeated."""
        if not self._freed_at:
            self.free()


_OWN = {
    __name__,
    "bridges.closable",
    "xma_plugins.device",
    "xma_plugins.frame_pool",
    "xma_plugins.frames",
    "xma_plugins.session",
}
"""Modules that free buffers for others."""


def _caller() -> str:
    """Return the line of code that had a buffer freed."""
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _OWN:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
