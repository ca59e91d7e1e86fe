"""The compute unit of a session whose plugin runs a kernel of `bridges.kernels`."""

from typing import TYPE_CHECKING, Any

from bridges.kernels.kernel import Kernel
from xma_plugins.errors import InvalidError
from xma_plugins.session import Session

if TYPE_CHECKING:
    from xma_plugins.compute_unit import ComputeUnit

__all__ = ["take_unit"]


def take_unit(session: Session[Any], kernel: Kernel) -> "ComputeUnit":
    """Return the compute unit that an application named, or one of the device that runs a kernel.

    A kernel of a file of one's own is added to the device, as one that is loaded onto a card.

    Raises
    ------
    InvalidError
        The one that was named runs another kernel.
    NoKernelError
        The device cannot run it.
    """
    unit = session.compute_unit
    if unit is not None:
        if unit.kernel != kernel:
            runs = unit.kernel.name if unit.kernel is not None else "a part of the hardware"
            raise InvalidError(
                f"{session.name} runs {kernel.name}, and compute unit {unit.name} that its "
                f"properties name is {runs}; leave cu_name and cu_index out to have one chosen"
            )
        return unit
    device = session.device
    for there in device.compute_units:
        if there.kernel == kernel:
            return session.use_compute_unit(there.name)
    return session.use_compute_unit(device.add_compute_unit(kernel).name)
