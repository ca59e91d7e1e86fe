"""FFmpeg's memory: the planes of an AVFrame, through PyAV."""

import ctypes as c
from fractions import Fraction
from typing import Any

import av
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame

from bridges.backends.probe import Probe
from bridges.context import Context
from bridges.errors import FormatError
from bridges.formats import pixel_format
from bridges.frame import Colour, ColourRange, Frame, FrameInfo, Matrix
from bridges.native.libavutil import AVFrame, AVFrameSideData, av_error, frame_pointer, library
from bridges.tensor import MemoryType, Tensor, TensorInfo

__all__ = [
    "BOTTOM_FIELD_FIRST",
    "TOP_FIELD_FIRST",
    "FFmpegContext",
    "FFmpegTensor",
    "chroma_location",
    "copy_properties",
    "create",
    "field_order",
    "frame_info",
    "is_damaged",
    "is_writable",
    "probe",
    "sample_aspect_ratio",
    "set_sample_aspect_ratio",
    "side_data",
]


class FFmpegTensor(Tensor):
    """One plane of an AVFrame; its parent is the PyAV frame.

    Parameters
    ----------
    frame : av.VideoFrame
        A frame in host memory.
    index : int
        The plane.
    address : int
        Of the first sample.
    info, context, parent, on_close
        As for `Tensor`.
    """

    memory_type = MemoryType.FFMPEG

    def __init__(
        self, frame: VideoFrame, index: int, address: int, info: TensorInfo, **tensor: Any
    ) -> None:
        super().__init__(info, parent=frame, **tensor)
        self._index = index
        self._address = address

    def _handles(self) -> dict[str, Any]:
        return {"av_frame": self.parent, "data": self._address, "plane_index": self._index}

    def _release(self) -> None:
        """Nothing to do: the PyAV frame owns the samples, and ``parent`` holds it."""


class FFmpegContext(Context):
    """FFmpeg's frames in host memory."""

    memory_type = MemoryType.FFMPEG
    name = "FFmpeg"
    shares_host_memory = True

    def wrap(self, frame: VideoFrame) -> Frame:
        """Return the planes of a decoded frame, without a copy.

        Parameters
        ----------
        frame : av.VideoFrame
            In host memory, of a format that `bridges.formats` knows.

        Raises
        ------
        FormatError
            The format is not in the table, the frame is empty or on a device, or its rows lie
            bottom-up.
        """
        info = frame_info(frame)
        native = AVFrame.from_address(frame_pointer(frame))
        tensors = []
        for index in range(len(info.format.planes)):
            stride = native.linesize[index]
            address = native.data[index]
            if address is None or stride <= 0:
                raise FormatError(
                    f"plane {index} of this {info.format.name} frame has no rows in host memory "
                    f"(stride {stride}); download it from its device or flip it first"
                )
            shape = info.format.plane_shape(index, info.width, info.height)
            item = info.format.dtype.itemsize
            inner = (item * shape[2], item) if len(shape) == 3 else (item,)
            layout = TensorInfo(shape, info.format.dtype, (stride, *inner))
            tensors.append(FFmpegTensor(frame, index, address, layout, context=self))
        return Frame(info, tensors)

    def allocate(self, info: TensorInfo) -> FFmpegTensor:
        """Return one gray plane in a new AVFrame.

        Raises
        ------
        FormatError
            ``info`` is not two-dimensional with 8 or 16 bits a sample.
        """
        names = {"u1": "gray", "u2": "gray16le"}
        name = names.get(info.dtype.str[1:])
        if len(info.shape) != 2 or name is None:
            raise FormatError(
                f"FFmpeg allocates planes of (rows, columns) of 8 or 16 bits, not {info.shape} "
                f"of {info.dtype}; allocate a whole frame with allocate_frame"
            )
        frame = self.wrap(VideoFrame(info.shape[1], info.shape[0], name))
        tensor = frame.tensors[0]
        assert isinstance(tensor, FFmpegTensor)
        return tensor

    def allocate_frame(self, info: FrameInfo) -> Frame:
        """Return a frame in new, reference-counted FFmpeg memory; the samples start undefined."""
        frame = VideoFrame(info.width, info.height, info.format.name)
        frame.colorspace, frame.color_range = info.colour.matrix, info.colour.range
        frame.color_primaries, frame.color_trc = info.colour.primaries, info.colour.transfer
        frame.pts = info.pts
        if info.time_base is not None:
            frame.time_base = info.time_base
        return self.wrap(frame)


def frame_info(frame: VideoFrame) -> FrameInfo:
    """Return what a PyAV frame says of itself.

    Raises
    ------
    FormatError
        Its pixel format is not in `bridges.formats`.
    """
    return FrameInfo(
        format=pixel_format(frame.format.name),
        width=frame.width,
        height=frame.height,
        colour=Colour(
            matrix=Matrix(frame.colorspace),
            range=ColourRange(frame.color_range),
            primaries=int(frame.color_primaries),
            transfer=int(frame.color_trc),
        ),
        pts=frame.pts,
        time_base=frame.time_base,
    )


def copy_properties(source: VideoFrame, target: VideoFrame) -> None:
    """Copy all but the samples: times, colour, aspect, field flags, side data, metadata.

    Raises
    ------
    MemoryError
        FFmpeg could not allocate the copy of the side data.
    """
    code = library().av_frame_copy_props(frame_pointer(target), frame_pointer(source))
    if code < 0:
        raise MemoryError(f"av_frame_copy_props: {av_error(code)}")
    if source.time_base is not None:
        target.time_base = source.time_base


def set_sample_aspect_ratio(frame: VideoFrame, ratio: Fraction) -> None:
    """Tag a frame with its pixels' width over height."""
    native = AVFrame.from_address(frame_pointer(frame))
    native.sample_aspect_ratio[:] = ratio.numerator, ratio.denominator


def sample_aspect_ratio(frame: VideoFrame) -> Fraction | None:
    """Return a frame's pixels' width over height; None where it is unknown."""
    width, height = AVFrame.from_address(frame_pointer(frame)).sample_aspect_ratio
    return Fraction(width, height) if width > 0 and height > 0 else None


def chroma_location(frame: VideoFrame) -> int:
    """Return where chroma samples lie, numbered as libav's ``AVChromaLocation``; 0 is unknown."""
    return int(AVFrame.from_address(frame_pointer(frame)).chroma_location)


def side_data(frame: VideoFrame, kind: SideDataType) -> bytes | None:
    """Return one kind of a frame's side data, as the C structure that libavutil defines for it."""
    # Not through PyAV's own view of it, which keeps the frame alive in a reference cycle.
    native = AVFrame.from_address(frame_pointer(frame))
    if not native.nb_side_data:
        return None
    entries = (c.POINTER(AVFrameSideData) * native.nb_side_data).from_address(native.side_data)
    for entry in entries:
        if entry.contents.type == kind.value:
            return c.string_at(entry.contents.data, entry.contents.size)
    return None


_FLAG_INTERLACED, _FLAG_TOP_FIELD_FIRST = 1 << 3, 1 << 4
"""``AV_FRAME_FLAG_*`` of libavutil/frame.h."""
TOP_FIELD_FIRST, BOTTOM_FIELD_FIRST = 2, 3
"""``AV_FIELD_TT`` and ``AV_FIELD_BB`` of libavcodec/defs.h."""


def field_order(frame: VideoFrame) -> int | None:
    """Return libav's field order of an interlaced frame, or None for a progressive one."""
    flags = AVFrame.from_address(frame_pointer(frame)).flags
    if not flags & _FLAG_INTERLACED:
        return None
    return TOP_FIELD_FIRST if flags & _FLAG_TOP_FIELD_FIRST else BOTTOM_FIELD_FIRST


def is_damaged(frame: VideoFrame) -> bool:
    """Return whether the decoder had to make up a part of a picture, or thinks it corrupt."""
    native = AVFrame.from_address(frame_pointer(frame))
    return frame.is_corrupt or native.decode_error_flags != 0


def is_writable(frame: VideoFrame) -> bool:
    """Return whether nobody but ``frame`` itself still reads its samples (an encoder may)."""
    return bool(library().av_frame_is_writable(frame_pointer(frame)))


def create(selector: str = "") -> FFmpegContext:
    """Return FFmpeg's frames in host memory, which have nothing to select."""
    return FFmpegContext()


def probe() -> Probe:
    """Report PyAV and the FFmpeg in it."""
    version = ".".join(map(str, av.library_versions["libavutil"]))
    return Probe(
        name="ffmpeg",
        available=True,
        reason=f"PyAV {av.__version__}, libavutil {version}",
        remedy="",
        devices=(),
    )
