"""What most families answer alike; they import it where they have nothing of their own to say."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from bridges.errors import FormatError
from bridges.frame import FrameInfo
from bridges.kernels.recipe import Info, Planes

if TYPE_CHECKING:
    from bridges.kernels.kernel import Kernel

__all__ = ["check_form", "compute", "fill", "in_place", "note", "output", "written"]


def output(_kernel: "Kernel", info: FrameInfo, /, **_values: Any) -> FrameInfo:
    """Return what the kernel makes of a picture: one of the same form."""
    return info


def note(_kernel: "Kernel", _info: FrameInfo, /, **_values: Any) -> str:
    """Return nothing: the kernel assumes nothing of a picture."""
    return ""


def written(_kernel: "Kernel", target: Info, /) -> tuple[int, ...]:
    """Return all planes, or all tensors."""
    return tuple(range(len(target.planes if isinstance(target, FrameInfo) else target.tensors)))


def in_place(_kernel: "Kernel", _source: FrameInfo, _target: Info, /) -> bool:
    """Return False: samples would be written before they are read."""
    return False


def check_form(kernel: "Kernel", source: FrameInfo, target: FrameInfo) -> None:
    """Refuse a target whose samples mean something else than the source's.

    Raises
    ------
    FormatError
        Its format or range is another one.
    """
    forms = [(info.format.name, info.is_full_range) for info in (source, target)]
    if forms[0] != forms[1]:
        names = [f"{name} of {'full' if full else 'limited'} range" for name, full in forms]
        raise FormatError(
            f"{kernel.name} makes {names[0]} of it, not {names[1]}; convert its result"
        )


def compute(
    kernel: "Kernel",
    planes: Planes,
    source: FrameInfo,
    target: FrameInfo,
    out: Planes,
    /,
    **values: Any,
) -> None:
    """Fill all planes of a picture of the same form by the reference of the kernel's name.

    Raises
    ------
    FormatError
        The target's format or range is not the source's.
    """
    from bridges.kernels import reference

    check_form(kernel, source, target)
    fill(out, getattr(reference, kernel.name)(planes, source, **values))


def fill(out: Planes, made: Iterable[npt.NDArray[Any]]) -> None:
    """Write what a reference makes into the planes of a target."""
    for plane, samples in zip(out, made, strict=True):
        plane[...] = samples
