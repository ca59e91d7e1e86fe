"""One frame for Python: arrays over its memory, its time, and how a notebook shows it."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from av.codec.context import CodecContext

from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext
from bridges.closable import Closable
from bridges.errors import FormatError
from bridges.frame import Frame, FrameInfo
from bridges.mapper import MemoryMapper, create_mapper
from bridges.tensor import AccessMode, MemoryType

if TYPE_CHECKING:
    import numpy.typing as npt

    from bridges.frame import MediaFrame
    from bridges.tensor import Tensor

__all__ = ["Picture"]


class Picture(Closable):
    """One frame of a video, where it was decoded or computed.

    A picture of one plane, such as a gray one or packed RGB, is an array itself:
    ``numpy.asarray(picture)``, ``numpy.from_dlpack(picture)``, ``torch.from_dlpack(picture)``,
    ``cupy.asarray(picture)``. Nothing is copied where the memory can be seen from there. Of others
    take the ``planes``.

    Parameters
    ----------
    frame : Frame or TensorFrame
        The samples; or the numbers that a kernel makes. The picture owns it.
    number : int
        Which frame of the video.
    time : Fraction
        When it is shown, in seconds after the first frame.
    to_host : MemoryMapper or None
        The way of its memory to the host; None where it lies there.
    keep : object
        Held for as long as the picture is open.

    Attributes
    ----------
    frame, number, time
        As above.
    """

    def __init__(
        self,
        frame: MediaFrame,
        *,
        number: int,
        time: Fraction,
        to_host: MemoryMapper | None = None,
        keep: object = None,
    ) -> None:
        self.frame, self.number, self.time = frame, number, time
        self._to_host = to_host
        self._keep: object | None = keep
        self._on_host: MediaFrame | None = None

    @property
    def info(self) -> Any:
        """Format, size and colour: a `bridges.FrameInfo`, or of numbers a `TensorsInfo`."""
        return self.frame.info

    @property
    def planes(self) -> tuple[Tensor, ...]:
        """The samples, a tensor for each plane of the format."""
        return self.frame.tensors

    @property
    def memory_type(self) -> MemoryType:
        """The kind of memory that the samples lie in."""
        return self.frame.memory_type

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a picture of one plane: rows, columns, and channels where there are several."""
        shape: tuple[int, ...] = self._plane.info.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a picture of one plane."""
        dtype: np.dtype[Any] = self._plane.info.dtype
        return dtype

    @property
    def _plane(self) -> Any:
        """The one tensor; what array protocols it has depends on its memory."""
        if len(self.planes) != 1:
            raise FormatError(
                f"a picture of {self.info.format.name} is {len(self.planes)} arrays; take its "
                "planes, or have a kernel make one of them, such as yuv_to_rgb or rgb_to_grayscale"
            )
        return self.planes[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        context = self._plane.context
        if copy is False and context is not None and not context.shares_host_memory:
            raise ValueError(f"{self.memory_type.value} memory reaches the host as a copy only")
        return np.array(np.asarray(self.on_host().tensors[0]), dtype=dtype, copy=copy)

    def on_host(self) -> MediaFrame:
        """Return the samples as host memory: in place where that can be, else a copy, made once.

        It is good for as long as this picture is open.
        """
        if self._to_host is None:
            return self.frame
        if self._on_host is None:
            self._on_host = self._to_host.map(self.frame, AccessMode.READ)
        return self._on_host

    def __dlpack__(self, **asked: Any) -> Any:
        return self._plane.__dlpack__(**asked)

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self._plane.__dlpack_device__()
        return device

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.memory_type is not MemoryType.CUDA:
            raise AttributeError(f"{self.memory_type.value} memory has no CUDA array interface")
        told: dict[str, Any] = self._plane.__cuda_array_interface__
        return told

    def __repr__(self) -> str:
        if self.frame.closed:
            return f"<Picture {self.number}, closed>"
        info = self.info
        what = f"{info.format.name} {info.width}x{info.height}" if self._is_picture else str(info)
        return f"<Picture {self.number} at {float(self.time):.3f} s: {what} in {self.memory_type}>"

    @property
    def _is_picture(self) -> bool:
        return isinstance(self.info, FrameInfo)

    def _repr_png_(self) -> bytes | None:
        """Return the picture as PNG; None of numbers. IPython calls it to show one."""
        if not self._is_picture:
            return None
        frame = self.on_host()
        assert isinstance(frame, Frame)
        with create_mapper([CPUContext(), FFmpegContext()]).map(frame, AccessMode.READ) as shown:
            rgb = shown.tensors[0].handle("av_frame").reformat(format="rgb24")
        rgb.pts = None
        encoder: Any = CodecContext.create("png", "w")
        encoder.width, encoder.height, encoder.pix_fmt = rgb.width, rgb.height, "rgb24"
        encoder.time_base = Fraction(1)
        return b"".join(bytes(packet) for packet in (*encoder.encode(rgb), *encoder.encode(None)))

    def close(self) -> None:
        """Give the memory back; may be repeated. Arrays over it keep it for themselves."""
        on_host, self._on_host = self._on_host, None
        if on_host is not None:
            on_host.close()
        self.frame.close()
        self._keep = None
