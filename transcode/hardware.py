"""Video hardware that a job names: what decodes there, encodes there, and why it cannot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from av.codec.hwaccel import HWAccel, hwdevices_available
from av.video.format import VideoFormat

from bridges.backends.ffmpeg_hardware import software_name
from bridges.device import DeviceName
from bridges.errors import DeviceNotFoundError
from bridges.formats import PIXEL_FORMATS
from bridges.frame import FrameInfo
from transcode.errors import JobError

if TYPE_CHECKING:
    from av.codec.codec import Codec
    from av.video.frame import VideoFrame

__all__ = [
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

_KINDS = ("vaapi",)
"""Kinds of devices, of those in `bridges.device`, that decode video."""

_EIGHT_BITS = ("nv12",)
_DEEP = ("nv12", "p010le")
_SURFACES_OF = {"hevc": _DEEP, "av1": _DEEP, "vp9": _DEEP}
"""What encoders of VA devices read, by codec; those of any other read 8 bits."""

POOL_FRAMES = 24
"""Surfaces beyond those that a codec refers to. Between its stages a pipeline holds two times four,
kernels and filters hold some, and encoders look ahead; a decoder without a free one fails."""


@dataclass(frozen=True)
class Hardware:
    """One device that decodes and encodes.

    Attributes
    ----------
    kind : str
        What FFmpeg calls it, and its frames' pixel format: ``"vaapi"``.
    node : str
        Which: ``"/dev/dri/renderD128"``.
    name : str
        What people call it.
    """

    kind: str
    node: str
    name: str

    @property
    def description(self) -> str:
        """Kind and name."""
        return f"{self.kind}: {self.name}"

    def accelerator(self, *, fallback: bool) -> HWAccel:
        """Return what has PyAV decode there, and leave the frames there.

        Parameters
        ----------
        fallback : bool
            Whether to decode in software what the device cannot decode.
        """
        return HWAccel(
            self.kind, device=self.node, allow_software_fallback=fallback, is_hw_owned=True
        )


def choose_hardware(device: str) -> Hardware | None:
    """Return the video hardware that a device name asks for; None where it asks for none.

    Raises
    ------
    DeviceNotFoundError
        It is not there, or PyAV was built without it; the message says what to do.
    """
    name = DeviceName.parse(device)
    if name.kind not in _KINDS:
        return None
    from bridges.backends.vaapi import VAAPIContext
    from bridges.backends.vaapi_pyav import BUILD

    if name.kind not in hwdevices_available():
        raise DeviceNotFoundError(
            f"device {device!r}: the FFmpeg in this PyAV is built without VA-API; {BUILD}"
        )
    with VAAPIContext.create(name.selector) as context:
        return Hardware(name.kind, context.display.node, context.name)


def is_surface(frame: VideoFrame) -> bool:
    """Whether a frame is a surface of a VA device."""
    return frame.format.name == "vaapi"


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
    return names[0] if len(names) == 1 and names[0] in _KINDS else ""


def surface_formats(codec: Codec) -> tuple[str, ...]:
    """Return how the samples of surfaces lie that an encoder on a device takes."""
    return _SURFACES_OF.get(codec.canonical_name, _EIGHT_BITS) if encodes_on(codec) else ()


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
