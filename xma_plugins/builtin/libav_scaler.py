"""A scaler session over FFmpeg's scaler, in software."""

from collections import deque
from typing import TYPE_CHECKING

from bridges.backends.ffmpeg import frame_info
from bridges.formats import PIXEL_FORMATS
from xma_plugins.builtin.libav_conversion import conversion
from xma_plugins.builtin.libav_frame import from_av, to_av
from xma_plugins.builtin.libav_graph import FilterChain, Geometry, geometry, parse_chain
from xma_plugins.builtin.output import describe, is_due
from xma_plugins.errors import InvalidError, PluginError
from xma_plugins.frames import XmaFrame
from xma_plugins.kinds import ScalerType
from xma_plugins.params import check_port, read_params
from xma_plugins.plugin import ScalerPlugin
from xma_plugins.properties import Port, ScalerProperties
from xma_plugins.session import Session
from xma_plugins.side_data import SideDataType
from xma_plugins.status import Status

if TYPE_CHECKING:
    from fractions import Fraction

    from av.video.frame import VideoFrame

__all__ = ["LibavScaler"]

ScalerSession = Session[ScalerProperties]

_FILTERS = {
    ScalerType.BICUBIC: "bicubic",
    ScalerType.BILINEAR: "bilinear",
    ScalerType.POLYPHASE: "lanczos",
}
"""What swscale calls them; its Lanczos filter is a polyphase one with windows of its own."""


class LibavScaler(ScalerPlugin):
    """Scales with libswscale, to 1 to 8 sizes, and converts to the formats of the outputs.

    What conversions do to matrix and range is told by
    `xma_plugins.builtin.libav_conversion.conversion`. An output of half rate has the first picture,
    the third and so on. Pictures may change their form in mid-stream; those on a device are
    fetched.

    Its ``params``:

    ============ ===========================================================================
    ``chains``   for each output the filters of libavfilter that make it, joined by commas,
                 instead of what its size and format ask for; one picture comes out for each
                 that goes in, at the time that the filters give it
    ============ ===========================================================================
    """

    vendor = "FFmpeg"
    summary = "scales with libswscale to 1 to 8 sizes"
    xma_version = (2020, 1)
    uses_device = False

    def init(self, session: ScalerSession) -> None:
        """Prepare the chains; they are built for the first picture."""
        self._ready: deque[list[XmaFrame | None]] = deque()
        self._chains: list[FilterChain] = []
        self._form: tuple[Geometry, Fraction | None] | None = None
        self._count = 0
        properties = session.properties
        tables = properties.horizontal_coefficients, properties.vertical_coefficients
        if any(table is not None for table in tables):
            raise InvalidError(f"{session.name}: swscale takes no coefficients; use kernel_scaler")
        self._texts: list[str] | None = read_params(session, chains=None).chains
        if self._texts is None:
            return
        if isinstance(self._texts, str) or len(self._texts) != len(properties.outputs):
            raise InvalidError(
                f"{session.name} has {len(properties.outputs)} outputs, and needs a list of as "
                f"many chains, got {self._texts!r}"
            )
        for chain in self._texts:
            parse_chain(chain)

    def send_frame(self, session: ScalerSession, frame: XmaFrame) -> Status:
        """Scale a picture to all sizes that are due; see `ScalerPlugin.send_frame`."""
        if frame.is_last_frame:
            return Status.SUCCESS if self._ready else Status.EOS
        properties = session.properties
        if frame.info is not None:
            check_port(session, properties.input, frame.info, "is sent")
        due = [is_due(output, self._count) for output in properties.outputs]
        self._count += 1
        if not any(due):
            return Status.SUCCESS if self._ready else Status.SEND_MORE_DATA
        picture = to_av(frame)
        self._build(session, picture)
        self._ready.append(
            [
                self._scaled(session, chain, frame, picture, output) if is_due else None
                for is_due, chain, output in zip(due, self._chains, properties.outputs, strict=True)
            ]
        )
        return Status.SUCCESS

    def _build(self, session: ScalerSession, picture: "VideoFrame") -> None:
        """Build the chains for a picture, unless those of the last one do for it."""
        form = geometry(picture), picture.time_base
        if form == self._form:
            return
        properties = session.properties
        texts = self._texts or [
            _chain(each, properties.type, picture) for each in properties.outputs
        ]
        rate = properties.input.frame_rate
        self._chains = [FilterChain(text, picture, rate=rate) for text in texts]
        self._form = form

    def _scaled(
        self,
        session: ScalerSession,
        chain: FilterChain,
        frame: XmaFrame,
        picture: "VideoFrame",
        output: Port,
    ) -> XmaFrame:
        """Return what a chain makes of a picture, with all that the picture says of itself."""
        pictures = list(chain.run(picture))
        if len(pictures) != 1:
            raise PluginError(
                f"{session.name}: a chain of filters made {len(pictures)} pictures of one; a "
                "scaler makes one"
            )
        (found,) = pictures
        made = from_av(found)
        if made.info is not None:
            check_port(session, output, made.info, "makes")
        describe(made, frame, output)
        made.put_side_data(SideDataType.LIBAV_FRAME, found)
        if self._texts is not None and frame.time_base is not None:
            made.pts, made.time_base = found.pts, found.time_base
        return made

    def recv_frame_list(self, session: ScalerSession, frames: list[XmaFrame]) -> Status:
        """Give the oldest picture in all sizes; see `ScalerPlugin.recv_frame_list`.

        A frame of the caller's own whose output is not due is marked ``do_not_encode``.
        """
        if not self._ready:
            return Status.TRY_AGAIN
        for frame, made in zip(frames, self._ready.popleft(), strict=True):
            if made is None:
                frame.do_not_encode = not frame.is_dummy
            elif frame.is_dummy:
                frame.take(made)
            else:
                with made:
                    frame.copy_from(made)
        return Status.SUCCESS

    def close(self, session: ScalerSession) -> None:
        """Let go of the chains and of what was not received."""
        while self._ready:
            for made in self._ready.popleft():
                if made is not None:
                    made.close()
        self._chains = []


def _chain(output: Port, kind: ScalerType, picture: "VideoFrame") -> str:
    """Return the filters that make an output of a picture."""
    width, height = output.width or -1, output.height or -1
    scale = f"scale={width}:{height}:flags={_FILTERS[kind]}+accurate_rnd+full_chroma_int"
    if output.format is None:
        return f"{scale},format={picture.format.name}"
    if picture.format.name not in PIXEL_FORMATS:
        return f"{scale},format={output.format.name}"
    return ",".join(conversion(frame_info(picture), output.format, scale))
