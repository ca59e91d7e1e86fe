"""The pipeline: one thread per stage, bounded channels between them, one error for all."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from av.video.frame import VideoFrame

from transcode.channel import Channel, Stop, Stopped
from transcode.errors import SourceError
from transcode.filters import run_steps
from transcode.sink import Sink
from xma_plugins.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable
    from fractions import Fraction

    from av.packet import Packet

    from transcode.filters import Step
    from transcode.job import Job
    from transcode.notices import Notices
    from transcode.source import Source

__all__ = ["Pipeline"]

_FRAMES_BETWEEN_STAGES = 3
"""Enough to bridge the uneven work of stages; a frame is 3 MB in 1080p, so memory is bounded."""

_PACKETS_BETWEEN_STAGES = 64

_STALLED_SECONDS = 1.5
"""How long to wait for a stage that may sit in a read or write that never comes back, of a pipe
whose other end does nothing, or in a kernel that never ends. The encoder always comes back."""


class _Stage(threading.Thread):
    """A thread that runs one stage and counts the time that it works."""

    def __init__(
        self,
        name: str,
        work: Callable[[_Stage], None],
        done: Callable[[_Stage, BaseException | None], None],
    ) -> None:
        super().__init__(name=f"xtranscode-{name}", daemon=True)
        self.stage = name
        self._work, self._done = work, done
        self.seconds = 0.0
        self.waited = 0.0

    def run(self) -> None:
        # The work is a method of the pipeline, which holds this stage: let go of it at the end, so
        # that nothing of a finished run waits for the garbage collector.
        work, done = self._work, self._done
        del self._work, self._done
        started = time.perf_counter()
        error: BaseException | None = None
        try:
            work(self)
        except Stopped:
            pass
        except BaseException as caught:  # noqa: BLE001 - handed to the thread that waits
            error = caught
        self.seconds = time.perf_counter() - started - self.waited
        done(self, error)


class Pipeline:
    """Decode, process, encode and write, from an opened source to a closed file.

    Parameters
    ----------
    job : Job
        What to do.
    source : Source
        Opened; the pipeline reads it to its end.
    steps : list of Step
        What happens between decoder and encoder, in order.
    location : str
        Where to write: a path, or ``"pipe:1"``.
    encoder_threads : int
        0 for the encoder's own choice.
    notices : Notices
        Told of what is dropped and converted.

    Attributes
    ----------
    sink : Sink or None
        From the first frame on.
    frames_encoded : int
        Frames sent to the encoder so far.
    """

    def __init__(
        self,
        job: Job,
        source: Source,
        steps: list[Step],
        *,
        location: str,
        encoder_threads: int,
        notices: Notices,
    ) -> None:
        self._job, self._source, self._steps = job, source, steps
        self._location, self._encoder_threads = location, encoder_threads
        self._notices = notices
        self.sink: Sink | None = None
        self.frames_encoded = 0
        self._stop = Stop()
        self._failure: tuple[_Stage, BaseException] | None = None
        self._failure_lock = threading.Lock()
        self._finished: queue.SimpleQueue[_Stage] = queue.SimpleQueue()
        self._decoded: Channel[VideoFrame] = Channel(_FRAMES_BETWEEN_STAGES, self._stop)
        self._processed: Channel[VideoFrame] = Channel(_FRAMES_BETWEEN_STAGES, self._stop)
        self._written: Channel[tuple[bool, Packet[Any]]] = Channel(
            _PACKETS_BETWEEN_STAGES, self._stop, producers=2
        )
        self._stages = [
            _Stage("decode", self._decode, self._done),
            _Stage("process", self._process, self._done),
            _Stage("encode", self._encode, self._done),
            _Stage("write", self._write, self._done),
        ]

    @property
    def stage_seconds(self) -> dict[str, float]:
        """Seconds that each stage worked; complete once `run` has returned."""
        return {stage.stage: stage.seconds for stage in self._stages}

    def run(self, on_tick: Callable[[], None], tick_seconds: float) -> None:
        """Run every stage to its end; call ``on_tick`` from this thread now and then.

        Raises
        ------
        XTranscodeError
            The first failure of any stage; the others were stopped.
        BaseException
            Whatever ``on_tick`` or a signal raised; every stage was stopped.
        """
        for stage in self._stages:
            stage.start()
        running = len(self._stages)
        try:
            while running:
                try:
                    self._finished.get(timeout=tick_seconds)
                    running -= 1
                except queue.Empty:
                    on_tick()
        except BaseException:
            self._halt()
            raise
        finally:
            if not self.is_reading:
                self._stop.release()
        if self._failure is not None:
            self._halt()
            stage, error = self._failure
            self._failure = None
            error.add_note(f"raised in the {stage.stage} stage")
            raise error

    @property
    def is_reading(self) -> bool:
        """Whether the source is still in use: a read of a pipe or a server did not come back."""
        return self._stages[0].is_alive()

    @property
    def is_processing(self) -> bool:
        """Whether a step is still at work: a kernel did not come back."""
        return self._stages[1].is_alive()

    def _done(self, stage: _Stage, error: BaseException | None) -> None:
        if error is not None:
            with self._failure_lock:
                if self._failure is None:
                    self._failure = stage, error
            self._stop_all()
        self._finished.put(stage)

    def _stop_all(self) -> None:
        self._stop.set()
        for step in self._steps:
            step.cancel()

    def _halt(self) -> None:
        """Stop every stage; give up on a read, a write or a kernel that does not come back."""
        self._stop_all()
        deadline = time.monotonic() + _STALLED_SECONDS
        for stage in self._stages:
            may_stall = stage.stage != "encode"
            stage.join(timeout=max(0, deadline - time.monotonic()) if may_stall else None)
        if self.sink is not None and not any(stage.is_alive() for stage in self._stages):
            self.sink.abort()

    def _decode(self, stage: _Stage) -> None:
        _yield_to_other_threads()
        for item in self._source.read():
            if isinstance(item, VideoFrame):
                stage.waited += self._decoded.put(item)
            else:
                stage.waited += self._written.put((False, item))
        self._decoded.close()
        self._written.close()

    def _process(self, stage: _Stage) -> None:
        while True:
            frame, waited = self._decoded.get()
            stage.waited += waited
            for result in run_steps(self._steps, frame):
                stage.waited += self._processed.put(result)
            if frame is None:
                break
        self._processed.close()

    def _encode(self, stage: _Stage) -> None:
        while True:
            frame, waited = self._processed.get()
            stage.waited += waited
            if self.sink is None:
                self.sink = self._open_sink(frame)
            encoder = self.sink.encoder
            status = encoder.send_frame(frame)
            self.frames_encoded += frame is not None
            while status is Status.SUCCESS:
                status, packet = encoder.recv_data()
                if packet is not None:
                    stage.waited += self._written.put((True, packet))
            if status is Status.EOS:
                break
        self._written.close()

    def _open_sink(self, first: VideoFrame | None) -> Sink:
        if first is None:
            raise SourceError(f"{self._source.path}: no frame lies in the part asked for")
        output = self._job.outputs[0]
        return Sink(
            self._location,
            output,
            self._source,
            first,
            rate=output.video.fps or _rate(first, self._job, self._source),
            threads=self._encoder_threads,
            notices=self._notices,
        )

    def _write(self, stage: _Stage) -> None:
        early: list[Packet[Any]] = []
        while True:
            item, waited = self._written.get()
            stage.waited += waited
            if item is None:
                break
            is_video, packet = item
            if self.sink is None:
                # The header is written at the first video frame; what comes before it waits here,
                # without a bound, because the frame may lie behind any number of packets.
                early.append(packet)
                continue
            while early:
                self.sink.write(early.pop(0))
            if is_video:
                self.sink.write_video(packet)
            else:
                self.sink.write(packet)
        assert self.sink is not None
        self.sink.finish()


_DECODER_NICENESS = 5
"""Added to the decoder's own thread. The encoder is nearly always the slowest stage; a decoder that
runs beside it with equal rights takes time from it early and leaves a core idle later."""


def _yield_to_other_threads() -> None:
    """Give this thread, and those that it starts, a lower priority. Linux has one per thread."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        now = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(now + _DECODER_NICENESS, 19))


def _rate(first: VideoFrame, job: Job, source: Source) -> Fraction | None:
    """Return the frame rate to tell the encoder; filters may have changed the source's."""
    if job.vf is not None and first.duration and first.time_base:
        return 1 / (first.duration * first.time_base)
    return source.rate
