"""One run from job to report: check, open, run the pipeline, verify, publish."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any

from bridges.errors import XTranscodeError
from transcode.colour import matrix_name
from transcode.encoder import find_encoder
from transcode.filters import GraphStep, Step
from transcode.fit import FitStep
from transcode.hardware import Hardware, check_encoder, choose_hardware
from transcode.job import AudioOptions, Job, Output, VerifyMode, VideoOptions
from transcode.notices import Notices
from transcode.pipeline import Pipeline
from transcode.progress import Finished, Notice, OnProgress, Progress, Started
from transcode.publish import Publication
from transcode.report import Report, StreamSummary
from transcode.sink import Sink, container_format
from transcode.source import Source
from transcode.verify import Expected, verify, video_tags

if TYPE_CHECKING:
    from fractions import Fraction

    from av.codec.codec import Codec
    from av.video.codeccontext import VideoCodecContext

    from transcode.file_identity import FileIdentity
    from transcode.kernel_step import KernelStep
    from transcode.runtime import ChosenRuntime
    from transcode.surface_fit import SurfaceFitStep
    from transcode.surfaces import Surfaces
    from xma_plugins.device import Device

__all__ = ["run", "run_job"]

_TICK_SECONDS = 0.1
_FULL_HD_PIXELS = 1920 * 1080


def run(
    source: Job | str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    *,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> Report:
    """Transcode, and return what was done.

    Parameters
    ----------
    source : Job, str or path-like
        A whole job; or what to read, with ``target`` and ``options``.
    target : str or path-like, optional
        What to write.
    on_progress : callable, optional
        Called in this thread with each `transcode.progress.Event`. What it raises ends the run.
    **options
        Fields of `Job` and `Output`: ``filters``, ``vf``, ``start``, ``duration``, ``device``,
        ``software_fallback``, ``verify``, ``damaged``, ``overwrite``, ``format``, ``video``,
        ``audio``.

    Raises
    ------
    XTranscodeError
        The job cannot be done. Nothing is left behind, and an old target is as it was.

    Examples
    --------
    >>> report = run("talk.mp4", "gray.mp4", filters=["rgb_to_grayscale"])  # doctest: +SKIP
    """
    if isinstance(source, Job):
        if target is not None or options:
            raise TypeError("a Job holds its target and options; pass it alone")
        job = source
    else:
        job = _make_job(source, target, options)
    return run_job(job, on_progress or (lambda event: None))


def run_job(
    job: Job,
    on_progress: OnProgress,
    *,
    mark: str = "",
    replaces: FileIdentity | None = None,
) -> Report:
    """Run a job whose output is published with a mark; see `run`, and `Publication`."""
    return _Run(job, on_progress, mark, replaces).run()


def _make_job(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None,
    options: dict[str, Any],
) -> Job:
    if target is None:
        raise TypeError("run needs a target: run(source, target), or run(job)")
    kinds = {"format": None, "video": VideoOptions(), "audio": AudioOptions()}
    of_output = {key: options.pop(key, default) for key, default in kinds.items()}
    return Job(source=source, outputs=(Output(target, **of_output),), **options)


class _Run:
    """The state of one run."""

    def __init__(
        self, job: Job, on_progress: OnProgress, mark: str, replaces: FileIdentity | None
    ) -> None:
        self._job = job
        self._mark = mark
        self._replaces = replaces
        self._output = job.outputs[0]
        self._tell = on_progress
        self._notices = Notices()
        self._told = 0
        self._started = time.perf_counter()
        self._announced = False
        self._verify_seconds = 0.0
        self._kernels: KernelStep | None = None
        self._pipeline: Pipeline | None = None
        self._runtime: ChosenRuntime | None = None
        self._hardware: Hardware | None = None
        self._vf: GraphStep | None = None
        self._fit: SurfaceFitStep | None = None
        self._surfaces: Surfaces | None = None
        self._device: Device | None = None

    def run(self) -> Report:
        # Whatever can be found wrong without reading a frame is found before anything is opened.
        codec = find_encoder(self._output.video.codec, "video")
        if self._output.audio.codec not in ("copy", "none"):
            find_encoder(self._output.audio.codec, "audio")
        container_format(self._output)
        with contextlib.ExitStack() as stack:
            hardware = self._hardware = choose_hardware(self._job.device)
            if hardware is not None:
                stack.callback(self._close_when_idle, hardware)
            check_encoder(codec, hardware)
            calls = self._kernel_calls()
            source = self._open_source()
            stack.callback(self._close, source)
            publication = self._prepare_output(stack)
            steps = self._steps(stack, codec, source, calls)
            pipeline = self._pipeline = Pipeline(
                self._job,
                source,
                steps,
                location="pipe:1" if publication is None else str(publication.temporary),
                encoder_threads=0,
                notices=self._notices,
            )
            try:
                pipeline.run(lambda: self._tick(source, pipeline), _TICK_SECONDS)
            except XTranscodeError:
                self._tell_notices()
                raise
            self._tick(source, pipeline)
            assert pipeline.sink is not None
            verified = self._verify(publication, source, pipeline.sink)
            nbytes = None if publication is None else publication.commit()
            report = self._report(source, pipeline, verified, nbytes)
        self._tell_notices()
        self._tell(Finished(report))
        return report

    def _kernel_calls(self) -> list[Any]:
        """Return the kernels asked for, each with its parameters, and choose where they run."""
        if not self._job.filters and (self._hardware or self._job.device in ("auto", "cpu")):
            return []
        # A plain transcode needs neither kernels nor NumPy, and starts the sooner without.
        from bridges.kernels import fuse, parse_call
        from transcode.runtime import choose_runtime

        calls = fuse([parse_call(text) for text in self._job.filters])
        context = None if self._hardware is None else self._hardware.context
        self._runtime = choose_runtime(self._job.device, context)
        return calls

    def _close(self, source: Source) -> None:
        # A container that a thread still reads from cannot be closed; it ends with the process.
        if self._pipeline is None or not self._pipeline.is_reading:
            source.close()

    def _open_source(self) -> Source:
        return Source(
            str(self._job.source),
            start=self._job.start,
            duration=self._job.duration,
            keep_damaged=self._job.damaged == "keep",
            threads=decoder_threads(),
            hardware=self._hardware,
            software_fallback=self._job.software_fallback,
            notices=self._notices,
        )

    def _prepare_output(self, stack: contextlib.ExitStack) -> Publication | None:
        if self._output.is_stdout:
            return None
        publication = Publication(
            str(self._output.path),
            source=str(self._job.source),
            overwrite=self._job.overwrite,
            mark=self._mark,
            replaces=self._replaces,
        )
        stack.callback(publication.abort)
        publication.reserve()
        return publication

    def _steps(
        self, stack: contextlib.ExitStack, codec: Codec, source: Source, calls: list[Any]
    ) -> list[Step]:
        video = self._output.video
        steps: list[Step] = []
        if self._job.vf is not None:
            self._vf = GraphStep(self._job.vf, rate=source.rate, notices=self._notices)
            steps.append(self._vf)
        if calls:
            self._open_device(stack)
        if self._hardware is not None:
            self._open_surfaces(stack, codec, self._hardware)
        if calls:
            self._kernels = self._kernel_step(codec, calls)
            steps.append(self._kernels)
        if self._surfaces is None:
            steps.append(FitStep(codec, video, rate=source.rate, notices=self._notices))
        else:
            self._fit = self._surface_fit(codec, source, self._surfaces)
            steps.append(self._fit)
        for step in steps:
            stack.callback(self._close_when_idle, step)
        return steps

    def _open_device(self, stack: contextlib.ExitStack) -> Device:
        from xma_plugins.device import Device
        from xma_plugins.drivers import driver_of

        if self._runtime is not None:
            context = self._runtime.runtime.context
        else:
            assert self._hardware is not None
            assert self._hardware.context is not None
            context = self._hardware.context
        self._device = Device(driver_of(context), compute_units=())
        stack.callback(self._close_when_idle, self._device)
        return self._device

    def _open_surfaces(self, stack: contextlib.ExitStack, codec: Codec, hardware: Hardware) -> None:
        if hardware.kind == "cuda":
            from transcode.cuda_surfaces import CUDASurfaces

            # Kernels or not, it carries what is fetched.
            device = self._device or self._open_device(stack)
            options = self._output.video
            self._surfaces = CUDASurfaces(device, codec, options, notices=self._notices)
        else:
            from transcode.va_surfaces import VASurfaces

            self._surfaces = VASurfaces(hardware.node, self._device, notices=self._notices)
        stack.callback(self._close_when_idle, self._surfaces)

    def _surface_fit(self, codec: Codec, source: Source, surfaces: Surfaces) -> SurfaceFitStep:
        from transcode.surface_fit import SurfaceFitStep

        return SurfaceFitStep(
            codec,
            self._output.video,
            rate=source.rate,
            surfaces=surfaces,
            notices=self._notices,
        )

    def _kernel_step(self, codec: Codec, calls: list[Any]) -> KernelStep:
        from transcode.kernel_step import KernelStep

        assert self._device is not None
        resizing = self._surfaces.resizing if self._surfaces is not None else None
        return KernelStep(
            calls if resizing is None else [*calls, resizing],
            self._device,
            codec=codec,
            pix_fmt=self._output.video.pix_fmt,
            notices=self._notices,
            surfaces=self._surfaces,
        )

    def _close_when_idle(self, opened: Step | Device | Surfaces | Hardware) -> None:
        # A kernel that never ends is left to the end of the process.
        if self._pipeline is None or not self._pipeline.is_processing:
            opened.close()

    def _tick(self, source: Source, pipeline: Pipeline) -> None:
        """Tell what is new; called from the thread that called `run`."""
        sink = pipeline.sink
        if sink is not None and not self._announced:
            self._announced = True
            self._tell(
                Started(
                    source=source.summary(),
                    output=_summary(self._output, sink, None),
                    device=self._where(),
                    route=self._route(),
                    total_frames=self._total_frames(source),
                )
            )
        if self._announced:
            assert sink is not None
            # Behind what they are of.
            self._tell_notices()
            self._tell(self._progress(source, pipeline, sink))

    def _tell_notices(self) -> None:
        messages = self._notices.messages
        for message in messages[self._told :]:
            self._tell(Notice(message))
        self._told = len(messages)

    def _progress(self, source: Source, pipeline: Pipeline, sink: Sink) -> Progress:
        elapsed = time.perf_counter() - self._started
        encoded = pipeline.frames_encoded
        total = self._total_frames(source)
        fps = encoded / elapsed if elapsed else 0.0
        left = None if total is None or not fps else max(total - encoded, 0) / fps
        return Progress(
            frames_decoded=source.frames_decoded,
            frames_encoded=encoded,
            total_frames=total,
            fps=fps,
            kernel_ms=self._kernel_ms(),
            eta_seconds=left,
            bytes_written=sink.nbytes,
        )

    def _total_frames(self, source: Source) -> int | None:
        if self._output.video.fps is None:
            return source.total_frames
        seconds = source.seconds
        return None if seconds is None else round(seconds * self._output.video.fps)

    def _kernel_ms(self) -> float | None:
        step = self._kernels
        return 1000 * step.seconds / step.frames if step is not None and step.frames else None

    def _where(self) -> str:
        kernels = self._runtime.description if self._runtime else ""
        if self._hardware is None:
            return kernels
        if self._hardware.context is not None:
            return self._hardware.description  # Kernels run there too.
        return ", kernels on ".join(filter(None, (self._hardware.description, kernels)))

    def _route(self) -> str:
        if self._kernels is not None:
            route, zero_copy = self._kernels.route, self._kernels.is_zero_copy
        elif self._fit is not None:
            route, zero_copy = self._fit.route, True
        else:
            return ""
        zero_copy = zero_copy and not (self._fit is not None and self._bytes_copied())
        return f"{route}   {'zero-copy' if zero_copy else 'with copies'}"

    def _bytes_copied(self) -> int:
        carried = self._device.transfers.nbytes if self._device is not None else 0
        fetched = self._kernels.fetched if self._kernels else 0
        fetched += self._fit.bytes_copied if self._fit is not None else 0
        fetched += self._vf.fetched if self._vf is not None else 0
        mapped = self._surfaces.bytes_copied if self._surfaces is not None else 0
        return carried + fetched + mapped

    def _verify(self, publication: Publication | None, source: Source, sink: Sink) -> VerifyMode:
        if publication is None:
            if self._job.verify != "none":
                self._notices.add("standard output cannot be verified")
            return "none"
        started = time.perf_counter()
        if self._job.verify != "none":
            verify(
                str(publication.temporary),
                _expected(str(self._output.path), sink),
                decode=self._job.verify == "full",
                check=self._tell_notices,
                notices=self._notices,
            )
        self._verify_seconds = time.perf_counter() - started
        return self._job.verify

    def _report(
        self, source: Source, pipeline: Pipeline, verified: VerifyMode, nbytes: int | None
    ) -> Report:
        sink = pipeline.sink
        assert sink is not None
        elapsed = time.perf_counter() - self._started
        times = sink.times
        seconds = float((max(times) - min(times)) * sink.time_base) if times else 0.0
        rate = sink.encoder.stream.codec_context.framerate
        return Report(
            source=source.summary(),
            output=_summary(self._output, sink, nbytes),
            frames=sink.frames,
            frames_decoded=source.frames_decoded,
            duration_seconds=seconds + (float(1 / rate) if rate else 0.0),
            elapsed_seconds=elapsed,
            fps=sink.frames / elapsed,
            device=self._where(),
            route=self._route(),
            bytes_copied=self._bytes_copied(),
            bytes_between=self._kernels.bytes_between if self._kernels else 0,
            loads=self._kernels.loads if self._kernels else (),
            kernel_ms=self._kernel_ms(),
            stage_seconds={**pipeline.stage_seconds, "verify": self._verify_seconds},
            verified=verified,
            notices=self._notices.messages,
            device_bytes=self._surfaces.device_bytes if self._surfaces is not None else 0,
        )


def decoder_threads() -> int:
    """Return how many threads to decode with: half the cores, for the encoder needs the others."""
    return max(1, len(os.sched_getaffinity(0)) // 2)


def _summary(output: Output, sink: Sink, nbytes: int | None) -> StreamSummary:
    context = sink.encoder.stream.codec_context
    rate: Fraction | None = context.framerate or None
    return StreamSummary(
        path=str(output.path),
        container=sink.format.name,
        codec=context.name,
        pix_fmt=_pix_fmt(context),
        width=context.width,
        height=context.height,
        rate=rate,
        matrix=matrix_name(context.colorspace),
        nbytes=nbytes,
    )


def _pix_fmt(context: VideoCodecContext) -> str:
    in_memory = context.sw_format
    return in_memory.name if in_memory is not None else context.pix_fmt or "unknown"


def _expected(path: str, sink: Sink) -> Expected:
    stream = sink.encoder.stream
    return Expected(
        path=path,
        times=sink.times,
        time_base=sink.time_base,
        codec=stream.codec_context.codec.canonical_name,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        tags=video_tags(stream),
        streams=sink.streams,
        metadata=frozenset(sink.container.metadata),
        container=sink.format.name,
    )
