"""Kernels as a step of the pipeline: filter sessions in a row, on one device.

Pictures go to the device before the first session and come back after the last; between them they
lie in device-only buffers, and nothing is copied.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from av.codec.codec import Codec, find_best_pix_fmt_of_list
from av.video.frame import VideoFrame

from bridges import FrameInfo
from bridges.backends.ffmpeg_properties import (
    copy_properties,
    drop_hdr_side_data,
    sample_aspect_ratio,
    set_info,
    set_sample_aspect_ratio,
)
from bridges.errors import ClosedError, FormatError
from bridges.formats import PIXEL_FORMATS, ColourModel, pixel_format
from bridges.kernels import Kernel
from transcode.colour import gray_carrier
from transcode.filters import GraphStep
from transcode.hardware import is_surface, nbytes_of, pix_fmt_of
from transcode.notices import Notices
from transcode.surfaces import LumaMaker, Surfaces
from xma_plugins.builtin.kernel_filter import INTO_LUMA
from xma_plugins.builtin.libav_frame import from_av, to_av
from xma_plugins.device import Device
from xma_plugins.errors import BufferUseError
from xma_plugins.frame_pool import constant_plane
from xma_plugins.frames import BufferRef, XmaFrame, padded_planes
from xma_plugins.load import CommandLoad, relative_loads
from xma_plugins.properties import FilterProperties, Port
from xma_plugins.sessions import FilterSession

__all__ = ["Call", "KernelStep"]

Into = Callable[[FrameInfo, Sequence[int] | None], XmaFrame]
"""What gives a frame to write a result into; see `kernel_filter`."""

Call = tuple[Kernel, Mapping[str, Any] | Callable[[FrameInfo], Mapping[str, Any]]]
"""A kernel and its parameters, as `bridges.kernels.parse_call` returns them; or what finds them for
the pictures that it is to read."""

_POOL_CAPACITY = 64
"""Frames that encoders and filters may hold at once; they are made as they are needed."""

_FOR_EVER = 1e6
"""Seconds. An encoder may take its time; cancelling this step wakes whoever waits for it."""

_PIXELS_OF_FFMPEG = (1 << 31) // 8
"""What ``av_image_check_size`` of libavutil/imgutils.c refuses, with 128 added to each side."""


class KernelStep:
    """Runs kernels on each frame, one after the other.

    Parameters
    ----------
    calls : sequence of Call
        What to run.
    device : Device
        Where to run it.
    codec : av.Codec
        The encoder that the frames go to; a gray result is written straight into a format that it
        takes.
    pix_fmt : str or None
        The encoder's pixel format, where the user named one.
    notices : Notices
        Told of conversions and assumptions.
    surfaces : Surfaces, optional
        What shows the device frames that are a decoder's surfaces, and gives new ones: where the
        encoder takes such, the last kernel writes into them.
    fetches : bool
        Whether results leave in the host's memory, whatever the encoder takes.

    Attributes
    ----------
    frames : int
        Frames processed so far.
    """

    def __init__(
        self,
        calls: Sequence[Call],
        device: Device,
        *,
        codec: Codec,
        pix_fmt: str | None,
        notices: Notices,
        surfaces: Surfaces | None = None,
        fetches: bool = False,
    ) -> None:
        self._surfaces, self._fetches = surfaces, fetches
        self._into_surfaces = () if surfaces is None or fetches else surfaces.formats(codec)
        self._writes_surfaces = False
        self._calls, self._device = list(calls), device
        self._codec, self._pix_fmt, self._notices = codec, pix_fmt, notices
        self._form: FrameInfo | None = None
        self._infos: list[FrameInfo] = []
        self._values: list[Mapping[str, Any]] = []
        self._carrier: FrameInfo | None = None
        self._sessions: list[FilterSession] = []
        self._makes_luma = False
        self._luma_maker: LumaMaker | None = None
        self._converter: GraphStep | None = None
        self._rest: KernelStep | None = None
        self._cancelled = False
        self._seconds = 0.0
        self._between = 0
        self._fetched = 0
        self.frames = 0

    def process(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Run the kernels on a frame; nothing is left to flush at None."""
        for readable in self._readable(frame):
            if self._cancelled:
                raise ClosedError("the kernels were cancelled, and take no more frames")
            started = time.perf_counter()
            result = self._past_session(readable)
            if result is None:
                result = self._run(readable)
            self._seconds += time.perf_counter() - started
            self.frames += 1
            if self._rest is None:
                yield result
            else:
                yield from self._rest.process(result)
        if frame is None and self._rest is not None:
            yield from self._rest.process(None)

    def _readable(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Yield the frame in a format that the first kernel reads, converted only where need be."""
        kernel, _ = self._calls[0]
        source = "" if frame is None else pix_fmt_of(frame)
        if frame is not None and source in kernel.formats_read:
            yield frame
            return
        if self._converter is None:
            if frame is None:
                return
            known = [name for name in kernel.formats_read if name in PIXEL_FORMATS]
            best, _ = find_best_pix_fmt_of_list(known, source)
            name = best.name if best is not None else "rgb24"
            self._notices.add(f"pixel format {source} > {name}, which {kernel.name} reads")
            fetch = f"hwdownload,format={source}," if is_surface(frame) else ""
            self._converter = GraphStep(f"{fetch}format={name}", rate=None, notices=self._notices)
        if frame is not None and is_surface(frame):
            self._fetched += nbytes_of(frame)
        yield from self._converter.process(frame)

    def _past_session(self, frame: VideoFrame) -> VideoFrame | None:
        """Return what the kernel makes of a surface without its session, where that can be."""
        if self._luma_maker is None:
            return None
        result = self._luma_maker.make(frame)
        return None if result is None else self._tagged(result, frame)

    def _run(self, frame: VideoFrame) -> VideoFrame:
        with self._source(frame) as source:
            assert source.info is not None  # Kernels read formats of `bridges.formats` alone.
            if source.info != self._form:
                self._open(source.info)
            if frame.interlaced_frame:
                self._tell_of_fields()
            picture = self._through(self._sessions[0], source)
        moved = self._device.transfers.nbytes
        for session in self._sessions[1:]:
            picture = self._through(session, picture)
        self._between += self._device.transfers.nbytes - moved
        if self._carrier is not None:
            picture = _as_luma(picture, self._carrier)
        with picture:
            if self._makes_luma and is_surface(frame):
                self._prepare(frame)
            result = to_av(picture)
            if is_surface(result):
                info = self._infos[-1]
                copy_properties(frame, result)
                set_info(result, replace(info, pts=frame.pts, time_base=frame.time_base))
            return self._tagged(result, frame)

    def _prepare(self, frame: VideoFrame) -> None:
        """Have further surfaces of a form go past the session, where that can be."""
        self._forget_luma_maker()
        assert self._surfaces is not None  # As in `_source`.
        (session,), (kernel, _) = self._sessions, self._calls[0]
        counts = self._device.scheduler.counts
        count = next(each for each in counts if each.session == session.name)
        made = self._infos[-1]
        self._luma_maker = self._surfaces.luma_maker(kernel, self._values[0], frame, made, count)
        self._makes_luma = self._luma_maker is not None

    def _forget_luma_maker(self) -> None:
        maker, self._luma_maker = self._luma_maker, None
        if maker is not None:
            maker.close()

    def _source(self, frame: VideoFrame) -> XmaFrame:
        if not is_surface(frame):
            return from_av(frame)
        assert self._surfaces is not None  # They come from a decoder that was chosen with them.
        return self._surfaces.read(frame)

    @staticmethod
    def _through(session: FilterSession, picture: XmaFrame) -> XmaFrame:
        """Return what a session makes of a picture, which is closed."""
        with picture:
            session.send_frame(picture)
        _, made = session.recv_frame()
        assert made is not None  # It was sent one picture, and had none before.
        return made

    def _tell_of_fields(self) -> None:
        for kernel, _ in self._calls:
            if kernel.kind not in INTO_LUMA:
                self._notices.add(
                    f"interlaced frames go through {kernel.name} as progressive ones; "
                    "deinterlace them first, for example with --vf bwdif"
                )

    def _tagged(self, result: VideoFrame, frame: VideoFrame) -> VideoFrame:
        """Return a result with those tags of its source that the kernels have not changed."""
        source, target = self._infos[0], self._infos[-1]
        if source.colour.transfer != target.colour.transfer:
            # What it says of its mastering display is no longer so.
            drop_hdr_side_data(result)
        aspect = sample_aspect_ratio(frame)
        if aspect is not None:
            ends = zip(self._infos[:-1], self._infos[1:], strict=True)
            steps = zip(self._calls, self._values, ends, strict=False)
            for (kernel, _), parameters, (before, after) in steps:
                aspect = kernel.aspect(before, after, aspect, parameters)
            set_sample_aspect_ratio(result, aspect)
        return result

    def _open(self, info: FrameInfo) -> None:
        """Have sessions for frames of a form; those that see no change go on."""
        self._forget_luma_maker()
        old = list(zip(self._infos, self._infos[1:], self._sessions, strict=False))
        self._form, self._infos, self._values, self._sessions = info, [info], [], []
        try:
            self._extend(old)
        finally:
            _close(session for *_, session in old if session not in self._sessions)

    def _extend(self, old: list[tuple[FrameInfo, FrameInfo, FilterSession]]) -> None:
        """Have a session for each kernel, of those there were where that sees no change."""
        is_luma = False
        for place, (kernel, given) in enumerate(self._calls):
            before = self._infos[-1]
            parameters = given(before) if callable(given) else given
            if place and before.format.name not in kernel.formats_read:
                self._hand_over(place)
                break
            is_last = place == len(self._calls) - 1
            made = self._made_of(kernel, parameters, before, is_last=is_last)
            is_luma = is_luma or kernel.kind in INTO_LUMA
            self._infos.append(made)
            self._values.append(parameters)
            if place < len(old) and old[place][:2] == (before, made):
                self._sessions.append(old[place][2])
                continue
            self._tell(kernel, parameters, before, made)
            into = self._target(kernel, made) if is_last else None
            self._sessions.append(self._session(kernel, parameters, before, made, into))
        self._carrier = self._carried(self._infos[-1]) if is_luma else None
        is_alone = len(self._calls) == 1 and self._rest is None and not self._writes_surfaces
        kernel, made = self._calls[0][0], self._infos[-1]
        writes_luma = kernel.written(made) == (0,) and made.format.planes[0].channels == "Y"
        self._makes_luma = is_alone and is_luma and writes_luma and not kernel.takes_previous

    def _carried(self, made: FrameInfo) -> FrameInfo | None:
        """Return in what the encoder takes a gray picture that was luma before its last kernel."""
        if made.format.model is not ColourModel.GRAY:
            return None
        known = pixel_format(self._gray_carrier(made))
        ours, theirs = made.format, known
        if known is ours or (ours.dtype, ours.shift) != (theirs.dtype, theirs.shift):
            return None
        return replace(made, format=known)

    def _gray_carrier(self, made: FrameInfo) -> str:
        return gray_carrier(self._codec, made.format, self._pix_fmt, self._into_surfaces)

    def _hand_over(self, place: int) -> None:
        """Leave kernels that do not read what the one before makes to a step of their own.

        Frames of an earlier form may have split off a step further behind, which follows it.
        """
        made = KernelStep(
            self._calls[place:],
            self._device,
            codec=self._codec,
            pix_fmt=self._pix_fmt,
            notices=self._notices,
            surfaces=self._surfaces,
            fetches=self._fetches,
        )
        made._rest = self._rest
        self._rest = made
        del self._calls[place:]

    def _target(self, kernel: Kernel, made: FrameInfo) -> Into | None:
        """Return what gives surfaces for the last kernel's results; None where it takes none."""
        # What reads its last result would read a surface that an encoder has.
        if self._surfaces is None or kernel.takes_previous:
            return None
        fits = made.format.name in self._into_surfaces and self._surfaces.holds(made)
        self._writes_surfaces = fits
        return self._surfaces.write if fits else None

    def _session(
        self,
        kernel: Kernel,
        parameters: Mapping[str, Any],
        source: FrameInfo,
        made: FrameInfo,
        into: Into | None,
    ) -> FilterSession:
        return FilterSession(
            FilterProperties(
                plugin="kernel_filter",
                input=_port(source),
                output=_port(made),
                params={
                    "kernel": kernel,
                    "parameters": parameters,
                    "zerocopy": True,
                    "depth": 1,
                    "pool": _POOL_CAPACITY,
                    "timeout": _FOR_EVER,
                    "into": into,
                },
            ),
            self._device,
        )

    def _made_of(
        self, kernel: Kernel, parameters: Mapping[str, Any], info: FrameInfo, *, is_last: bool
    ) -> FrameInfo:
        """Return what a kernel makes of a picture; the last one what the encoder takes."""
        result = kernel.output(info, **parameters)
        if not isinstance(result, FrameInfo):
            raise FormatError(f"{kernel.name} makes numbers, not pictures; run it from Python")
        is_gray = result.format.model is ColourModel.GRAY
        if is_last and is_gray and kernel.kind in INTO_LUMA:
            result = replace(result, format=pixel_format(self._gray_carrier(result)))
        if (result.width + 128) * (result.height + 128) >= _PIXELS_OF_FFMPEG:
            raise FormatError(
                f"{kernel.name} makes {result.width}x{result.height}, which is more than "
                "FFmpeg's frames can hold; make it smaller"
            )
        return result

    def _tell(
        self, kernel: Kernel, parameters: Mapping[str, Any], info: FrameInfo, result: FrameInfo
    ) -> None:
        """Say what a kernel assumes, and what it loses."""
        if note := kernel.note(info, **parameters):
            self._notices.add(note)
        if info.format.has_alpha and not result.format.has_alpha:
            self._notices.add(f"alpha dropped by {kernel.name}")

    @property
    def seconds(self) -> float:
        """Time spent here so far, the way to the device and back included."""
        return self._seconds + (self._rest.seconds if self._rest else 0.0)

    @property
    def bytes_copied(self) -> int:
        """Bytes carried to the device and back, so far, and fetched to be converted before.

        `Surfaces` counts those that it copies.
        """
        return self._device.transfers.nbytes + self.fetched

    @property
    def fetched(self) -> int:
        """Bytes of surfaces that were fetched to be converted, so far."""
        return self._fetched + (self._rest.fetched if self._rest else 0)

    @property
    def bytes_between(self) -> int:
        """Bytes of those that were carried between one kernel and the next."""
        return self._between + (self._rest.bytes_between if self._rest else 0)

    @property
    def loads(self) -> tuple[CommandLoad, ...]:
        """How busy each kernel's session kept the device."""
        return tuple(relative_loads(self._device.scheduler.counts))

    @property
    def route(self) -> str:
        """The way that frames take, such as ``FFmpeg > CPU > OpenCL > CPU > FFmpeg``."""
        kind = self._device.driver.context.memory_type
        ends = ["FFmpeg", "CPU"]
        if self._surfaces is not None and self._surfaces.route:
            ends = self._surfaces.route.split(" > ")
        there = [] if kind.value == ends[-1] else [kind.value]
        there = [*ends, *there]
        back = ends[::-1] if self._writes_surfaces else ["CPU", "FFmpeg"]
        return " > ".join([*there, *back[back[0] == there[-1] :]])

    @property
    def is_zero_copy(self) -> bool:
        """Whether nothing is carried: the device works in host memory, or frames stay on it."""
        return self._device.driver.shares_host_memory or self._writes_surfaces

    def cancel(self) -> None:
        """Wake a thread that waits for frames to come back; see `Step.cancel`."""
        self._cancelled = True
        for session in list(self._sessions):
            session.cancel()
        if self._rest is not None:
            self._rest.cancel()

    def close(self) -> None:
        """Destroy the sessions; may be repeated."""
        sessions, self._sessions = self._sessions, []
        with contextlib.ExitStack() as stack:  # One that fails does not keep the others open.
            for part in (self._rest, self._converter):
                if part is not None:
                    stack.callback(part.close)
            stack.callback(_close, sessions)
            self._forget_luma_maker()


def _port(info: FrameInfo) -> Port:
    return Port(format=info.format, width=info.width, height=info.height)


def _as_luma(picture: XmaFrame, carrier: FrameInfo) -> XmaFrame:
    """Return a gray picture as the luma of another format, whose chroma has no colour."""
    layouts = padded_planes(carrier)
    with picture:
        (luma,) = picture.planes
        luma.retain()
        constant = [
            BufferRef(constant_plane(carrier.format, index, layout), is_clone=True)
            for index, layout in enumerate(layouts)
            if index
        ]
        made = XmaFrame(carrier, [luma, *constant])
        made.describe_as(picture)
    return made


def _close(sessions: Iterable[FilterSession]) -> None:
    for session in sessions:
        # FFmpeg may hold results for as long as an encoder lives; it holds their memory too.
        with contextlib.suppress(BufferUseError):
            session.close()
