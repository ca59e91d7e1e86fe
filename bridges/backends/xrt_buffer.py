"""Buffer objects of XRT: memory of a device, with the host's side of it."""

import atexit
import weakref
from functools import cached_property

from bridges.closable import Closable
from bridges.errors import ClosedError, DeviceError
from bridges.native.xrt import SYNC_FROM_DEVICE, SYNC_TO_DEVICE, XRT, last_error

__all__ = ["BufferObject", "uncounted"]

_NO_ADDRESS = (1 << 63) - 1
"""``LLONG_MAX``: what ``xrtBOAddress`` returns where there is no address (xrt/xrt_bo.h)."""


class BufferObject(Closable):
    """The one owner of an XRT buffer object; tensors over it hold it, the last one frees it.

    Parameters
    ----------
    xrt : XRT
        The library.
    handle : int
        ``xrtBufferHandle``.
    owned : bool
        Whether it is freed with this object.
    keep : object, optional
        What must live as long, such as the host memory of a user pointer.
    device_only : bool
        Whether there is no host's side of it.

    Raises
    ------
    DeviceError
        The host cannot see its memory.
    """

    _handle = 0

    def __init__(
        self,
        xrt: XRT,
        handle: int,
        *,
        owned: bool = True,
        keep: object | None = None,
        device_only: bool = False,
    ) -> None:
        self._library = xrt.library
        self._keep = keep
        self._owned = owned
        self._handle = handle
        self.device_only = device_only
        _alive.add(self)
        self._address = 0 if device_only else self._map()

    def _map(self) -> int:
        address: int | None = self._library.xrtBOMap(self._handle)
        if not address:
            reason = last_error()
            self.close()
            raise DeviceError(f"XRT cannot map a buffer to the host: {reason}; is it device-only?")
        return address

    @property
    def address(self) -> int:
        """Where the host's side of it is.

        Raises
        ------
        DeviceError
            It is device-only.
        """
        if self.device_only:
            raise DeviceError("a device-only XRT buffer has no host's side; allocate one that has")
        return self._address

    @property
    def handle(self) -> int:
        """The ``xrtBufferHandle``."""
        if not self._handle:
            raise ClosedError("this XRT buffer was freed; allocate another")
        return self._handle

    @property
    def nbytes(self) -> int:
        """Its size."""
        return int(self._library.xrtBOSize(self.handle))

    @property
    def device_address(self) -> int:
        """Where the device sees it.

        Raises
        ------
        DeviceError
            The device has no address for it.
        """
        address = int(self._library.xrtBOAddress(self.handle))
        if address == _NO_ADDRESS:
            raise DeviceError(f"XRT has no device address of a buffer: {last_error()}")
        return address

    @cached_property
    def exported(self) -> int:
        """A file descriptor of the buffer; it stays XRT's own.

        Raises
        ------
        DeviceError
            The device's driver exports none.
        """
        fd = int(self._library.xrtBOExport(self.handle))
        if fd < 0:
            raise DeviceError(f"XRT exports no file descriptor of a buffer (it returned {fd})")
        return fd

    def to_device(self, offset: int, nbytes: int) -> None:
        """Have the device see what the host wrote; see xrtBOSync."""
        self._sync(SYNC_TO_DEVICE, offset, nbytes)

    def from_device(self, offset: int, nbytes: int) -> None:
        """Have the host see what the device wrote; see xrtBOSync."""
        self._sync(SYNC_FROM_DEVICE, offset, nbytes)

    def _sync(self, direction: int, offset: int, nbytes: int) -> None:
        if self._library.xrtBOSync(self.handle, direction, nbytes, offset):
            where = "from" if direction == SYNC_FROM_DEVICE else "to"
            raise DeviceError(f"XRT cannot carry {nbytes} bytes {where} the device: {last_error()}")

    def close(self) -> None:
        """Free the buffer, if it is this object's own; may be repeated."""
        handle, self._handle = self._handle, 0
        if handle and self._owned:
            self._library.xrtBOFree(handle)
        self._keep = None

    def __del__(self) -> None:
        if self._handle:
            self.close()


_alive: "weakref.WeakSet[BufferObject]" = weakref.WeakSet()


@atexit.register
def _free_all() -> None:
    """Free what the program still holds when it ends, while the devices are there.

    XRT 2.13 lets its devices go before the buffers that are left, and frees these from the freed
    memory of the devices.
    """
    for each in list(_alive):
        each.close()


def uncounted(nbytes: int) -> None:
    """Count nothing: of a host-only buffer caches are tidied, and no sample moves."""
