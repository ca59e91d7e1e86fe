"""The memory of a device: its banks, which buffer an address is in, and the bytes carried over."""

import bisect
import threading
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING

from bridges.errors import DeviceError
from xma_plugins.drivers.driver import BankDescription
from xma_plugins.errors import BufferUseError, InvalidError

if TYPE_CHECKING:
    from xma_plugins.buffers import BufferObject

__all__ = ["Addresses", "MemoryBank", "Transfers"]

_PAGE = 4096
_MADE_UP = 1 << 62
"""Addresses from here on are made up: no processor and no device has memory there."""

_BANK_BITS = 48
"""They have their bank in the bits from this one on."""


class Transfers:
    """Bytes that were carried between the host and a device. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._to_device = self._to_host = 0

    def add(self, *, to_device: int = 0, to_host: int = 0) -> None:
        """Count bytes."""
        with self._lock:
            self._to_device += to_device
            self._to_host += to_host

    @property
    def bytes_to_device(self) -> int:
        """From the host's side of buffers."""
        return self._to_device

    @property
    def bytes_to_host(self) -> int:
        """To the host's side of buffers."""
        return self._to_host

    @property
    def nbytes(self) -> int:
        """In both directions."""
        return self._to_device + self._to_host

    def __repr__(self) -> str:
        return f"<{self._to_device} bytes to the device, {self._to_host} bytes to the host>"


class MemoryBank:
    """One memory bank of a device; its buffers never take more than there is.

    Attributes
    ----------
    index : int
        On its device, from 0.
    name : str
        What people call it.
    nbytes : int
        How much it holds.
    used : int
        How much of it buffers take.
    """

    def __init__(self, index: int, description: BankDescription) -> None:
        self.index, self.name, self.nbytes = index, description.name, description.nbytes
        self.used = 0
        self._next_address = _MADE_UP + (index << _BANK_BITS)
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, nbytes: int, holder: str) -> None:
        """Take memory for a holder.

        Raises
        ------
        DeviceError
            Less is left; the message says who holds the most.
        """
        with self._lock:
            if self.used + nbytes > self.nbytes:
                most = ", ".join(f"{who} {size}" for who, size in self._held.most_common(3))
                raise DeviceError(
                    f"{holder} asks for {nbytes} bytes of bank {self.index} ({self.name}), of "
                    f"which {self.nbytes - self.used} of {self.nbytes} are left; held by "
                    f"{most or 'nobody'}. Free buffers, or use another bank"
                )
            self.used += nbytes
            self._held[holder] += nbytes

    def give_back(self, nbytes: int, holder: str) -> None:
        """Give back what `take` took."""
        with self._lock:
            self.used -= nbytes
            self._held[holder] -= nbytes
            if not self._held[holder]:
                del self._held[holder]

    def make_up_address(self, nbytes: int) -> int:
        """Return an address for memory whose framework tells none; it is used but once."""
        with self._lock:
            address = self._next_address
            self._next_address += -(-nbytes // _PAGE) * _PAGE
        return address


class Addresses:
    """Which buffer an address is in; those that were freed lately are remembered for messages."""

    _REMEMBERED = 64

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._starts: list[int] = []
        self._buffers: dict[int, BufferObject] = {}
        self._freed: OrderedDict[tuple[int, int], str] = OrderedDict()

    def add(self, buffer: "BufferObject") -> None:
        """Let a buffer be found, until `remove`."""
        with self._lock:
            bisect.insort(self._starts, buffer.paddr)
            self._buffers[buffer.paddr] = buffer

    def remove(self, buffer: "BufferObject", freed_at: str) -> None:
        """Forget a buffer that was freed at some line of code."""
        with self._lock:
            del self._starts[bisect.bisect_left(self._starts, buffer.paddr)]
            del self._buffers[buffer.paddr]
            self._freed[buffer.paddr, buffer.paddr + buffer.size] = (
                f"a {buffer} that was freed at {freed_at}"
            )
            if len(self._freed) > self._REMEMBERED:
                self._freed.popitem(last=False)

    def find(self, address: int) -> "BufferObject":
        """Return the buffer that an address is in; see `Device.buffer_at`."""
        with self._lock:
            place = bisect.bisect_right(self._starts, address) - 1
            if place >= 0:
                buffer = self._buffers[self._starts[place]]
                if address < buffer.paddr + buffer.size:
                    return buffer
            for (start, end), what in reversed(self._freed.items()):
                if start <= address < end:
                    raise BufferUseError(f"{address:#x} is in {what}")
        raise InvalidError(
            f"{address:#x} is in no buffer of the device; give the paddr of one, or an address "
            "inside of it"
        )

    def all(self) -> "tuple[BufferObject, ...]":
        """Return all buffers."""
        with self._lock:
            return tuple(self._buffers.values())
