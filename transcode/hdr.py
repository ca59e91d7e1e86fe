"""Static HDR metadata: from a frame's side data to an encoder's own options."""

import struct
from collections.abc import Mapping
from fractions import Fraction

from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from bridges.backends.ffmpeg_properties import side_data

__all__ = ["PARAMETER_OPTIONS", "hdr_parameters"]

PARAMETER_OPTIONS = {
    "libx264": "x264-params",
    "libx265": "x265-params",
    "libsvtav1": "svtav1-params",
}
"""The option through which an encoder takes ``key=value`` pairs joined by colons."""

_CHROMATICITY_UNITS = 50_000
_LUMINANCE_UNITS = 10_000
"""Units per 1 of x and y, and per cd/m2 (ITU-T H.265 D.3.28); x264 and x265 take whole units."""


def hdr_parameters(codec: str, frame: VideoFrame) -> dict[str, str] | None:
    """Return an encoder's parameters for the mastering display and the content light level.

    Parameters
    ----------
    codec : str
        The encoder's name.
    frame : av.VideoFrame
        Its side data is read: ``AVMasteringDisplayMetadata`` and ``AVContentLightMetadata``.

    Returns
    -------
    dict or None
        Empty where the frame carries neither; None where the encoder cannot take them.
    """
    mastering = _mastering_display(frame)
    light = _content_light(frame)
    if mastering is None and light is None:
        return {}
    if codec not in PARAMETER_OPTIONS:
        return None
    names = {
        "libx264": ("mastering-display", "cll"),
        "libx265": ("master-display", "max-cll"),
        "libsvtav1": ("mastering-display", "content-light"),
    }[codec]
    parameters = {}
    if mastering is not None:
        parameters[names[0]] = _display_text(mastering, as_decimals=codec == "libsvtav1")
    if light is not None:
        parameters[names[1]] = f"{light[0]},{light[1]}"
    return parameters


def _mastering_display(frame: VideoFrame) -> Mapping[str, tuple[Fraction, Fraction]] | None:
    """Read ``AVMasteringDisplayMetadata``: points as (x, y), luminance as (max, min) in cd/m2."""
    data = side_data(frame, Type.MASTERING_DISPLAY_METADATA)
    if data is None:
        return None
    *numbers, has_primaries, has_luminance = struct.unpack_from("=22i", data)
    if not (has_primaries and has_luminance):
        return None
    values = [
        Fraction(above, below) if below else Fraction(0)
        for above, below in zip(numbers[::2], numbers[1::2], strict=True)
    ]
    points = zip(values[:8:2], values[1:8:2], strict=True)
    return {**dict(zip(("R", "G", "B", "WP"), points, strict=True)), "L": (values[9], values[8])}


def _content_light(frame: VideoFrame) -> tuple[int, int] | None:
    """Read ``AVContentLightMetadata``: MaxCLL and MaxFALL in cd/m2."""
    data = side_data(frame, Type.CONTENT_LIGHT_LEVEL)
    if data is None:
        return None
    max_cll, max_fall = struct.unpack_from("=2I", data)
    return max_cll, max_fall


def _display_text(display: Mapping[str, tuple[Fraction, Fraction]], *, as_decimals: bool) -> str:
    text = ""
    for name in ("G", "B", "R", "WP", "L"):
        units = _LUMINANCE_UNITS if name == "L" else _CHROMATICITY_UNITS
        pair = (
            f"{float(value):.5f}" if as_decimals else str(round(value * units))
            for value in display[name]
        )
        text += f"{name}({','.join(pair)})"
    return text
