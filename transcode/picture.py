"""One frame for Python: arrays over its memory, its time, and how a notebook shows it."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from av.codec.context import CodecContext

from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext
from bridges.closable import Closable
from bridges.errors import ClosedError, FormatError
from bridges.frame import Frame, FrameInfo, MediaFrame
from bridges.mapper import MemoryMapper, create_mapper
from bridges.tensor import AccessMode, MemoryType

if TYPE_CHECKING:
    import numpy.typing as npt

    from bridges.tensor import Tensor, TensorInfo

__all__ = ["Picture", "Samples"]


class Samples(Protocol):
    """Samples of a picture before anybody has asked for them."""

    memory_type: MemoryType

    @property
    def info(self) -> FrameInfo:
        """Format, size, colour and time."""

    def frame(self) -> MediaFrame:
        """Return them as a frame, which the caller owns; called once."""

    def array(self) -> npt.NDArray[Any] | None:
        """Return the one plane there is on the host; None where the frame is to be asked."""


class Picture(Closable):
    """One frame of a video, where it was decoded or computed.

    A picture of one plane, such as a gray one or packed RGB, is an array itself:
    ``numpy.asarray(picture)``, ``numpy.from_dlpack(picture)``, ``torch.from_dlpack(picture)``,
    ``cupy.asarray(picture)``. Nothing is copied where the memory can be seen from there. Of others
    take the ``planes``.

    Parameters
    ----------
    samples : Frame, TensorFrame or Samples
        The samples; or the numbers that a kernel makes. The picture owns them.
    number : int
        Which frame of the video.
    time : Fraction, or a pair of int and Fraction
        When it is shown, in seconds after the video's first frame; or in units of so many seconds.
    to_host : MemoryMapper or None
        The way of its memory to the host; None where it lies there.
    keep : object
        Held for as long as the picture is open.

    Attributes
    ----------
    number : int
        As above.
    """

    def __init__(
        self,
        samples: MediaFrame | Samples,
        *,
        number: int,
        time: Fraction | tuple[int, Fraction],
        to_host: MemoryMapper | None = None,
        keep: object = None,
    ) -> None:
        self.number = number
        self._samples: MediaFrame | Samples | None = samples
        self._frame = samples if isinstance(samples, MediaFrame) else None
        self._array: npt.NDArray[Any] | None = None
        self._time = time
        self._to_host = to_host
        self._keep: object | None = keep
        self._on_host: MediaFrame | None = None

    @property
    def frame(self) -> MediaFrame:
        """The samples as a frame of `bridges`, which is the picture's.

        Raises
        ------
        ClosedError
            The picture was closed, and nobody had asked before.
        """
        if self._frame is None:
            samples = self._samples
            if samples is None:
                raise ClosedError("this picture was closed; take it again")
            self._frame = samples if isinstance(samples, MediaFrame) else samples.frame()
            self._array = None  # Whoever has the planes may write to them.
        return self._frame

    @property
    def _known(self) -> MediaFrame | Samples:
        """What tells of the samples; it does not ask for planes."""
        return self.frame if self._frame is not None or self._samples is None else self._samples

    @property
    def time(self) -> Fraction:
        """When it is shown, in seconds after the video's first frame."""
        if isinstance(self._time, tuple):
            count, unit = self._time
            return count * unit
        return self._time

    @property
    def info(self) -> Any:
        """Format, size and colour: a `bridges.FrameInfo`, or of numbers a `TensorsInfo`."""
        return self._known.info

    @property
    def planes(self) -> tuple[Tensor, ...]:
        """The samples, a tensor for each plane of the format."""
        return self.frame.tensors

    @property
    def memory_type(self) -> MemoryType:
        """The kind of memory that the samples lie in."""
        return self._known.memory_type

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a picture of one plane: rows, columns, and channels where there are several."""
        shape: tuple[int, ...] = self._one_layout().shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a picture of one plane."""
        dtype: np.dtype[Any] = self._one_layout().dtype
        return dtype

    def _one_layout(self) -> TensorInfo:
        """Return that of the one plane; refuse pictures of several."""
        info = self.info
        if isinstance(info, FrameInfo):
            layouts, name = info.planes, f"a picture of {info.format.name}"
            advice = "; or have a kernel make one of them, such as yuv_to_rgb or rgb_to_grayscale"
        else:
            layouts, name, advice = info.tensors, "this result", ""
        if len(layouts) != 1:
            raise FormatError(f"{name} is {len(layouts)} arrays; take its planes{advice}")
        layout: TensorInfo = layouts[0]
        return layout

    def _one_plane(self) -> Any:
        """Return the one tensor; what array protocols it has depends on its memory."""
        self._one_layout()
        return self.planes[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        samples = self._samples
        if samples is not None and not isinstance(samples, MediaFrame):
            if copy is False:
                raise ValueError(f"{self.memory_type.value} memory reaches the host as a copy only")
            array = self._fetched()
            if array is not None:
                return np.array(array, dtype=dtype, copy=copy)
        context = self._one_plane().context
        if copy is False and context is not None and not context.shares_host_memory:
            raise ValueError(f"{self.memory_type.value} memory reaches the host as a copy only")
        return np.array(np.asarray(self.on_host().tensors[0]), dtype=dtype, copy=copy)

    def _fetched(self) -> npt.NDArray[Any] | None:
        """Return the one plane on the host; None where the frame is to be asked."""
        samples = self._samples
        if samples is None or isinstance(samples, MediaFrame):
            return None
        if self._array is None:
            self._array = samples.array()
        return self._array

    def on_host(self) -> MediaFrame:
        """Return the samples as host memory: in place where that can be, else a copy, made once.

        It is good for as long as this picture is open.
        """
        if self._to_host is None:
            return self.frame
        if self._on_host is None:
            array = self._fetched()
            if array is None:
                self._on_host = self._to_host.map(self.frame, AccessMode.READ)
            else:
                self._on_host = Frame(self.info, [CPUContext().wrap(array)])
        return self._on_host

    def __dlpack__(self, **asked: Any) -> Any:
        return self._one_plane().__dlpack__(**asked)

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self._one_plane().__dlpack_device__()
        return device

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.memory_type is not MemoryType.CUDA:
            raise AttributeError(f"{self.memory_type.value} memory has no CUDA array interface")
        told: dict[str, Any] = self._one_plane().__cuda_array_interface__
        return told

    def __repr__(self) -> str:
        if self._samples is None or (self._frame is not None and self._frame.closed):
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
        self._samples = self._array = self._keep = None
        if self._frame is not None:
            self._frame.close()
