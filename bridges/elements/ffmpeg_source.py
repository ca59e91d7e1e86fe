"""ffmpeg_source: the pictures of a media file, in FFmpeg's memory."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.error import FFmpegError

from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.ffmpeg_log import uncaptured_log
from bridges.context import Context
from bridges.element import ElementDescription, ParameterDescription, Source
from bridges.errors import MediaError
from bridges.frame import Frame
from bridges.tensor import MemoryType

__all__ = ["FFmpegSource"]


class FFmpegSource(Source):
    """Decodes one video stream of a file, in the order of presentation.

    What cannot be opened or decoded is a `MediaError`, a pixel format that `bridges.formats` does
    not know a `FormatError`.
    """

    description = ElementDescription(
        name="ffmpeg_source",
        summary="the pictures of a media file",
        parameters=(
            ParameterDescription("location", str, "path or address of the file"),
            ParameterDescription("stream", int, "which of its video streams", 0, low=0),
            ParameterDescription(
                "hardware",
                str,
                "what decodes, and keeps the pictures; empty for software",
                "",
                choices=("", "cuda", "vaapi"),
            ),
            ParameterDescription("node", str, "which such device; empty for the first", ""),
        ),
        outputs=(MemoryType.FFMPEG,),
    )

    def __init__(self, contexts: Sequence[Context] = (), **parameters: object) -> None:
        super().__init__(contexts, **parameters)
        given = [context for context in self.contexts if isinstance(context, FFmpegContext)]
        self._context = given[0] if given else FFmpegContext(self.parameters["hardware"])
        self._location: str = self.parameters["location"]
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())

    def open(self) -> None:
        """Open the file, and a decoder for the stream."""
        number = self.parameters["stream"]
        with self._errors("open"):
            self._container = self._opened()
            streams = self._container.streams.video
            if number >= len(streams):
                raise MediaError(
                    f"{self._location}: video stream {number} was asked for, and there are "
                    f"{len(streams)}"
                )
            context = streams[number].codec_context
            if self.parameters["hardware"] and not context.is_hwaccel:
                raise self._no_hardware(context.name)
            streams[number].thread_type = "AUTO"
            self._frames = self._container.decode(streams[number])

    def _opened(self) -> Any:
        accelerator = self._accelerator()
        try:
            return av.open(self._location, hwaccel=accelerator)
        except RuntimeError as error:
            if accelerator is None:
                raise
            # PyAV's answer where no stream is of a codec that such hardware decodes.
            raise self._no_hardware("its video") from error

    def _no_hardware(self, what: str) -> MediaError:
        return MediaError(
            f"{self._location}: FFmpeg does not decode {what} by {self.parameters['hardware']}; "
            "leave hardware out"
        )

    def _accelerator(self) -> HWAccel | None:
        hardware, node = self.parameters["hardware"], self.parameters["node"]
        if not hardware:
            return None
        if hardware not in hwdevices_available():
            raise MediaError(f"the FFmpeg in this PyAV is built without {hardware}; use software")
        return HWAccel(
            hardware, device=node or None, allow_software_fallback=False, is_hw_owned=True
        )

    def read(self) -> Frame | None:
        """Return the next picture; see `Source.read`."""
        with self._errors("decode"), uncaptured_log():
            frame = next(self._frames, None)
        return None if frame is None else self._context.wrap(frame)

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except FFmpegError as error:
            raise MediaError(f"cannot {what} {self._location}: {error.strerror}") from error

    def close(self) -> None:
        """Close the file; frames that were read stay good."""
        container, self._container = self._container, None
        self._frames = iter(())
        if container is not None:
            container.close()
