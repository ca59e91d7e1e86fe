"""Unified shared memory (USM): what its tensors have in common, be it Level Zero's or SYCL's."""

from typing import Any

import numpy.typing as npt

from bridges.backends.host_array import HostArray
from bridges.context import Context
from bridges.errors import FormatError
from bridges.tensor import Tensor

__all__ = ["USM_TYPES", "USMBlock", "USMContext", "check_usm_type"]

USM_TYPES = ("device", "host", "shared")
"""What can be allocated; the host reaches the last two."""


def check_usm_type(usm_type: str) -> None:
    """Refuse a kind that is not one of `USM_TYPES`.

    Raises
    ------
    FormatError
        The message lists them.
    """
    if usm_type not in USM_TYPES:
        raise FormatError(f"USM is {', '.join(USM_TYPES)}, not {usm_type!r}; name one of them")


class USMBlock(HostArray, Tensor):
    """A block of samples in USM, which the host sees as an array unless it is a device's alone.

    Attributes
    ----------
    usm_type : str
        One of `USM_TYPES`, or ``"system"`` for host memory that no runtime allocated.
    """

    usm_type: str

    @property
    def is_host_visible(self) -> bool:
        """Whether the host can read and write the samples in place."""
        return self.usm_type != "device"

    def host_array(self, *, writeable: bool = True) -> npt.NDArray[Any]:
        """Return the samples as an array that keeps their memory alive, not synchronised.

        Raises
        ------
        FormatError
            The host cannot reach them.
        """
        if not self.is_host_visible:
            raise FormatError(
                f"the host cannot reach {self.usm_type} memory of {self.context.name}; map it to "
                "the CPU with a context that was made with usm_type='device', which copies"
            )
        return self._array_in_place(writeable=writeable)

    def _array_in_place(self, *, writeable: bool) -> npt.NDArray[Any]:
        raise NotImplementedError

    @property
    def __array_interface__(self) -> dict[str, Any]:
        if not self.is_host_visible:
            raise AttributeError(f"the host cannot reach {self.usm_type} memory")
        return super().__array_interface__


class USMContext(Context):
    """A device that allocates one kind of USM.

    Attributes
    ----------
    usm_type : str
        One of `USM_TYPES`.
    """

    usm_type: str
