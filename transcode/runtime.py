"""Choosing where kernels run. Nothing falls back silently."""

from dataclasses import dataclass

from bridges.device import DeviceName
from bridges.errors import DeviceNotFoundError
from bridges.kernels import Runtime, create_runtime

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
        ``"cpu"`` is NumPy; ``"opencl[:platform[:device]]"`` is that device and no other.

    Raises
    ------
    DeviceNotFoundError
        The device is not on this machine, or kernels cannot run on its kind yet.
    """
    name = DeviceName.parse(device)
    if name.kind == "cpu":
        return _numpy("")
    if name.kind == "opencl":
        return _opencl(name.selector, "")
    if name.kind != "auto":
        raise DeviceNotFoundError(
            f"device {device!r}: kernels run on OpenCL devices and on the host so far; "
            "say --device opencl, cpu or auto"
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


def _numpy(why: str) -> ChosenRuntime:
    from bridges.backends.cpu import CPUContext

    return ChosenRuntime(create_runtime(CPUContext()), _describe("cpu: NumPy", why))


def _describe(name: str, why: str) -> str:
    return f"{name} ({why})" if why else name
