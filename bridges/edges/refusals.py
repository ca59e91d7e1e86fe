"""Why edges are not possible between two contexts, where several edges have the same reason."""

from bridges.backends.usm import USMContext
from bridges.context import Context

__all__ = [
    "source_has_own_memory",
    "source_is_device_memory",
    "source_shares_host_memory",
    "target_has_own_memory",
]


def source_has_own_memory(source: Context, target: Context) -> str:
    """Refuse to show the host in place what is on a device."""
    return "" if source.shares_host_memory else f"{source.name} has memory of its own"


def source_is_device_memory(source: Context, target: Context) -> str:
    """Refuse to show the host USM that only the device reaches."""
    assert isinstance(source, USMContext)
    return f"the host cannot reach {source.name}" if source.usm_type == "device" else ""


def source_shares_host_memory(source: Context, target: Context) -> str:
    """Refuse to copy what the host can see in place."""
    return f"{source.name} shares host memory" if source.shares_host_memory else ""


def target_has_own_memory(source: Context, target: Context) -> str:
    """Refuse to give a device memory of the host in place."""
    return "" if target.shares_host_memory else f"{target.name} has memory of its own"
