"""A session's properties as libxma2api has them."""

import ctypes as c
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bridges.formats import PixelFormat
from bridges.frame import FrameInfo
from xma_plugins.errors import InvalidError
from xma_plugins.kinds import FormatType
from xma_plugins.native.frames import fraction_of, frame_properties
from xma_plugins.native.structures import PROPERTIES, Parameter
from xma_plugins.properties import (
    DecoderProperties,
    EncoderProperties,
    FilterProperties,
    KernelProperties,
    Port,
    ScalerProperties,
)

__all__ = ["native_properties", "parameters_of", "told_format"]

_OWN_PARAMETERS = ("cu_name", "cu_index", "dev_index", "data_nbytes", "zerocopy")
"""What ``params`` tells this package, and not the plugin."""

_STRING, _UINT32, _INT64 = 1, 3, 4
"""``XmaDataType`` of xmaparam.h."""

_INT64_RANGE = range(-(1 << 63), 1 << 63)


def native_properties(properties: Any, plugin: Path) -> tuple[c.Structure, object]:
    """Return the structure for a session, and what has to live as long.

    Parameters
    ----------
    properties : Properties
        Of an encoder, decoder, scaler, filter or kernel session. Of ``params``, ``cu_name``,
        ``cu_index`` and ``dev_index`` say which compute unit of libxma2api's cards it is, where the
        session's own device is another one.
    plugin : Path
        The compiled plugin.

    Raises
    ------
    InvalidError
        A parameter is of a type that XMA does not have.
    FormatError
        XMA has no name for a pixel format.
    """
    kind = properties.kind.name.lower()
    native: Any = PROPERTIES[kind]()
    params = properties.params
    native.plugin_lib = str(plugin).encode()
    native.dev_index = params.get("dev_index", properties.dev_index)
    native.cu_index = params.get("cu_index", properties.cu_index)
    native.cu_name = params.get("cu_name", properties.cu_name).encode() or None
    if native.cu_name:
        native.cu_index = -1
    elif native.cu_index < 0:
        native.cu_index = 0
    # Our banks are not those of the card, unless the card is the session's device.
    native.ddr_bank_index = -1
    native.channel_id = properties.channel_id
    native.ooo_execution = properties.ooo_execution
    own = {name: value for name, value in params.items() if name not in _OWN_PARAMETERS}
    array, keep = parameters_of(own)
    native.params, native.param_cnt = array, len(own)
    _FILL[type(properties)](native, properties)
    return native, keep


def parameters_of(given: Mapping[str, Any]) -> tuple[Any, object]:
    """Return an array of ``XmaParameter``, and what has to live as long.

    Numbers are of 64 bits with a sign, truth values of 32 bits, texts end with a zero.

    Raises
    ------
    InvalidError
        A value is none of these.
    """
    array = (Parameter * max(1, len(given)))()
    keep: list[Any] = []
    for there, (name, value) in zip(array, given.items(), strict=False):
        memory: Any
        if isinstance(value, bool):
            kind, memory = _UINT32, c.c_uint32(value)
        elif isinstance(value, int) and value in _INT64_RANGE:
            kind, memory = _INT64, c.c_int64(value)
        elif isinstance(value, str):
            kind, memory = _STRING, c.create_string_buffer(value.encode())
        else:
            raise InvalidError(
                f"parameter {name!r} of a compiled plugin is a text, a truth value or a number "
                f"of 64 bits, got {value!r}"
            )
        there.name, there.type, there.length = name.encode(), kind, c.sizeof(memory)
        there.value = c.addressof(memory)
        keep.append(memory)
    return array, (array, keep)


def told_format(given: PixelFormat | None) -> PixelFormat:
    """Return a pixel format that was given.

    Raises
    ------
    InvalidError
        It was not.
    """
    if given is None:
        raise InvalidError("a compiled plugin has to be told pixel formats; give them")
    return given


def _fill_encoder(native: Any, given: EncoderProperties) -> None:
    for name, _ in native._fields_:
        if name in _COPIED:
            setattr(native, name, getattr(given, name))
    native.type, native.vendor = given.type, given.vendor.encode()
    pixels = told_format(given.format)
    native.format, native.bits_per_pixel = FormatType.of(pixels), pixels.bits
    native.time_base = fraction_of(given.time_base)
    native.frame_rate = fraction_of(given.frame_rate)
    native.la_depth = given.lookahead_depth


_COPIED = (
    "width",
    "height",
    "bitrate",
    "qp",
    "gop_size",
    "idr_interval",
    "lookahead_depth",
    "qp_offset_i",
    "qp_offset_b0",
    "qp_offset_b1",
    "qp_offset_b2",
    "temporal_aq_gain",
    "spatial_aq_gain",
    "aq_mode",
    "min_qp",
    "rc_mode",
)


def _fill_decoder(native: Any, given: DecoderProperties) -> None:
    native.type, native.vendor = given.type, given.vendor.encode()
    native.intra_only, native.bits_per_pixel = given.intra_only, 8
    native.width, native.height = given.width, given.height
    native.frame_rate = fraction_of(given.frame_rate)


def _fill_port(native: Any, given: Port) -> None:
    pixels = told_format(given.format)
    if given.width and given.height:
        there = frame_properties(FrameInfo(pixels, given.width, given.height))
        native.stride = there.linesize[0]
    native.format, native.bits_per_pixel = FormatType.of(pixels), pixels.bits
    native.width, native.height = given.width, given.height
    native.frame_rate = fraction_of(given.frame_rate)


def _fill_scaler(native: Any, given: ScalerProperties) -> None:
    native.type, native.vendor = given.type, given.vendor.encode()
    native.num_outputs = native.max_outputs = len(given.outputs)
    _fill_port(native.input, given.input)
    for there, output in zip(native.output, given.outputs, strict=False):
        _fill_port(there, output)
    rows, columns = given.horizontal_coefficients, given.vertical_coefficients
    for number, table in enumerate((rows,) * 4 + (columns,) * 4):
        if table is not None:
            _fill_coefficients(native.coefficients[number], table)


def _fill_coefficients(native: Any, table: Any) -> None:
    given = np.asarray(table)
    if given.shape != (64, 12):
        raise InvalidError(f"coefficients are 64 phases of 12 taps, got shape {given.shape}")
    there = np.frombuffer(native, np.int16).reshape(64, 12)
    there[...] = given.astype(np.int16, casting="same_kind")


def _fill_filter(native: Any, given: FilterProperties) -> None:
    native.type, native.vendor = given.type, given.vendor.encode()
    _fill_port(native.input, given.input)
    _fill_port(native.output, given.output or given.input)


def _fill_kernel(native: Any, given: KernelProperties) -> None:
    native.type = 1


_FILL: dict[type, Callable[[Any, Any], None]] = {
    EncoderProperties: _fill_encoder,
    DecoderProperties: _fill_decoder,
    ScalerProperties: _fill_scaler,
    FilterProperties: _fill_filter,
    KernelProperties: _fill_kernel,
}
