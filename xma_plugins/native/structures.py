"""The structures that libxma2api, compiled plugins and applications hand to each other.

Order, types and sizes of their fields are those of the public headers in the folder xma2 of XRT
2.13: xmabuffers.h, xmaparam.h, xmahw.h, the properties in xmaencoder.h to xmaadmin.h, and the
sessions and plugins in the headers of the same names in plg. Names are put into Python's spelling.
"""

import ctypes as c

from xma_plugins.properties import MAX_NAME, MAX_SCALER_OUTPUTS

__all__ = [
    "MAX_PLANES",
    "PLUGINS",
    "PROPERTIES",
    "SESSIONS",
    "SYMBOLS",
    "BufferObject",
    "BufferRef",
    "DataBuffer",
    "Fraction",
    "Frame",
    "FrameProperties",
    "Parameter",
    "Session",
    "XclbinParameter",
]

MAX_PLANES = 3
"""Of a frame; ``XMA_MAX_PLANES``."""


class Fraction(c.Structure):
    """``XmaFraction``."""

    _fields_ = (("numerator", c.c_int32), ("denominator", c.c_int32))


class BufferObject(c.Structure):
    """``XmaBufferObj``: a device buffer."""

    _fields_ = (
        ("data", c.c_void_p),
        ("size", c.c_uint64),
        ("paddr", c.c_uint64),
        ("bank_index", c.c_int32),
        ("dev_index", c.c_int32),
        ("user_ptr", c.c_void_p),
        ("device_only_buffer", c.c_bool),
        ("private", c.c_void_p),
    )


class BufferRef(c.Structure):
    """``XmaBufferRef``: one plane's memory, or that of a data buffer."""

    _fields_ = (
        ("refcount", c.c_int32),
        ("buffer_type", c.c_int),
        ("buffer", c.c_void_p),
        ("is_clone", c.c_bool),
        ("device_buffer", c.POINTER(BufferObject)),
    )


class FrameProperties(c.Structure):
    """``XmaFrameProperties``."""

    _fields_ = (
        ("format", c.c_int),
        ("width", c.c_int32),
        ("height", c.c_int32),
        ("linesize", c.c_int32 * MAX_PLANES),
        ("bits_per_pixel", c.c_int32),
    )


class Frame(c.Structure):
    """``XmaFrame``."""

    _fields_ = (
        ("data", BufferRef * MAX_PLANES),
        ("side_data", c.POINTER(c.c_void_p)),
        ("properties", FrameProperties),
        ("time_base", Fraction),
        ("frame_rate", Fraction),
        ("pts", c.c_uint64),
        ("is_idr", c.c_int32),
        ("do_not_encode", c.c_int32),
        ("is_last_frame", c.c_int32),
    )


class DataBuffer(c.Structure):
    """``XmaDataBuffer``."""

    _fields_ = (
        ("data", BufferRef),
        ("alloc_size", c.c_int32),
        ("is_eof", c.c_int32),
        ("pts", c.c_int32),
        ("poc", c.c_int32),
    )


class Parameter(c.Structure):
    """``XmaParameter``."""

    _fields_ = (
        ("name", c.c_char_p),
        ("user_type", c.c_int32),
        ("type", c.c_int),
        ("length", c.c_size_t),
        ("value", c.c_void_p),
    )


class XclbinParameter(c.Structure):
    """``XmaXclbinParameter``."""

    _fields_ = (("xclbin_name", c.c_char_p), ("device_id", c.c_int32))


_PARAMETERS = (("params", c.POINTER(Parameter)), ("param_cnt", c.c_uint32))
_COMPUTE_UNIT = (
    ("dev_index", c.c_int32),
    ("cu_index", c.c_int32),
    ("cu_name", c.c_char_p),
    ("ddr_bank_index", c.c_int32),
    ("channel_id", c.c_int32),
)
_PLUGIN = (
    ("plugin_lib", c.c_char_p),
    ("ooo_execution", c.c_bool),
    ("reserved", c.c_int32 * 4),
)
_VENDOR = ("vendor", c.c_char * MAX_NAME)


class _EncoderProperties(c.Structure):
    _fields_ = (
        ("type", c.c_int),
        _VENDOR,
        ("format", c.c_int),
        ("bits_per_pixel", c.c_int32),
        ("width", c.c_int32),
        ("height", c.c_int32),
        ("time_base", Fraction),
        ("frame_rate", Fraction),
        ("bitrate", c.c_int32),
        ("qp", c.c_int32),
        ("gop_size", c.c_int32),
        ("idr_interval", c.c_int32),
        ("lookahead_depth", c.c_int32),
        ("qp_offset_i", c.c_int32),
        ("qp_offset_b0", c.c_int32),
        ("qp_offset_b1", c.c_int32),
        ("qp_offset_b2", c.c_int32),
        ("temporal_aq_gain", c.c_int32),
        ("spatial_aq_gain", c.c_int32),
        ("aq_mode", c.c_int32),
        ("min_qp", c.c_int32),
        ("rc_mode", c.c_int32),
        ("la_depth", c.c_int32),
        ("force_param", c.c_int32),
        *_PARAMETERS,
        *_COMPUTE_UNIT,
        *_PLUGIN,
    )


class _DecoderProperties(c.Structure):
    _fields_ = (
        ("type", c.c_int),
        _VENDOR,
        ("intra_only", c.c_int32),
        *_PARAMETERS,
        ("bits_per_pixel", c.c_int32),
        ("width", c.c_int32),
        ("height", c.c_int32),
        ("frame_rate", Fraction),
        ("chroma_width", c.c_int32),
        ("chroma_height", c.c_int32),
        ("chroma_planes", c.c_int32),
        *_COMPUTE_UNIT,
        *_PLUGIN,
    )


class _ScalerPort(c.Structure):
    _fields_ = (
        ("format", c.c_int),
        ("bits_per_pixel", c.c_int32),
        ("width", c.c_int32),
        ("height", c.c_int32),
        ("frame_rate", Fraction),
        ("stride", c.c_int32),
        ("filter_index", c.c_int32),
        ("coefficients_from", c.c_int32),
        ("coefficient_file", c.c_char * 1024),
    )


class _ScalerProperties(c.Structure):
    _fields_ = (
        ("type", c.c_int),
        ("destination", c.c_void_p),
        ("max_outputs", c.c_uint32),
        _VENDOR,
        ("num_outputs", c.c_int32),
        # Four sets of 64 phases of 12 taps for rows, and four for columns.
        ("coefficients", c.c_int16 * 12 * 64 * 8),
        ("input", _ScalerPort),
        ("output", _ScalerPort * MAX_SCALER_OUTPUTS),
        *_PARAMETERS,
        *_COMPUTE_UNIT,
        *_PLUGIN,
    )


class _FilterPort(c.Structure):
    _fields_ = (
        ("format", c.c_int),
        ("bits_per_pixel", c.c_int32),
        ("width", c.c_int32),
        ("height", c.c_int32),
        ("frame_rate", Fraction),
        ("stride", c.c_int32),
        *_PARAMETERS,
    )


class _FilterProperties(c.Structure):
    _fields_ = (
        ("type", c.c_int),
        ("destination", c.c_void_p),
        _VENDOR,
        ("input", _FilterPort),
        ("output", _FilterPort),
        *_PARAMETERS,
        *_COMPUTE_UNIT,
        *_PLUGIN,
    )


class _KernelProperties(c.Structure):
    _fields_ = (("type", c.c_int), _VENDOR, *_PARAMETERS, *_COMPUTE_UNIT, *_PLUGIN)


PROPERTIES: dict[str, type[c.Structure]] = {
    "encoder": _EncoderProperties,
    "decoder": _DecoderProperties,
    "scaler": _ScalerProperties,
    "filter": _FilterProperties,
    "kernel": _KernelProperties,
}
"""``XmaEncoderProperties`` and so on, by the kind of session."""


class _HardwareSession(c.Structure):
    _fields_ = (
        ("dev_index", c.c_uint32),
        ("bank_index", c.c_int32),
        ("private", c.c_void_p),
        ("reserved", c.c_uint32 * 4),
    )


class Session(c.Structure):
    """``XmaSession``: what sessions of all kinds begin with."""

    _fields_ = (
        ("signature", c.c_void_p),
        ("session_id", c.c_int32),
        ("session_type", c.c_int),
        ("hardware", _HardwareSession),
        ("channel_id", c.c_int32),
        ("plugin_data", c.c_void_p),
        ("stats", c.c_void_p),
    )


def _session(kind: str) -> type[c.Structure]:
    fields = (
        ("base", Session),
        ("properties", PROPERTIES[kind]),
        ("plugin", c.c_void_p),
        ("private_data", c.c_void_p),
        ("private_size", c.c_int32),
        ("reserved", c.c_uint32 * 4),
    )
    return type(f"{kind.capitalize()}Session", (c.Structure,), {"_fields_": fields})


SESSIONS = {kind: _session(kind) for kind in PROPERTIES}
"""``XmaEncoderSession`` and so on."""

SYMBOLS = {kind: f"{kind}_plugin" for kind in PROPERTIES}
"""The variable that a compiled plugin exports."""

_CALLBACKS = {
    "encoder": ("init", "send_frame", "recv_data", "close"),
    "decoder": ("init", "send_data", "get_properties", "recv_frame", "close"),
    "scaler": ("init", "send_frame", "recv_frame_list", "close"),
    "filter": ("init", "send_frame", "recv_frame", "close"),
    "kernel": ("init", "write", "read", "close"),
}
_FORMATS = {
    "encoder": (("format", c.c_int), ("bits_per_pixel", c.c_int32)),
    "scaler": (
        ("input_format", c.c_int),
        ("output_format", c.c_int),
        ("bits_per_pixel", c.c_int32),
    ),
}


def _plugin(kind: str) -> type[c.Structure]:
    version = c.CFUNCTYPE(c.c_int32, c.POINTER(c.c_int32), c.POINTER(c.c_int32))
    fields = (
        ("type", c.c_int),
        ("vendor", c.c_char_p),
        *_FORMATS.get(kind, ()),
        ("plugin_data_size", c.c_size_t),
        *((name, c.c_void_p) for name in _CALLBACKS[kind]),
        ("xma_version", version),
        ("reserved", c.c_uint32 * 4),
    )
    return type(f"{kind.capitalize()}Plugin", (c.Structure,), {"_fields_": fields})


PLUGINS = {kind: _plugin(kind) for kind in PROPERTIES}
"""``XmaEncoderPlugin`` and so on: what is at `SYMBOLS`."""
