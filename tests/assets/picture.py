"""RGB pictures to frames of any pixel format the clips need, and the luma back out.

The conversion is written out here after ITU-T H.273 instead of leaving it to FFmpeg's scaler, so
that a clip's samples do not depend on the code under test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import numpy as np
import numpy.typing as npt

from tests.assets.barcode import PATCHES

if TYPE_CHECKING:
    from tests.assets.truth import Colour, VideoTrack

# Kr and Kb of ITU-T H.273, table 4, by matrix code point.
_LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    9: (0.2627, 0.0593),
}

# Order of the bytes of a pixel; "x" is padding.
_PACKED_RGB = {
    "rgb24": "rgb",
    "bgr24": "bgr",
    "rgb0": "rgbx",
    "bgr0": "bgrx",
    "0rgb": "xrgb",
    "0bgr": "xbgr",
    "rgba": "rgba",
    "bgra": "bgra",
}

# Alpha, where a format has it: the same everywhere, and neither of the two defaults 0 and 255.
ALPHA = 200


def to_frame(
    rgb: npt.NDArray[np.uint8],
    pix_fmt: str,
    colour: Colour,
    matrix: int,
    *,
    second_field: npt.NDArray[np.uint8] | None = None,
) -> av.VideoFrame:
    """Make a frame from a picture.

    Parameters
    ----------
    rgb : numpy.ndarray
        R'G'B', full range, uint8, shape (height, width, 3).
    pix_fmt : str
        The frame's format.
    colour : Colour
        Tags to put on the frame; `colour.full_range` also rules the conversion.
    matrix : int
        H.273 matrix to convert with; ignored for RGB formats.
    second_field : numpy.ndarray, optional
        A picture of the same shape that provides the odd lines.

    Returns
    -------
    av.VideoFrame
        Without a time stamp.
    """
    height, width = rgb.shape[:2]
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane in frame.planes:
        # Padding reaches the file with some raw formats.
        np.frombuffer(memoryview(plane), np.uint8)[:] = 0
    _fill(frame, rgb, matrix, full_range=colour.full_range, step=1, first=0)
    if second_field is not None:
        # Line by line in each plane, chroma too: each field is subsampled by itself.
        _fill(frame, second_field, matrix, full_range=colour.full_range, step=2, first=1)
    frame.color_range = colour.range
    frame.colorspace = colour.matrix
    frame.color_primaries = colour.primaries
    frame.color_trc = colour.transfer
    return frame


def luma_of(frame: av.VideoFrame) -> npt.NDArray[Any]:
    """Return a frame's luma plane; for RGB its green channel.

    Parameters
    ----------
    frame : av.VideoFrame
        In host memory.

    Returns
    -------
    numpy.ndarray
        Shape (height, width), uint8 or uint16; a view.
    """
    return channel_of(frame, "g" if frame.format.is_rgb else "y")


def channel_of(frame: av.VideoFrame, channel: str) -> npt.NDArray[Any]:
    """Return one channel of a frame.

    Parameters
    ----------
    frame : av.VideoFrame
        In host memory.
    channel : {"y", "u", "v", "r", "g", "b", "a"}
        Which one.

    Returns
    -------
    numpy.ndarray
        Shape (height, width) of that channel's plane, uint8 or uint16; a view.

    Raises
    ------
    ValueError
        If the frame has no such channel.
    """
    channels = _channels(frame)
    if channel not in channels:
        raise ValueError(f"{frame.format.name} has no channel {channel!r}")
    return channels[channel]


def patch_values(track: VideoTrack, pix_fmt: str | None = None) -> dict[str, npt.NDArray[Any]]:
    """Compute what the colour patches of a track's pictures are worth, channel by channel.

    Parameters
    ----------
    track : VideoTrack
        Whose colour is used.
    pix_fmt : str, optional
        The format to compute for, the track's own if not given.

    Returns
    -------
    dict
        For "y", "u", "v" or for "r", "g", "b": one float for each patch.
    """
    pix_fmt = pix_fmt or track.pix_fmt
    patches = np.array(PATCHES, np.uint8)[None]
    layout = av.VideoFormat(pix_fmt, 16, 16)
    bits = layout.components[0].bits
    if layout.is_rgb:
        scale = (2**bits - 1) / 255.0
        return {name: patches[0, :, n] * scale for n, name in enumerate("rgb")}
    values = _to_yuv(patches, track.stored_matrix, bits, full_range=track.colour.full_range)
    if len(layout.components) < 3:
        return {"y": values[0][0]}
    return {name: plane[0] for name, plane in zip("yuv", values, strict=True)}


def _fill(
    frame: av.VideoFrame,
    rgb: npt.NDArray[np.uint8],
    matrix: int,
    *,
    full_range: bool,
    step: int,
    first: int,
) -> None:
    bits = frame.format.components[0].bits
    if frame.format.is_rgb:
        scale = (2**bits - 1) / 255.0
        values = {name: rgb[..., n] * scale for n, name in enumerate("rgb")}
    else:
        planes = _to_yuv(rgb, matrix, bits, full_range=full_range)
        values = dict(zip("yuv", planes, strict=True))
    values["a"] = np.full(rgb.shape[:2], ALPHA * (2**bits - 1) / 255.0)
    for name, target in _channels(frame).items():
        source = values[name]
        if name in "uv":
            source = _subsample(source, target.shape[0], target.shape[1])
        target[first::step] = np.rint(source[first::step]).astype(target.dtype)


def _to_yuv(
    rgb: npt.NDArray[np.uint8], matrix: int, bits: int, *, full_range: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Convert to Y'CbCr by ITU-T H.273, equations 20 to 40, unrounded, not subsampled."""
    kr, kb = _LUMA_WEIGHTS[matrix]
    r, g, b = (rgb[..., n] / 255.0 for n in range(3))
    y = kr * r + (1 - kr - kb) * g + kb * b
    pb = (b - y) / (2 * (1 - kb))
    pr = (r - y) / (2 * (1 - kr))
    middle = float(1 << (bits - 1))
    if full_range:
        top = float((1 << bits) - 1)
        return (top * y, (top * pb + middle).clip(0, top), (top * pr + middle).clip(0, top))
    unit = float(1 << (bits - 8))
    return (unit * (219 * y + 16), unit * 224 * pb + middle, unit * 224 * pr + middle)


def _subsample(plane: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """Average over the pixels that share a chroma sample; the last ones repeat at odd edges."""
    step_y = -(-plane.shape[0] // height)
    step_x = -(-plane.shape[1] // width)
    missing_y = height * step_y - plane.shape[0]
    missing_x = width * step_x - plane.shape[1]
    padded = np.pad(plane, ((0, missing_y), (0, missing_x)), "edge")
    mean: npt.NDArray[np.float64] = padded.reshape(height, step_y, width, step_x).mean(axis=(1, 3))
    return mean


def _rows(frame: av.VideoFrame, plane: int) -> npt.NDArray[Any]:
    """Return a plane's whole rows, padding included, as samples."""
    source = frame.planes[plane]
    wide = frame.format.components[0].bits > 8
    samples = np.frombuffer(memoryview(source), "<u2" if wide else "u1")
    return samples.reshape(-1, source.line_size // samples.itemsize)


def _channels(frame: av.VideoFrame) -> dict[str, npt.NDArray[Any]]:
    """Return a writable view of each channel, without the padding of its rows."""
    name, width, height = frame.format.name, frame.width, frame.height
    if name in _PACKED_RGB:
        order = _PACKED_RGB[name]
        pixels = _rows(frame, 0)[:height, : width * len(order)].reshape(height, width, -1)
        return {letter: pixels[..., n] for n, letter in enumerate(order) if letter != "x"}
    if name == "yuyv422":
        row = _rows(frame, 0)[:height, : 2 * (width + width % 2)]
        return {"y": row[:, 0 : 2 * width : 2], "u": row[:, 1::4], "v": row[:, 3::4]}
    if name == "nv12":
        chroma = _rows(frame, 1)[: -(-height // 2), : 2 * -(-width // 2)]
        luma = _rows(frame, 0)[:height, :width]
        return {"y": luma, "u": chroma[:, 0::2], "v": chroma[:, 1::2]}
    components = frame.format.components
    letters = "rgba" if frame.format.is_rgb else "yuva" if len(components) > 2 else "ya"
    return {
        letter: _rows(frame, part.plane)[: part.height, : part.width]
        for letter, part in zip(letters, components, strict=False)
    }
