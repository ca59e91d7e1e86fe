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
from transcode.surfaces import LumaMaker
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

__all__ = ["CUDALumaMaker"]


_SPARE = 8
"""Pictures that wait for the next surfaces; of an encoder that copies there are five in all."""


class CUDALumaMaker(LumaMaker):
    """Runs one kernel on surfaces of one GPU and one form; see `LumaMaker`.

    One thread at a time uses it. What it made stays good when it is closed.

    Parameters
    ----------
    kernel : Kernel
        Of its result it writes the luma alone.
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
    DeviceError, DeviceNotFoundError, FormatError, KernelError
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
        self._transfers, self._commands = device.transfers, count
        self._on_surface = on_surface
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
        """Return what the kernel makes of a surface; see `LumaMaker.make`."""
        addresses, form = frame_place(frame)
        if form != self._form:
            return None
        self._on_surface(frame)
        model, address = self._free_picture()
        started = time.perf_counter()
        self._commands.give()
        try:
            mark = self._start(addresses, address)
            # Meanwhile the GPU is at work.
            picture = self._described(model, frame)
            self._landings.wait(mark)
        finally:
            self._commands.end(time.perf_counter() - started)
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

    def _described(self, model: VideoFrame, frame: VideoFrame) -> VideoFrame:
        """Return another reference to a picture, with the time and the tags of a surface."""
        made, pts, time_base = self._made, frame.pts, frame.time_base
        picture = new_reference(model, pts, time_base)
        copy_properties(frame, picture)
        info = FrameInfo(made.format, made.width, made.height, made.colour, pts, time_base)
        set_info(picture, info)
        return picture

    def _free_picture(self) -> tuple[VideoFrame, int]:
        """Return a picture whose luma nobody reads any more; a new one where all are read."""
        free = [known for known in self._pictures if buffer_references(known[0]) == 1]
        for known in free[_SPARE:]:
            self._pictures.remove(known)
        return free[0] if free else self._new_picture()

    def _new_picture(self) -> tuple[VideoFrame, int]:
        place = self._landings.take()
        if place is None:
            raise DeviceError(
                f"{self._context.name} cannot lock {self._luma.span} bytes of the host's memory "
                f"for a picture, beside {len(self._pictures)} in use; free some memory"
            )
        address, block = place
        luma = CPUContext().wrap(array_over(block, self._luma))
        planes = [luma, *(plane.lend() for plane in self._constant)]
        made = give_to_ffmpeg(Frame(self._made, planes)), address
        self._pictures.append(made)
        return made

    def close(self) -> None:
        """Wait for the GPU, and let go of its memory and of pictures that nobody reads."""
        try:
            self._landings.close()
        finally:
            self._pictures.clear()
