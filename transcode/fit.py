"""The last step before the encoder: frames get the size, rate and format that it takes."""

from collections.abc import Iterator
from fractions import Fraction

from av.codec.codec import Codec
from av.video.frame import VideoFrame

from bridges.backends.ffmpeg import frame_info
from bridges.errors import FormatError
from bridges.formats import PIXEL_FORMATS, ColourModel
from bridges.frame import Matrix
from transcode.colour import assumed_matrix, choose_pix_fmt, matrix_name
from transcode.filters import GraphStep
from transcode.job import VideoOptions
from transcode.notices import Notices

__all__ = ["FitStep"]

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
        self._target: tuple[int, int, str] | None = None
        self._graph: GraphStep | None = None

    def process(self, frame: VideoFrame | None) -> Iterator[VideoFrame]:
        """Fit a frame, or flush at None."""
        if frame is None:
            if self._graph is not None:
                yield from self._graph.process(None)
            return
        if self._target is None:
            self._plan(frame)
        elif self._graph is None and self._form(frame) != self._target:
            width, height, pix_fmt = self._target
            self._notices.add(f"frames change their form; scaled to {width}x{height} {pix_fmt}")
            self._graph = self._make_graph(frame, [], scale=True)
        if self._graph is None:
            yield frame
        else:
            yield from self._graph.process(frame)

    @staticmethod
    def _form(frame: VideoFrame) -> tuple[int, int, str]:
        return frame.width, frame.height, frame.format.name

    def _plan(self, frame: VideoFrame) -> None:
        """Decide on the first frame what every frame becomes."""
        pix_fmt = choose_pix_fmt(self._codec, frame.format.name, self._options.pix_fmt)
        width, height = self._size(frame, pix_fmt)
        self._target = width, height, pix_fmt
        filters = []
        if self._options.fps is not None:
            filters.append(f"fps={self._options.fps}")
        resized = self._options.size is not None and (width, height) != (frame.width, frame.height)
        if not resized and (width, height) != (frame.width, frame.height):
            filters.append(f"crop={width}:{height}:0:0")
        scale = resized or pix_fmt != frame.format.name
        if filters or scale:
            self._graph = self._make_graph(frame, filters, scale=scale)

    def _size(self, frame: VideoFrame, pix_fmt: str) -> tuple[int, int]:
        """Return the size to encode, even where chroma is subsampled and the encoder needs it."""
        width, height = self._options.size or (frame.width, frame.height)
        if width == -2:
            width = max(2, 2 * round(Fraction(frame.width * height, frame.height * 2)))
        if height == -2:
            height = max(2, 2 * round(Fraction(frame.height * width, frame.width * 2)))
        even = width - width % self._step(pix_fmt, 0), height - height % self._step(pix_fmt, 1)
        if even != (width, height):
            if 0 in even:
                raise FormatError(
                    f"{width}x{height} is too small for {pix_fmt}, whose chroma is subsampled; "
                    "say --pix-fmt yuv444p"
                )
            verb = "size" if self._options.size else "cropped"
            self._notices.add(
                f"{verb} {width}x{height} > {even[0]}x{even[1]}: {self._codec.name} takes {pix_fmt} "
                "in even sizes only"
            )
        return even

    def _step(self, pix_fmt: str, axis: int) -> int:
        known = PIXEL_FORMATS.get(pix_fmt)
        if known is None or self._codec.name in _TAKES_ODD_SIZES:
            return 1
        return 1 << max((p.log2_width, p.log2_height)[axis] for p in known.planes)

    def _make_graph(self, frame: VideoFrame, filters: list[str], *, scale: bool) -> GraphStep:
        assert self._target is not None
        width, height, pix_fmt = self._target
        chain = list(filters)
        if scale:
            arguments = f"scale={width}:{height}:flags=bicubic+accurate_rnd+full_chroma_int"
            chain.append(arguments + self._conversion(frame, pix_fmt))
            chain.append(f"format={pix_fmt}")
        return GraphStep(",".join(chain), rate=self._rate, notices=self._notices)

    def _conversion(self, frame: VideoFrame, pix_fmt: str) -> str:
        """Return the scale filter's colour options, and say what a conversion assumes or loses."""
        source, target = PIXEL_FORMATS.get(frame.format.name), PIXEL_FORMATS.get(pix_fmt)
        if frame.format.name != pix_fmt and self._options.pix_fmt is None:
            self._notices.add(
                f"pixel format {frame.format.name} > {pix_fmt}, which {self._codec.name} takes"
            )
        if source is None or target is None:
            return ""
        if source.has_alpha and not target.has_alpha:
            self._notices.add(f"alpha dropped, which {pix_fmt} cannot hold")
        info = frame_info(frame)
        was_rgb, is_rgb = source.model is ColourModel.RGB, target.model is ColourModel.RGB
        if was_rgb and not is_rgb:
            self._notices.add("RGB written as BT.709 YUV in limited range")
            return ":out_color_matrix=bt709:out_range=limited"
        if is_rgb and not was_rgb:
            matrix = info.colour.matrix
            if matrix is Matrix.UNSPECIFIED:
                matrix = assumed_matrix(info)
                self._notices.add(f"untagged YUV taken as {matrix_name(matrix)}")
            name = "bt2020" if matrix is Matrix.BT2020_NCL else matrix_name(matrix)
            return f":in_color_matrix={name}:out_range=full"
        if was_rgb:
            return ""
        full = info.is_full_range if target.full_range is None else target.full_range
        kept = "full" if full else "limited"
        return f":in_range={'full' if info.is_full_range else 'limited'}:out_range={kept}"

    def close(self) -> None:
        """Free the graph."""
        if self._graph is not None:
            self._graph.close()
