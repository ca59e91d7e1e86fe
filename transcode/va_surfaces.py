"""VA surfaces: shown to kernels over the same memory where that can be, scaled by their device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext, frame_info
from bridges.backends.ffmpeg_hardware import device_reference
from bridges.backends.ffmpeg_properties import copy_properties, set_info
from bridges.backends.vaapi_ffmpeg import (
    SurfacePool,
    open_device,
    surface_number,
)
from bridges.mapper import MemoryMapper, create_mapper
from bridges.native.drm import MODIFIER_INVALID, MODIFIER_LINEAR, modifier_name
from bridges.tensor import AccessMode, MemoryType
from bridges.way import contexts_between, surface_modifier
from transcode.filters import GraphStep
from transcode.hardware import POOL_FRAMES, surface_formats
from transcode.surfaces import Fitting, Form, Surfaces
from xma_plugins.frame_pool import constant_plane
from xma_plugins.frames import XmaFrame, timeless

if TYPE_CHECKING:
    from collections.abc import Sequence

    from av.codec.codec import Codec
    from av.video.frame import VideoFrame

    from bridges.context import Context
    from bridges.frame import Frame, FrameInfo
    from transcode.filters import Step
    from transcode.notices import Notices
    from xma_plugins.device import Device

__all__ = ["VASurfaces"]

_HOST = CPUContext()
_KEPT_MAPPINGS = 256
"""Of planes; more than a decoder and an encoder have surfaces between them."""


class VASurfaces(Surfaces):
    """The surfaces of one VA device; see `Surfaces`.

    Parameters
    ----------
    node : str
        The VA device, such as ``"/dev/dri/renderD128"``; it is opened only where no frame brings
        its own.
    device : Device, optional
        As for `Surfaces`; without one, pictures can be uploaded alone.
    notices : Notices
        Told of surfaces that can be seen as copies only.
    """

    def __init__(self, node: str, device: Device | None = None, *, notices: Notices) -> None:
        super().__init__(device, notices)
        self._node = node
        self._ffmpeg: FFmpegContext | None = None
        self._mappers: dict[MemoryType, MemoryMapper] = {}
        self._derived: list[Context] = []
        self._pools: dict[FrameInfo, SurfacePool] = {}
        self._constant: set[tuple[FrameInfo, int]] = set()
        self._copied = 0

    @property
    def bytes_copied(self) -> int:
        """Bytes that were copied from surfaces and into them, so far."""
        mappers = tuple(self._mappers.values())  # The thread that maps may add one meanwhile.
        return self._copied + sum(each.audit.bytes_copied for each in mappers)

    @property
    def route(self) -> str:
        """The way from a surface to the device that reads and writes it; empty before the first."""
        if self._device is None:
            return ""
        mapper = self._mappers.get(self._target.memory_type)
        return "" if mapper is None else mapper.explain().partition("   ")[0]

    @property
    def device_bytes(self) -> int:
        """Return 0: nobody counts them."""
        return 0

    @property
    def _target(self) -> Context:
        """Whose memory the device works in: the host's or its own."""
        assert self._device is not None  # Who reads and writes has given it.
        driver = self._device.driver
        return _HOST if driver.shares_host_memory else driver.context

    def _mapped(self, frame: VideoFrame, access: AccessMode) -> Frame:
        self._reference(frame)
        return self._map(frame, access, self._target)

    def write(self, info: FrameInfo, written: Sequence[int] | None = None) -> XmaFrame:
        """Return a new surface, to be written; see `Surfaces.write`."""
        frame = self._new(info)
        access = AccessMode.WRITE
        if written is not None:
            self._fill(frame, timeless(info), written)
            if _copies(self._mapper(frame, self._target)):
                # What is written back is the whole picture.
                access = AccessMode.READ_WRITE
        picture = self._picture(frame, self._map(frame, access, self._target))
        picture.owner = frame
        return picture

    def upload(self, picture: VideoFrame) -> VideoFrame:
        """Return a picture in host memory as a surface, which is a copy."""
        info = frame_info(picture)
        frame = self._new(info)
        source = FFmpegContext().wrap(picture)
        with self._map(frame, AccessMode.WRITE, _HOST) as target:
            for mine, theirs in zip(target.tensors, source.tensors, strict=True):
                np.copyto(mine.handle("array"), np.asarray(theirs))
                self._copied += mine.info.nbytes
        copy_properties(picture, frame)
        set_info(frame, info)
        return frame

    def formats(self, codec: Codec) -> tuple[str, ...]:
        """Return what an encoder of VA devices reads."""
        return surface_formats(codec, "vaapi")

    @property
    def rescales(self) -> bool:
        """Return True: the device's scaler is the last of its filters."""
        return True

    def stays(self, codec: Codec, source: Form, target: Form, *, crops: bool) -> bool:
        """Whether the encoder is on the device, which scales and converts."""
        return bool(self.formats(codec))

    def fitting(self, asked: Fitting) -> list[Step]:
        """Return a chain of the device's own filters; see `Surfaces.fitting`."""
        chain = []
        if asked.fps is not None:
            chain.append(f"fps={asked.fps}")
        width, height, pix_fmt = asked.target
        if asked.crops:
            chain.append(f"crop={width}:{height}:0:0")
        if asked.target != asked.source or chain:
            name = pix_fmt.removesuffix("le")
            size = f"w={width}:h={height}"
            chain.append(f"scale_vaapi={size}:format={name}:extra_hw_frames={POOL_FRAMES}")
        if asked.fetches:
            chain += ["hwdownload", f"format={pix_fmt}"]
        if not chain:
            return []
        return [GraphStep(",".join(chain), rate=asked.rate, notices=self._notices)]

    def _new(self, info: FrameInfo) -> VideoFrame:
        form = timeless(info)
        if form not in self._pools:
            self._pools[form] = SurfacePool(self._reference(None), form)
        return self._pools[form].frame()

    def _reference(self, frame: VideoFrame | None) -> int:
        """Return FFmpeg's device: that of the first frame, or one that is opened."""
        if self._ffmpeg is None:
            if frame is None:
                with open_device(self._node) as opened:
                    self._ffmpeg = FFmpegContext("vaapi", device=opened)
            else:
                self._ffmpeg = FFmpegContext("vaapi", device=device_reference(frame))
        reference: int = self._ffmpeg.handle("ffmpeg.device_context")
        return reference

    def _map(self, frame: VideoFrame, access: AccessMode, target: Context) -> Frame:
        assert self._ffmpeg is not None
        return self._mapper(frame, target).map(self._ffmpeg.wrap(frame), access)

    def _mapper(self, frame: VideoFrame, target: Context) -> MemoryMapper:
        """Return what maps surfaces; the first frame tells whether they can be seen in place."""
        assert self._ffmpeg is not None
        mapper = self._mappers.get(target.memory_type)
        if mapper is None:
            between = contexts_between(self._ffmpeg, target)
            self._derived += between
            modifier = surface_modifier(self._ffmpeg.wrap(frame), between[0])
            if modifier != MODIFIER_LINEAR:
                between = between[:1]
                how = "are not known to" if modifier == MODIFIER_INVALID else "do not"
                self._notices.add(
                    f"surfaces of {self._node} {how} lie row after row (DRM modifier "
                    f"{modifier_name(modifier)}): they are read and written as copies"
                )
            contexts = [self._ffmpeg, *between, target]
            mapper = create_mapper(contexts, cache=_KEPT_MAPPINGS)
            self._mappers[target.memory_type] = mapper
        return mapper

    def _fill(self, frame: VideoFrame, form: FrameInfo, written: Sequence[int]) -> None:
        """Write planes that say nothing, the first time that a surface is seen."""
        key = form, surface_number(frame)
        if key in self._constant:
            return
        with self._map(frame, AccessMode.READ_WRITE, _HOST) as target:
            for index, tensor in enumerate(target.tensors):
                if index not in written:
                    plane = constant_plane(form.format, index, tensor.info)
                    np.copyto(tensor.handle("array"), plane.handle("array"))
        self._constant.add(key)

    def close(self) -> None:
        """Let go of the device, its pools and mappings; may be repeated."""
        self._copied = self.bytes_copied
        for mapper in self._mappers.values():
            mapper.close()
        for pool in self._pools.values():
            pool.close()
        for context in self._derived:
            context.close()
        self._mappers.clear()
        self._pools.clear()
        self._derived.clear()
        if self._ffmpeg is not None:
            self._ffmpeg.close()
            self._ffmpeg = None


def _copies(mapper: MemoryMapper) -> bool:
    return any(hop.edge.copies for hop in mapper.audit.hops)
