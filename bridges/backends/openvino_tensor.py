"""OpenVINO's tensors, in host memory and on a GPU.

openvino knows no read-only tensors: whatever array it shares can be written to through
``ov.Tensor.data``, and as an output of a request. A READ mapping is a promise here, which
`OpenVINOTensor` keeps in every view that it gives itself.
"""

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from bridges.backends.host_array import HostArray, array_at
from bridges.backends.openvino_layout import describe
from bridges.errors import FormatError
from bridges.tensor import MemoryType, Tensor, TensorInfo

if TYPE_CHECKING:
    import openvino as ov

__all__ = ["OpenVINORemoteTensor", "OpenVINOTensor"]


class OpenVINOTensor(HostArray, Tensor):
    """A block of samples in host memory, as an ``ov.Tensor``.

    Parameters
    ----------
    native : openvino.Tensor
        The tensor. Where rows are no whole number of pixels apart it shows rows of samples; see
        `bridges.backends.openvino_layout`.
    info : TensorInfo
        Layout of the samples.
    address : int
        Of the first sample.
    keep : object, optional
        What else must live as long as the tensor: the owner of its memory, or the request that it
        is an output of.
    writeable : bool
        Whether the views that this tensor gives may be written to.
    context, parent, on_open, on_close
        As for `Tensor`.
    """

    memory_type = MemoryType.OPENVINO

    def __init__(
        self,
        native: "ov.Tensor",
        info: TensorInfo,
        *,
        address: int,
        keep: object | None = None,
        writeable: bool = True,
        **tensor: Any,
    ) -> None:
        super().__init__(info, **tensor)
        self.writeable = writeable
        self._native: Any = {"ov_tensor": native, "data": address}
        self._keep = keep

    @property
    def native(self) -> "ov.Tensor":
        """The ``ov.Tensor``; it is used only while this tensor is open."""
        return self.handle("ov_tensor")

    @property
    def array(self) -> npt.NDArray[Any]:
        """The samples as an array, which keeps their memory alive; read-only in a READ mapping."""
        address = self.handle("data")
        return array_at(address, self.info, owner=self.owner, writeable=self.writeable)

    @property
    def owner(self) -> tuple[Any, object]:
        """The native tensor and what keeps it alive, also beyond this one's ``close()``."""
        return self.handle("ov_tensor"), self._keep

    def batch(self) -> "OpenVINOTensor":
        """Return the same memory as a batch of one: what a model of shape ``[1, ...]`` takes.

        This tensor is its parent.

        Raises
        ------
        FormatError
            Rows are no whole number of pixels apart, so that openvino cannot show them as pixels.
        ClosedError
            The tensor was closed.
        """
        info, address = self.info, self.handle("data")
        pitch = info.shape[0] * info.strides[0]
        whole = TensorInfo((1, *info.shape), info.dtype, (pitch, *info.strides))
        layout = describe(whole)
        if not layout.is_exact:
            raise FormatError(
                f"OpenVINO cannot show shape {info.shape} with rows {info.strides[0]} bytes apart "
                "as pixels: that is no whole number of them; copy the array first"
            )
        native, base = layout.over(address, self.owner)
        return OpenVINOTensor(
            native,
            whole,
            address=address,
            keep=base,
            writeable=self.writeable,
            context=self.context,
            parent=self,
        )

    def _host_array(self) -> npt.NDArray[Any]:
        return self.array

    def _part(self, info: TensorInfo, offset: int) -> "OpenVINOTensor":
        """Return a part; see `Tensor`."""
        address = self.handle("data") + offset
        native, base = describe(info).over(address, self.owner)
        return OpenVINOTensor(
            native,
            info,
            address=address,
            keep=base,
            writeable=self.writeable,
            context=self.context,
            parent=self,
        )

    def _handles(self) -> dict[str, Any]:
        return self._native  # type: ignore[no-any-return]

    def _release(self) -> None:
        self._native = self._keep = None


class OpenVINORemoteTensor(Tensor):
    """A block of samples on a GPU, as an ``ov.RemoteTensor``; the host has no address of it.

    Parameters
    ----------
    native : openvino.RemoteTensor
        The tensor.
    keep : object, optional
        What else must live as long as it, such as a decoder's surface.
    info, context, parent, on_open, on_close
        As for `Tensor`.
    """

    memory_type = MemoryType.OPENVINO

    def __init__(
        self, native: Any, info: TensorInfo, *, keep: object | None = None, **tensor: Any
    ) -> None:
        super().__init__(info, **tensor)
        self._native: Any = {"ov_tensor": native}
        self._keep = keep

    @property
    def owner(self) -> tuple[Any, object]:
        """The native tensor and what keeps it alive, also beyond this one's ``close()``."""
        return self.handle("ov_tensor"), self._keep

    def _handles(self) -> dict[str, Any]:
        return self._native  # type: ignore[no-any-return]

    def _release(self) -> None:
        self._native = self._keep = None
