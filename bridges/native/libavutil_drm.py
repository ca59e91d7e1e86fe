"""The structures of ``libavutil/hwcontext_drm.h``: what a DRM_PRIME frame of FFmpeg points at."""

import ctypes as c

from bridges.errors import FormatError
from bridges.formats import PIXEL_FORMATS, PixelFormat
from bridges.native.drm import fourcc_name

__all__ = [
    "MAX_PLANES",
    "AVDRMDeviceContext",
    "AVDRMFrameDescriptor",
    "AVDRMLayerDescriptor",
    "AVDRMObjectDescriptor",
    "AVDRMPlaneDescriptor",
]

MAX_PLANES = 4
"""``AV_DRM_MAX_PLANES``: the length of each array below."""


class AVDRMDeviceContext(c.Structure):
    """What ``AVHWDeviceContext.hwctx`` points at; ``fd`` is -1 where no device node is needed."""

    _fields_ = (("fd", c.c_int),)


class AVDRMObjectDescriptor(c.Structure):
    """One dma-buf: its descriptor, its size in bytes and its layout."""

    _fields_ = (("fd", c.c_int), ("size", c.c_size_t), ("format_modifier", c.c_uint64))


class AVDRMPlaneDescriptor(c.Structure):
    """Where one plane lies: in which object, from which byte, rows how many bytes apart."""

    _fields_ = (("object_index", c.c_int), ("offset", c.c_ssize_t), ("pitch", c.c_ssize_t))


class AVDRMLayerDescriptor(c.Structure):
    """One DRM format, such as NV12, or R8 for the luma of a picture in layers, and its planes."""

    _fields_ = (
        ("format", c.c_uint32),
        ("nb_planes", c.c_int),
        ("planes", AVDRMPlaneDescriptor * MAX_PLANES),
    )


class AVDRMFrameDescriptor(c.Structure):
    """What ``AVFrame.data[0]`` of a DRM_PRIME frame points at."""

    _fields_ = (
        ("nb_objects", c.c_int),
        ("objects", AVDRMObjectDescriptor * MAX_PLANES),
        ("nb_layers", c.c_int),
        ("layers", AVDRMLayerDescriptor * MAX_PLANES),
    )

    def flat_planes(self) -> list[AVDRMPlaneDescriptor]:
        """Return the planes of all layers, which are those of the picture, in its order."""
        return [
            layer.planes[index]
            for layer in self.layers[: self.nb_layers]
            for index in range(layer.nb_planes)
        ]

    def pixel_format(self) -> PixelFormat:
        """Return the format of a picture in one layer.

        Raises
        ------
        FormatError
            The picture is in several layers, or its format is not in `bridges.formats`.
        """
        codes = [fourcc_name(layer.format) for layer in self.layers[: self.nb_layers]]
        for entry in PIXEL_FORMATS.values():
            if codes == [entry.drm] and entry.drm:
                return entry
        raise FormatError(
            f"a DRM_PRIME frame of layers {codes} has no format in the table; take one with a "
            "frames context, or one layer of a format that `bridges.formats` has a DRM code for"
        )
