"""What each backend finds on this machine, and what would bring it where it is absent."""

import importlib
from dataclasses import dataclass

from bridges.context import Context
from bridges.errors import DeviceNotFoundError
from bridges.tensor import MemoryType

__all__ = ["BACKENDS", "Probe", "open_context", "probe_all"]


@dataclass(frozen=True, slots=True)
class Probe:
    """What one backend reports of itself.

    Attributes
    ----------
    name : str
        Of the backend, as in a device name.
    available : bool
        Whether it can be used.
    reason : str
        Its version where it can, else why it cannot.
    remedy : str
        The command that would bring it; empty where it is there.
    devices : tuple of str
        The devices found, as people read them.
    """

    name: str
    available: bool
    reason: str
    remedy: str = ""
    devices: tuple[str, ...] = ()


BACKENDS: dict[MemoryType, tuple[str, str]] = {
    MemoryType.CPU: ("cpu", "pip install numpy"),
    MemoryType.FFMPEG: ("ffmpeg", "pip install 'av>=18.1,<20'"),
    MemoryType.GSTREAMER: (
        "gstreamer",
        "apt install python3-gi gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0",
    ),
    MemoryType.VAAPI: ("vaapi", "apt install libva2 libva-drm2 intel-media-va-driver"),
    MemoryType.DMA: ("dma", "modprobe udmabuf"),
    MemoryType.USM: ("level_zero", "apt install libze1 intel-level-zero-gpu"),
    MemoryType.SYCL: ("sycl", "pip install 'xtranscode[sycl]'"),
    MemoryType.OPENCL: ("opencl", "pip install 'xtranscode[cpu]'"),
    MemoryType.OPENCV: ("opencv", "pip install 'xtranscode[opencv]'"),
    MemoryType.OPENCV_UMAT: ("opencv_umat", "pip install 'xtranscode[opencv]'"),
    MemoryType.OPENVINO: ("openvino", "pip install 'xtranscode[openvino]'"),
    MemoryType.CUDA: ("cuda", "pip install 'xtranscode[cuda]'"),
    MemoryType.XRT: ("xrt", "apt install libxrt1"),
}
"""Each kind of memory: its module in ``bridges.backends``, and what installs what it needs.

A module has ``probe()``, which reports, and ``create(selector)``, which opens a device.
"""


def _probe(name: str, remedy: str) -> Probe:
    try:
        found: Probe = importlib.import_module(f"bridges.backends.{name}").probe()
    except ImportError as error:
        return Probe(name, False, f"cannot be imported: {error}", remedy)
    return found


def probe_all() -> tuple[Probe, ...]:
    """Probe every backend, in the order of `BACKENDS`; one that is not installed is reported."""
    return tuple(_probe(name, remedy) for name, remedy in BACKENDS.values())


def open_context(memory_type: MemoryType, selector: str = "") -> Context:
    """Open a device of one kind of memory.

    Parameters
    ----------
    memory_type : MemoryType
        The kind.
    selector : str
        Which device, in the words of its backend; empty for the best there is.

    Raises
    ------
    DeviceNotFoundError
        Its framework or the device is absent; the message says what to install.
    """
    name, remedy = BACKENDS[memory_type]
    try:
        module = importlib.import_module(f"bridges.backends.{name}")
    except ImportError as error:
        raise DeviceNotFoundError(
            f"{memory_type.value} memory needs a library that cannot be imported: {error}; try: "
            f"{remedy}"
        ) from error
    context: Context = module.create(selector)
    return context
