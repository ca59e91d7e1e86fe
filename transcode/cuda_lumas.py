"""Gray pictures of an NVIDIA GPU's surfaces, for encoders in software: carried by the GPU itself.

A session takes a picture through a pool, registers, a queue and a transfer, each with owners of its
own: a millisecond of the processor, which an encoder in software needs for itself. For surfaces of
one form all of that comes out alike, and is done once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import numpy as np

from bridges.backends.cpu import CPUContext
from bridges.backends.cuda import CUDATensor
from bridges.backends.cuda_driver import LEGACY_STREAM
from bridges.backends.ffmpeg import frame_place
from bridges.backends.ffmpeg_properties import buffer_references, copy_properties, set_info
from bridges.backends.host_array import array_over
from bridges.edges.cpu_to_ffmpeg import give_to_ffmpeg
from bridges.errors import DeviceError
from bridges.frame import Frame, FrameInfo
from bridges.kernels.cuda_landing import Landings
from bridges.tensor import TensorInfo
from transcode.surfaces import Lumas
from xma_plugins.builtin.libav_frame import new_reference
from xma_plugins.frame_pool import constant_plane
from xma_plugins.frames import padded_planes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from av.video.frame import VideoFrame

    from bridges.backends.cuda import CUDAContext
    from bridges.backends.ffmpeg import FFmpegContext
    from bridges.kernels import Kernel
    from bridges.kernels.cuda import CUDARuntime
    from xma_plugins.device import Device
    from xma_plugins.load import CommandCount

__all__ = ["CUDALumas"]


class CUDALumas(Lumas):
    """Runs one kernel on surfaces of one GPU and one form; see `Lumas`.

    One thread at a time uses it. What it gave stays good when it is closed.

    Parameters
    ----------
    kernel : Kernel
        It writes the first plane of its result alone.
    parameters : mapping
        Its parameters.
    frame : av.VideoFrame
        A surface of that form.
    seen : Frame
        The same, mapped to the device.
    made : FrameInfo
        What the kernel makes of it.
    ffmpeg : FFmpegContext
        What tells the stream on which surfaces are decoded.
    device : Device
        The GPU, whose transfers are counted.
    count : CommandCount
        Of the kernel's session: a picture is one more command.
    on_surface : callable
        Told of each surface.

    Raises
    ------
    DeviceError, DeviceNotFoundError, KernelError
        As of `Landings` and `CUDARuntime.prepare`.
    """

    def __init__(
        self,
        kernel: Kernel,
        parameters: Mapping[str, Any],
        frame: VideoFrame,
        *,
        seen: Frame,
        made: FrameInfo,
        ffmpeg: FFmpegContext,
        device: Device,
        count: CommandCount,
        on_surface: Callable[[VideoFrame], None],
    ) -> None:
        self._context = cast("CUDAContext", device.driver.context)
        self._stream = ffmpeg.cuda[1] or LEGACY_STREAM
        self._joins = self._stream != self._context.stream_handle
        self._form, self._made = frame_place(frame)[1], made
        self._transfers, self._count, self._on_surface = device.transfers, count, on_surface
        self._luma, *rest = padded_planes(made)
        self._constant = [
            constant_plane(made.format, index, layout) for index, layout in enumerate(rest, 1)
        ]
        self._pictures: list[tuple[VideoFrame, int]] = []
        """Pictures without a time, and where each one's luma lies for the GPU."""
        self._landings = Landings(self._context, TensorInfo((self._luma.span,), np.dtype(np.uint8)))
        try:
            there = CUDATensor(
                self._landings.source, self._luma, owner=self._landings, context=self._context
            )
            target = Frame(made, [there, *(plane.lend() for plane in self._constant)])
            runtime = cast("CUDARuntime", device.driver.runtime)
            self._kernel = runtime.prepare(kernel, seen, target, parameters)
        except BaseException:
            self._landings.close()
            raise
        self._target = self._landings.source, *(0 for _ in rest)

    def make(self, frame: VideoFrame) -> VideoFrame | None:
        """Return what the kernel makes of a surface; see `Lumas.make`."""
        addresses, form = frame_place(frame)
        if form != self._form:
            return None
        self._on_surface(frame)
        model, address = self._free_picture()
        started = time.perf_counter()
        mark = self._start(addresses, address)
        # Meanwhile the GPU is at work.
        picture = new_reference(model, frame.pts, frame.time_base)
        copy_properties(frame, picture)
        made = self._made
        set_info(
            picture,
            FrameInfo(
                made.format, made.width, made.height, made.colour, frame.pts, frame.time_base
            ),
        )
        self._landings.wait(mark)
        self._count.give()
        self._count.end(time.perf_counter() - started)
        self._transfers.add(to_host=self._luma.span)
        return picture

    def _start(self, source: tuple[int, ...], address: int) -> int:
        """Have the GPU make a luma and carry it; return the mark behind that."""
        context, ours, theirs = self._context, self._context.stream_handle, self._stream
        if self._joins:
            context.join(ours, theirs)
        self._kernel.launch(source, self._target)
        if self._joins:  # FFmpeg uses a surface again as soon as it has the frame back.
            context.join(theirs, ours)
        return self._landings.carry(address)

    def _free_picture(self) -> tuple[VideoFrame, int]:
        """Return a picture whose luma nobody reads any more; a new one where all are read."""
        for known in self._pictures:
            if buffer_references(known[0]) == 1:
                return known
        place = self._landings.take()
        if place is None:
            raise DeviceError(
                f"{self._context.name}: too little of the host's memory can be locked for "
                f"{len(self._pictures) + 1} pictures of {self._luma.span} bytes; raise the limit"
            )
        address, block = place
        luma = CPUContext().wrap(array_over(block, self._luma))
        planes = [luma, *(plane.lend() for plane in self._constant)]
        made = give_to_ffmpeg(Frame(self._made, planes)), address
        self._pictures.append(made)
        return made

    def close(self) -> None:
        """Wait for the GPU, and let go of its memory and of pictures that nobody reads."""
        self._landings.close()
        self._pictures.clear()
