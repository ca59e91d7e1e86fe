"""How samples may lie for a kind of memory to take them, and what is said where they do not."""

import functools

from bridges.errors import FormatError
from bridges.formats import PixelFormat
from bridges.native.drm import MODIFIER_LINEAR, modifier_name
from bridges.tensor import TensorInfo

__all__ = ["check_linear", "check_plane", "check_samples", "plane_layout"]


def check_samples(holder: str, info: TensorInfo, *, offset: int = 0) -> None:
    """Refuse what cannot be one block of memory; ``holder`` begins "... holds at least ...".

    Parameters
    ----------
    holder : str
        What is to hold the samples, such as ``"DMA memory"``.
    info : TensorInfo
        Their layout.
    offset : int
        Bytes from the start of the memory to the first sample.

    Raises
    ------
    FormatError
        There are no samples, they run backward, or they start before the memory does.
    """
    if info.span == 0 or min(info.strides) < 0 or offset < 0:
        raise FormatError(
            f"{holder} holds at least one sample, at strides and an offset of 0 or more, got shape "
            f"{info.shape} with strides {info.strides} at byte {offset}; take an array that has "
            "samples, and copy one that runs backward"
        )


def check_linear(modifier: int, action: str) -> None:
    """Refuse memory that does not lie row after row; ``action`` completes "... can be ...".

    Parameters
    ----------
    modifier : int
        DRM's 64 bits for the order of samples.
    action : str
        What was going to be done, such as ``"mapped to the host"``.

    Raises
    ------
    FormatError
        The message names the modifier, with all of its 64 bits.
    """
    if modifier != MODIFIER_LINEAR:
        raise FormatError(
            f"only linear memory can be {action}, this has the DRM modifier "
            f"{modifier_name(modifier)}; have the device that made it convert it, or ask it for "
            "linear memory"
        )


def check_plane(framework: str, index: int, given: TensorInfo, dense: TensorInfo) -> None:
    """Refuse a plane that a framework cannot take: ``dense`` is its layout without padding.

    Raises
    ------
    FormatError
        Shape or type differ, samples of a row are not side by side, or rows overlap.
    """
    matches = (given.shape, given.dtype) == (dense.shape, dense.dtype)
    if not matches or given.strides[1:] != dense.strides[1:] or given.strides[0] < dense.strides[0]:
        raise FormatError(
            f"{framework} needs plane {index} as {dense.shape} of {dense.dtype}, rows at least "
            f"{dense.strides[0]} bytes apart and samples side by side; got {given.shape} of "
            f"{given.dtype} with strides {given.strides}"
        )


@functools.lru_cache(256)
def plane_layout(
    pixel_format: PixelFormat, index: int, width: int, height: int, pitch: int
) -> TensorInfo:
    """Return the layout of a plane whose rows lie ``pitch`` bytes apart; dense for 0."""
    shape = pixel_format.plane_shape(index, width, height)
    item = pixel_format.dtype.itemsize
    inner = (item * shape[2], item) if len(shape) == 3 else (item,)
    return TensorInfo(shape, pixel_format.dtype, (pitch, *inner) if pitch else ())
