"""Choosing where kernels run. Nothing falls back silently."""

import contextlib
from dataclasses import dataclass, replace

from bridges.backends.probe import open_context
from bridges.device import DeviceName
from bridges.errors import DeviceNotFoundError, NoRouteError
from bridges.kernels import Runtime, create_runtime
from bridges.tensor import MemoryType

__all__ = ["ChosenRuntime", "choose_runtime"]


@dataclass(frozen=True)
class ChosenRuntime:
    """A runtime, and why it was chosen.

    Attributes
    ----------
    runtime : Runtime
        Runs the kernels.
    description : str
        Such as ``"opencl: AMD EPYC (auto: no GPU found)"``.
    """

    runtime: Runtime
    description: str


def choose_runtime(device: str) -> ChosenRuntime:
    """Return the runtime for a device name.

    Parameters
    ----------
    device : str
        ``"auto"`` takes the best OpenCL device, a GPU before a CPU, or else NumPy on the host;
        ``"cpu"`` is NumPy; ``"opencl[:platform[:device]]"``, ``"sycl[:filter]"`` and
        ``"cuda[:n]"`` are that device and no other. Of the SYCL devices that a filter leaves, the
        best whose driver compiles kernels is taken.

    Raises
    ------
    DeviceNotFoundError
        The device is not on this machine, or kernels cannot run on its kind yet.
    NoRouteError
        The driver that was named for the device compiles no kernels.
    """
    name = DeviceName.parse(device)
    if name.kind == "cpu":
        return _numpy("")
    if name.kind == "opencl":
        return _opencl(name.selector, "")
    if name.kind == "cuda":
        return _named(name, MemoryType.CUDA)
    if name.kind == "sycl":
        return _sycl(name)
    if name.kind != "auto":
        raise DeviceNotFoundError(
            f"device {device!r}: kernels run on OpenCL, SYCL and CUDA devices and on the host "
            "so far; say --device opencl, sycl, cuda, cpu or auto"
        )
    try:
        return _opencl("", "auto")
    except DeviceNotFoundError as error:
        return _numpy(f"auto: {error}")


def _opencl(selector: str, why: str) -> ChosenRuntime:
    from bridges.backends.opencl import OpenCLContext

    context = OpenCLContext.create(selector)
    if why and context.device.kind != "gpu":
        why += ": no GPU found"
    return ChosenRuntime(create_runtime(context), _describe(f"opencl: {context.name}", why))


def _named(name: DeviceName, memory_type: MemoryType) -> ChosenRuntime:
    runtime = create_runtime(open_context(memory_type, name.selector))
    return ChosenRuntime(runtime, f"{name.kind}: {runtime.name.partition(': ')[2]}")


def _sycl(name: DeviceName) -> ChosenRuntime:
    try:
        return _named(name, MemoryType.SYCL)
    except NoRouteError:
        # Level Zero comes first where a device has both drivers, and compiles no kernels.
        by_opencl = replace(name, selector=f"opencl:{name.selector}")
        chosen = None
        with contextlib.suppress(DeviceNotFoundError):
            chosen = _named(by_opencl, MemoryType.SYCL)
        if chosen is None:
            raise
    return replace(chosen, description=f"{chosen.description}, the best that compiles kernels")


def _numpy(why: str) -> ChosenRuntime:
    from bridges.backends.cpu import CPUContext

    return ChosenRuntime(create_runtime(CPUContext()), _describe("cpu: NumPy", why))


def _describe(name: str, why: str) -> str:
    return f"{name} ({why})" if why else name
