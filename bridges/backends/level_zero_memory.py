"""What holds Level Zero's contexts and memory, and lets go of them when nobody needs them."""

import ctypes
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from bridges.errors import DeviceError
from bridges.native import level_zero as ze

__all__ = ["Allocation", "NativeContext", "level_zero_errors"]


@contextmanager
def level_zero_errors(action: str) -> Iterator[None]:
    """Translate Level Zero's results; ``action`` completes "Level Zero cannot ...".

    Raises
    ------
    DeviceError
        A call failed.
    """
    try:
        yield
    except ze.LevelZeroError as error:
        raise DeviceError(f"Level Zero cannot {action}: {error}") from error


class NativeContext:
    """A ``ze_context`` with a command list, destroyed when neither context nor memory needs it."""

    def __init__(self, library: ctypes.CDLL, context: int, device: int, keep: object) -> None:
        self.library, self.context, self.device = library, context, device
        # Whose context it is, where it is borrowed.
        self.keep = keep
        self.lock = threading.Lock()
        self._commands = 0

    def copy(self, target: int, source: int, nbytes: int) -> None:
        """Copy memory of any kind, and wait; other threads wait too."""
        with self.lock:
            if not self._commands:
                self._commands = ze.command_list(self.library, self.context, self.device)
            ze.copy(self.library, self._commands, target, source, nbytes)

    def __del__(self) -> None:
        if self._commands:
            ze.destroy_command_list(self.library, self._commands)
        if self.keep is None:
            ze.destroy_context(self.library, self.context)


class Allocation:
    """Memory of Level Zero, freed when the last tensor, mapping or array over it is gone.

    Parameters
    ----------
    native
        The context that it is allocated in.
    address : int
        Of its first byte.
    owner : object, optional
        Whose memory it is, where it is not this object's to free; kept.
    """

    def __init__(self, native: NativeContext, address: int, owner: object | None = None) -> None:
        self.native = native
        self.address = address
        self._owner = owner
        if owner is None:
            # Not by __del__: in a reference cycle that could come after the context's.
            weakref.finalize(self, ze.free, native.library, native.context, address).atexit = False
