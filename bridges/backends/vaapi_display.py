"""VA-API's displays: how they are opened, who terminates them, and what their errors become."""

import ctypes as c
import os
import threading
import weakref
from functools import cached_property
from pathlib import Path

from bridges.backends.probe import BACKENDS
from bridges.errors import DeviceError, DeviceNotFoundError
from bridges.native import libva as va
from bridges.native.libva import LIBRARIES, MessageCallback, libva, libva_drm
from bridges.tensor import MemoryType

__all__ = [
    "DEFAULT_NODE",
    "DRIVERS",
    "INSTALL",
    "Display",
    "check",
    "load",
    "open_display",
    "render_nodes",
]

DEFAULT_NODE = "/dev/dri/renderD128"
INSTALL = BACKENDS[MemoryType.VAAPI][1]
DRIVERS = "apt install intel-media-va-driver (Intel) or mesa-va-drivers (AMD)"
_NODES = Path("/dev/dri")


def check(status: int, action: str) -> None:
    """Translate a ``VAStatus``; ``action`` completes "VA-API cannot ...".

    Raises
    ------
    DeviceError
        The driver refused, or failed.
    """
    if status != va.STATUS_SUCCESS:
        text = libva().vaErrorStr(status).decode()
        raise DeviceError(f"VA-API cannot {action}: {text} (status {status & 0xFFFF_FFFF:#x})")


class _Connection:
    """Counts who needs a display, and terminates it after the last one."""

    def __init__(self, native: int, fd: int, owner: object | None) -> None:
        self._native, self._fd, self._owner = native, fd, owner
        self._users = 1
        # Reentrant: a destructor can call from within.
        self._lock = threading.RLock()

    def hold(self) -> None:
        with self._lock:
            self._users += 1

    def drop(self) -> None:
        with self._lock:
            self._users -= 1
            is_last = self._users == 0
        if is_last:
            self._owner = None
            if self._fd >= 0:
                libva().vaTerminate(self._native)
                os.close(self._fd)


class Display:
    """A VA display that is initialised.

    Parameters
    ----------
    native : int
        ``VADisplay``.
    node : str
        The device's node, such as ``"/dev/dri/renderD128"``; empty where it is not known.
    fd : int
        The node, opened. The display owns it and terminates when nothing uses it any more; with -1
        it belongs to ``owner``.
    owner : object, optional
        Who terminates the display, where that is somebody else.
    """

    def __init__(
        self, native: int, *, node: str = "", fd: int = -1, owner: object | None = None
    ) -> None:
        self.native, self.node = native, node
        self._connection = _Connection(native, fd, owner)
        # A process that ends leaves it be.
        weakref.finalize(self, self._connection.drop).atexit = False

    def hold(self) -> None:
        """Keep the display initialised for something native, until `drop`.

        A reference to this object is not enough: of what is collected together, this may go first.
        """
        self._connection.hold()

    def drop(self) -> None:
        """Say that something native is gone."""
        self._connection.drop()

    @cached_property
    def vendor(self) -> str:
        """What the driver calls itself."""
        return (libva().vaQueryVendorString(self.native) or b"unknown driver").decode()

    @cached_property
    def image_formats(self) -> dict[str, va.ImageFormat]:
        """The formats of images, by fourcc.

        Raises
        ------
        DeviceError
            The driver failed.
        """
        formats = (va.ImageFormat * max(libva().vaMaxNumImageFormats(self.native), 1))()
        count = c.c_int()
        status = libva().vaQueryImageFormats(self.native, formats, c.byref(count))
        check(status, f"list the image formats of {self.vendor}")
        return {
            entry.fourcc.to_bytes(4, "little").decode("ascii", "replace"): entry
            for entry in formats[: count.value]
        }


def load() -> None:
    """Load libva.

    Raises
    ------
    DeviceNotFoundError
        It is not installed.
    """
    try:
        libva()
        libva_drm()
    except OSError as error:
        raise DeviceNotFoundError(
            f"VA-API needs {' and '.join(LIBRARIES)}: {error}; try: {INSTALL}"
        ) from error


def open_display(node: str) -> Display:
    """Open a device by its node.

    Raises
    ------
    DeviceNotFoundError
        libva, the node or a driver for it is not there; the message says what to do.
    """
    load()
    try:
        fd = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        there = ", ".join(render_nodes()) or "none"
        raise DeviceNotFoundError(
            f"no VA-API device {node!r}: {error.strerror}; the render nodes here are: {there}. "
            "Name one of them, or have your user in the group that owns them (render)"
        ) from error
    native = libva_drm().vaGetDisplayDRM(fd)
    if not native:
        os.close(fd)
        raise DeviceNotFoundError(
            f"no VA-API device {node!r}: it is no render node; name one such as {DEFAULT_NODE}"
        )
    try:
        _initialise(native)
    except DeviceError as error:
        libva().vaTerminate(native)
        os.close(fd)
        raise DeviceNotFoundError(f"no VA-API device {node!r}: {error}; try: {DRIVERS}") from error
    return Display(native, node=node, fd=fd)


def _initialise(native: int) -> None:
    """Initialise a display; what libva says of it goes into the error, and not to stderr."""
    said: list[str] = []

    def listen(_context: int, message: bytes) -> None:
        said.append(message.decode(errors="replace").strip())

    callback = MessageCallback(listen)
    libva().vaSetInfoCallback(native, callback, None)
    libva().vaSetErrorCallback(native, callback, None)
    major, minor = c.c_int(), c.c_int()
    status = libva().vaInitialize(native, c.byref(major), c.byref(minor))
    libva().vaSetInfoCallback(native, _SILENT, None)
    libva().vaSetErrorCallback(native, _SILENT, None)
    check(status, f"find a driver ({'; '.join(said) or 'libva says nothing about it'})")


_SILENT = MessageCallback()


def render_nodes() -> list[str]:
    """Return the render nodes of this machine, whichever driver they have."""
    return sorted(str(path) for path in _NODES.glob("renderD*"))
