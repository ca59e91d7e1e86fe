"""What a plugin is tried with: the properties of its sessions and what is sent to them."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

from bridges.formats import pixel_format
from bridges.frame import FrameInfo
from xma_plugins.kinds import SessionType
from xma_plugins.plugin import Plugin
from xma_plugins.properties import (
    AdminProperties,
    DecoderProperties,
    EncoderProperties,
    FilterProperties,
    KernelProperties,
    Port,
    Properties,
    ScalerProperties,
)

__all__ = ["FIRST_PTS", "PTS_STEP", "TIME_BASE", "Setup"]

TIME_BASE = Fraction(1, 90000)
"""That of MPEG-2 systems (ISO/IEC 13818-1)."""

FIRST_PTS = (1 << 40) + 7
"""More than 32 bits hold."""

PTS_STEP = 3600
"""25 frames a second."""

_RATE = Fraction(TIME_BASE.denominator, PTS_STEP)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a plugin is tried with.

    Attributes
    ----------
    format : str
        Of the pictures that are sent.
    width, height : int
        Of them, in pixels.
    pictures : int
        How many are sent.
    params : mapping
        What the plugin takes by name.
    properties : mapping
        Other fields of the session's properties, such as ``{"bitrate": 500}``.
    outputs : tuple of (str, int, int)
        Of a scaler: format, width and height of each.
    packets : tuple of (bytes, int or None)
        Of a decoder: coded data and its time, in the order of decoding; a picture each.
    parameters : mapping
        Of a kernel or an admin plugin: what is written to it.
    is_one_to_one : bool
        Whether every picture comes out once, with its time and its side data; a filter that makes
        more pictures of them, or fewer, is let off by False.
    """

    format: str = "yuv420p"
    width: int = 64
    height: int = 48
    pictures: int = 8
    params: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[tuple[str, int, int], ...] = (("yuv420p", 64, 48), ("yuv420p", 31, 17))
    packets: tuple[tuple[bytes, int | None], ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    is_one_to_one: bool = True

    @property
    def info(self) -> FrameInfo:
        """Of the pictures that are sent."""
        return FrameInfo(pixel_format(self.format), self.width, self.height, time_base=TIME_BASE)

    def of_size(self, width: int, height: int) -> "Setup":
        """Return the same with pictures of another size."""
        return replace(self, width=width, height=height)

    def session_properties(self, plugin: type[Plugin], channel_id: int = 0) -> Properties:
        """Return what a session is made with.

        Raises
        ------
        InvalidError, FormatError
            A field is wrong.
        TypeError
            ``properties`` has a field that there is not.
        """
        given: dict[str, Any] = {
            "plugin": plugin,
            "params": self.params,
            "channel_id": channel_id,
        }
        given |= self.properties
        port = Port(
            format=pixel_format(self.format),
            width=self.width,
            height=self.height,
            frame_rate=_RATE,
        )
        match plugin.kind:
            case SessionType.ENCODER:
                size = {"format": port.format, "width": port.width, "height": port.height}
                rate = {"time_base": TIME_BASE, "frame_rate": _RATE}
                return EncoderProperties(**{**size, **rate, **given})
            case SessionType.DECODER:
                return DecoderProperties(**given)
            case SessionType.SCALER:
                outputs = tuple(
                    Port(format=pixel_format(name), width=width, height=height, frame_rate=_RATE)
                    for name, width, height in self.outputs
                )
                return ScalerProperties(**{"input": port, "outputs": outputs, **given})
            case SessionType.FILTER:
                return FilterProperties(**{"input": port, **given})
            case SessionType.KERNEL:
                return KernelProperties(**given)
            case SessionType.ADMIN:
                return AdminProperties(**given)

    def plain(self) -> dict[str, Any]:
        """Return what JSON can hold; see `of_plain`."""
        packets = [[base64.b64encode(data).decode(), pts] for data, pts in self.packets]
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        made: dict[str, Any] = {**fields, "packets": packets}
        for name in ("params", "properties", "parameters"):
            made[name] = {key: _json(value) for key, value in made[name].items()}
        return made

    @classmethod
    def of_plain(cls, made: Mapping[str, Any]) -> "Setup":
        """Return what `plain` returned."""
        packets = tuple((base64.b64decode(data), pts) for data, pts in made["packets"])
        outputs = tuple((name, width, height) for name, width, height in made["outputs"])
        return cls(**{**made, "packets": packets, "outputs": outputs})


def _json(value: object) -> object:
    """Return what JSON has for a value; text for what it has nothing for."""
    return value if isinstance(value, str | int | float | bool | list | None) else str(value)
