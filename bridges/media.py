"""What samples stand for: kinds of media, types of samples, picture formats and layouts, sound.

Everything here is a description; nothing holds samples, and NumPy is loaded only by what returns
its types.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bridges.errors import FormatError
from bridges.formats import PixelFormat, pixel_format
from bridges.named import Named
from bridges.tensor import TensorInfo

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "AudioInfo",
    "DataType",
    "ImageFormat",
    "ImageInfo",
    "ImageLayout",
    "MediaType",
    "TensorsInfo",
]


class MediaType(Named):
    """What the tensors of a frame stand for."""

    TENSORS = "tensors"
    IMAGE = "image"
    AUDIO = "audio"


class DataType(Named):
    """The type of one sample: unsigned, signed or floating point, and its bits; little-endian."""

    U8 = "u8"
    I8 = "i8"
    U16 = "u16"
    I16 = "i16"
    U32 = "u32"
    I32 = "i32"
    U64 = "u64"
    I64 = "i64"
    F16 = "f16"
    F32 = "f32"
    F64 = "f64"

    @property
    def nbytes(self) -> int:
        """Bytes of one sample."""
        return int(self.value[1:]) // 8

    @property
    def dtype(self) -> "np.dtype[Any]":
        """NumPy's type of such samples."""
        import numpy as np  # Most users of this module never ask for it.

        return np.dtype(f"<{self.value[0]}{self.nbytes}")

    @classmethod
    def from_dtype(cls, dtype: "np.dtype[Any]") -> "DataType":
        """Return the type of the samples that NumPy calls ``dtype``.

        Raises
        ------
        FormatError
            It is big-endian, or neither integer nor floating point of 8 to 64 bits.
        """
        for member in cls:
            if (dtype.kind, dtype.itemsize) == (member.value[0], member.nbytes):
                # NumPy itself knows how the native order is written.
                if dtype == member.dtype:
                    return member
                break
        there = ", ".join(map(str, cls))
        raise FormatError(f"samples of {dtype.str!r} have no type here; convert to one of {there}")


class ImageFormat(Named):
    """Picture formats by the names that people use; `pixel_format` is libav's for the same."""

    RGB = "RGB"
    BGR = "BGR"
    RGBX = "RGBX"
    BGRX = "BGRX"
    RGBA = "RGBA"
    BGRA = "BGRA"
    RGBP = "RGBP"
    BGRP = "BGRP"
    GRAY = "GRAY"
    GRAY10 = "GRAY10"
    GRAY16 = "GRAY16"
    NV12 = "NV12"
    NV21 = "NV21"
    I420 = "I420"
    I422 = "I422"
    I444 = "I444"
    I010 = "I010"
    YUY2 = "YUY2"
    UYVY = "UYVY"
    P010 = "P010"
    P012 = "P012"
    P016 = "P016"

    @property
    def pixel_format(self) -> PixelFormat:
        """The entry of `bridges.formats` whose planes hold the same samples; see `plane_order`."""
        return pixel_format(_LIBAV[self])

    @property
    def plane_order(self) -> tuple[int, ...]:
        """For each plane of this format, which one of `pixel_format` it is.

        They differ for planar RGB alone: libav's ``gbrp`` keeps its planes as G, B, R.
        """
        planes = self.pixel_format.planes
        order = [plane.channels for plane in planes]
        if self in (ImageFormat.RGBP, ImageFormat.BGRP):
            return tuple(order.index(channel) for channel in self.value[:3])
        return tuple(range(len(planes)))

    @classmethod
    def from_pixel_format(cls, layout: PixelFormat) -> "ImageFormat":
        """Return the format that is laid out as a pixel format of libav, planes in its order too.

        Raises
        ------
        FormatError
            None is; ``gbrp`` neither, as its planes have another order than RGBP's and BGRP's.
        """
        for member, name in _LIBAV.items():
            if name == layout.name and member.plane_order == tuple(range(len(layout.planes))):
                return member
        there = ", ".join(map(str, cls))
        raise FormatError(f"pixel format {layout.name} has no other name; there is {there}")


_LIBAV = {
    ImageFormat.RGB: "rgb24",
    ImageFormat.BGR: "bgr24",
    ImageFormat.RGBX: "rgb0",
    ImageFormat.BGRX: "bgr0",
    ImageFormat.RGBA: "rgba",
    ImageFormat.BGRA: "bgra",
    ImageFormat.RGBP: "gbrp",
    ImageFormat.BGRP: "gbrp",
    ImageFormat.GRAY: "gray",
    ImageFormat.GRAY10: "gray10le",
    ImageFormat.GRAY16: "gray16le",
    ImageFormat.NV12: "nv12",
    ImageFormat.NV21: "nv21",
    ImageFormat.I420: "yuv420p",
    ImageFormat.I422: "yuv422p",
    ImageFormat.I444: "yuv444p",
    ImageFormat.I010: "yuv420p10le",
    ImageFormat.YUY2: "yuyv422",
    ImageFormat.UYVY: "uyvy422",
    ImageFormat.P010: "p010le",
    ImageFormat.P012: "p012le",
    ImageFormat.P016: "p016le",
}


class ImageLayout(Named):
    """The order of a picture tensor's dimensions: batch, channels, height, width."""

    HW = "HW"
    CHW = "CHW"
    HWC = "HWC"
    NCHW = "NCHW"
    NHWC = "NHWC"


@dataclass(frozen=True)
class ImageInfo:
    """A tensor's layout read as pictures.

    Attributes
    ----------
    tensor_info : TensorInfo
        Shape, sample type and strides.
    layout : ImageLayout
        What its dimensions are.

    Raises
    ------
    FormatError
        The tensor has more or fewer dimensions than the layout.
    """

    tensor_info: TensorInfo
    layout: ImageLayout

    def __post_init__(self) -> None:
        if len(self.tensor_info.shape) != len(self.layout.value):
            raise FormatError(
                f"layout {self.layout} has {len(self.layout.value)} dimensions, got a tensor of "
                f"shape {self.tensor_info.shape}"
            )

    def _length(self, axis: str) -> int:
        at = self.layout.value.find(axis)
        return 1 if at < 0 else self.tensor_info.shape[at]

    def _stride(self, axis: str) -> int:
        at = self.layout.value.find(axis)
        return 0 if at < 0 else self.tensor_info.strides[at]

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return self._length("W")

    @property
    def height(self) -> int:
        """Rows of a picture."""
        return self._length("H")

    @property
    def channels(self) -> int:
        """Samples of a pixel; 1 where the layout has no such dimension."""
        return self._length("C")

    @property
    def batch(self) -> int:
        """Pictures; 1 where the layout has no such dimension."""
        return self._length("N")

    @property
    def width_stride(self) -> int:
        """Bytes from a pixel to the next in its row."""
        return self._stride("W")

    @property
    def height_stride(self) -> int:
        """Bytes from a row to the next."""
        return self._stride("H")

    @property
    def channels_stride(self) -> int:
        """Bytes from a sample to the pixel's next; 0 where the layout has no such dimension."""
        return self._stride("C")

    @property
    def batch_stride(self) -> int:
        """Bytes from a picture to the next; 0 where the layout has no such dimension."""
        return self._stride("N")


_SAMPLE_FORMATS = {
    "u8": DataType.U8,
    "s16": DataType.I16,
    "s32": DataType.I32,
    "s64": DataType.I64,
    "flt": DataType.F32,
    "dbl": DataType.F64,
}
"""libav's sample formats (``AVSampleFormat`` of libavutil/samplefmt.h); a ``p`` marks planar."""


@dataclass(frozen=True)
class AudioInfo:
    """Everything about a block of sound but its samples.

    Attributes
    ----------
    data_type : DataType
        Of one sample.
    planar : bool
        Whether each channel has a tensor of its own; else samples of all channels alternate.
    rate : int
        Samples a second, per channel.
    channels : int
        How many.
    channel_layout : str
        libav's name, such as ``"stereo"`` or ``"5.1"``; empty where it is unknown.
    samples : int
        Per channel.
    pts : int or None
        Time of the first sample in units of ``time_base``.
    time_base : Fraction or None
        Seconds per unit of ``pts``.

    Raises
    ------
    FormatError
        A count is out of range.
    """

    data_type: DataType
    planar: bool
    rate: int
    channels: int
    samples: int
    channel_layout: str = ""
    pts: int | None = None
    time_base: Fraction | None = None

    def __post_init__(self) -> None:
        for name, least in (("rate", 1), ("channels", 1), ("samples", 0)):
            if getattr(self, name) < least:
                raise FormatError(
                    f"sound has {name} of at least {least}, got {getattr(self, name)}"
                )

    @cached_property
    def tensors(self) -> tuple[TensorInfo, ...]:
        """The dense layout of each tensor.

        Planar: ``(samples,)`` for each channel. Otherwise one of ``(samples, channels)``.
        """
        dtype = self.data_type.dtype
        if self.planar:
            return (TensorInfo((self.samples,), dtype),) * self.channels
        return (TensorInfo((self.samples, self.channels), dtype),)

    @property
    def sample_format(self) -> str:
        """libav's name for the sample type, such as ``"s16"`` or ``"fltp"``.

        Raises
        ------
        FormatError
            libav has none.
        """
        for name, data_type in _SAMPLE_FORMATS.items():
            if data_type is self.data_type:
                return name + "p" * self.planar
        there = ", ".join(str(data_type) for data_type in _SAMPLE_FORMATS.values())
        raise FormatError(f"libav has no sound in {self.data_type}; convert to one of {there}")

    @staticmethod
    def read_sample_format(name: str) -> tuple[DataType, bool]:
        """Return the data type and whether it is planar, of libav's name for both.

        Raises
        ------
        FormatError
            libav has no such sample format.
        """
        plain = name.removesuffix("p")
        if plain not in _SAMPLE_FORMATS:
            there = ", ".join(_SAMPLE_FORMATS)
            raise FormatError(f"no sample format {name!r}; there is {there}, each also with a p")
        return _SAMPLE_FORMATS[plain], plain != name


@dataclass(frozen=True)
class TensorsInfo:
    """Tensors that are neither picture nor sound, such as what a network returns.

    Attributes
    ----------
    tensors : tuple of TensorInfo
        The layout of each.
    names : tuple of str
        One for each tensor; empty where they have none.
    pts : int or None
        Time in units of ``time_base``.
    time_base : Fraction or None
        Seconds per unit of ``pts``.

    Raises
    ------
    FormatError
        There are names, but not one for each tensor, or two alike.
    """

    tensors: tuple[TensorInfo, ...]
    names: tuple[str, ...] = ()
    pts: int | None = None
    time_base: Fraction | None = None

    def __post_init__(self) -> None:
        if self.names and len(set(self.names)) != len(self.tensors):
            raise FormatError(
                f"{len(self.tensors)} tensors need as many different names, got {self.names}"
            )
