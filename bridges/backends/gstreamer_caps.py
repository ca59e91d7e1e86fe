"""What GStreamer's caps say of a picture, in the words of `bridges.frame`, and the other way."""

import functools
import threading
from fractions import Fraction
from typing import Any, NamedTuple

from bridges.backends.pygobject import load_namespaces
from bridges.errors import DeviceError, FormatError
from bridges.formats import PIXEL_FORMATS
from bridges.frame import Colour, ColourRange, FrameInfo, Matrix
from bridges.native.libgstreamer import CLOCK_TIME_NONE

__all__ = [
    "FORMATS",
    "NANOSECOND",
    "Namespaces",
    "caps_of",
    "format_number",
    "frame_info",
    "namespaces",
    "nanoseconds",
    "video_info",
]

NANOSECOND = Fraction(1, 10**9)
"""The time base of every GStreamer buffer, in seconds."""

FORMATS = {
    "GRAY8": "gray",
    "GRAY16_LE": "gray16le",
    "I420": "yuv420p",
    "YUV9": "yuv410p",
    "Y41B": "yuv411p",
    "Y42B": "yuv422p",
    "Y444": "yuv444p",
    "I420_10LE": "yuv420p10le",
    "I422_10LE": "yuv422p10le",
    "Y444_10LE": "yuv444p10le",
    "I420_12LE": "yuv420p12le",
    "I422_12LE": "yuv422p12le",
    "Y444_12LE": "yuv444p12le",
    "Y444_16LE": "yuv444p16le",
    "A420": "yuva420p",
    "A422": "yuva422p",
    "A444": "yuva444p",
    "A420_10LE": "yuva420p10le",
    "A422_10LE": "yuva422p10le",
    "A444_10LE": "yuva444p10le",
    "NV12": "nv12",
    "NV21": "nv21",
    "NV16": "nv16",
    "NV24": "nv24",
    "P010_10LE": "p010le",
    "P012_LE": "p012le",
    "P016_LE": "p016le",
    "YUY2": "yuyv422",
    "UYVY": "uyvy422",
    "YVYU": "yvyu422",
    "RGB": "rgb24",
    "BGR": "bgr24",
    "RGBA64_LE": "rgba64le",
    "BGRA64_LE": "bgra64le",
    "RGBx": "rgb0",
    "BGRx": "bgr0",
    "xRGB": "0rgb",
    "xBGR": "0bgr",
    "RGBA": "rgba",
    "BGRA": "bgra",
    "ARGB": "argb",
    "ABGR": "abgr",
    "GBR": "gbrp",
    "GBR_10LE": "gbrp10le",
    "GBR_12LE": "gbrp12le",
    "GBRA": "gbrap",
    "GBRA_10LE": "gbrap10le",
    "GBRA_12LE": "gbrap12le",
}
"""GStreamer's names of pixel formats (video-format.h), and libav's names of the same layouts."""

_GSTREAMER_NAMES = {libav: name for name, libav in FORMATS.items()}


class Namespaces(NamedTuple):
    """GStreamer as PyGObject shows it."""

    gst: Any
    video: Any
    allocators: Any


_starting = threading.Lock()


@functools.cache
def _start() -> Namespaces:
    loaded = Namespaces(*load_namespaces("Gst-1.0", "GstVideo-1.0", "GstAllocators-1.0"))
    # Our own arguments are not GStreamer's.
    try:
        loaded.gst.init_check(None)
    except Exception as error:
        if type(error).__module__.startswith("gi"):
            raise DeviceError(f"GStreamer cannot be started: {error}") from error
        raise
    return loaded


def namespaces() -> Namespaces:
    """Return GStreamer's namespaces, initialised.

    Raises
    ------
    NotInstalledError
        PyGObject or GStreamer is not installed; the message says which part.
    DeviceError
        GStreamer cannot be initialised.
    """
    with _starting:
        return _start()


@functools.cache
def format_number(name: str) -> int:
    """Return the ``GstVideoFormat`` of a format of `bridges.formats`.

    The range is not part of GStreamer's formats: ``yuvj420p`` is its I420, with full-range caps.

    Raises
    ------
    FormatError
        This GStreamer has no such format.
    """
    plain = name.replace("yuvj", "yuv")
    video_format = namespaces().video.VideoFormat
    number = video_format.from_string(_GSTREAMER_NAMES.get(plain, ""))
    if number == video_format.UNKNOWN:
        raise FormatError(
            f"GStreamer has no pixel format like {name}; convert to one of "
            f"{', '.join(sorted(FORMATS.values()))}"
        )
    return int(number)


def frame_info(caps: Any) -> FrameInfo:
    """Return what caps say of each picture; it has no time yet.

    Parameters
    ----------
    caps : Gst.Caps or GstVideo.VideoInfo
        Fixed, of raw video. What caps do not say of the colour stays unspecified; ``VideoInfo``
        has guesses in its place.

    Raises
    ------
    FormatError
        The caps are not of raw video, or of a format or interlacing that is not supported.
    """
    info = video_info(caps)
    video = namespaces().video
    name = info.finfo.name
    if name not in FORMATS:
        raise FormatError(
            f"GStreamer's pixel format {name} is not supported; put videoconvert before, to one "
            f"of {', '.join(sorted(FORMATS))}"
        )
    if info.interlace_mode == video.VideoInterlaceMode.ALTERNATE:
        raise FormatError("buffers of single fields are not supported; put deinterlace before")
    colorimetry = info.colorimetry
    if caps is not info:
        # GstVideoInfo puts its own guess where the caps leave something open.
        said = caps.get_structure(0).get_string("colorimetry")
        colorimetry = video.VideoColorimetry()
        if said is not None and not colorimetry.from_string(said):
            raise FormatError(f"GStreamer does not know the colorimetry {said!r} of these caps")
    colour = _colour(colorimetry, video)
    return FrameInfo(
        PIXEL_FORMATS[FORMATS[name]], info.width, info.height, colour, time_base=NANOSECOND
    )


def video_info(caps: Any) -> Any:
    """Return caps as ``GstVideo.VideoInfo``; see `frame_info`."""
    loaded = namespaces()
    if isinstance(caps, loaded.video.VideoInfo):
        return caps
    if not isinstance(caps, loaded.gst.Caps):
        raise FormatError(
            f"expected Gst.Caps or GstVideo.VideoInfo, got {type(caps).__name__}; take a sample's "
            "get_caps()"
        )
    try:
        if caps.is_fixed():
            return loaded.video.VideoInfo.new_from_caps(caps)
    except TypeError:  # PyGObject's word for a constructor that returned NULL.
        pass
    raise FormatError(
        f"these caps are not those of one raw picture: {caps.to_string()}; take those that were "
        "negotiated, from the sample or the pad"
    )


def _ranges(video: Any) -> dict[ColourRange, Any]:
    enum = video.VideoColorRange
    return {
        ColourRange.UNSPECIFIED: enum.UNKNOWN,
        ColourRange.LIMITED: getattr(enum, "16_235"),
        ColourRange.FULL: getattr(enum, "0_255"),
    }


def _colour(colorimetry: Any, video: Any) -> Colour:
    codes = {code: said for said, code in _ranges(video).items()}
    return Colour(
        matrix=Matrix(video.video_color_matrix_to_iso(colorimetry.matrix)),
        range=codes.get(colorimetry.range, ColourRange.UNSPECIFIED),
        primaries=video.video_color_primaries_to_iso(colorimetry.primaries),
        transfer=video.video_transfer_function_to_iso(colorimetry.transfer),
    )


def caps_of(info: FrameInfo, frame_rate: Fraction = Fraction(0), feature: str = "") -> Any:
    """Return the ``Gst.Caps`` of pictures like ``info``, such as an ``appsrc`` needs.

    Parameters
    ----------
    info : FrameInfo
        Format, size and colour; GStreamer has one BT.601 matrix for H.273's 5 and 6.
    frame_rate : Fraction
        Pictures per second; 0 where it varies or is unknown.
    feature : str
        The memory, such as ``"memory:DMABuf"``; empty for the system's.

    Raises
    ------
    FormatError
        GStreamer has no such pixel format.
    """
    loaded = namespaces()
    name = loaded.video.VideoFormat.to_string(format_number(info.format.name))
    fields = [
        f"video/x-raw{feature and f'({feature})'}, format={name}",
        f"width={info.width}, height={info.height}",
        f"framerate={frame_rate.numerator}/{frame_rate.denominator}",
    ]
    colorimetry = _colorimetry(info, loaded.video)
    return loaded.gst.Caps.from_string(", ".join(fields + colorimetry))


def _colorimetry(info: FrameInfo, video: Any) -> list[str]:
    said, colour = info.colour, video.VideoColorimetry()
    # libav's yuvj formats have their range in their name.
    full = ColourRange.FULL if info.format.full_range else ColourRange.UNSPECIFIED
    colour.range = _ranges(video)[said.range or full]
    colour.matrix = video.video_color_matrix_from_iso(said.matrix)
    colour.primaries = video.video_color_primaries_from_iso(said.primaries)
    colour.transfer = video.video_transfer_function_from_iso(said.transfer)
    text = colour.to_string()
    return [f"colorimetry=(string){text}"] if text else []


def nanoseconds(info: FrameInfo) -> int:
    """Return when a picture is to be shown, as a ``GstClockTime``, rounded to the nearest.

    Raises
    ------
    FormatError
        The time is before 0.
    """
    if info.pts is None or info.time_base is None:
        return CLOCK_TIME_NONE
    if info.pts < 0:
        raise FormatError(
            f"GStreamer's buffers have no times before 0, got {info.pts} x {info.time_base} s; "
            "shift the times first"
        )
    unit = info.time_base
    return (2 * 10**9 * info.pts * unit.numerator + unit.denominator) // (2 * unit.denominator)
