"""The last step before the encoder: frames get the size, rate and format that it takes."""

from collections.abc import Iterator
from fractions import Fraction

from av.codec.codec import Codec
from av.video.frame import VideoFrame

from bridges.backends.ffmpeg import frame_info
from bridges.errors import FormatError
from bridges.formats import PIXEL_FORMATS, ColourModel, PixelFormat
from bridges.frame import FrameInfo, Matrix, assumed_matrix
from transcode.colour import choose_pix_fmt, matrix_name
from transcode.filters import GraphStep
from transcode.job import VideoOptions
from transcode.notices import Notices
from xma_plugins.builtin.libav_conversion import planar_format, range_name
from xma_plugins.builtin.libav_frame import from_av, to_av
from xma_plugins.builtin.libav_graph import Geometry, changed, geometry
from xma_plugins.properties import Port, ScalerProperties
from xma_plugins.sessions import ScalerSession

__all__ = ["FitStep", "even_size"]

_TAKES_ODD_SIZES = frozenset(
    (
        "ffv1",
        "huffyuv",
        "ffvhuff",
        "libaom-av1",
        "libvpx",
        "libvpx-vp9",
        "mjpeg",
        "mpeg4",
        "rawvideo",
    )
)
"""Encoders that take odd sizes with subsampled chroma; found by opening each with 127x95."""


_LIMITED_RANGE_ONLY = frozenset(
    ("dnxhd", "mpeg1video", "mpeg2video", "mpeg4", "prores", "prores_aw", "prores_ks")
)
"""Encoders whose bit stream has no place to say that samples are in full range."""


class FitStep:
    """Scales, converts and re-times frames as far as the encoder and the options ask for it.

    Frames that already fit pass through untouched.

    Parameters
    ----------
    codec : av.Codec
        The encoder.
    options : VideoOptions
        Size, frame rate and pixel format.
    rate : Fraction or None
        Frame rate of the input.
    notices : Notices
        Told of conversions that nobody asked for.
    """

    def __init__(
        self, codec: Codec, options: VideoOptions, *, rate: Fraction | None, notices: Notices
    ) -> None:
        self._codec = codec
        self._options = options
        self._rate = rate
        self._notices = notices
        self._source: tuple[int, int, str] | None = None
        self._target: tuple[int, int, str] | None = None
        self._timing: GraphStep | None = None
        self._scaler: ScalerSession | None = None
        self._scaled_form: Geometry | None = None

    def process(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Fit a frame, or flush at None."""
        if frame is not None:
            if self._target is None:
                self._plan(frame)
            elif self._scaler is None and self._form(frame) != self._source:
                width, height, pix_fmt = self._target
                self._notices.add(f"frames change their form; scaled to {width}x{height} {pix_fmt}")
                self._scaler = self._make_scaler(frame)
        if self._timing is None:
            if frame is not None:
                yield self._scaled(frame)
            return
        for timed in self._timing.process(frame):
            yield self._scaled(timed)

    def _scaled(self, frame: VideoFrame) -> VideoFrame:
        if self._scaler is None:
            return frame
        form = geometry(frame)
        if self._scaled_form is not None and self._scaled_form != form:
            self._notices.add(changed(self._scaled_form, form))
        self._scaled_form = form
        with from_av(frame) as picture:
            self._scaler.send_frame(picture)
        _, (scaled,) = self._scaler.recv_frame_list()
        with scaled:
            return to_av(scaled)

    @staticmethod
    def _form(frame: VideoFrame) -> tuple[int, int, str]:
        return frame.width, frame.height, frame.format.name

    def _plan(self, frame: VideoFrame) -> None:
        """Decide on the first frame what every frame becomes."""
        pix_fmt = choose_pix_fmt(self._codec, frame.format.name, self._options.pix_fmt)
        width, height = even_size(self._codec, self._options, frame, pix_fmt, self._notices)
        self._source, self._target = self._form(frame), (width, height, pix_fmt)
        filters = []
        if self._options.fps is not None:
            filters.append(f"fps={self._options.fps}")
        resized = self._options.size is not None and (width, height) != (frame.width, frame.height)
        if not resized and (width, height) != (frame.width, frame.height):
            filters.append(f"crop={width}:{height}:0:0")
        if filters:
            self._timing = GraphStep(",".join(filters), rate=self._rate, notices=self._notices)
        if resized or pix_fmt != frame.format.name or self._loses_range(frame):
            self._scaler = self._make_scaler(frame)

    def _loses_range(self, frame: VideoFrame) -> bool:
        """Whether the frame is in full range and the encoder cannot say so."""
        known = PIXEL_FORMATS.get(frame.format.name)
        return (
            self._codec.name in _LIMITED_RANGE_ONLY
            and known is not None
            and known.model is not ColourModel.RGB
            and frame_info(frame).is_full_range
        )

    def _make_scaler(self, frame: VideoFrame) -> ScalerSession:
        """Return a session that gives frames the target's size and format."""
        assert self._target is not None
        width, height, pix_fmt = self._target
        return ScalerSession(
            ScalerProperties(
                plugin="libav_scaler",
                input=Port(frame_rate=self._rate),
                outputs=(Port(format=PIXEL_FORMATS.get(pix_fmt), width=width, height=height),),
                params={"chains": [",".join(self._scaling(frame))]},
            )
        )

    def _scaling(self, frame: VideoFrame) -> list[str]:
        """Return the filters to the target's form; say what they assume or lose."""
        assert self._target is not None
        width, height, pix_fmt = self._target
        scale = f"scale={width}:{height}:flags=bicubic+accurate_rnd+full_chroma_int"
        source, target = PIXEL_FORMATS.get(frame.format.name), PIXEL_FORMATS.get(pix_fmt)
        if frame.format.name != pix_fmt and self._options.pix_fmt is None:
            self._notices.add(
                f"pixel format {frame.format.name} > {pix_fmt}, which {self._codec.name} takes"
            )
        if source is None or target is None:
            return [scale, f"format={pix_fmt}"]
        if source.has_alpha and not target.has_alpha:
            self._notices.add(f"alpha dropped, which {pix_fmt} cannot hold")
        info = frame_info(frame)
        kinds = source.model is ColourModel.RGB, target.model is ColourModel.RGB
        if kinds == (True, False):
            self._notices.add("RGB written as BT.709 YUV in limited range")
            scale += ":out_color_matrix=bt709:out_range=limited"
        elif kinds == (False, True):
            scale += f":in_color_matrix={self._matrix(info)}:out_range=full"
        elif kinds == (False, False):
            return self._from_yuv_to_yuv(scale, info, target)
        if target.model is ColourModel.GRAY:
            return [scale, f"format={planar_format(target)}", "extractplanes=y"]
        return [scale, f"format={pix_fmt}"]

    def _matrix(self, info: FrameInfo) -> str:
        matrix = info.colour.matrix
        if matrix is Matrix.UNSPECIFIED:
            matrix = assumed_matrix(info)
            self._notices.add(f"untagged YUV taken as {matrix_name(matrix)}")
        return "bt2020" if matrix is Matrix.BT2020_NCL else matrix_name(matrix)

    def _from_yuv_to_yuv(self, scale: str, info: FrameInfo, target: PixelFormat) -> list[str]:
        """Keep the matrix, and the range wherever the target can say what it is."""
        was_full = info.is_full_range
        full = was_full if target.full_range is None else target.full_range
        if was_full and self._codec.name in _LIMITED_RANGE_ONLY:
            full = False
        if full != was_full:
            ranges = f"{range_name(was_full)} > {range_name(full)}"
            self._notices.add(f"colour range {ranges}, which {self._codec.name} writes")
        chain = []
        if info.format.model is ColourModel.GRAY:
            # swscale takes gray for full range whatever the frame says: it becomes luma as it is,
            # and is tagged again behind.
            tags = f"setparams=range={range_name(was_full)}:colorspace={_tag(info)}"
            chain = [
                "scale=in_range=full:out_range=full",
                f"format={planar_format(info.format)}",
                tags,
            ]
        chain.append(f"{scale}:in_range={range_name(was_full)}:out_range={range_name(full)}")
        if target.model is ColourModel.GRAY:
            return [*chain, f"format={planar_format(target)}", "extractplanes=y"]
        return [*chain, f"format={target.name}"]

    def cancel(self) -> None:
        """Do nothing: it waits for nobody."""

    def close(self) -> None:
        """Free the filters, and destroy the scaler's session."""
        if self._timing is not None:
            self._timing.close()
        if self._scaler is not None:
            self._scaler.close()


def even_size(
    codec: Codec,
    options: VideoOptions,
    frame: VideoFrame | FrameInfo,
    pix_fmt: str,
    notices: Notices,
) -> tuple[int, int]:
    """Return the size to encode, even where chroma is subsampled and the encoder needs it.

    Raises
    ------
    FormatError
        Nothing is left of it.
    """
    width, height = options.size_of(frame.width, frame.height)
    even = width - width % _step(codec, pix_fmt, 0), height - height % _step(codec, pix_fmt, 1)
    if even != (width, height):
        if 0 in even:
            raise FormatError(
                f"{width}x{height} is too small for {pix_fmt}, whose chroma is subsampled; "
                "say --pix-fmt yuv444p"
            )
        verb = "size" if options.size else "cropped"
        notices.add(
            f"{verb} {width}x{height} > {even[0]}x{even[1]}: {codec.name} takes {pix_fmt} in even "
            "sizes only"
        )
    return even


def _step(codec: Codec, pix_fmt: str, axis: int) -> int:
    known = PIXEL_FORMATS.get(pix_fmt)
    if known is None or codec.name in _TAKES_ODD_SIZES:
        return 1
    return 1 << max((p.log2_width, p.log2_height)[axis] for p in known.planes)


def _tag(info: FrameInfo) -> str:
    matrix = info.colour.matrix
    return "unknown" if matrix is Matrix.UNSPECIFIED else matrix_name(matrix)
