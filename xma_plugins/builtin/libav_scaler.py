"""A scaler session over FFmpeg's scaler, in software."""

from collections import deque
from typing import TYPE_CHECKING

from bridges.formats import PIXEL_FORMATS, ColourModel
from xma_plugins.builtin.libav_frame import from_av, to_av
from xma_plugins.builtin.libav_graph import FilterChain, Geometry, geometry, parse_chain
from xma_plugins.errors import InvalidError, PluginError
from xma_plugins.frames import XmaFrame
from xma_plugins.plugin import ScalerPlugin
from xma_plugins.properties import Port, ScalerProperties, ScalerType
from xma_plugins.session import Session
from xma_plugins.status import Status

if TYPE_CHECKING:
    from fractions import Fraction

    from av.video.frame import VideoFrame

__all__ = ["LibavScaler"]

_FILTERS = {
    ScalerType.BICUBIC: "bicubic",
    ScalerType.BILINEAR: "bilinear",
    ScalerType.POLYPHASE: "lanczos",
}
"""What swscale calls them; its Lanczos filter is a polyphase one with windows of its own."""


class LibavScaler(ScalerPlugin):
    """Scales with libswscale, to 1 to 8 sizes.

    Parameters of the session:

    ``chains``
        For each output the filters of libavfilter that make it, joined by commas, instead of what
        the output's size and format ask for. One picture comes out for each that goes in.

    A matrix or range is never changed between YUV formats; RGB becomes BT.709 in limited range.
    """

    vendor = "FFmpeg"
    summary = "scales with libswscale to 1 to 8 sizes"
    xma_version = (2020, 1)
    uses_device = False

    def init(self, session: Session[ScalerProperties]) -> None:
        """Prepare the chains; they are built for the first picture."""
        properties = session.properties
        if properties.horizontal_coefficients or properties.vertical_coefficients:
            raise InvalidError(f"{session.name}: swscale takes no coefficients; use kernel_scaler")
        chains = session.params.get("chains")
        if chains is None:
            chains = [_chain(output, properties.type) for output in properties.outputs]
        if len(chains) != len(properties.outputs):
            raise InvalidError(
                f"{session.name} has {len(properties.outputs)} outputs and {len(chains)} chains"
            )
        for chain in chains:
            parse_chain(chain)
        self._texts: list[str] = list(chains)
        self._chains: list[FilterChain] = []
        self._geometry: Geometry | None = None
        self._ready: deque[list[VideoFrame | None]] = deque()
        self._count = 0

    def send_frame(self, session: Session[ScalerProperties], frame: XmaFrame) -> Status:
        """Scale a picture to all sizes that are due."""
        if frame.is_last_frame:
            return Status.SUCCESS if self._ready else Status.EOS
        picture = to_av(frame)
        form = geometry(picture)
        if form != self._geometry:
            rate: Fraction | None = session.properties.input.frame_rate
            self._chains = [FilterChain(text, picture, rate=rate) for text in self._texts]
            self._geometry = form
        ports = zip(self._chains, session.properties.outputs, strict=True)
        odd = self._count % 2
        self._ready.append(
            [
                None if port.is_half_rate and odd else _one(chain, picture, session.name)
                for chain, port in ports
            ]
        )
        self._count += 1
        return Status.SUCCESS

    def recv_frame_list(self, session: Session[ScalerProperties], frames: list[XmaFrame]) -> Status:
        """Give the oldest picture in all sizes."""
        if not self._ready:
            return Status.TRY_AGAIN
        for frame, made in zip(frames, self._ready.popleft(), strict=True):
            if made is None:
                continue
            if frame.is_dummy:
                frame.take(from_av(made))
            else:
                with from_av(made) as source:
                    frame.copy_from(source)
        return Status.SUCCESS

    def close(self, session: Session[ScalerProperties]) -> None:
        """Let go of the chains and of what was not received."""
        self._ready.clear()
        self._chains = []


def _one(chain: FilterChain, picture: "VideoFrame", session: str) -> "VideoFrame":
    made = list(chain.run(picture))
    if len(made) != 1:
        raise PluginError(
            f"{session}: a chain of filters made {len(made)} pictures of one; a scaler makes one"
        )
    return made[0]


def _chain(output: Port, kind: ScalerType) -> str:
    """Return the filters that make an output."""
    width, height = output.width or -1, output.height or -1
    scale = f"scale={width}:{height}:flags={_FILTERS[kind]}+accurate_rnd+full_chroma_int"
    if output.format is None:
        return scale
    if PIXEL_FORMATS[output.format.name].model is ColourModel.RGB:
        return f"{scale}:out_range=full,format={output.format.name}"
    return f"{scale},format={output.format.name}"
