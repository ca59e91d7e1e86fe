"""Kernels as a step of the pipeline: host frames in, frames in pooled memory out."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from av.codec.codec import Codec, find_best_pix_fmt_of_list
from av.video.frame import VideoFrame

from bridges import AccessMode, Frame, FrameInfo, MemoryType, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext, frame_info
from bridges.backends.ffmpeg_properties import (
    copy_properties,
    drop_hdr_side_data,
    sample_aspect_ratio,
    set_info,
    set_sample_aspect_ratio,
)
from bridges.edges.cpu_to_ffmpeg import give_to_ffmpeg
from bridges.errors import FormatError
from bridges.formats import PIXEL_FORMATS, ColourModel, pixel_format
from bridges.kernels import Kernel, Runtime
from bridges.mapper import HopCount
from bridges.pools import BufferPool, LimitPool, Pool
from transcode.colour import gray_carrier, neutral_chroma
from transcode.filters import GraphStep
from transcode.notices import Notices

__all__ = ["KernelStep"]

_POOL_CAPACITY = 64
"""Frames that encoders and filters may hold at once; they are made as they are needed."""

_WRITE_LUMA_ANYWHERE = ("gray", "point", "chain")
"""Families whose gray result may be the luma of any picture, whose chroma is then neutral."""

_PIXELS_OF_FFMPEG = (1 << 31) // 8
"""What ``av_image_check_size`` of libavutil/imgutils.c refuses, with 128 added to each side."""

_ALIGNMENT = 128
"""Rows start at multiples of this, in bytes: the largest alignment that an OpenCL CPU asks for."""

Planes = tuple[npt.NDArray[Any], ...]


class KernelStep:
    """Runs one kernel on each frame.

    Parameters
    ----------
    kernel : Kernel
        What to run.
    parameters : mapping
        As `bridges.kernels.parse_call` returns them.
    runtime : Runtime
        Where to run it.
    codec : av.Codec
        The encoder that the frames go to; a gray result is written straight into a format that it
        takes.
    pix_fmt : str or None
        The encoder's pixel format, where the user named one.
    notices : Notices
        Told of conversions and assumptions.

    Attributes
    ----------
    seconds : float
        Time spent in the kernel so far, mappings included.
    frames : int
        Frames processed so far.
    """

    def __init__(
        self,
        kernel: Kernel,
        parameters: Mapping[str, Any],
        runtime: Runtime,
        *,
        codec: Codec,
        pix_fmt: str | None,
        notices: Notices,
    ) -> None:
        self._kernel, self._parameters, self._runtime = kernel, parameters, runtime
        self._codec, self._pix_fmt, self._notices = codec, pix_fmt, notices
        self._ffmpeg, self._cpu = FFmpegContext(), CPUContext()
        self.reader = create_mapper([self._ffmpeg, runtime.context])
        # A kernel that runs in host memory writes into the pool's planes as they are.
        on_host = runtime.context.memory_type is MemoryType.CPU
        self.writer = None if on_host else create_mapper([self._cpu, runtime.context])
        self._pool: Pool[Planes] | None = None
        self._carrier: FrameInfo | None = None
        self._converter: GraphStep | None = None
        self._previous: VideoFrame | None = None
        self.seconds = 0.0
        self.frames = 0

    def process(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Run the kernel on a frame; nothing is left to flush at None."""
        for readable in self._readable(frame):
            if readable.interlaced_frame and self._kernel.kind not in _WRITE_LUMA_ANYWHERE:
                self._notices.add(
                    f"interlaced frames go through {self._kernel.name} as progressive ones; "
                    "deinterlace them first, for example with --vf bwdif"
                )
            started = time.perf_counter()
            result = self._run(readable)
            self.seconds += time.perf_counter() - started
            self.frames += 1
            yield result

    def _readable(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Yield the frame in a format that the kernel reads, converted only where it must be."""
        if frame is not None and frame.format.name in self._kernel.formats_read:
            yield frame
            return
        if self._converter is None:
            if frame is None:
                return
            known = [name for name in self._kernel.formats_read if name in PIXEL_FORMATS]
            best, _ = find_best_pix_fmt_of_list(known, frame.format.name)
            name = best.name if best is not None else "rgb24"
            self._notices.add(
                f"pixel format {frame.format.name} > {name}, which {self._kernel.name} reads"
            )
            self._converter = GraphStep(f"format={name}", rate=None, notices=self._notices)
        yield from self._converter.process(frame)

    def _run(self, frame: VideoFrame) -> VideoFrame:
        info = frame_info(frame)
        carrier = self._place_for(info)
        assert self._pool is not None
        lease = self._pool.acquire()
        target = Frame(carrier, [self._cpu.wrap(plane) for plane in lease.buffer], parent=lease)
        target.closes_parent = True
        try:
            with contextlib.ExitStack() as stack:
                source = self.reader.map(self._ffmpeg.wrap(frame), AccessMode.READ)
                stack.callback(source.close)
                writable = self._writable(target, stack)
                previous = self._previous_for(carrier, stack)
                self._runtime.run(
                    self._kernel, source, writable, self._parameters, previous=previous
                )
            result = give_to_ffmpeg(target)
        except BaseException:
            target.close()
            raise
        self._tag(result, frame, info, carrier)
        if self._kernel.takes_previous:
            self._previous = result
        return result

    def _writable(self, target: Frame, stack: contextlib.ExitStack) -> Frame:
        """Return the target as the kernel's device sees it."""
        if self.writer is None:
            return target
        # What the kernel leaves alone stays here: mapped for WRITE by an edge that copies, it
        # would come back undefined.
        tensors = list(target.tensors)
        for index in self._kernel.written(target.info):
            tensors[index] = self.writer.map(tensors[index], AccessMode.WRITE)
            stack.callback(tensors[index].close)
        return Frame(target.info, tensors)

    def _previous_for(self, carrier: FrameInfo, stack: contextlib.ExitStack) -> Frame | None:
        """Return the result of the frame before, where the kernel takes it."""
        if self._previous is None:
            return None
        previous = self._ffmpeg.wrap(self._previous)
        if previous.info.format is not carrier.format or (
            (previous.info.width, previous.info.height) != (carrier.width, carrier.height)
        ):
            return None
        mapped = self.reader.map(previous, AccessMode.READ)
        stack.callback(mapped.close)
        mapped.info = replace(carrier, pts=mapped.info.pts)
        return mapped

    def _tag(
        self, result: VideoFrame, frame: VideoFrame, source: FrameInfo, carrier: FrameInfo
    ) -> None:
        """Tag a result with what the frame says of itself and the kernel has not changed."""
        copy_properties(frame, result)
        if source.colour.transfer != carrier.colour.transfer:
            # What it says of its mastering display is no longer so.
            drop_hdr_side_data(result)
        set_info(result, replace(carrier, pts=frame.pts, time_base=frame.time_base))
        aspect = sample_aspect_ratio(frame)
        if aspect is not None:
            set_sample_aspect_ratio(
                result, self._kernel.aspect(source, carrier, aspect, self._parameters)
            )

    def _place_for(self, info: FrameInfo) -> FrameInfo:
        """Return what the result is, and have a pool for it; both change with the frames' form."""
        result = self._kernel.output(info, **self._parameters)
        if not isinstance(result, FrameInfo):
            raise FormatError(
                f"{self._kernel.name} makes numbers, not pictures; run it from Python"
            )
        if result.format.model is ColourModel.GRAY and self._kernel.kind in _WRITE_LUMA_ANYWHERE:
            name = gray_carrier(self._codec, result.format, self._pix_fmt)
            result = replace(result, format=pixel_format(name))
        if (result.width + 128) * (result.height + 128) >= _PIXELS_OF_FFMPEG:
            raise FormatError(
                f"{self._kernel.name} makes {result.width}x{result.height}, which is more than "
                "FFmpeg's frames can hold; make it smaller"
            )
        form = replace(result, pts=None)
        if self._carrier != form:
            self._tell(info, result)
            if self._pool is not None:
                self._pool.close()
            self._pool = LimitPool(BufferPool(lambda: _allocate(form)), _POOL_CAPACITY)
            self._carrier = form
        return result

    def _tell(self, info: FrameInfo, result: FrameInfo) -> None:
        """Say what the kernel assumes, and what it loses."""
        if note := self._kernel.note(info, **self._parameters):
            self._notices.add(note)
        if info.format.has_alpha and not result.format.has_alpha:
            self._notices.add(f"alpha dropped by {self._kernel.name}")

    @property
    def bytes_copied(self) -> int:
        """Bytes copied on the way to the kernel and back, so far."""
        return sum(hop.bytes_copied for hop in self._hops)

    @property
    def _hops(self) -> tuple[HopCount, ...]:
        return self.reader.audit.hops + (self.writer.audit.hops if self.writer else ())

    @property
    def route(self) -> str:
        """The way that frames take, such as ``FFmpeg > CPU > OpenCL > CPU > FFmpeg``."""
        # A WRITE mapping is made from host memory to the device; its samples flow the other way.
        there = [hop.edge.target for hop in self.reader.audit.hops]
        back = [hop.edge.source for hop in reversed(self.writer.audit.hops)] if self.writer else []
        stops = [MemoryType.FFMPEG, *there, *back, MemoryType.FFMPEG]
        return " > ".join(stop.value for stop in stops)

    @property
    def is_zero_copy(self) -> bool:
        """Whether no edge on the route copies."""
        return not any(hop.edge.copies for hop in self._hops)

    def close(self) -> None:
        """Wake whoever waits for a buffer, and let go of the free ones."""
        self._previous = None
        if self._pool is not None:
            self._pool.close()
        if self._converter is not None:
            self._converter.close()


def _allocate(info: FrameInfo) -> Planes:
    """Return planes with aligned rows; luma undefined, chroma neutral, alpha opaque."""
    planes = []
    for index, layout in enumerate(info.planes):
        row = layout.strides[0]
        stride = -(-row // _ALIGNMENT) * _ALIGNMENT
        memory = np.empty(stride * layout.shape[0] + _ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        plane = np.ndarray(layout.shape, layout.dtype, memory, start, (stride, *layout.strides[1:]))
        channels = info.format.planes[index].channels
        if set(channels) <= {"U", "V"}:
            plane[...] = neutral_chroma(info.format.name)
        elif channels == "A":
            plane[...] = (1 << info.format.bits) - 1
        planes.append(plane)
    return tuple(planes)
