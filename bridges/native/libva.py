"""libva and libva-drm: displays, surfaces, images and their exchange as DRM PRIME handles.

Declarations only; numbers and structures are those of libva's ``va/va.h``, and of
``va/va_drmcommon.h`` where that is named.
"""

import ctypes as c
import functools

__all__ = [
    "EXPORT_READ_ONLY",
    "EXPORT_READ_WRITE",
    "EXPORT_SEPARATE_LAYERS",
    "INVALID_SURFACE",
    "LIBRARIES",
    "MEMORY_TYPE_DRM_PRIME_2",
    "MEMORY_TYPE_VA",
    "STATUS_SUCCESS",
    "SURFACE_READY",
    "DRMPRIMELayer",
    "DRMPRIMEObject",
    "DRMPRIMESurfaceDescriptor",
    "GenericValue",
    "Image",
    "ImageFormat",
    "MessageCallback",
    "SurfaceAttribute",
    "SurfaceAttributeType",
    "libva",
    "libva_drm",
]

LIBRARIES = ("libva.so.2", "libva-drm.so.2")
STATUS_SUCCESS = 0
INVALID_SURFACE = 0xFFFF_FFFF
SURFACE_READY = 4
"""``VASurfaceReady``: nothing is being drawn into the surface."""

MEMORY_TYPE_VA = 0x0000_0001
"""``VA_SURFACE_ATTRIB_MEM_TYPE_VA``: memory of the driver's own."""
MEMORY_TYPE_DRM_PRIME_2 = 0x4000_0000
"""``VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2`` of ``va_drmcommon.h``."""

EXPORT_READ_ONLY, EXPORT_READ_WRITE = 0x0001, 0x0003
EXPORT_SEPARATE_LAYERS = 0x0004
"""``VA_EXPORT_SURFACE_*``, or'ed."""


class SurfaceAttributeType:
    """``VASurfaceAttribType``; `SETTABLE` is the flag that goes with each."""

    PIXEL_FORMAT = 1
    MEMORY_TYPE = 6
    EXTERNAL_BUFFER_DESCRIPTOR = 7
    SETTABLE = 0x0000_0002


class _Value(c.Union):
    _fields_ = (("i", c.c_int32), ("f", c.c_float), ("p", c.c_void_p), ("fn", c.c_void_p))


class GenericValue(c.Structure):
    """``VAGenericValue``."""

    INTEGER, FLOAT, POINTER = 1, 2, 3
    _fields_ = (("type", c.c_int), ("value", _Value))


class SurfaceAttribute(c.Structure):
    """``VASurfaceAttrib``."""

    _fields_ = (("type", c.c_int), ("flags", c.c_uint32), ("value", GenericValue))


class ImageFormat(c.Structure):
    """``VAImageFormat``."""

    _fields_ = (
        ("fourcc", c.c_uint32),
        ("byte_order", c.c_uint32),
        ("bits_per_pixel", c.c_uint32),
        ("depth", c.c_uint32),
        ("red_mask", c.c_uint32),
        ("green_mask", c.c_uint32),
        ("blue_mask", c.c_uint32),
        ("alpha_mask", c.c_uint32),
        ("va_reserved", c.c_uint32 * 4),
    )


class Image(c.Structure):
    """``VAImage``."""

    _fields_ = (
        ("image_id", c.c_uint32),
        ("format", ImageFormat),
        ("buf", c.c_uint32),
        ("width", c.c_uint16),
        ("height", c.c_uint16),
        ("data_size", c.c_uint32),
        ("num_planes", c.c_uint32),
        ("pitches", c.c_uint32 * 3),
        ("offsets", c.c_uint32 * 3),
        ("num_palette_entries", c.c_int32),
        ("entry_bytes", c.c_int32),
        ("component_order", c.c_int8 * 4),
        ("va_reserved", c.c_uint32 * 4),
    )


class DRMPRIMEObject(c.Structure):
    """An element of ``VADRMPRIMESurfaceDescriptor.objects`` (``va_drmcommon.h``)."""

    _fields_ = (("fd", c.c_int), ("size", c.c_uint32), ("drm_format_modifier", c.c_uint64))


class DRMPRIMELayer(c.Structure):
    """An element of ``VADRMPRIMESurfaceDescriptor.layers`` (``va_drmcommon.h``)."""

    _fields_ = (
        ("drm_format", c.c_uint32),
        ("num_planes", c.c_uint32),
        ("object_index", c.c_uint32 * 4),
        ("offset", c.c_uint32 * 4),
        ("pitch", c.c_uint32 * 4),
    )


class DRMPRIMESurfaceDescriptor(c.Structure):
    """``VADRMPRIMESurfaceDescriptor`` (``va_drmcommon.h``)."""

    _fields_ = (
        ("fourcc", c.c_uint32),
        ("width", c.c_uint32),
        ("height", c.c_uint32),
        ("num_objects", c.c_uint32),
        ("objects", DRMPRIMEObject * 4),
        ("num_layers", c.c_uint32),
        ("layers", DRMPRIMELayer * 4),
    )


MessageCallback = c.CFUNCTYPE(None, c.c_void_p, c.c_char_p)
"""``VAMessageCallback``: ``void f(void *user_context, const char *message)``."""

_DISPLAY, _ID, _OUT = c.c_void_p, c.c_uint32, c.c_void_p
"""``VADisplay``; ``VAGenericID``; any structure or array that the caller provides."""
_INT, _UINT = c.c_int, c.c_uint

_PROTOTYPES: dict[str, tuple[object, ...]] = {
    "vaInitialize": (_DISPLAY, _OUT, _OUT),
    "vaTerminate": (_DISPLAY,),
    "vaMaxNumImageFormats": (_DISPLAY,),
    "vaQueryImageFormats": (_DISPLAY, _OUT, _OUT),
    "vaCreateSurfaces": (_DISPLAY, _UINT, _UINT, _UINT, _OUT, _UINT, _OUT, _UINT),
    "vaDestroySurfaces": (_DISPLAY, _OUT, _INT),
    "vaSyncSurface": (_DISPLAY, _ID),
    "vaQuerySurfaceStatus": (_DISPLAY, _ID, _OUT),
    "vaExportSurfaceHandle": (_DISPLAY, _ID, c.c_uint32, c.c_uint32, _OUT),
    "vaDeriveImage": (_DISPLAY, _ID, _OUT),
    "vaCreateImage": (_DISPLAY, _OUT, _INT, _INT, _OUT),
    "vaDestroyImage": (_DISPLAY, _ID),
    "vaGetImage": (_DISPLAY, _ID, _INT, _INT, _UINT, _UINT, _ID),
    "vaPutImage": (_DISPLAY, _ID, _ID, _INT, _INT, _UINT, _UINT, _INT, _INT, _UINT, _UINT),
    "vaMapBuffer": (_DISPLAY, _ID, _OUT),
    "vaUnmapBuffer": (_DISPLAY, _ID),
}
"""The arguments of what returns a ``VAStatus`` or a number."""


@functools.cache
def libva() -> c.CDLL:
    """Return libva, with prototypes set.

    Raises
    ------
    OSError
        It is not installed.
    """
    library = c.CDLL(LIBRARIES[0])
    for name, arguments in _PROTOTYPES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = c.c_int, arguments
    for name in ("vaSetErrorCallback", "vaSetInfoCallback"):
        function = getattr(library, name)
        function.restype, function.argtypes = c.c_void_p, (_DISPLAY, MessageCallback, c.c_void_p)
    library.vaErrorStr.restype, library.vaErrorStr.argtypes = c.c_char_p, (_INT,)
    vendor = library.vaQueryVendorString
    vendor.restype, vendor.argtypes = c.c_char_p, (_DISPLAY,)
    return library


@functools.cache
def libva_drm() -> c.CDLL:
    """Return libva-drm, with its one prototype, ``VADisplay vaGetDisplayDRM(int fd)``, set.

    Raises
    ------
    OSError
        It is not installed.
    """
    library = c.CDLL(LIBRARIES[1])
    library.vaGetDisplayDRM.restype, library.vaGetDisplayDRM.argtypes = c.c_void_p, (c.c_int,)
    return library
