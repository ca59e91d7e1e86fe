"""Video hardware that a job names: what decodes there, encodes there, and why it cannot."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from av.codec.context import CodecContext
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.video.codeccontext import VideoCodecContext
from av.video.format import VideoFormat

from bridges.backends.ffmpeg_hardware import decode_on_stream, set_size, software_name
from bridges.backends.probe import open_context
from bridges.backends.vaapi_pyav import BUILD
from bridges.device import DeviceName
from bridges.errors import DeviceNotFoundError
from bridges.formats import PIXEL_FORMATS
from bridges.frame import FrameInfo
from bridges.native.libavcodec import free_decoder
from bridges.native.nvcuvid import decodes, keep_loaded, keep_ready
from bridges.tensor import MemoryType
from transcode.errors import JobError
from transcode.job import DECODING

if TYPE_CHECKING:
    from av.codec.codec import Codec
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    from bridges.backends.cuda import CUDAContext

__all__ = [
    "IN_HARDWARE",
    "POOL_FRAMES",
    "Hardware",
    "check_encoder",
    "choose_hardware",
    "encodes_on",
    "is_surface",
    "nbytes_of",
    "pix_fmt_of",
    "surface_formats",
]

_NAMES = {"vaapi": f"VA-API; {BUILD}", "cuda": "CUDA; install av from PyPI"}

IN_HARDWARE = {"libdav1d": "av1"}
"""Decoders in software that come first for their codec, and FFmpeg's own, which use devices."""

_ODD_HEIGHT = "pictures of {}x{}: FFmpeg garbles those of an odd height that an NVIDIA GPU decodes"
"""FFmpeg 8 takes their chroma from a row above where NVDEC put it, and loses the last row."""

_EIGHT_BITS = ("nv12",)
_DEEP = ("nv12", "p010le")
_SURFACES_OF = {"hevc": _DEEP, "av1": _DEEP, "vp9": _DEEP}
"""What encoders read of surfaces, by codec; those of any other codec read 8 bits."""

_DECODERS_AHEAD = 2
"""Of NVDEC; with one a stream waits while somebody works with its frames, more are no faster."""

POOL_FRAMES = 24
"""Surfaces beyond those that a codec refers to. Between its stages a pipeline holds two times four,
kernels and filters hold some, and encoders look ahead; a decoder without a free one fails."""


@dataclass(frozen=True)
class Hardware:
    """One device that decodes and encodes.

    Attributes
    ----------
    kind : str
        What FFmpeg calls it, and its frames' pixel format: ``"vaapi"`` or ``"cuda"``.
    node : str
        Which: ``"/dev/dri/renderD128"``, or a number.
    name : str
        What people call it.
    context : Context or None
        Of CUDA, whose frames every part of the process shares; None where the decoder opens the
        device for itself.
    """

    kind: str
    node: str
    name: str
    context: CUDAContext | None = None

    @property
    def description(self) -> str:
        """Kind and name."""
        return f"{self.kind}: {self.name}"

    @property
    def current(self) -> contextlib.AbstractContextManager[None]:
        """A block in which what is opened uses this device's context, where it has one."""
        return contextlib.nullcontext() if self.context is None else self.context.current

    @property
    def busy(self) -> contextlib.AbstractContextManager[None]:
        """A block in which a decoder is made or freed here, which others may have to wait for."""
        return contextlib.nullcontext() if self.context is None else self.context.busy

    def accelerator(self, *, fallback: bool) -> HWAccel:
        """Return what has PyAV decode there, and leave the frames there; use it in `current`.

        Parameters
        ----------
        fallback : bool
            Whether to decode in software what the device cannot decode.
        """
        # FFmpeg is to use the context that is current, and not to make one, nor to change ours.
        is_cuda = self.kind == "cuda"
        options: dict[str, object] = {"primary_ctx": "0", "current_ctx": "1"} if is_cuda else {}
        return HWAccel(
            self.kind,
            device=self.node,
            allow_software_fallback=fallback,
            options=options,
            is_hw_owned=True,
        )

    def decoder(self, stream: VideoStream, *, fallback: bool) -> VideoCodecContext:
        """Return what decodes a stream here.

        It holds back surfaces for those who work with them. Packets are sent to it, rather than to
        the stream, where it is not the stream's own.

        Parameters
        ----------
        stream : av.VideoStream
            Of a container that was opened with `accelerator`.
        fallback : bool
            As for `accelerator`.

        Raises
        ------
        LookupError
            Nothing does; the message says why.
        """
        context = stream.codec_context
        if self.kind == "cuda" and context.height % 2:
            raise LookupError(_ODD_HEIGHT.format(context.width, context.height))
        if not context.is_hwaccel:
            name = IN_HARDWARE.get(context.name)
            if name is None:
                raise LookupError(f"FFmpeg decodes {context.name} on no {self.kind} device")
            with self.current:
                bits = _bits(context)
                if self.kind == "cuda" and not decodes(name, bits):
                    raise LookupError(f"{self.name} decodes no {name} of {bits} bits")
                accelerator = self.accelerator(fallback=fallback)
                made = CodecContext.create(name, "r", hwaccel=accelerator)
            assert isinstance(made, VideoCodecContext)
            # Without a pixel format FFmpeg's decoder of AV1 finds none of the device's.
            made.pix_fmt = context.pix_fmt
            made.width, made.height = context.width, context.height
            made.extradata, context = context.extradata, made
        if self.kind == "vaapi":
            context.options = {"extra_hw_frames": str(POOL_FRAMES)}
        else:
            # NVDEC's surfaces are copied into a pool that grows. Threads have the device decode
            # ahead, while somebody works with a frame.
            context.thread_type, context.thread_count = "FRAME", _DECODERS_AHEAD
            assert self.context is not None
            decode_on_stream(context, self.context.stream_handle)
        return context

    def trim(self, frame: VideoFrame, decoder: VideoCodecContext) -> None:
        """Give a frame that was just decoded here the width of its picture.

        FFmpeg gives those of NVDEC even sizes.

        Raises
        ------
        JobError
            The height became odd; see `decoder`.
        """
        if self.kind != "cuda" or not is_surface(frame):
            return
        if frame.height == decoder.height + 1:
            words = _ODD_HEIGHT.format(decoder.width, decoder.height)
            raise JobError(f"{words}; leave the device out")
        if frame.width == decoder.width + 1:
            set_size(frame, decoder.width, decoder.height)

    def free(self, decoder: VideoCodecContext, *, has_decoded: bool) -> None:
        """Free what `decoder` returned, which must not be used any more.

        Parameters
        ----------
        decoder : av.VideoCodecContext
            As above.
        has_decoded : bool
            Whether it decoded frames on the device.
        """
        with self.busy:
            try:
                if self.context is not None and has_decoded:
                    with self.context.current:
                        keep_ready(self.context.cuda_handle)
            finally:
                free_decoder(decoder)

    def close(self) -> None:
        """Let go of the context; may be repeated."""
        if self.context is not None:
            self.context.close()


def _bits(context: VideoCodecContext) -> int:
    """Return the bits of a sample, of what a stream says of itself."""
    known = PIXEL_FORMATS.get(context.pix_fmt or "")
    return 8 if known is None else known.bits


def choose_hardware(device: str) -> Hardware | None:
    """Return the video hardware that a device name asks for; None where it asks for none.

    Parameters
    ----------
    device : str
        A device's name.

    Raises
    ------
    DeviceNotFoundError
        It is not there, or PyAV was built without it; the message says what to do.
    """
    name = DeviceName.parse(device)
    if name.kind not in DECODING:
        return None
    if name.kind not in hwdevices_available():
        raise DeviceNotFoundError(
            f"device {device!r}: the FFmpeg in this PyAV is built without {_NAMES[name.kind]}"
        )
    if name.kind == "cuda":
        context = open_context(MemoryType.CUDA, name.selector)
        # FFmpeg loads it for each decoder, and unloads it with the last; once it stays, that is
        # no work.
        keep_loaded()
        return Hardware(name.kind, name.selector or "0", context.name, cast("CUDAContext", context))
    from bridges.backends.vaapi import VAAPIContext

    with VAAPIContext.create(name.selector) as display:
        return Hardware(name.kind, display.display.node, display.name)


def is_surface(frame: VideoFrame) -> bool:
    """Whether a frame is on video hardware, and not in host memory."""
    return frame.format.name in DECODING


def pix_fmt_of(frame: VideoFrame) -> str:
    """Return libav's name of how a frame's samples lie in memory, on a device too."""
    return software_name(frame) if is_surface(frame) else frame.format.name


def nbytes_of(frame: VideoFrame) -> int:
    """Return how many bytes a frame's samples are, as they lie in memory, on a device too."""
    name = pix_fmt_of(frame)
    known = PIXEL_FORMATS.get(name)
    if known is None:
        return frame.width * frame.height * VideoFormat(name).padded_bits_per_pixel // 8
    return sum(plane.nbytes for plane in FrameInfo(known, frame.width, frame.height).planes)


def encodes_on(codec: Codec) -> str:
    """Return the kind of device whose frames alone an encoder takes; empty for any other."""
    names = [entry.name for entry in codec.video_formats or ()]
    return names[0] if len(names) == 1 and names[0] in DECODING else ""


def surface_formats(codec: Codec, kind: str) -> tuple[str, ...]:
    """Return how the samples of a device's surfaces lie that an encoder takes; empty for none."""
    takes = any(entry.name == kind for entry in codec.video_formats or ())
    return _SURFACES_OF.get(codec.canonical_name, _EIGHT_BITS) if takes else ()


def check_encoder(codec: Codec, hardware: Hardware | None) -> None:
    """Refuse an encoder that is on another device than the frames.

    Raises
    ------
    JobError
        The message says which device to name.
    """
    kind = encodes_on(codec)
    if kind and (hardware is None or hardware.kind != kind):
        raise JobError(f"{codec.name} encodes on a {kind} device; say --device {kind}[:node]")
