"""Device names, as people write them: ``auto``, ``cpu``, ``opencl:0:1``, ``cuda:2``."""

from dataclasses import dataclass

from bridges.errors import DeviceNotFoundError

__all__ = ["DEVICE_KINDS", "DeviceName"]

DEVICE_KINDS = {
    "auto": "auto",
    "cpu": "cpu",
    "opencl": "opencl[:platform[:device]]",
    "sycl": "sycl[:filter]",
    "cuda": "cuda[:n]",
    "vaapi": "vaapi[:node]",
    "xrt": "xrt[:n]",
}
"""Every kind of device, with the form of its names."""


@dataclass(frozen=True, slots=True)
class DeviceName:
    """A parsed device name.

    Attributes
    ----------
    kind : str
        One of `DEVICE_KINDS`.
    selector : str
        What follows the first colon; empty asks for the best of its kind.
    """

    kind: str
    selector: str = ""

    @classmethod
    def parse(cls, text: str) -> "DeviceName":
        """Parse a name.

        Raises
        ------
        DeviceNotFoundError
            The kind is unknown, a selector follows ``auto`` or ``cpu``, or a number is missing
            where one is needed.
        """
        kind, colon, selector = text.strip().partition(":")
        kind = kind.lower()
        forms = ", ".join(DEVICE_KINDS.values())
        if kind not in DEVICE_KINDS:
            raise DeviceNotFoundError(f"unknown device {text!r}; devices are {forms}")
        if colon and (not selector or kind in ("auto", "cpu")):
            raise DeviceNotFoundError(f"device {text!r} has the form {DEVICE_KINDS[kind]}")
        if kind in ("cuda", "xrt") and selector and not selector.isdecimal():
            raise DeviceNotFoundError(
                f"device {text!r} has the form {DEVICE_KINDS[kind]}, where n is a number"
            )
        return cls(kind, selector)

    def __str__(self) -> str:
        return f"{self.kind}:{self.selector}" if self.selector else self.kind
