"""Colour and pixel formats: what an encoder is given, and how that is tagged."""

from collections.abc import Sequence

from av.codec.codec import Codec, find_best_pix_fmt_of_list

from bridges.formats import PIXEL_FORMATS, ColourModel, PixelFormat
from bridges.frame import Matrix
from transcode.errors import EncodeError
from transcode.hardware import encodes_on, surface_formats

__all__ = [
    "choose_pix_fmt",
    "gray_carrier",
    "matrix_name",
    "supported_formats",
]

_MATRIX_NAMES = {
    Matrix.RGB: "gbr",
    Matrix.BT2020_NCL: "bt2020nc",
    Matrix.BT2020_CL: "bt2020c",
}


def matrix_name(value: int) -> str:
    """Return libav's name of matrix coefficients, such as ``"bt709"`` or ``"unspecified"``."""
    matrix = Matrix(value)
    return _MATRIX_NAMES.get(matrix, matrix.name.lower())


def supported_formats(codec: Codec) -> tuple[str, ...]:
    """Return the pixel formats that an encoder takes; empty where it does not say.

    Of an encoder that takes a device's frames alone they are what those hold.
    """
    kind = encodes_on(codec)
    if kind:
        return surface_formats(codec, kind)
    return tuple(entry.name for entry in codec.video_formats or ())


def choose_pix_fmt(codec: Codec, source: str, requested: str | None) -> str:
    """Return the pixel format to give an encoder.

    Parameters
    ----------
    codec : av.Codec
        The encoder.
    source : str
        Format of the frames.
    requested : str or None
        What the user asked for; by default the source's own, or the nearest that the encoder
        takes.

    Raises
    ------
    EncodeError
        The encoder does not take what was asked for.
    """
    supported = supported_formats(codec)
    if requested is not None:
        _check_known(requested)
        if supported and requested not in supported:
            raise EncodeError(
                f"{codec.name} does not take pixel format {requested}; it takes "
                f"{', '.join(supported)}"
            )
        return requested
    known = PIXEL_FORMATS.get(source)
    if codec.name == "mjpeg" and source.startswith("yuv4"):
        return source.replace("yuv4", "yuvj4")  # It refuses limited range, and JPEG has none.
    is_played = codec.canonical_name in ("h264", "hevc")
    if not supported or (source in supported and not (is_played and source.startswith("gray"))):
        return source
    if known is not None and known.model is ColourModel.GRAY:
        carrier = gray_carrier(codec, known, None)
        if carrier in supported:
            return carrier
    best, _ = find_best_pix_fmt_of_list(
        _in_colour(supported), source, bool(known and known.has_alpha)
    )
    if best is None:
        raise EncodeError(f"{codec.name} takes no pixel format near {source}")
    return best.name


def _check_known(name: str) -> None:
    from av.video.format import VideoFormat

    try:
        VideoFormat(name)
    except ValueError as error:
        raise EncodeError(f"unknown pixel format {name!r}") from error


def _in_colour(names: Sequence[str]) -> list[str]:
    """Leave out gray and what lies on devices, unless there is nothing else."""
    known = [PIXEL_FORMATS[name] for name in names if name in PIXEL_FORMATS]
    colour = [entry.name for entry in known if entry.model is not ColourModel.GRAY]
    return colour or [name for name in names if not name.startswith("gray")] or list(names)


def gray_carrier(
    codec: Codec, gray: PixelFormat, requested: str | None, surfaces: Sequence[str] = ()
) -> str:
    """Return the format in which a gray picture is handed to an encoder.

    By default 4:2:0 with neutral chroma at the picture's own depth, because few players decode
    H.264 and HEVC in 4:0:0.

    Parameters
    ----------
    codec : av.Codec
        The encoder.
    gray : PixelFormat
        Of the picture.
    requested : str or None
        What the user asked for; taken as it is where it has a luma plane.
    surfaces : sequence of str
        Formats of a device's surfaces that the encoder takes, which come first.
    """
    if requested is not None:
        _check_known(requested)
        known = PIXEL_FORMATS.get(requested)
        return requested if known and _carries_luma(known) else gray.name
    depth = "" if gray.bits == 8 else f"{gray.bits}le"
    semi_planar = "nv12" if gray.bits == 8 else f"p0{gray.bits}le"
    wanted = [f"yuv420p{depth}", semi_planar, f"yuv422p{depth}", f"yuv444p{depth}"]
    supported = supported_formats(codec)
    for name in (*(name for name in wanted if name in surfaces), *wanted):
        if name in PIXEL_FORMATS and (name in supported or not supported):
            return name
    return gray.name


def _carries_luma(known: PixelFormat) -> bool:
    """Whether plane 0 is luma alone, so that a gray picture can be written straight into it."""
    return known.model is not ColourModel.RGB and known.planes[0].channels == "Y"
