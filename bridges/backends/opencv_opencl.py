"""OpenCV's own use of OpenCL: one device, which it opens once for a whole process.

OpenCV reads three variables when it first needs OpenCL, and never again: ``OPENCV_OPENCL_RUNTIME``
(which loader), ``OPENCV_OPENCL_DEVICE`` (``platform:type:device``) and the loader's own. Left
alone it takes no CPU device, and finds nothing at all without the system's ``libOpenCL.so.1``.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pyopencl as cl

from bridges.backends.opencl_devices import (
    OpenCLDevice,
    choose,
    describe,
    devices,
    opencl_errors,
)
from bridges.errors import DeviceNotFoundError

__all__ = ["OpenCVDevice", "open_device"]

_RUNTIME, _DEVICE = "OPENCV_OPENCL_RUNTIME", "OPENCV_OPENCL_DEVICE"
_starting = threading.Lock()
_opened: "list[OpenCVDevice | None]" = []


@dataclass(frozen=True, slots=True)
class OpenCVDevice:
    """The device that OpenCV opened.

    Attributes
    ----------
    device : OpenCLDevice
        What it is.
    context, native, queue : pyopencl.Context, pyopencl.Device, pyopencl.CommandQueue
        OpenCV's own; the in-order queue is the same in every thread.
    """

    device: OpenCLDevice
    context: Any
    native: Any
    queue: Any


def open_device(selector: str = "") -> OpenCVDevice | None:
    """Return OpenCV's OpenCL device, which the first call chooses; None where it has none.

    Parameters
    ----------
    selector : str
        As for `OpenCLContext.create`: what the first call asks for, and what later ones expect.
        ``OPENCV_OPENCL_DEVICE``, where it is set, comes first.

    Raises
    ------
    DeviceNotFoundError
        There is no such device, or OpenCV has opened another one, or cannot use OpenCL.
    """
    wanted = _wanted(selector)
    with _starting:
        if not _opened:
            with _settings(wanted):
                _opened.append(_open())
        found = _opened[0]
    if selector and (found is None or found.device != wanted):
        has = found.device if found is not None else "no OpenCL device"
        raise DeviceNotFoundError(
            f"no OpenCV device {selector!r}: OpenCV opens one for the whole process, and has {has}."
            f" Ask for it first of all, or set {_DEVICE}='{_name_of(wanted)}' before the start"
        )
    return found


def _wanted(selector: str) -> OpenCLDevice | None:
    # pyopencl's loader has to have looked for runtimes before OpenCV uses that very loader.
    if not selector and not devices():
        return None
    return describe(choose(selector))


def _name_of(wanted: OpenCLDevice | None) -> str:
    """Return a device in OpenCV's words; the last number counts within platform and type."""
    if wanted is None:
        return ""
    alike = [
        device.device_index
        for device in devices()
        if (device.platform_index, device.kind) == (wanted.platform_index, wanted.kind)
    ]
    return f"{wanted.platform}:{wanted.kind.upper()}:{alike.index(wanted.device_index)}"


def _loader() -> str:
    """Return the OpenCL loader that pyopencl brought or found; empty where it cannot be told."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(maxsplit=5)[-1]
        if Path(path).name.startswith("libOpenCL"):
            return path
    return ""


@contextlib.contextmanager
def _settings(wanted: OpenCLDevice | None) -> Iterator[None]:
    """Tell OpenCV which loader and device to take, while it looks for them.

    Neither can be told in another way from Python. What a user has set stays. Each variable is
    there for the one call only, so that no child process inherits it; a thread that reads the
    environment in C at that very moment is the one danger, as with every ``os.environ`` change:
    a program that cannot have it sets both variables before it starts.
    """
    wish = {_RUNTIME: _loader(), _DEVICE: _name_of(wanted)} if wanted is not None else {}
    added = [name for name, value in wish.items() if value and name not in os.environ]
    for name in added:
        os.environ[name] = wish[name]
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _open() -> OpenCVDevice | None:
    pointer = cv2.UMat.context()
    if not pointer:
        return None
    with opencl_errors("take OpenCV's context"):
        context = cl.Context.from_int_ptr(pointer, retain=True)
        queue = cl.CommandQueue.from_int_ptr(cv2.UMat.queue(), retain=True)
        native = queue.device
    # A user's own settings can show OpenCV what pyopencl's loader was not shown.
    return OpenCVDevice(describe(native), context, native, queue)
