"""OpenVINO on a GPU that shares its OpenCL context: buffers as tensors, through openvino's C API.

No machine with Intel's GPU was at hand: up to the GPU plugin's refusal of any other device all of
this has run, and beyond it nothing. The tensors are ``ov_tensor_t *`` for the C API's requests
(``ov_infer_request_set_input_tensor``); openvino's Python requests take none.
"""

import ctypes as c
import weakref
from typing import Any

from bridges.backends.opencl import OpenCLContext
from bridges.backends.opencl_vendors import vendor_folder
from bridges.backends.openvino import OpenVINOContext, OpenVINORemoteTensor
from bridges.backends.openvino_layout import describe
from bridges.errors import DeviceError, DeviceNotFoundError, FormatError
from bridges.native.libopenvino_c import ELEMENT_TYPES, Shape, check, library, properties
from bridges.tensor import Tensor, TensorInfo

__all__ = ["OpenVINOOpenCLContext", "derive"]


class OpenVINOOpenCLContext(OpenVINOContext):
    """Intel's GPU as openvino and OpenCL see it together.

    Parameters
    ----------
    opencl : OpenCLContext
        Whose buffers become tensors; it must outlive this context.

    Raises
    ------
    DeviceNotFoundError
        openvino's GPU plugin does not take that device; the message says why.

    Attributes
    ----------
    opencl : OpenCLContext
        As given.
    """

    def __init__(self, opencl: OpenCLContext) -> None:
        pointer = opencl.native.int_ptr
        core, remote = _open(pointer, opencl.name)
        super().__init__("GPU", opencl.name, handles={"cl_context": opencl.native})
        self._native["ov_remote_context"] = remote
        self.shares_host_memory = False
        self.opencl = opencl
        self._free = weakref.finalize(self, _close, core, remote)

    def allocate(self, info: TensorInfo) -> Tensor:
        """Refuse: allocate on the OpenCL context and map the buffer.

        Raises
        ------
        FormatError
            Always.
        """
        raise FormatError(
            f"{self.name} takes OpenCL's buffers and makes none; allocate on the OpenCL context "
            "and map the tensor"
        )

    def over(self, source: Tensor) -> OpenVINORemoteTensor:
        """Return a tensor over an OpenCL buffer, without a copy; ``source`` is its parent.

        Raises
        ------
        FormatError
            The samples are not dense, or openvino has no such type.
        DeviceError
            The plugin does not take the buffer.
        """
        info, buffer = source.info, source.handle("cl_mem")
        layout = describe(info)
        if not info.is_contiguous:
            raise FormatError(
                f"OpenVINO takes dense OpenCL buffers only, got shape {info.shape} with strides "
                f"{info.strides}; copy the rows together first"
            )
        shape = Shape(len(info.shape), (c.c_int64 * len(info.shape))(*info.shape))
        values = properties({"SHARED_MEM_TYPE": "OCL_BUFFER", "MEM_HANDLE": buffer.int_ptr})
        number = ELEMENT_TYPES[layout.element_type.get_type_name()]
        tensor = c.c_void_p()
        status = library().ov_remote_context_create_tensor_props(
            self.handle("ov_remote_context"), number, shape, 2, values, c.byref(tensor)
        )
        check(status, f"share a buffer of {info.span} bytes of {self.name}")
        native = _NativeTensor(tensor.value or 0)
        return OpenVINORemoteTensor(native, info, keep=buffer, context=self, parent=source)

    def close(self) -> None:
        """Release the remote context; may be repeated. Tensors are to be closed before."""
        super().close()
        self._free()


class _NativeTensor:
    """An ``ov_tensor_t *``, freed with this object."""

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer
        weakref.finalize(self, library().ov_tensor_free, pointer)

    @property
    def _as_parameter_(self) -> Any:
        """What ctypes passes for this object."""
        return c.c_void_p(self.pointer)


def _open(cl_context: int, name: str) -> tuple[int, int]:
    """Return an ``ov_core_t *`` and an ``ov_remote_context_t *`` for a ``cl_context``."""
    try:
        lib = library()
        core, remote = c.c_void_p(), c.c_void_p()
        check(lib.ov_core_create(c.byref(core)), "start")
        values = properties({"CONTEXT_TYPE": "OCL", "OCL_CONTEXT": cl_context})
        # The plugin for GPUs looks for OpenCL's devices, and is unloaded where it takes none.
        with vendor_folder():
            status = lib.ov_core_create_context_props(core, b"GPU", 2, values, c.byref(remote))
        try:
            check(status, "use the device")
        except DeviceError:
            lib.ov_core_free(core)
            raise
    except DeviceError as error:
        raise DeviceNotFoundError(
            f"OpenVINO shares no OpenCL device but Intel's GPUs, asked for {name}: {error}; map "
            "OpenCL > CPU > OpenVINO instead"
        ) from error
    return core.value or 0, remote.value or 0


def _close(core: int, remote: int) -> None:
    library().ov_remote_context_free(remote)
    library().ov_core_free(core)


def derive(opencl: OpenCLContext) -> OpenVINOContext | None:
    """Return openvino on the device of an OpenCL context; None where it cannot run on that."""
    if opencl.device.kind == "cpu":
        return OpenVINOContext.create("CPU")
    try:
        return OpenVINOOpenCLContext(opencl)
    except DeviceNotFoundError:
        return None
