"""OpenVINO's memory: tensors that its models take and give, in host memory or on a GPU.

Tensors in host memory go into the inference requests of every device. What lies on a GPU is an
``ov.RemoteTensor`` of a context that openvino makes for that GPU; that part has run on no GPU yet.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridges.backends.opencl_vendors import vendor_folder
from bridges.backends.openvino_layout import describe, layout_of
from bridges.backends.openvino_library import load_openvino, without_places
from bridges.backends.openvino_tensor import OpenVINORemoteTensor, OpenVINOTensor
from bridges.backends.probe import BACKENDS, Probe
from bridges.context import Context
from bridges.errors import DeviceError, DeviceNotFoundError, FormatError, XTranscodeError
from bridges.tensor import MemoryType, Tensor, TensorInfo

if TYPE_CHECKING:
    import openvino as ov
else:
    ov = load_openvino()

__all__ = [
    "OpenVINOContext",
    "OpenVINORemoteTensor",
    "OpenVINOTensor",
    "create",
    "openvino_errors",
    "probe",
]

_GPU = "GPU"
"""How openvino names the devices that have a remote context; ``"GPU.1"`` is the second one."""


def _said(error: BaseException) -> str:
    return without_places(str(error)) or type(error).__name__


@contextmanager
def openvino_errors(action: str) -> Iterator[None]:
    """Translate openvino's errors; ``action`` completes "OpenVINO cannot ...".

    Raises
    ------
    DeviceError
        The runtime reported a failure.
    """
    try:
        yield
    except XTranscodeError:
        raise
    except (RuntimeError, MemoryError) as error:
        raise DeviceError(f"OpenVINO cannot {action}: {_said(error)}") from error


class OpenVINOContext(Context):
    """One device that openvino runs models on.

    Parameters
    ----------
    device : str
        As openvino names it, such as ``"CPU"`` or ``"GPU.1"``.
    title : str
        What people call it.
    core : openvino.Core, optional
        One that the caller has already; by default one is made when it is first asked for.
    remote : openvino.RemoteContext, optional
        Of a GPU: tensors then lie in the GPU's memory.
    handles : dict, optional
        What the remote context was made from, such as ``"va_display"``.

    Attributes
    ----------
    device : str
        As openvino names it.
    """

    memory_type = MemoryType.OPENVINO

    def __init__(
        self,
        device: str = "CPU",
        title: str = "",
        *,
        core: "ov.Core | None" = None,
        remote: "ov.RemoteContext | None" = None,
        handles: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.device = device
        self.name = f"OpenVINO {device}: {title}" if title else f"OpenVINO {device}"
        self.shares_host_memory = remote is None
        self._native: dict[str, Any] = dict(handles or {})
        if core is not None:
            self._native["ov_core"] = core
        if remote is not None:
            self._native["ov_remote_context"] = remote

    @classmethod
    def create(cls, selector: str = "") -> "OpenVINOContext":
        """Open a device.

        Parameters
        ----------
        selector : str
            As openvino names it, in any case: ``"CPU"``, ``"GPU"``, ``"GPU.1"``, ``"NPU"``. Empty
            for the CPU, whose tensors the requests of every device take.

        Raises
        ------
        DeviceNotFoundError
            There is no such device; the message lists those there are.
        DeviceError
            Its plugin cannot open it.
        """
        device = selector.upper() or "CPU"
        core = ov.Core()
        if device != "CPU":
            _check_device(device, _available(core))
        with openvino_errors(f"open {device}"), vendor_folder():
            title = core.get_property(device, "FULL_DEVICE_NAME")
            remote = core.get_default_context(device) if device.startswith(_GPU) else None
        return cls(device, title, core=core, remote=remote)

    @classmethod
    def from_vaapi(cls, display: int) -> "OpenVINOContext":
        """Open the GPU of a VAAPI display, whose surfaces its requests then take in place.

        Parameters
        ----------
        display : int
            The ``VADisplay``; it must outlive the context.

        Raises
        ------
        DeviceNotFoundError
            openvino has no GPU, or that display is of another one.
        """
        core = ov.Core()
        try:
            with vendor_folder():
                remote = ov.VAContext(core, _capsule(display))
        except RuntimeError as error:
            raise DeviceNotFoundError(
                f"OpenVINO does not take the VAAPI display: {_said(error)}; map the surfaces to "
                "host memory instead, or install the driver: apt install intel-opencl-icd"
            ) from error
        device = remote.get_device_name()
        return cls(device, core=core, remote=remote, handles={"va_display": display})

    @property
    def core(self) -> "ov.Core":
        """The ``ov.Core``, for reading and compiling models."""
        return self.handle("ov_core")

    def _handles(self) -> dict[str, Any]:
        if "ov_core" not in self._native:
            self._native["ov_core"] = ov.Core()
        return self._native

    def allocate(self, info: TensorInfo) -> Tensor:
        """Return a tensor in new memory of openvino's; the samples start undefined.

        Raises
        ------
        FormatError
            openvino has no such layout.
        DeviceError
            There is too little memory.
        """
        layout = describe(info)
        with openvino_errors(f"allocate {info.span} bytes on {self.name}"):
            if "ov_remote_context" in self._native:
                dense = TensorInfo(info.shape, info.dtype)
                remote = self._native["ov_remote_context"]
                native = remote.create_tensor(layout.element_type, ov.Shape(info.shape), {})
                return OpenVINORemoteTensor(native, dense, context=self)
            native, base = layout.allocate()
        address = base.data.ctypes.data
        return OpenVINOTensor(native, info, address=address, keep=base, context=self)

    def wrap(self, native: "ov.Tensor", *, keep: object | None = None) -> OpenVINOTensor:
        """Return a tensor over one of openvino's in host memory, without a copy.

        Parameters
        ----------
        native : openvino.Tensor
            Held until ``close()``.
        keep : object, optional
            What owns its memory: the request that it is an output of, or the array that it
            shares. openvino's own tensors do not all keep them alive.

        Raises
        ------
        FormatError
            NumPy has no such sample type, or the tensor lies on a GPU.
        """
        if not isinstance(native, ov.Tensor):
            raise FormatError(
                f"wrap takes an openvino.Tensor, got {type(native).__name__}; a GPU's goes to "
                "wrap_remote of that GPU's context"
            )
        address = native.data.ctypes.data
        return OpenVINOTensor(native, layout_of(native), address=address, keep=keep, context=self)

    def wrap_remote(
        self, native: "ov.RemoteTensor", dtype: npt.DTypeLike, *, keep: object | None = None
    ) -> OpenVINORemoteTensor:
        """Return a tensor over one of this context's GPU, without a copy.

        Parameters
        ----------
        native : openvino.RemoteTensor
            Held until ``close()``.
        dtype : data-type
            Of its samples: the bindings do not tell.
        keep : object, optional
            What owns its memory.

        Raises
        ------
        FormatError
            This context is of no GPU.
        """
        if "ov_remote_context" not in self._native:
            raise FormatError(
                f"{self.name} has no memory of its own, but got {type(native).__name__}; open the "
                "GPU's context, or copy the tensor to the host with copy_to"
            )
        info = TensorInfo(tuple(native.get_shape()), np.dtype(dtype))
        return OpenVINORemoteTensor(native, info, keep=keep, context=self)

    def close(self) -> None:
        """Let go of openvino's objects; may be repeated. Tensors that are open stay usable."""
        super().close()
        self._native = {}


def _available(core: "ov.Core") -> list[str]:
    """Return the devices' names; openvino looks for GPUs through OpenCL, and may be its first."""
    with vendor_folder():
        return list(core.available_devices)


def _check_device(device: str, there: list[str]) -> None:
    """Refuse what openvino does not list: it opens a ``"CPU.7"`` too, as the CPU."""
    # One of a kind is listed without its number.
    kind, _, number = device.partition(".")
    if device in there or f"{device}.0" in there or (number == "0" and kind in there):
        return
    raise DeviceNotFoundError(
        f"no OpenVINO device {device!r}; there is {', '.join(there) or 'none'}. Name one of them, "
        "or install the driver of the other one: apt install intel-opencl-icd"
    )


def _capsule(pointer: int) -> Any:
    """Return a pointer as openvino's bindings take it."""
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )
    return new(pointer, None, None)


def create(selector: str = "") -> OpenVINOContext:
    """Open a device; see `OpenVINOContext.create`."""
    return OpenVINOContext.create(selector)


def probe() -> Probe:
    """Report openvino and the devices that it finds."""
    core = ov.Core()
    found = []
    for device in _available(core):
        with openvino_errors(f"describe its device {device}"):
            found.append(f"{device}: {core.get_property(device, 'FULL_DEVICE_NAME')}")
    version = f"openvino {ov.get_version()}"
    if not found:
        remedy = BACKENDS[MemoryType.OPENVINO][1]
        return Probe("openvino", False, f"{version} finds no device", remedy)
    return Probe("openvino", True, version, devices=tuple(found))
