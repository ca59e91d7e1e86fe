"""From the decoder's frames to those that Python gets: mapped to a device, through kernels."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, cast

from bridges.backends.ffmpeg import FFmpegContext, frame_place
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

    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

    from bridges.backends.cuda import CUDAContext
    from bridges.context import Context
    from bridges.kernels import Kernel, Runtime
    from bridges.kernels.cuda import CUDARuntime
    from bridges.media import TensorsInfo
    from transcode.cuda_repeat import CUDARepeat
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
        self._repeat: CUDARepeat | None = None
        self._repeated: tuple[int, ...] = ()
        """The form of which that was tried last, as `frame_place` tells it."""
        self._hardware = hardware
        self._on_cuda = hardware is not None and hardware.kind == "cuda"
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
    def works_ahead(self) -> bool:
        """Whether kernels are still at work when `run` returns."""
        return self._on_cuda and bool(self._calls)

    @property
    def route(self) -> str:
        """The way of frames to the device, with what was copied; empty before the first."""
        return "" if self._mapper is None else self._mapper.explain()

    def repeat(self, frame: VideoFrame, number: int, time: tuple[int, Fraction]) -> Picture | None:
        """Return what the kernels make of a frame of CUDA's of the form that is known.

        Parameters, and what is raised, are those of `run`; None of any other frame.
        """
        repeat = self._repeat
        if repeat is None:
            return None
        addresses, form = frame_place(frame)
        if form != self._repeated:
            return None
        made = repeat.run(frame, addresses)
        return Picture(made, number=number, time=time, to_host=self._to_host)

    def run(
        self,
        frame: VideoFrame,
        number: int,
        time: tuple[int, Fraction],
        decoder: VideoCodecContext | None,
    ) -> Picture:
        """Return what the kernels make of a frame; the frame itself where there are none.

        Parameters
        ----------
        frame : av.VideoFrame
            As the decoder gives it.
        number : int
            Which frame of the video.
        time : tuple of int and Fraction
            When it is shown, after the video's first frame, in units of so many seconds.
        decoder : av.VideoCodecContext or None
            Of the frame, where that is a device's.

        Raises
        ------
        FormatError
            A kernel does not read what it gets.
        KernelError, DeviceError
            As `Runtime.enqueue` raises them.
        JobError
            As `Hardware.trim` raises it.
        """
        keep: object = frame
        result: Frame | TensorFrame
        with self._current:
            form = frame_place(frame)[1] if self._on_cuda else None
            if self._hardware is not None and decoder is not None:
                self._hardware.trim(frame, decoder)
            result = seen = self._mapped(frame)
            if form is not None and form != self._repeated:
                self._prepare(seen, form)
            if self._calls:
                result, keep = self._through(seen, number)
        return Picture(result, number=number, time=time, to_host=self._to_host, keep=keep)

    def _prepare(self, seen: Frame, form: tuple[int, ...]) -> None:
        """Have later frames of a form done with what is found out here, where that can be."""
        self._forget_form()
        self._repeated = form
        assert self._mapper is not None
        ffmpeg, target = self._mapper.source, self._mapper.target
        assert isinstance(ffmpeg, FFmpegContext)
        info: FrameInfo = timeless(seen.info)
        for kernel, parameters in self._calls:
            made = None if kernel.takes_previous else kernel.output(info, **parameters)
            if not isinstance(made, FrameInfo):
                return
            info = made
        if ffmpeg.hardware != "cuda":  # Decoded in software.
            return
        from transcode.cuda_repeat import CUDARepeat

        context, runtime = cast("CUDAContext", target), cast("CUDARuntime", self._runtime)
        self._repeat = CUDARepeat(runtime, self._calls, ffmpeg, seen, context)

    def _forget_form(self) -> None:
        if self._repeat is not None:
            self._repeat.close()
            self._repeat = None

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
        self._forget_form()
        if self._mapper is not None:
            self._mapper.close()
            self._mapper.source.close()
        for context in (*self._between, *([self._target] if self._target is not None else [])):
            context.close()
        self._between, self._target = [], None


def _lent(frame: Frame) -> Frame:
    """Return a frame over the same memory, which is somebody else's."""
    return Frame(frame.info, [tensor.lend() for tensor in frame.tensors])
