"""From the decoder's frames to those that Python gets: mapped to a device, through kernels."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.ffmpeg_hardware import hardware_of
from bridges.closable import Closable
from bridges.errors import FormatError
from bridges.frame import Frame, FrameInfo, TensorFrame
from bridges.mapper import MemoryMapper, create_mapper
from bridges.tensor import AccessMode, MemoryType
from bridges.way import contexts_for
from transcode.picture import Picture
from xma_plugins.frames import timeless

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from av.video.frame import VideoFrame

    from bridges.context import Context
    from bridges.frame import MediaFrame
    from bridges.kernels import Kernel, Runtime
    from bridges.media import TensorsInfo
    from transcode.hardware import Hardware

__all__ = ["FrameKernels"]

_KEPT_MAPPINGS = 256
"""Of planes; more than a decoder has surfaces."""


class FrameKernels(Closable):
    """Runs kernels on frames of a decoder, each into new memory of the device.

    It is used by one thread. On a CUDA device it does not wait: results are in the order of the
    device's stream, as the array protocols tell those who take them.

    Parameters
    ----------
    calls : sequence of str
        Kernels, each with its parameters, one after the other.
    device : str
        Where to run them; see `transcode.runtime.choose_runtime`.
    hardware : Hardware or None
        What decodes.

    Attributes
    ----------
    description : str
        Where kernels run; empty where there are none.
    """

    def __init__(self, calls: Sequence[str], device: str, hardware: Hardware | None) -> None:
        self._calls: list[tuple[Kernel, Mapping[str, Any]]] = []
        self._runtime: Runtime | None = None
        self._target: Context | None = hardware.context if hardware is not None else None
        self._current = hardware.current if hardware is not None else contextlib.nullcontext()
        self._mapper: MemoryMapper | None = None
        self._to_host: MemoryMapper | None = None
        self._between: list[Context] = []
        self._previous: tuple[int, dict[int, Frame]] = (-1, {})
        """A frame's number, and what kernels made of it that read it again, by their places."""
        self._waits = True
        self._forms: dict[tuple[Any, ...], FrameInfo | TensorsInfo] = {}
        self.description = ""
        if calls or (device not in ("auto", "cpu") and hardware is None):
            from bridges.kernels import fuse, parse_call
            from transcode.runtime import choose_runtime

            self._calls = list(fuse([parse_call(text) for text in calls]))
            chosen = choose_runtime(device, self._target)
            self._runtime, self.description = chosen.runtime, chosen.description
            self._target = chosen.runtime.context
            self._waits = self._target.memory_type is not MemoryType.CUDA

    @property
    def route(self) -> str:
        """The way of frames to the device, with what was copied; empty before the first."""
        return "" if self._mapper is None else self._mapper.explain()

    def run(self, frame: VideoFrame, *, number: int, time: Fraction) -> Picture:
        """Return what the kernels make of a frame; the frame itself where there are none.

        Raises
        ------
        FormatError
            A kernel does not read what it gets.
        KernelError, DeviceError
            As `Runtime.enqueue` raises them.
        """
        with self._current:
            result: MediaFrame = self._mapped(frame)
            keep: object = frame
            if self._calls:
                assert isinstance(result, Frame)
                result, keep = self._through(result, number)
            return Picture(result, number=number, time=time, to_host=self._to_host, keep=keep)

    def _mapped(self, frame: VideoFrame) -> Frame:
        """Return a frame as the device sees it; as an array of the host where there is none."""
        if self._mapper is None:
            from bridges.backends.cpu import CPUContext

            ffmpeg = FFmpegContext(hardware_of(frame))
            source = ffmpeg.wrap(frame)  # The first frame tells the device.
            target = self._target or CPUContext()
            self._between = contexts_for(source, target)
            kept = _KEPT_MAPPINGS if ffmpeg.hardware == "vaapi" else 0
            self._mapper = create_mapper([ffmpeg, *self._between, target], cache=kept)
            if target.memory_type is not MemoryType.CPU:
                self._to_host = create_mapper([target, CPUContext()])
        else:
            assert isinstance(self._mapper.source, FFmpegContext)
            source = self._mapper.source.wrap(frame)
        return self._mapper.map(source, AccessMode.READ)

    def _through(self, seen: Frame, number: int) -> tuple[Frame | TensorFrame, object]:
        assert self._runtime is not None
        source: Frame | TensorFrame = seen
        known, old = self._previous
        before = old if known == number - 1 else {}
        kept: dict[int, Frame] = {}
        pending = []
        opened: list[Frame | TensorFrame] = [seen]
        try:
            for place, (kernel, parameters) in enumerate(self._calls):
                if not isinstance(source, Frame):
                    raise FormatError(f"{kernel.name} reads pictures, and gets numbers")
                result = self._allocate(kernel, source.info, parameters)
                previous = before.get(place, source) if kernel.takes_previous else None
                event = self._runtime.enqueue(kernel, source, result, parameters, previous=previous)
                pending.append(event)
                if self._waits:
                    event.wait()
                if kernel.takes_previous and isinstance(result, Frame):
                    # The next frame reads it: it goes once nobody refers to it.
                    kept[place], result = result, _lent(result)
                opened.append(result)
                source = result
        except BaseException:
            for each in opened:
                each.close()
            raise
        for each in opened[:-1]:
            each.close()
        self._previous = number, kept
        return opened[-1], (pending, kept)

    def _allocate(
        self, kernel: Kernel, info: FrameInfo, parameters: Mapping[str, Any]
    ) -> Frame | TensorFrame:
        assert self._runtime is not None
        form = kernel, tuple(parameters.items()), timeless(info)
        made = self._forms.get(form)
        if made is None:
            made = self._forms[form] = kernel.output(form[2], **parameters)
        allocate = self._runtime.context.allocate
        if isinstance(made, FrameInfo):
            timed = FrameInfo(
                made.format, made.width, made.height, made.colour, info.pts, info.time_base
            )
            return Frame(timed, list(map(allocate, made.planes)))
        return TensorFrame(made, list(map(allocate, made.tensors)))

    def close(self) -> None:
        """Let go of the device; pictures stay good. May be repeated."""
        self._previous = (-1, {})
        if self._mapper is not None:
            self._mapper.close()
        for context in (*self._between, *([self._target] if self._target is not None else [])):
            context.close()
        self._between, self._target = [], None


def _lent(frame: Frame) -> Frame:
    """Return a frame over the same memory, which is somebody else's."""
    return Frame(frame.info, [tensor.lend() for tensor in frame.tensors])
