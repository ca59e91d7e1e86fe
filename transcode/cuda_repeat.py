"""Kernels on frames of one form on a GPU: what the first took, done again with other addresses.

Threads that each decode a file share the interpreter, and a frame has a fraction of a millisecond
of it. What maps, plans and checks a frame takes longer than that, and comes out alike for all
frames of a form; here it is done once.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from bridges.backends.cuda import CUDAContext, CUDAMemory, CUDATensor, Fetch
from bridges.backends.cuda_blocks import Block, BlockPool
from bridges.backends.cuda_driver import LEGACY_STREAM
from bridges.closable import Closable
from bridges.edges.ffmpeg_to_cuda import LentSurface
from bridges.errors import ClosedError
from bridges.frame import Frame, FrameInfo
from xma_plugins.frames import timeless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    from av.video.frame import VideoFrame

    from bridges.backends.ffmpeg import FFmpegContext
    from bridges.kernels import Kernel
    from bridges.kernels.cuda import CUDARuntime, PreparedKernel

__all__ = ["CUDARepeat"]

_ALIGNMENT = 256

_READING = 4
"""Frames that FFmpeg gets back at once: its stream waits for ours once for all of them."""

_FETCHES_AHEAD = 4
"""Results that are fetched before anybody asks, and that nobody asked for, at most in a row."""


class _Decoded:
    """The planes of a decoder's frame, made when they are asked for."""

    def __init__(
        self, repeat: CUDARepeat, frame: VideoFrame, addresses: Sequence[int], pts: int | None
    ) -> None:
        self._repeat, self._frame, self._addresses, self._pts = repeat, frame, addresses, pts

    def frame(self) -> Frame:
        repeat, context = self._repeat, self._repeat.context
        surface = LentSurface(self._frame, context, repeat.stream)
        context.join(context.stream_handle, repeat.stream)
        planes = [
            CUDATensor(address, layout, owner=surface, writeable=False, context=context)
            for address, layout in zip(self._addresses, repeat.layouts, strict=False)
        ]
        return Frame(repeat.timed(self._pts), planes)

    def array(self) -> None:
        """Return None: the frame tells of its planes."""


class _Computed:
    """What kernels made of a frame, in one block of memory."""

    def __init__(
        self, repeat: CUDARepeat, memory: Block, pts: int | None, fetch: Fetch | None
    ) -> None:
        self._repeat, self._memory, self._pts = repeat, memory, pts
        self._fetch = fetch
        self._is_shown = False

    def frame(self) -> Frame:
        repeat, memory = self._repeat, self._memory
        # Somebody may write there now, which what was fetched before does not show.
        self._fetch, self._is_shown = None, True
        return Frame(repeat.timed(self._pts), repeat.planes_in(memory))

    def array(self) -> npt.NDArray[Any] | None:
        """Return the one plane there is on the host; None where the frame tells of its planes."""
        repeat = self._repeat
        if len(repeat.layouts) > 1 or self._is_shown:
            return None
        repeat.was_fetched()
        if self._fetch is None:
            self._fetch = repeat.fetch(self._memory)
        return self._fetch.array()


class CUDARepeat(Closable):
    """Does with frames what was done with one of the same form.

    One thread at a time uses it.

    Parameters
    ----------
    runtime : CUDARuntime or None
        Runs the kernels, where there are some.
    calls : sequence
        Kernels that make pictures of single pictures, each with its parameters.
    ffmpeg : FFmpegContext
        What tells the stream on which frames are decoded.
    seen : Frame
        A decoder's frame of that form, mapped to the device.
    context : CUDAContext
        The device.

    Attributes
    ----------
    layouts, offsets : tuple
        Of the planes of the last result, and where each begins in its block.
    """

    def __init__(
        self,
        runtime: CUDARuntime | None,
        calls: Sequence[tuple[Kernel, Mapping[str, Any]]],
        ffmpeg: FFmpegContext,
        seen: Frame,
        context: CUDAContext,
    ) -> None:
        self.context = context
        self.stream = ffmpeg.cuda[1] or LEGACY_STREAM
        self._prepared: list[tuple[PreparedKernel, tuple[int, ...]]] = []
        self._between: list[CUDAMemory] = []
        self._form, self._time_base = timeless(seen.info), seen.info.time_base
        self.layouts = tuple(tensor.info for tensor in seen.tensors)
        self.offsets: tuple[int, ...] = ()
        self._nbytes = 0
        source = seen
        for kernel, parameters in calls:
            assert runtime is not None
            made = kernel.output(self._form, **parameters)
            assert isinstance(made, FrameInfo)  # Its maker looked.
            target, memory = self._block(made)
            prepared = runtime.prepare(kernel, source, target, parameters)
            addresses = tuple(tensor.handle("data") for tensor in target.tensors)
            self._prepared.append((prepared, addresses))
            self._between.append(memory)
            source, self._form = target, timeless(made)
        if self._between:
            self._between.pop()  # Each frame has a last result of its own.
        self._fetches_ahead, self._ahead = False, 0
        self._reading: list[VideoFrame] = []
        self._blocks = BlockPool(context, self._nbytes) if calls else None

    def _block(self, info: FrameInfo) -> tuple[Frame, CUDAMemory]:
        """Return a frame in one block, which the layouts are from now on those of."""
        self.layouts = info.planes
        spans = [-(-layout.span // _ALIGNMENT) * _ALIGNMENT for layout in self.layouts]
        *offsets, self._nbytes = itertools.accumulate(spans, initial=0)
        self.offsets = tuple(offsets)
        memory = CUDAMemory(self.context, self._nbytes)
        return Frame(info, self.planes_in(memory)), memory

    def planes_in(self, memory: CUDAMemory | Block) -> list[CUDATensor]:
        """Return the planes of the last result in a block, which they hold."""
        return [
            CUDATensor(memory.address + offset, layout, owner=memory, context=self.context)
            for layout, offset in zip(self.layouts, self.offsets, strict=True)
        ]

    def timed(self, pts: int | None) -> FrameInfo:
        """Return what the result is, with a time."""
        form = self._form
        return FrameInfo(form.format, form.width, form.height, form.colour, pts, self._time_base)

    def run(self, frame: VideoFrame, addresses: Sequence[int]) -> _Decoded | _Computed:
        """Put the kernels on the stream, for a frame whose planes are at some addresses.

        The context has to be current.

        Raises
        ------
        DeviceError
            The device refused.
        """
        pts = frame.pts
        if self._blocks is None:
            return _Decoded(self, frame, addresses, pts)
        context, ours, theirs = self.context, self.context.stream_handle, self.stream
        if context.closed:
            raise ClosedError(f"the CUDA context {context.name} was closed; make another one")
        memory = self._blocks.take()
        context.join(ours, theirs)
        self._reading.append(frame)
        start, last = addresses, len(self._prepared) - 1
        for number, (prepared, between) in enumerate(self._prepared):
            target = (
                between
                if number != last
                else tuple(memory.address + offset for offset in self.offsets)
            )
            prepared.launch(start, target)
            start = target
        if len(self._reading) >= _READING:
            self._give_back()
        fetch = None
        if self._fetches_ahead:
            fetch = self.fetch(memory)
            self._ahead += 1
            self._fetches_ahead = self._ahead <= _FETCHES_AHEAD
        return _Computed(self, memory, pts, fetch)

    def fetch(self, memory: Block) -> Fetch:
        """Begin to copy the one plane of a result to the host."""
        return self.context.fetch(memory.address, self.layouts[0])

    def was_fetched(self) -> None:
        """Have the results that follow be fetched at once, for this one was."""
        self._fetches_ahead, self._ahead = True, 0

    def _give_back(self) -> None:
        """Let FFmpeg have the frames that kernels read, once they have read them.

        It uses a surface again as soon as it has the frame back.
        """
        if self._reading:
            self.context.join(self.stream, self.context.stream_handle)
            self._reading.clear()

    def close(self) -> None:
        """Let go of the device's memory; what was computed stays. May be repeated."""
        self._give_back()
        if self._blocks is not None:
            self._blocks.close()
        self._between.clear()
