"""What sessions are made with, as the application gives it.

Names and limits are those of the public headers ``xmaencoder.h``, ``xmadecoder.h``,
``xmascaler.h``, ``xmafilter.h``, ``xmakernel.h`` and ``xmalimits.h`` (XRT 2.13).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from bridges.formats import PixelFormat, pixel_format
from xma_plugins.code import Code
from xma_plugins.errors import InvalidError
from xma_plugins.kinds import (
    DecoderType,
    EncoderType,
    FilterType,
    FormatType,
    ScalerType,
    SessionType,
)

if TYPE_CHECKING:
    from xma_plugins.plugin import Plugin

__all__ = [
    "MAX_CHANNEL_LOAD",
    "MAX_DIMENSION",
    "MAX_NAME",
    "MAX_SCALER_OUTPUTS",
    "AdminProperties",
    "DecoderProperties",
    "EncoderProperties",
    "FilterProperties",
    "KernelProperties",
    "Port",
    "Properties",
    "ScalerProperties",
]

MAX_DIMENSION = 16384
"""Pixels of a frame along one side."""

MAX_SCALER_OUTPUTS = 8

MAX_NAME = 256
"""Characters of a name."""

MAX_CHANNEL_LOAD = 1000
"""All of a compute unit."""


@dataclass(frozen=True, kw_only=True)
class Port:
    """One side of a session that takes or gives pictures.

    Attributes
    ----------
    format : PixelFormat or None
        A name, such as ``"nv12"``, and a `FormatType` are taken too; None where the plugin is to
        find out.
    width, height : int
        In pixels, 1 to `MAX_DIMENSION`; 0 where the plugin is to find out.
    frame_rate : Fraction or None
        Frames a second; None where it is not constant, or not known.
    is_half_rate : bool
        Of an output: only every second picture is wanted.
    """

    format: PixelFormat | None = None
    width: int = 0
    height: int = 0
    frame_rate: Fraction | None = None
    is_half_rate: bool = False

    def __post_init__(self) -> None:
        if self.format is not None:
            object.__setattr__(self, "format", _pixels(self.format))
        _check_size(self.width, self.height)
        _check_rate(self, "frame_rate")


@dataclass(frozen=True, kw_only=True)
class Properties:
    """What sessions of all kinds are made with.

    Attributes
    ----------
    plugin : str or type
        The name of a plugin, as ``xtranscode plugins`` lists them, or its class.
    dev_index : int
        Which of the devices that were initialized.
    cu_index : int
        Which compute unit of the device; -1 to find it by ``cu_name``.
    cu_name : str
        Its name, or that of its kernel; empty for the plugin's own choice, which may be none.
    ddr_bank_index : int
        The bank of memory that buffers lie in; -1 for the one that the compute unit is wired to. A
        session's own properties tell what was taken.
    channel_id : int
        What keeps this session's commands in order, among those of other sessions on the compute
        unit. Whoever makes sessions hands them out.
    channel_load : int
        How much of the compute unit this session takes, in thousandths.
    ooo_execution : bool
        Whether commands may be finished in another order than they were given.
    params : mapping
        What else the plugin takes, by name.
    """

    kind: ClassVar[SessionType]

    plugin: "str | type[Plugin]"
    dev_index: int = 0
    cu_index: int = -1
    cu_name: str = ""
    ddr_bank_index: int = -1
    channel_id: int = 0
    channel_load: int = 0
    ooo_execution: bool = False
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        for name in ("cu_index", "ddr_bank_index"):
            if getattr(self, name) < -1:
                raise InvalidError(f"{name} is -1 or more, got {getattr(self, name)}")
        if self.dev_index < 0 or self.channel_id < 0:
            raise InvalidError(
                f"dev_index and channel_id are 0 or more, got {self.dev_index}, {self.channel_id}"
            )
        if not 0 <= self.channel_load <= MAX_CHANNEL_LOAD:
            raise InvalidError(
                f"channel_load is 0 to {MAX_CHANNEL_LOAD} thousandths, got {self.channel_load}"
            )
        if len(self.cu_name) >= MAX_NAME:
            raise InvalidError(f"cu_name has less than {MAX_NAME} characters")
        object.__setattr__(self, "params", MappingProxyType(dict(self.params)))


@dataclass(frozen=True, kw_only=True)
class EncoderProperties(Properties):
    """What an encoder session is made with.

    Attributes
    ----------
    type : EncoderType
        What it makes; MULTI where the plugin is told by ``params``.
    vendor : str
        Of the plugin; empty for any.
    format, width, height, frame_rate
        Of the pictures, as of a `Port`.
    time_base : Fraction or None
        Seconds in a unit of ``pts``; None for one frame.
    bitrate : int
        Kilobits a second; 0 where something else controls the rate.
    qp, min_qp : int
        Quantiser of a constant-QP encode, and the smallest one; -1 for the encoder's own.
    gop_size, idr_interval : int
        Frames from one I-frame, or IDR frame, to the next; 0 for the encoder's own.
    lookahead_depth : int
        Frames; 0 for none.
    qp_offset_i, qp_offset_b0, qp_offset_b1, qp_offset_b2 : int
        Added to the quantiser of such frames.
    temporal_aq_gain, spatial_aq_gain : int
        Per cent.
    aq_mode, rc_mode : int
        As the plugin has them.
    """

    kind = SessionType.ENCODER

    type: EncoderType = EncoderType.MULTI
    vendor: str = ""
    format: PixelFormat | None
    width: int
    height: int
    time_base: Fraction | None = None
    frame_rate: Fraction | None = None
    bitrate: int = 0
    qp: int = -1
    gop_size: int = 0
    idr_interval: int = 0
    lookahead_depth: int = 0
    qp_offset_i: int = 0
    qp_offset_b0: int = 0
    qp_offset_b1: int = 0
    qp_offset_b2: int = 0
    temporal_aq_gain: int = 0
    spatial_aq_gain: int = 0
    aq_mode: int = 0
    min_qp: int = -1
    rc_mode: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format is not None:
            object.__setattr__(self, "format", _pixels(self.format))
        _check_size(self.width, self.height)
        _check_rate(self, "frame_rate")
        _check_rate(self, "time_base")
        _read_code(self, EncoderType)
        for name in ("bitrate", "gop_size", "idr_interval", "lookahead_depth"):
            if getattr(self, name) < 0:
                raise InvalidError(f"{name} is 0 or more, got {getattr(self, name)}")
        for name in ("qp", "min_qp"):
            if getattr(self, name) < -1:
                raise InvalidError(f"{name} is -1 or more, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class DecoderProperties(Properties):
    """What a decoder session is made with.

    Attributes
    ----------
    type : DecoderType
        What it takes; MULTI where the plugin is told by ``params``.
    vendor : str
        Of the plugin; empty for any.
    intra_only : bool
        Whether the stream has key frames alone, so that pictures can come at once.
    width, height : int
        What is expected, in pixels; 0 where the stream tells.
    frame_rate : Fraction or None
        What is expected.
    """

    kind = SessionType.DECODER

    type: DecoderType = DecoderType.MULTI
    vendor: str = ""
    intra_only: bool = False
    width: int = 0
    height: int = 0
    frame_rate: Fraction | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _read_code(self, DecoderType)
        _check_size(self.width, self.height)
        _check_rate(self, "frame_rate")


@dataclass(frozen=True, kw_only=True)
class ScalerProperties(Properties):
    """What a scaler session is made with.

    Attributes
    ----------
    type : ScalerType
        How it filters.
    vendor : str
        Of the plugin; empty for any.
    input : Port
        The pictures that are sent.
    outputs : tuple of Port
        1 to 8; every picture that is received is a list of one for each.
    horizontal_coefficients, vertical_coefficients : object
        For POLYPHASE: 64 phases of 12 taps, 16-bit integers; None for the plugin's own.
    """

    kind = SessionType.SCALER

    type: ScalerType = ScalerType.BICUBIC
    vendor: str = ""
    input: Port
    outputs: tuple[Port, ...]
    horizontal_coefficients: Any = None
    vertical_coefficients: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _read_code(self, ScalerType)
        outputs = (self.outputs,) if isinstance(self.outputs, Port) else tuple(self.outputs)
        object.__setattr__(self, "outputs", outputs)
        if not 1 <= len(self.outputs) <= MAX_SCALER_OUTPUTS:
            raise InvalidError(
                f"a scaler has 1 to {MAX_SCALER_OUTPUTS} outputs, got {len(self.outputs)}"
            )


@dataclass(frozen=True, kw_only=True)
class FilterProperties(Properties):
    """What a filter session is made with.

    Attributes
    ----------
    type : FilterType
        What it is.
    vendor : str
        Of the plugin; empty for any.
    input : Port
        The pictures that are sent.
    output : Port or None
        Those that are received; None for what the filter makes of the input.
    """

    kind = SessionType.FILTER

    type: FilterType = FilterType.FILTER_2D
    vendor: str = ""
    input: Port
    output: Port | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _read_code(self, FilterType)


@dataclass(frozen=True, kw_only=True)
class KernelProperties(Properties):
    """What a session with something that is no video kernel is made with."""

    kind = SessionType.KERNEL


@dataclass(frozen=True, kw_only=True)
class AdminProperties(Properties):
    """What a session over several compute units is made with; each command names its own.

    Attributes
    ----------
    cu_names : tuple of str
        The compute units that commands may name, by their index on the device. Empty for all.
    """

    kind = SessionType.ADMIN

    cu_names: tuple[str, ...] = ()


def _pixels(given: PixelFormat | FormatType | str) -> PixelFormat:
    if isinstance(given, FormatType):
        return given.pixel_format
    return given if isinstance(given, PixelFormat) else pixel_format(given)


def _read_code(properties: Any, kind: type[Code]) -> None:
    """Take a number or a name for the member of ``kind`` that ``type`` is."""
    object.__setattr__(properties, "type", kind.read(properties.type))


def _check_size(width: int, height: int) -> None:
    if not (0 <= width <= MAX_DIMENSION and 0 <= height <= MAX_DIMENSION):
        raise InvalidError(
            f"pictures have up to {MAX_DIMENSION} pixels a side, asked for {width}x{height}"
        )


def _check_rate(properties: object, name: str) -> None:
    """Take any number for a rate, as a fraction; refuse what is none."""
    given = getattr(properties, name)
    if given is None:
        return
    rate = Fraction(given)
    if rate <= 0:
        raise InvalidError(f"{name} is more than 0, got {given}")
    object.__setattr__(properties, name, rate)
