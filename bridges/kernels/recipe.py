"""What makes a kernel ready for a picture: each family of kernels is a module that has these."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

from bridges.frame import FrameInfo
from bridges.kernels.launch import Launch
from bridges.media import TensorsInfo

if TYPE_CHECKING:
    from bridges.kernels.kernel import Kernel

__all__ = ["Info", "Planes", "Recipe"]

Info = FrameInfo | TensorsInfo
"""What a kernel makes: a picture, or numbers."""

Planes = Sequence[npt.NDArray[Any]]
"""The planes of a picture, each as ``(rows, columns)`` or ``(rows, columns, channels)``; or the
arrays of a frame of tensors."""


class Recipe(Protocol):
    """How a family of kernels is called. Every method is told the kernel first.

    A module may do so with functions. ``values`` are all parameters, checked.
    """

    def output(self, kernel: "Kernel", info: FrameInfo, /, **values: Any) -> Info:
        """Return what the kernel makes of a picture by itself.

        Raises
        ------
        FormatError, KernelError
            It cannot be made of this picture, or not with these parameters.
        """

    def note(self, kernel: "Kernel", info: FrameInfo, /, **values: Any) -> str:
        """Return what the kernel assumes of a picture that its user should know; often nothing."""

    def written(self, kernel: "Kernel", target: Any, /) -> tuple[int, ...]:
        """Return which planes of the target are written; the others are left alone."""

    def in_place(self, kernel: "Kernel", source: FrameInfo, target: Any, /) -> bool:
        """Whether the target may be the source itself."""

    def launches(
        self, kernel: "Kernel", source: FrameInfo, target: Any, aligned: bool, /, **values: Any
    ) -> tuple[Launch, ...]:
        """Return how the portable source is compiled and called.

        Parameters
        ----------
        kernel : Kernel
            One of the family.
        source, target : FrameInfo
            What is read and written; a `TensorsInfo` where the kernel makes numbers.
        aligned : bool
            Whether all rows of all planes start at multiples of `bridges.kernels.launch.WORD`.
        **values
            The parameters.

        Raises
        ------
        FormatError
            The kernel cannot make the one of the other.
        """

    def compute(
        self,
        kernel: "Kernel",
        planes: Planes,
        source: FrameInfo,
        target: Any,
        out: Planes,
        /,
        **values: Any,
    ) -> None:
        """Fill ``out`` by the NumPy reference.

        ``planes`` holds those of the source, and behind them those of the previous result for a
        kernel that takes one.
        """
