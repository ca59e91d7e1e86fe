"""The last step before the encoder, of a job with video hardware: scaled there, and handed on.

An encoder on the device gets surfaces: the decoder's own, or what the device's scaler or a kernel
made. An encoder in software gets what is fetched from them.
"""

from collections.abc import Iterator
from fractions import Fraction

from av.codec.codec import Codec
from av.video.frame import VideoFrame

from transcode.colour import choose_pix_fmt
from transcode.filters import GraphStep
from transcode.fit import FitStep, even_size
from transcode.hardware import POOL_FRAMES, encodes_on, is_surface, pix_fmt_of
from transcode.job import VideoOptions
from transcode.notices import Notices
from transcode.surfaces import Surfaces

__all__ = ["SurfaceFitStep"]

Form = tuple[int, int, str]
"""Width, height and pixel format in memory."""


class SurfaceFitStep:
    """Fits frames that may be VA surfaces to an encoder that may take such.

    Parameters
    ----------
    codec : av.Codec
        The encoder.
    options : VideoOptions
        Size, frame rate and pixel format.
    rate : Fraction or None
        Frame rate of the input.
    surfaces : Surfaces
        Of the device.
    notices : Notices
        Told of conversions that nobody asked for.
    """

    def __init__(
        self,
        codec: Codec,
        options: VideoOptions,
        *,
        rate: Fraction | None,
        surfaces: Surfaces,
        notices: Notices,
    ) -> None:
        self._codec, self._options, self._rate = codec, options, rate
        self._surfaces, self._notices = surfaces, notices
        self._to_device = bool(encodes_on(codec))
        self._on_host = FitStep(codec, options, rate=rate, notices=notices)
        self._on_device: GraphStep | None = None
        self._target: Form | None = None

    @property
    def bytes_copied(self) -> int:
        """Bytes that were fetched from surfaces, so far; `Surfaces` counts the others."""
        return self._on_device.fetched if self._on_device is not None else 0

    def process(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Fit a frame, or flush at None."""
        for fitted in self._through_device(frame):
            if is_surface(fitted):
                yield fitted
            else:
                yield from self._through_host(fitted)
        if frame is None:
            yield from self._through_host(None)

    def _through_device(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Yield what the device makes of a surface; a frame in host memory as it is."""
        if frame is not None:
            if not is_surface(frame):
                yield frame
                return
            if self._target is None:
                self._plan(frame)
            elif self._on_device is None and _form(frame) != self._target:
                width, height, pix_fmt = self._target
                self._notices.add(f"frames change their form; scaled to {width}x{height} {pix_fmt}")
                self._on_device = self._graph([_scale(self._target)])
        if self._on_device is None:
            if frame is not None:
                yield frame
            return
        yield from self._on_device.process(frame)

    def _through_host(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        for fitted in self._on_host.process(frame):
            yield self._surfaces.upload(fitted) if self._to_device else fitted

    def _plan(self, frame: VideoFrame) -> None:
        """Decide on the first surface what every one becomes."""
        options, source = self._options, pix_fmt_of(frame)
        pix_fmt = choose_pix_fmt(self._codec, source, options.pix_fmt)
        size = even_size(self._codec, options, frame, pix_fmt, self._notices)
        form = _form(frame)
        # What an encoder in software takes is made of what was fetched, but for the size.
        self._target = target = (*size, pix_fmt if self._to_device else source)
        if target[2] != source and options.pix_fmt is None:
            self._notices.add(f"pixel format {source} > {pix_fmt}, which {self._codec.name} takes")
        chain = []
        if self._to_device and options.fps is not None:
            chain.append(f"fps={options.fps}")
        if options.size is None and size != form[:2]:
            chain.append(f"crop={size[0]}:{size[1]}:0:0")
        if target != form or chain:
            chain.append(_scale(target))
        if not self._to_device:
            chain += ["hwdownload", f"format={source}"]
        if chain:
            self._on_device = self._graph(chain)

    def _graph(self, chain: list[str]) -> GraphStep:
        return GraphStep(",".join(chain), rate=self._rate, notices=self._notices)

    def cancel(self) -> None:
        """Do nothing: it waits for nobody."""

    def close(self) -> None:
        """Free the filters; may be repeated."""
        self._on_host.close()
        if self._on_device is not None:
            self._on_device.close()


def _form(frame: VideoFrame) -> Form:
    return frame.width, frame.height, pix_fmt_of(frame)


def _scale(target: Form) -> str:
    width, height, pix_fmt = target
    name = pix_fmt.removesuffix("le")
    return f"scale_vaapi=w={width}:h={height}:format={name}:extra_hw_frames={POOL_FRAMES}"
