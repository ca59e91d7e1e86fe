"""Kernels on frames of one form on a GPU: what the first took, done again with other addresses.

Threads that each decode a file share the interpreter, and a frame has a fraction of a millisecond
of it. What maps, plans and checks a frame takes longer than that, and comes out alike for all
frames of a form; here it is done once.
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

from bridges.backends.cuda import CUDAContext, CUDAMemory, CUDATensor
from bridges.backends.cuda_blocks import Block, BlockPool
from bridges.backends.cuda_driver import LEGACY_STREAM
from bridges.closable import Closable
from bridges.edges.ffmpeg_to_cuda import LentSurface
from bridges.errors import ClosedError, DeviceError, DeviceNotFoundError, KernelError
from bridges.frame import Frame, FrameInfo
from bridges.kernels.cuda_landing import Landings
from bridges.tensor import MemoryType
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

_LANDINGS_AHEAD = 4
"""Results that land on the host before anybody asks, and nobody asks for, at most in a row."""


_Landing = tuple[Landings, int, "npt.NDArray[Any]", int]
"""What lent the memory, its address and the array over it, and the mark behind what is carried."""


class _Made:
    """What became of one frame, before anybody asks for it; see `transcode.picture.Samples`."""

    memory_type = MemoryType.CUDA  # Of the planes, wherever the samples are so far.
    _repeat: CUDARepeat
    _pts: int | None
    _is_shown = False
    """Whether there are planes, which somebody may write to: later arrays are of them."""

    @property
    def info(self) -> FrameInfo:
        return self._repeat.timed(self._pts)


class _Decoded(_Made):
    """The planes of a decoder's frame."""

    def __init__(
        self, repeat: CUDARepeat, frame: VideoFrame, addresses: Sequence[int], pts: int | None
    ) -> None:
        self._repeat, self._pts = repeat, pts
        self._frame, self._addresses = frame, addresses

    def frame(self) -> Frame:
        repeat, context = self._repeat, self._repeat.context
        surface = LentSurface(self._frame, context, repeat.stream)
        context.join(context.stream_handle, repeat.stream)
        planes = [
            CUDATensor(address, layout, owner=surface, writeable=False, context=context)
            for address, layout in zip(self._addresses, repeat.layouts, strict=False)
        ]
        return Frame(self.info, planes)

    def array(self) -> None:
        """Return None: the frame tells of its planes."""


class _Computed(_Made):
    """What kernels made of a frame, in one block of the device's memory."""

    def __init__(self, repeat: CUDARepeat, memory: Block, pts: int | None) -> None:
        self._repeat, self._pts, self._memory = repeat, pts, memory

    def frame(self) -> Frame:
        self._is_shown = True
        return Frame(self.info, self._repeat.planes_in(self._memory))

    def array(self) -> npt.NDArray[Any] | None:
        """Return the one plane there is on the host; None where the frame tells of its planes."""
        repeat = self._repeat
        if len(repeat.layouts) > 1 or self._is_shown:
            return None
        repeat.was_fetched()
        return repeat.context.fetch(self._memory.address, repeat.layouts[0])


class _Landed(_Made):
    """What was carried to the host's memory ahead, for results before were fetched.

    That memory is the picture's own: what somebody writes to its array is in its planes.
    """

    def __init__(self, repeat: CUDARepeat, landed: _Landing, pts: int | None) -> None:
        self._repeat, self._pts, self._landed = repeat, pts, landed

    def frame(self) -> Frame:
        self._is_shown = True
        memory = self._repeat.taken_back(self._landed)
        return Frame(self.info, self._repeat.planes_in(memory))

    def array(self) -> npt.NDArray[Any] | None:
        """Return the one plane there is; None where the frame tells of it."""
        if self._is_shown:
            return None
        self._repeat.was_fetched()
        landings, _, array, mark = self._landed
        landings.wait(mark)
        return array


class CUDARepeat(Closable):
    """Does with frames what was done with one of the same form.

    One thread at a time runs it; what it made may be fetched by others.

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
        self._joins = self.stream != context.stream_handle
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
        self._blocks = BlockPool(context, self._nbytes) if calls else None
        # One plane without gaps the host sees as it is.
        self._may_land = len(self.layouts) == 1 and self.layouts[0].is_contiguous
        self._landings: Landings | None = None
        self._ahead = 0
        self._lock = threading.Lock()

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

    def run(self, frame: VideoFrame, addresses: Sequence[int]) -> _Decoded | _Computed | _Landed:
        """Put the kernels on the stream, for a frame whose planes are at some addresses.

        Raises
        ------
        DeviceError
            The device refused.
        """
        pts = frame.pts
        if self._blocks is None:
            return _Decoded(self, frame, addresses, pts)
        if self.context.closed:
            name = self.context.name
            raise ClosedError(f"the CUDA context {name} was closed; make another one")
        landing = self._landing()
        if landing is None:
            memory = self._blocks.take()
            self._launch(addresses, tuple(memory.address + offset for offset in self.offsets))
            return _Computed(self, memory, pts)
        landings, address, array = landing
        self._launch(addresses, (landings.source,))
        return _Landed(self, (landings, address, array, landings.carry(address)), pts)

    def _landing(self) -> tuple[Landings, int, npt.NDArray[Any]] | None:
        """Return where the next result lands; None where it stays on the device."""
        landings = self._landings
        if landings is None or not self._ahead:
            return None
        self._ahead -= 1
        place = landings.take()
        return None if place is None else (landings, *place)

    def _launch(self, source: Sequence[int], target: tuple[int, ...]) -> None:
        context, ours, theirs = self.context, self.context.stream_handle, self.stream
        if self._joins:
            context.join(ours, theirs)
        last = len(self._prepared) - 1
        for number, (prepared, between) in enumerate(self._prepared):
            made = target if number == last else between
            prepared.launch(source, made)
            source = made
        if self._joins:  # FFmpeg uses a surface again as soon as it has the frame back.
            context.join(theirs, ours)

    def was_fetched(self) -> None:
        """Have the results that follow land on the host, for this one was fetched."""
        if self._landings is None and self._may_land:
            with self._lock:
                if self._landings is None and self._may_land:
                    try:
                        self._landings = Landings(self.context, self.layouts[0])
                    except (DeviceError, DeviceNotFoundError, KernelError):  # Then each is copied.
                        self._may_land = False
        self._ahead = _LANDINGS_AHEAD if self._may_land else 0

    def taken_back(self, landed: _Landing) -> Block:
        """Return a block with what landed on the host, and have no more land there."""
        self._may_land, self._ahead = False, 0
        assert self._blocks is not None
        memory = self._blocks.take()
        self.context.put(landed[1], memory.address, self.layouts[0].nbytes)
        return memory

    def close(self) -> None:
        """Let go of the device's memory; what was computed stays. May be repeated."""
        with self._lock:
            self._may_land, self._ahead = False, 0
            if self._landings is not None:
                self._landings.close()
        if self._blocks is not None:
            self._blocks.close()
        self._between.clear()
