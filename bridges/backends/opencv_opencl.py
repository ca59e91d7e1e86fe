"""OpenCV's own use of OpenCL: one device, which it opens once for a whole process.

OpenCV reads three variables when it first needs OpenCL, and never again: ``OPENCV_OPENCL_RUNTIME``
(which loader), ``OPENCV_OPENCL_DEVICE`` (``platform:type:device``) and the loader's own. Left
alone it takes no CPU device, and finds nothing at all without the system's ``libOpenCL.so.1``.
"""

import threading
from dataclasses import dataclass
from typing import Any

import cv2
import pyopencl as cl

from bridges.backends.environment import added
from bridges.backends.opencl_devices import (
    OpenCLDevice,
    choose,
    describe,
    devices,
    opencl_errors,
)
from bridges.errors import DeviceNotFoundError
from bridges.native.loading import loaded_library

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
            with added(_settings(wanted)):
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


def _settings(wanted: OpenCLDevice | None) -> dict[str, str]:
    """Return what tells OpenCV which loader and device to take: nothing else from Python does."""
    if wanted is None:
        return {}
    # The loader that pyopencl brought or found.
    wish = {_RUNTIME: loaded_library("libOpenCL"), _DEVICE: _name_of(wanted)}
    return {name: value for name, value in wish.items() if value}


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
