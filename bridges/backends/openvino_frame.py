"""Frames of inference: what a request of openvino's gives, tensor by tensor."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridges.backends.openvino import OpenVINOContext, openvino_errors
from bridges.closable import Closable
from bridges.errors import ClosedError
from bridges.frame import MediaFrame
from bridges.tensor import MemoryType, Tensor, TensorInfo

if TYPE_CHECKING:
    from collections.abc import Hashable

    import openvino as ov

__all__ = ["InferenceFrame", "InferenceInfo", "OpenVINOFrame"]


@dataclass(frozen=True, slots=True)
class InferenceInfo:
    """What a request gives.

    Attributes
    ----------
    names : tuple of str
        Of the model's outputs, in its order; the number of one that has no name.
    tensors : tuple of TensorInfo
        Shape, type and layout of each.
    """

    names: tuple[str, ...]
    tensors: tuple[TensorInfo, ...]


class InferenceFrame(MediaFrame):
    """The outputs of one inference: a tensor for each.

    Parameters
    ----------
    names : sequence of str
        One per tensor.
    tensors, parent
        As for `MediaFrame`.
    """

    def __init__(
        self, names: Sequence[str], tensors: Sequence[Tensor], *, parent: Closable | None = None
    ) -> None:
        super().__init__(tensors, parent=parent)
        self.names = tuple(names)

    @property
    def info(self) -> InferenceInfo:
        """Names and layouts of the outputs."""
        return InferenceInfo(self.names, tuple(tensor.info for tensor in self.tensors))

    @property
    def form(self) -> "Hashable":
        """Names and layouts of the outputs."""
        return self.info

    def __getitem__(self, name: str) -> Tensor:
        """Return an output by its name.

        Raises
        ------
        KeyError
            There is none of that name; the message lists those there are.
        """
        if name not in self.names:
            raise KeyError(f"the model has no output {name!r}, only {sorted(self.names)}")
        return self.tensors[self.names.index(name)]

    def over(self, tensors: Sequence[Tensor]) -> "InferenceFrame":
        """Return the outputs as seen through other tensors; see `MediaFrame.over`."""
        return InferenceFrame(self.names, tensors, parent=self)


class OpenVINOFrame(InferenceFrame):
    """The outputs of a request, which may still run: they are waited for when first asked for.

    The tensors are the request's own memory. They are good until it runs again, so that a request
    is to be started again only once this frame is closed.

    Parameters
    ----------
    context : OpenVINOContext
        Of the device that the model runs on.
    request : openvino.InferRequest
        Started, or run already.
    parent : Closable, optional
        What the request reads: the mapping that its inputs are from. openvino keeps no array alive
        that a tensor shares; this frame does, until the request has finished and ``close()``.
    """

    def __init__(
        self,
        context: OpenVINOContext,
        request: "ov.InferRequest",
        *,
        parent: Closable | None = None,
    ) -> None:
        outputs = enumerate(request.model_outputs)
        self.names = tuple(min(port.names, default=str(index)) for index, port in outputs)
        self.context = context
        self.request = request
        self.parent = parent
        self.closes_parent = False
        self.metadata = parent.metadata if isinstance(parent, MediaFrame) else []
        self._lock = threading.Lock()
        self._outputs: tuple[Tensor, ...] | None = None
        self._closed = False

    @property
    def memory_type(self) -> MemoryType:
        """Always OpenVINO."""
        return MemoryType.OPENVINO

    @property
    def tensors(self) -> tuple[Tensor, ...]:  # type: ignore[override]
        """The outputs in the model's order; the first call waits for the request.

        Raises
        ------
        DeviceError
            The inference failed.
        FormatError
            An output has a type that NumPy has not.
        ClosedError
            The frame was closed before.
        """
        with self._lock:
            if self._outputs is None:
                if self._closed:
                    raise ClosedError("this OpenVINO frame was closed; run the request again")
                self.wait()
                request = self.request
                self._outputs = tuple(
                    self.context.wrap(native, keep=request) for native in request.output_tensors
                )
            return self._outputs

    @property
    def closed(self) -> bool:
        """Whether ``close()`` was called."""
        return self._closed

    def wait(self) -> None:
        """Wait until the request has finished.

        Raises
        ------
        DeviceError
            The inference failed.
        """
        with openvino_errors(f"infer on {self.context.name}"):
            self.request.wait()

    def close(self) -> None:
        """Wait for the request, which still reads its inputs, and let go; may be repeated."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            outputs = self._outputs or ()
        parent, self.parent = self.parent, None
        try:
            self.wait()
        finally:
            for tensor in outputs:
                tensor.close()
            if self.closes_parent and parent is not None:
                parent.close()
