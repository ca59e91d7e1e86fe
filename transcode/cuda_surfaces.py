"""Frames of NVIDIA GPUs: shown to kernels in place, scaled by these, fetched to locked memory."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from cuda.bindings import driver

from bridges.backends.cuda_driver import LEGACY_STREAM, check
from bridges.backends.ffmpeg import FFmpegContext, frame_info
from bridges.backends.ffmpeg_hardware import surface_address
from bridges.backends.ffmpeg_properties import copy_properties
from bridges.backends.host_array import array_over
from bridges.backends.layout import plane_layout
from bridges.edges.cuda_to_ffmpeg import CUDA_FORMATS, give_to_ffmpeg
from bridges.errors import DeviceError, DeviceNotFoundError, FormatError, KernelError
from bridges.formats import PIXEL_FORMATS
from bridges.frame import Frame
from bridges.kernels import get, parse_call
from bridges.mapper import MemoryMapper, create_mapper
from bridges.tensor import AccessMode
from transcode.cuda_luma import CUDALumaMaker
from transcode.filters import GraphStep
from transcode.fit import even_size
from transcode.hardware import nbytes_of, surface_formats
from transcode.kernel_step import KernelStep
from transcode.surfaces import Fitting, Form, Surfaces
from xma_plugins.builtin.libav_frame import to_av
from xma_plugins.frame_pool import constant_plane

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from fractions import Fraction

    import numpy.typing as npt
    from av.codec.codec import Codec
    from av.video.frame import VideoFrame

    from bridges.backends.cuda import CUDAContext
    from bridges.frame import FrameInfo
    from bridges.kernels import Kernel
    from bridges.tensor import Tensor
    from transcode.filters import Step
    from transcode.job import VideoOptions
    from transcode.kernel_step import Call
    from transcode.notices import Notices
    from xma_plugins.device import Device
    from xma_plugins.frames import BufferRef, XmaFrame
    from xma_plugins.load import CommandCount

__all__ = ["CUDASurfaces"]

_PITCH = 256
"""Bytes from row to row are a multiple of this, which every GPU reads well."""


class CUDASurfaces(Surfaces):
    """The frames that NVDEC makes and NVENC reads, on one GPU; see `Surfaces`.

    Parameters
    ----------
    device : Device
        The GPU, over the CUDA context that the decoder uses.
    codec : av.Codec
        The encoder.
    options : VideoOptions
        The size that is asked for.
    notices : Notices
        Told of what cannot be done in place.
    """

    def __init__(
        self, device: Device, codec: Codec, options: VideoOptions, *, notices: Notices
    ) -> None:
        super().__init__(device, notices)
        self._options = options
        self._gpu = device
        self._context = cast("CUDAContext", device.driver.context)
        self._codec = codec
        self._ffmpeg = FFmpegContext("cuda")
        self._mapper: MemoryMapper | None = None
        self._seen: dict[int, int] = {}

    @property
    def bytes_copied(self) -> int:
        """Bytes copied by mappings: none, for frames are read in place."""
        return 0 if self._mapper is None else self._mapper.audit.bytes_copied

    @property
    def route(self) -> str:
        """The way from a decoder's frame to the device; empty before the first."""
        return "" if self._mapper is None else self._mapper.explain().partition("   ")[0]

    @property
    def device_bytes(self) -> int:
        """Bytes of the decoder's frames that were read here, and of buffers at most."""
        return sum(self._seen.values()) + self._context.count.most

    @property
    def resizing(self) -> Call | None:
        """The kernel `resize`, for the size asked for; None where none is."""
        if self._options.size is None:
            return None
        return get("resize"), self._size_for

    def _size_for(self, info: FrameInfo) -> dict[str, int]:
        pix_fmt = info.format.name
        width, height = even_size(self._codec, self._options, info, pix_fmt, self._notices)
        return {"width": width, "height": height}

    def _mapped(self, frame: VideoFrame, access: AccessMode) -> Frame:
        self._count(frame)
        source = self._ffmpeg.wrap(frame)  # The first one tells the device.
        if self._mapper is None:
            self._mapper = create_mapper([self._ffmpeg, self._context])
        return self._mapper.map(source, access)

    def _count(self, frame: VideoFrame) -> None:
        address = surface_address(frame)
        if address not in self._seen:
            self._seen[address] = nbytes_of(frame)

    def write(self, info: FrameInfo, written: Sequence[int] | None = None) -> XmaFrame:
        """Return a new frame; see `Surfaces.write`."""
        gpu, context = self._gpu.driver, self._context
        # Planes lie behind one another, with rows as far apart, as NVENC takes them.
        pitch = -(-info.planes[0].strides[0] // _PITCH) * _PITCH
        layouts = [
            plane_layout(info.format, index, info.width, info.height, pitch)
            for index in range(len(info.planes))
        ]
        starts = itertools.accumulate((each.shape[0] * pitch for each in layouts), initial=0)
        *offsets, nbytes = starts
        with gpu.allocate(nbytes) as block:
            planes = [
                gpu.view(block, layout, offset)
                for layout, offset in zip(layouts, offsets, strict=True)
            ]
        planes[0].on_close = lambda: context.join(LEGACY_STREAM, context.stream_handle)
        made = Frame(info, planes)
        try:
            frame = give_to_ffmpeg(made)
        except BaseException:
            made.close()
            raise
        picture = self._picture(frame, made)
        picture.owner = frame
        for index, plane in enumerate(picture.planes):
            if written is not None and index not in written:
                self._fill(plane, constant_plane(info.format, index, layouts[index]))
        return picture

    def luma_maker(
        self,
        kernel: Kernel,
        parameters: Mapping[str, Any],
        frame: VideoFrame,
        made: FrameInfo,
        count: CommandCount,
    ) -> CUDALumaMaker | None:
        """Return what has the GPU carry lumas by itself; see `Surfaces.luma_maker`."""
        try:
            with self._mapped(frame, AccessMode.READ) as seen:
                return CUDALumaMaker(
                    kernel,
                    parameters,
                    frame,
                    seen=seen,
                    made=made,
                    ffmpeg=self._ffmpeg,
                    device=self._gpu,
                    count=count,
                    on_surface=self._count,
                )
        except (DeviceError, DeviceNotFoundError, FormatError, KernelError) as error:
            self._notices.add(f"each picture goes through a session, which is slower: {error}")
            return None

    def _fill(self, plane: BufferRef, constant: Tensor) -> None:
        """Write a plane that says nothing, which is one number again and again."""
        samples = np.asarray(constant)
        number, item = int(samples.flat[0]), samples.dtype.itemsize
        address, stream = plane.tensor.handle("data"), self._context.stream_handle
        fill = driver.cuMemsetD8Async if item == 1 else driver.cuMemsetD16Async
        with self._context.current:
            check(fill(address, number, plane.tensor.info.span // item, stream), "fill a plane")

    def _put(self, plane: BufferRef, samples: npt.NDArray[Any]) -> None:
        assert plane.buffer is not None
        layout = plane.tensor.info
        block = self._gpu.driver.host_memory(layout.span)
        array_over(block, layout)[...] = samples
        plane.buffer.put(block)

    def upload(self, picture: VideoFrame) -> VideoFrame:
        """Return a picture in host memory as a frame of the GPU, which is a copy."""
        info = frame_info(picture)
        with self.write(info) as made, FFmpegContext().wrap(picture) as source:
            for plane, tensor in zip(made.planes, source.tensors, strict=True):
                self._put(plane, np.asarray(tensor))
            frame = to_av(made)
        copy_properties(picture, frame)
        return frame

    def formats(self, codec: Codec) -> tuple[str, ...]:
        """Return what NVENC reads of the GPU's frames; empty for encoders in software."""
        return tuple(name for name in surface_formats(codec, "cuda") if name in CUDA_FORMATS)

    def holds(self, info: FrameInfo) -> bool:
        """Whether both sides are even, as PyAV's frames of a GPU are."""
        return info.width % 2 == info.height % 2 == 0

    @property
    def rescales(self) -> bool:
        """Return False: what is to be as it is has no kernel."""
        return False

    def stays(self, codec: Codec, source: Form, target: Form, *, crops: bool) -> bool:
        """Whether NVENC takes the format as it is; the host crops and converts."""
        return target[2] == source[2] and source[2] in self.formats(codec) and not crops

    def fitting(self, asked: Fitting) -> list[Step]:
        """Return steps of the kernel `resize`, or what fetches; see `Surfaces.fitting`."""
        *size, pix_fmt = asked.source
        steps: list[Step] = []
        if asked.fps is not None:
            steps.append(self._graph(f"fps={asked.fps}", asked.rate))
        if list(asked.target[:2]) != size and not asked.crops:
            steps.append(self._resized(asked.target, fetches=asked.fetches))
        elif asked.fetches and pix_fmt in PIXEL_FORMATS:
            steps.append(_Fetch(self))
        elif asked.fetches:
            steps.append(self._graph(f"hwdownload,format={pix_fmt}", asked.rate))
        return steps

    def _graph(self, chain: str, rate: Fraction | None) -> Step:
        return GraphStep(chain, rate=rate, notices=self._notices)

    def _resized(self, target: Form, *, fetches: bool) -> Step:
        width, height, _ = target
        return KernelStep(
            [parse_call(f"resize(width={width}, height={height})")],
            self._gpu,
            codec=self._codec,
            pix_fmt=None,
            notices=self._notices,
            surfaces=self,
            fetches=fetches,
        )

    def close(self) -> None:
        """Let go of the mappings; may be repeated."""
        if self._mapper is not None:
            self._mapper.close()
        self._ffmpeg.close()


class _Fetch:
    """Carries frames of the GPU into page-locked memory, each plane at once.

    Parameters
    ----------
    surfaces : CUDASurfaces
        What shows them to the device that carries.
    """

    def __init__(self, surfaces: CUDASurfaces) -> None:
        self._surfaces = surfaces

    def process(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Carry a frame; nothing is left to flush at None."""
        if frame is not None:
            with self._surfaces.read(frame) as picture:
                yield to_av(picture)

    def cancel(self) -> None:
        """Do nothing: copies end."""

    def close(self) -> None:
        """Do nothing: it holds nothing."""
