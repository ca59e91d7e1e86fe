"""The last step before the encoder, of a job with video hardware: scaled there, and handed on.

An encoder on the device gets surfaces: the decoder's own, or what the device's scaler or a kernel
made. An encoder in software gets what is fetched from them.
"""

from collections.abc import Iterator
from fractions import Fraction

from av.codec.codec import Codec
from av.video.frame import VideoFrame

from transcode.colour import choose_pix_fmt
from transcode.filters import GraphStep, Step, run_steps
from transcode.fit import FitStep, even_size
from transcode.hardware import encodes_on, is_surface, pix_fmt_of
from transcode.job import VideoOptions
from transcode.notices import Notices
from transcode.surfaces import Fitting, Form, Surfaces

__all__ = ["SurfaceFitStep"]


class SurfaceFitStep:
    """Fits frames that may be surfaces to an encoder that may take such.

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
        self._on_device: list[Step] = []
        self._target: Form | None = None
        self._rescales = False

    @property
    def bytes_copied(self) -> int:
        """Bytes fetched by filters, so far; `Surfaces` and the kernels' device count the others."""
        graphs = (step for step in self._on_device if isinstance(step, GraphStep))
        return sum(graph.fetched for graph in graphs)

    @property
    def route(self) -> str:
        """The way that surfaces take from the decoder to the encoder, without kernels between."""
        way = [] if self._to_device else self._surfaces.route.split(" > ")[1:]
        return " > ".join(["FFmpeg", *way, *(["CPU"] if way else []), "FFmpeg"])

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
            elif not self._rescales and _form(frame) != self._target:
                width, height, pix_fmt = self._target
                self._notices.add(f"frames change their form; scaled to {width}x{height} {pix_fmt}")
                fitting = Fitting(source=_form(frame), target=self._target, rate=self._rate)
                self._on_device = [*self._on_device, *self._surfaces.fitting(fitting)]
                self._rescales = True
        yield from run_steps(self._on_device, frame)

    def _through_host(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        for fitted in self._on_host.process(frame):
            yield self._surfaces.upload(fitted) if self._to_device else fitted

    def _plan(self, frame: VideoFrame) -> None:
        """Decide on the first surface what every one becomes."""
        options, form = self._options, _form(frame)
        source = form[2]
        pix_fmt = choose_pix_fmt(self._codec, source, options.pix_fmt)
        size = even_size(self._codec, options, frame, pix_fmt, self._notices)
        crops = options.size is None and size != form[:2]
        stays = self._surfaces.stays(self._codec, form, (*size, pix_fmt), crops=crops)
        self._to_device = self._to_device or stays
        # What an encoder in software takes is made of what was fetched, but for the size.
        self._target = target = (*size, pix_fmt if stays else source)
        if target[2] != source and options.pix_fmt is None:
            self._notices.add(f"pixel format {source} > {pix_fmt}, which {self._codec.name} takes")
        fitting = Fitting(
            source=form,
            target=target,
            crops=crops,
            rate=self._rate,
            fps=options.fps if stays else None,
            fetches=not stays,
        )
        self._on_device = self._surfaces.fitting(fitting)
        # What is fetched is scaled by the host where it changes.
        scales = not stays or target[:2] != form[:2] or self._surfaces.rescales
        self._rescales = bool(self._on_device) and scales

    def cancel(self) -> None:
        """Wake a thread that waits for the device; see `Step.cancel`."""
        for step in self._on_device:
            step.cancel()

    def close(self) -> None:
        """Free the filters; may be repeated."""
        self._on_host.close()
        for step in self._on_device:
            step.close()


def _form(frame: VideoFrame) -> Form:
    return frame.width, frame.height, pix_fmt_of(frame)
