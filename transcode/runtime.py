"""Choosing where kernels run. Nothing falls back silently."""

from dataclasses import dataclass, replace

from bridges.backends.probe import open_context
from bridges.context import Context
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


def choose_runtime(device: str, context: Context | None = None) -> ChosenRuntime:
    """Return the runtime for a device name.

    Parameters
    ----------
    device : str
        ``"auto"`` takes the best OpenCL device, a GPU before a CPU, or else NumPy on the host;
        so does ``"vaapi"``, whose own device runs no kernels;
        ``"cpu"`` is NumPy; ``"opencl[:platform[:device]]"``, ``"sycl[:filter]"`` and
        ``"cuda[:n]"`` are that device and no other. Of the SYCL devices that a filter leaves, the
        best whose driver takes kernels is chosen, by OpenCL where it has that driver too.
    context : Context, optional
        The device itself, where it is open already.

    Raises
    ------
    DeviceNotFoundError
        The device is not on this machine, or kernels cannot run on its kind yet.
    NoRouteError
        The driver that was named for the device takes no kernels.
    """
    name = DeviceName.parse(device)
    if context is not None:
        return _run_on(name, context)
    if name.kind == "cpu":
        return _numpy("")
    if name.kind == "opencl":
        return _opencl(name.selector, "")
    if name.kind == "cuda":
        return _named(name, MemoryType.CUDA)
    if name.kind == "sycl":
        return _sycl(name)
    if name.kind not in ("auto", "vaapi"):
        raise DeviceNotFoundError(
            f"device {device!r}: kernels run on OpenCL, SYCL and CUDA devices and on the host "
            "so far; say --device opencl, sycl, cuda, vaapi, cpu or auto"
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
    return _run_on(name, open_context(memory_type, name.selector))


def _run_on(name: DeviceName, context: Context) -> ChosenRuntime:
    runtime = create_runtime(context)
    return ChosenRuntime(runtime, f"{name.kind}: {runtime.name.partition(': ')[2]}")


def _sycl(name: DeviceName) -> ChosenRuntime:
    context = open_context(MemoryType.SYCL, name.selector)
    by_opencl = _by_opencl(name, context)
    if by_opencl:
        context.close()
        chosen = _named(replace(name, selector=by_opencl), MemoryType.SYCL)
        return replace(chosen, description=f"{chosen.description}, of its drivers the tried one")
    try:
        return _run_on(name, context)
    except NoRouteError as refusal:
        # A driver that takes no kernels may come first, such as CUDA's.
        try:
            chosen = _named(replace(name, selector=f"opencl:{name.selector}"), MemoryType.SYCL)
        except DeviceNotFoundError:
            raise refusal from None
    return replace(chosen, description=f"{chosen.description}, the best that takes kernels")


def _by_opencl(name: DeviceName, context: Context) -> str:
    """Return what names a device of Level Zero by its OpenCL driver; empty where that is not due.

    Level Zero's driver is taken where the user names it, and where the device has no other: no
    kernel of this project was run by it yet.
    """
    from bridges.backends.sycl import SyclContext, devices

    assert isinstance(context, SyclContext)
    device = context.device
    if device.backend != "level_zero" or device.backend in name.selector.lower():
        return ""
    twin = replace(device, backend="opencl")
    names = {other.selector: other.name for other in devices()}
    return twin.selector if names.get(twin.selector) == twin.name else ""


def _numpy(why: str) -> ChosenRuntime:
    from bridges.backends.cpu import CPUContext

    return ChosenRuntime(create_runtime(CPUContext()), _describe("cpu: NumPy", why))


def _describe(name: str, why: str) -> str:
    return f"{name} ({why})" if why else name
