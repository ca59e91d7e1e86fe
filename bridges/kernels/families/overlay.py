"""What `overlay` takes of a picture in a file: the part that is seen, as 16-bit codes.

Alpha is straight. With ``a`` the picture's alpha by its opacity, over a colour ``c`` of alpha ``b``
it makes ``image * a + c * (1 - a)`` of alpha ``a + b * (1 - a)``: the operator *over* of Porter and
Duff ("Compositing Digital Images", SIGGRAPH 1984), exact over opaque pictures, whose own colours
need no weight. Codes are mixed as they are stored, as players and libavfilter's ``overlay`` do.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bridges.errors import KernelError
from bridges.formats import PIXEL_FORMATS
from bridges.frame import FrameInfo
from bridges.kernels.families.file import read_once
from bridges.kernels.kernel import Kernel
from bridges.kernels.reference.pixels import load_pixels

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = ["output", "prepare", "read_picture"]

Prepared = tuple[np.int32, np.int32, np.int32, np.int32, npt.NDArray[np.uint32]]


def output(_kernel: Kernel, info: FrameInfo, /, *, file: str, **_: Any) -> FrameInfo:
    """Return the picture's own form, once it is known that the file holds a picture."""
    read_picture(file)
    return info


def prepare(
    _kernel: Kernel, info: FrameInfo, /, *, file: str, x: int, y: int, opacity: float
) -> Prepared:
    """Return where the picture is seen: left, top, columns and rows; and its pixels there.

    A pixel is two words, red and green, blue and alpha, the second of each in the upper half.

    Raises
    ------
    KernelError
        The file holds no picture.
    """
    image = read_picture(file)
    left, right = max(x, 0), min(x + image.shape[1], info.width)
    top, bottom = max(y, 0), min(y + image.shape[0], info.height)
    if left >= right or top >= bottom:
        none = np.int32(0)
        return none, none, none, none, np.zeros(2, np.uint32)
    seen = image[top - y : bottom - y, left - x : right - x].astype(np.uint32)
    alpha = np.floor(seen[..., 3] * opacity + 0.5).astype(np.uint32)
    words = np.stack([seen[..., 0] | seen[..., 1] << 16, seen[..., 2] | alpha << 16], -1)
    place = np.array([left, top, right - left, bottom - top], np.int32)
    return *place, words.reshape(-1)


@read_once
def read_picture(path: str) -> npt.NDArray[np.uint16]:
    """Return the first picture of a file.

    Parameters
    ----------
    path : str
        Of a file that FFmpeg reads.

    Returns
    -------
    numpy.ndarray
        R'G'B'A codes of 0 to 65535, ``(rows, columns, 4)``; chroma is interpolated, and sited in
        the middle of its pixels as in JFIF. Profiles and transfer functions are left aside. The
        array is read-only: who reads the file again gets the same.

    Raises
    ------
    KernelError
        The file is missing, damaged or holds no picture.
    """
    import av
    from av.error import FFmpegError

    from bridges.backends.ffmpeg import FFmpegContext

    try:
        with av.open(path, metadata_errors="replace") as container:
            found = next(container.decode(video=0), None) if container.streams.video else None
    except (FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise KernelError(f"cannot read the picture {path}: {reason}") from error
    if found is None:
        raise KernelError(f"there is no picture in {path}; give one such as a PNG file")
    with FFmpegContext().wrap(_known(found)) as frame:
        planes = [np.asarray(tensor) for tensor in frame.tensors]
        pixels = load_pixels(planes, frame.info, "centre")
    codes = np.stack([pixels.r, pixels.g, pixels.b, pixels.a], -1).astype(np.uint16)
    codes.setflags(write=False)
    return codes


def _known(frame: "VideoFrame") -> "VideoFrame":
    """Return a frame in a format of the table; PNG has its words in the other order."""
    name = frame.format.name
    if name in PIXEL_FORMATS:
        return frame
    swapped = name.removesuffix("be") + "le"
    if swapped in PIXEL_FORMATS:
        return frame.reformat(format=swapped)
    is_deep = any(component.bits > 8 for component in frame.format.components)
    return frame.reformat(format="rgba64le" if is_deep else "rgba")
