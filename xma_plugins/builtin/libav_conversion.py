"""Filters of FFmpeg that give pictures another size and format, and say what they do to colour."""

from bridges.formats import ColourModel, PixelFormat
from bridges.frame import FrameInfo, Matrix, assumed_matrix
from xma_plugins.errors import FilterError

__all__ = ["conversion", "planar_format", "range_name"]

_MATRICES = {
    Matrix.BT709: "bt709",
    Matrix.FCC: "fcc",
    Matrix.BT470BG: "bt470bg",
    Matrix.SMPTE170M: "smpte170m",
    Matrix.SMPTE240M: "smpte240m",
    Matrix.BT2020_NCL: "bt2020nc",
}
"""What libavfilter calls the matrices that swscale knows."""


def conversion(info: FrameInfo, target: PixelFormat, scale: str) -> list[str]:
    """Return the filters that scale a picture and convert it to a format.

    Between YUV formats neither matrix nor range are changed, but where the format itself implies
    a range, as ``yuvj420p`` does. RGB becomes BT.709 (Rec. ITU-R BT.709-6) in limited range; YUV
    becomes RGB by the matrix of its tag, and without one by that of its size.

    Parameters
    ----------
    info : FrameInfo
        The picture.
    target : PixelFormat
        What it is to become.
    scale : str
        The filter ``scale`` with all that it is told of size and method.

    Raises
    ------
    FilterError
        swscale does not know the picture's matrix, or gray with alpha is to be something else.
    """
    if target is info.format:
        return [scale]
    for each in (info.format, target):
        if each.model is ColourModel.GRAY and each.has_alpha:
            raise FilterError(f"{each.name} is scaled, but not converted; convert by a kernel")
    from_rgb, to_rgb = (each.model is ColourModel.RGB for each in (info.format, target))
    if from_rgb and to_rgb:
        return [scale, f"format={target.name}"]
    if to_rgb:
        chain = _luma_of_gray(info)
        return [
            *chain,
            f"{scale}:in_color_matrix={_matrix(info)}:{_ranges(info)}:out_range=full",
            f"format={target.name}",
        ]
    if from_rgb:
        chain = [f"{scale}:out_color_matrix=bt709:out_range=limited"]
    else:
        full = info.is_full_range if target.full_range is None else target.full_range
        chain = [*_luma_of_gray(info), f"{scale}:{_ranges(info)}:out_range={range_name(full)}"]
    if target.model is ColourModel.GRAY:
        # swscale makes gray of full range, whatever it is told.
        return [*chain, f"format={planar_format(target)}", "extractplanes=y"]
    return [*chain, f"format={target.name}"]


def _luma_of_gray(info: FrameInfo) -> list[str]:
    """Return what makes gray the luma of YUV, as it is.

    swscale takes gray for full range, whatever its tag says; it is tagged again behind.
    """
    if info.format.model is not ColourModel.GRAY:
        return []
    tags = f"setparams=range={range_name(info.is_full_range)}:colorspace={_matrix(info)}"
    return ["scale=in_range=full:out_range=full", f"format={planar_format(info.format)}", tags]


def _ranges(info: FrameInfo) -> str:
    return f"in_range={range_name(info.is_full_range)}"


def range_name(full: bool) -> str:
    """Return what libavfilter calls full or limited range."""
    return "full" if full else "limited"


def planar_format(known: PixelFormat) -> str:
    """Return the planar 4:2:0 format of the same depth, whose first plane is luma alone."""
    return "yuv420p" if known.bits == 8 else f"yuv420p{known.bits}le"


def _matrix(info: FrameInfo) -> str:
    matrix = info.colour.matrix
    if matrix is Matrix.UNSPECIFIED:
        matrix = assumed_matrix(info)
    if matrix not in _MATRICES:
        raise FilterError(f"swscale does not know the matrix {matrix.name}; convert by a kernel")
    return _MATRICES[matrix]
