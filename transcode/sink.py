"""The sink of a run: an encoder, the streams copied beside it, and the muxer."""

from __future__ import annotations

import contextlib
import io
from array import array
from typing import TYPE_CHECKING, Any, cast

import av
from av.format import ContainerFormat
from av.sidedata.sidedata import Type as SideDataType

from bridges.backends.ffmpeg_log import captured_log
from bridges.backends.ffmpeg_properties import side_data
from transcode.container import error_text
from transcode.encoder import AudioEncoder, VideoEncoder
from transcode.errors import EncodeError, JobError, OutputError
from transcode.timing import to_ticks

if TYPE_CHECKING:
    from fractions import Fraction

    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.container.core import Chapter
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame

    from transcode.job import Output
    from transcode.notices import Notices
    from transcode.source import Source

__all__ = ["Sink", "container_format"]

_OPENS_FILES_ITSELF = 1
"""``AVFMT_NOFILE`` of libavformat/avformat.h: HLS, DASH, image sequences, ..."""

_OF_THE_OLD_FILE = frozenset(
    ("major_brand", "minor_version", "compatible_brands", "encoder", "duration")
)
"""Metadata that describes the source's container, not its content."""


def container_format(output: Output) -> ContainerFormat:
    """Return the container that an output asks for, by its format or its name's ending.

    Raises
    ------
    JobError
        There is no such container, or it cannot be written.
    """
    try:
        if output.format is not None:
            chosen = ContainerFormat(output.format, "w")
        else:
            chosen = av.open(str(output.path), "w").format  # Opens nothing before a header.
    except ValueError as error:
        asked = f"{output.format!r}" if output.format else f"for {output.path!r}"
        raise JobError(
            f"no container {asked}; say --format mp4, matroska, webm, mov or mpegts"
        ) from error
    if chosen.flags & _OPENS_FILES_ITSELF:
        raise JobError(
            f"container {chosen.name!r} writes several files, which cannot be published as one; "
            "say --format mp4, matroska, webm, mov or mpegts"
        )
    return chosen


_TS_AUDIO = frozenset(
    ("aac", "aac_latm", "ac3", "dts", "eac3", "mp1", "mp2", "mp3", "opus", "s302m", "truehd")
)
"""Audio that libav's MPEG-TS muxer writes with a stream type or a registration of its own.

Anything else it would write as private data that no player knows.
"""


class Sink:
    """One output file, from its first frame on.

    Parameters
    ----------
    location : str
        Where libav writes: the temporary file, or ``"pipe:1"``.
    output : Output
        What to write.
    source : Source
        Where copied streams, metadata and chapters come from.
    first : av.VideoFrame
        The first frame that will be encoded.
    rate : Fraction or None
        Frames per second, for the encoder's rate control.
    threads : int
        Encoder threads, 0 for the encoder's own choice.
    notices : Notices
        Told of what is dropped.

    Attributes
    ----------
    encoder : VideoEncoder
        Takes the frames.
    streams : dict of str to int
        How many streams of each type are written.
    frames : int
        Video packets written.
    times : array of int
        Their presentation times, in ``time_base``, in the order written.
    nbytes : int
        Bytes of all packets written.

    Raises
    ------
    EncodeError, OutputError
        The container cannot hold a stream, or the file cannot be written.
    """

    def __init__(
        self,
        location: str,
        output: Output,
        source: Source,
        first: VideoFrame,
        *,
        rate: Fraction | None,
        threads: int,
        notices: Notices,
    ) -> None:
        self._output, self._source, self._notices = output, source, notices
        self.format = container_format(output)
        self.container: OutputContainer = av.open(location, "w", format=self.format.name)
        self._open = contextlib.ExitStack()
        self.times = array("q")
        self.frames = self.nbytes = 0
        self._covers = 0
        self._copied: dict[int, Stream] = {}
        self._audio: dict[int, AudioEncoder] = {}
        try:
            self.encoder = VideoEncoder(
                self.container, first, output.video, rate=rate, threads=threads, notices=notices
            )
            self._open.callback(self.encoder.close)
            self._describe_video(first)
            for stream in source.others:
                self._add(stream)
            self._describe_container()
            kinds = [str(stream.type) for stream in self.container.streams]
            self.streams = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
            if self._covers:
                self.streams["attachment"] -= self._covers
                self.streams["video"] += self._covers
            self._write_header()
        except BaseException:
            self.abort()
            raise

    @property
    def time_base(self) -> Fraction:
        """Of ``times``: the encoder's."""
        return self.encoder.stream.codec_context.time_base

    def _describe_video(self, first: VideoFrame) -> None:
        stream = self.encoder.stream
        stream.disposition = self._source.video.disposition
        stream.metadata.update(_content(self._source.video.metadata))
        matrix = side_data(first, SideDataType.DISPLAYMATRIX)
        if matrix is not None:
            stream.set_display_matrix(list(memoryview(matrix).cast("i")))

    def _add(self, stream: Stream) -> None:
        if stream.type == "audio" and self._output.audio.codec != "copy":
            if self._output.audio.codec != "none":
                self._add_encoded(stream)  # type: ignore[arg-type]
            return
        cover = self._source.covers.get(stream.index)
        if cover is not None and self.format.name == "matroska":
            self._attach_cover(stream, cover)
            return
        if self._is_chapter_track(stream):
            return
        problem = _refusal(self.format.name, stream)
        if problem and stream.type == "audio":
            raise EncodeError(
                f"{self.format.name} cannot hold {_codec_name(stream)} audio (stream "
                f"{stream.index}); say --audio {self._usual_audio()}, or none"
            )
        if problem:
            self._notices.add(
                f"dropped stream {stream.index}: {stream.type} {_codec_name(stream)}"
                f"{_language(stream)}, which {self.format.name} cannot hold"
            )
            return
        copy = self.container.add_stream_from_template(stream, opaque=True)
        _describe(stream, copy)
        self._copied[stream.index] = copy

    def _usual_audio(self) -> str:
        """Return the encoder for the codec that this container usually holds."""
        codec = self.container.default_audio_codec
        return {"opus": "libopus", "vorbis": "libopus", "mp3": "libmp3lame"}.get(codec, codec)

    def _attach_cover(self, stream: Stream, picture: bytes) -> None:
        """Add a cover as Matroska knows covers, as an attachment; a reader sees a picture again."""
        kind = _codec_name(stream).replace("mjpeg", "jpeg")
        name = f"cover.{kind.replace('jpeg', 'jpg')}"
        self.container.add_attachment(name, f"image/{kind}", picture)
        self._covers += 1

    def _is_chapter_track(self, stream: Stream) -> bool:
        """Whether a stream of an MP4 file holds the titles of the chapters, which are kept."""
        container = self._source.container
        is_mp4 = "mp4" in container.format.name.split(",")
        return is_mp4 and stream.type == "data" and 0 < len(container.chapters()) == stream.frames

    def _add_encoded(self, stream: AudioStream) -> None:
        encoder = AudioEncoder(self.container, stream, self._output.audio)
        _describe(stream, encoder.stream)
        self._audio[stream.index] = encoder

    def _describe_container(self) -> None:
        self.container.metadata.update(_content(self._source.container.metadata))
        chapters = list(filter(None, map(self._moved, self._source.container.chapters())))
        if chapters:
            self.container.set_chapters(chapters)

    def _moved(self, chapter: Chapter) -> Chapter | None:
        """Return a chapter in the output's times, or None where it lies outside the part."""
        assert chapter["time_base"] is not None
        shift = to_ticks(self._source.shift, chapter["time_base"])
        moved = chapter.copy()
        moved["start"], moved["end"] = max(chapter["start"] - shift, 0), chapter["end"] - shift
        if self._source.duration is not None:
            moved["end"] = min(moved["end"], to_ticks(self._source.duration, chapter["time_base"]))
        return moved if moved["end"] > moved["start"] else None

    def _write_header(self) -> None:
        with captured_log() as log:
            try:
                self.container.start_encoding()
            except (av.FFmpegError, OSError, ValueError) as error:
                said = log.text or error_text(str(self._output.path), error)
                if self._output.is_stdout:
                    said += "; a container that can be streamed is matroska or mpegts"
                raise OutputError(f"{self._output.name}: {said}") from error

    def write(self, packet: Packet[Any]) -> None:
        """Mux a packet of the source, or encode it first where audio is encoded.

        Raises
        ------
        OutputError
            The file cannot be written on.
        """
        index = packet.stream_index
        if index in self._audio:
            self._encode_audio(index, packet)
        elif index in self._copied:
            packet.stream = self._copied[index]
            self._mux(packet)

    def write_video(self, packet: Packet[Any]) -> None:
        """Mux a packet of the video encoder.

        Raises
        ------
        OutputError
            The file cannot be written on.
        """
        assert packet.pts is not None
        self.times.append(packet.pts)
        self.frames += 1
        self._mux(packet)

    def _encode_audio(self, index: int, packet: Packet[Any] | None) -> None:
        """Decode and encode a packet of an audio track, or what the decoder still holds at None."""
        stream = cast("AudioStream", self._source.container.streams[index])
        try:
            frames = stream.decode(packet)
        except av.FFmpegError as error:
            what = f"an audio packet of stream {index} cannot be decoded"
            self._source.damage.found(what, error)
            return
        for frame in frames:
            self._encode_samples(index, frame)

    def _encode_samples(self, index: int, frame: AudioFrame | None) -> None:
        for packet in self._audio[index].encode(frame):
            self._mux(packet)

    def _mux(self, packet: Packet[Any]) -> None:
        self.nbytes += packet.size
        try:
            self.container.mux_one(packet)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise OutputError(
                f"{self._output.name}: {error_text(str(self._output.path), error)}"
            ) from error

    def finish(self) -> None:
        """Flush the audio encoders and write the container's end.

        Raises
        ------
        OutputError
            The file cannot be written on.
        """
        self._open.close()
        for index in self._audio:
            self._encode_audio(index, None)
            self._encode_samples(index, None)
        try:
            self.container.close()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise OutputError(
                f"{self._output.name}: {error_text(str(self._output.path), error)}"
            ) from error

    def abort(self) -> None:
        """Close the file as it is; what is in it is of no use to anyone."""
        self._open.close()
        try:
            self.container.close()
        except (av.FFmpegError, OSError, ValueError):
            return  # It is about to be removed.


def _content(metadata: dict[str, str]) -> dict[str, str]:
    """Return what a source's metadata says of its content."""
    content = {key: value for key, value in metadata.items() if key not in _OF_THE_OLD_FILE}
    if content.get("creation_time", "").startswith("1970-01-01T00:00:00"):
        del content["creation_time"]  # How MP4 says that it is not known.
    return content


def _describe(source: Stream, target: Stream) -> None:
    target.disposition = source.disposition
    target.metadata.update(_content(source.metadata))


def _codec_name(stream: Stream) -> str:
    if stream.type in ("attachment", "data"):
        return stream.metadata.get("filename", "of unknown kind")
    return stream.codec_context.codec.canonical_name


def _language(stream: Stream) -> str:
    return f" ({stream.language})" if stream.language else ""


def _refusal(container: str, stream: Stream) -> str:
    """Return why a container cannot hold a copy of a stream; empty where it can.

    libav tells only when a header is written, so one is written to memory.
    """
    if stream.type == "attachment" and container != "matroska":
        return "attachments"
    if container == "mpegts" and stream.type == "audio" and _codec_name(stream) not in _TS_AUDIO:
        return "this codec"
    try:
        with captured_log() as log, av.open(io.BytesIO(), "w", format=container) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except (av.FFmpegError, OSError, ValueError) as error:
        return log.text or str(error)
    return ""
