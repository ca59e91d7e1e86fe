"""``xtranscode probe``: what a media file holds."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from cli.errors import failure_of, one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

    from transcode.media import (
        AttachmentInfo,
        AudioInfo,
        HdrInfo,
        MediaInfo,
        StreamInfo,
        VideoInfo,
    )

__all__ = ["probe"]


@click.command(short_help="Show what media files hold.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one line a file.")
def probe(files: tuple[str, ...], as_json: bool) -> int:
    """Show the container, streams, colour, chapters and tags of each FILE; '-' is standard input.

    The exit code is 1 if a file could not be read; the others are shown.
    """
    from bridges.errors import XTranscodeError
    from cli.render import console, print_json, show
    from transcode.probe import probe as probe_media

    out = console()
    failed = False
    for number, path in enumerate(files):
        try:
            info = probe_media(path)
        except XTranscodeError as error:
            failed = True
            message = failure_of(error).message
            click.echo(f"xtranscode: {message}", err=True)
            if as_json:
                print_json({"path": path, "error": message})
            continue
        if as_json:
            print_json(info)
            continue
        if number:
            out.print()
        for part in _parts(info):
            show(out, part)
    return int(failed)


def _parts(info: "MediaInfo") -> Iterator["RenderableType"]:
    """Yield the heading, the streams, the chapters and the tags of a file."""
    from rich.text import Text

    from cli.render import grid
    from transcode.quantity import bit_rate_text, size_text

    yield Text("standard input" if info.path == "-" else one_line(info.path), "bold")
    facts = [f"{info.container_long} ({info.container})"]
    if info.duration_seconds is not None:
        facts.append(_time(info.duration_seconds))
    if info.start_seconds:
        facts.append(f"starts at {_time(info.start_seconds)}")
    if info.nbytes is not None:
        facts.append(size_text(info.nbytes))
    if info.bits_per_second is not None:
        facts.append(bit_rate_text(info.bits_per_second))
    table = grid(3)
    table.add_row("", "container", ", ".join(facts))
    for stream in info.streams:
        table.add_row(str(stream.index), stream.kind, "\n".join(_stream(stream)))
    for chapter in info.chapters:
        span = f"{_time(chapter.start_seconds)} to {_time(chapter.end_seconds)}"
        table.add_row("", "chapter", f"{span}  {one_line(chapter.title)}")
    for key, value in info.metadata.items():
        table.add_row("", "tag", f"{one_line(key)}: {one_line(value)}")
    yield table


def _stream(stream: "StreamInfo") -> Iterator[str]:
    """Yield the lines that describe a stream."""
    from transcode.media import AttachmentInfo, AudioInfo, VideoInfo
    from transcode.quantity import bit_rate_text

    facts = [" ".join(filter(None, (stream.codec, stream.profile)))]
    if isinstance(stream, VideoInfo):
        facts += _picture(stream)
    elif isinstance(stream, AudioInfo):
        facts += _sound(stream)
    elif isinstance(stream, AttachmentInfo):
        facts = _attachment(stream)
    if stream.bits_per_second is not None:
        facts.append(bit_rate_text(stream.bits_per_second))
    if stream.language not in (None, "und"):
        facts.append(f"language {one_line(str(stream.language))}")
    yield ", ".join([*facts, *(name.replace("_", " ") for name in stream.disposition)])
    if isinstance(stream, VideoInfo):
        yield ", ".join(_timing(stream))
        yield ", ".join(_colour(stream))
    if title := stream.metadata.get("title"):
        yield f"title: {one_line(title)}"


def _picture(video: "VideoInfo") -> Iterator[str]:
    size = f"{video.width}x{video.height}"
    if video.display_aspect_ratio is not None:
        dar, sar = video.display_aspect_ratio, video.sample_aspect_ratio
        size += f" ({dar.numerator}:{dar.denominator}"
        if sar is not None and sar != 1:
            size += f", pixels {sar.numerator}:{sar.denominator}"
        size += ")"
    yield size
    if video.rotation_degrees:
        yield f"turned {video.rotation_degrees}° counter-clockwise"
    if video.is_mirrored:
        yield "mirrored"
    yield video.pix_fmt + (f" {video.bits} bit" if video.bits else "")


def _timing(video: "VideoInfo") -> Iterator[str]:
    from transcode.quantity import rate_text

    if video.rate is not None:
        yield rate_text(video.rate) + (" on average, variable" if video.is_rate_variable else "")
    if video.frames is not None:
        yield f"{video.frames} frames" if video.frames != 1 else "1 frame"
    if video.duration_seconds is not None:
        yield _time(video.duration_seconds)
    if video.start_seconds:
        yield f"starts at {_time(video.start_seconds)}"
    if video.field_order != "unknown":
        yield video.field_order


def _colour(video: "VideoInfo") -> Iterator[str]:
    tags = {"matrix": video.matrix, "primaries": video.primaries, "transfer": video.transfer}
    said = {name: value for name, value in tags.items() if value != "unspecified"}
    if len(said) == len(tags) and len(set(said.values())) == 1:
        yield f"colour {video.matrix}"
    elif said:
        yield "colour " + ", ".join(f"{name} {value}" for name, value in said.items())
    else:
        yield "colour untagged"
    if video.range != "unspecified":
        yield f"{video.range} range"
    if video.hdr is not None:
        yield from _hdr(video.hdr)


def _hdr(hdr: "HdrInfo") -> Iterator[str]:
    if hdr.max_luminance_nits is not None:
        yield f"mastered at {hdr.min_luminance_nits:g} to {hdr.max_luminance_nits:g} cd/m²"
    if hdr.max_cll_nits is not None:
        yield f"MaxCLL {hdr.max_cll_nits}, MaxFALL {hdr.max_fall_nits} cd/m²"
    yield from hdr.dynamic


def _sound(audio: "AudioInfo") -> Iterator[str]:
    yield f"{audio.sample_rate_hz} Hz"
    channels = "channel" if audio.channels == 1 else "channels"
    yield f"{audio.layout} ({audio.channels} {channels})"
    yield audio.sample_format
    if audio.start_seconds:
        yield f"starts at {_time(audio.start_seconds)}"


def _attachment(attachment: "AttachmentInfo") -> list[str]:
    from transcode.quantity import size_text

    return [
        one_line(attachment.name) or "without a name",
        one_line(attachment.mimetype) or "unknown type",
        size_text(attachment.nbytes),
    ]


def _time(seconds: float) -> str:
    """Return milliseconds too: ``"0:05.312"``; a minus sign in front where need be."""
    minutes, rest = divmod(round(abs(seconds) * 1000), 60_000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02}" if hours else str(minutes)
    return f"{'-' if seconds < 0 else ''}{head}:{rest // 1000:02}.{rest % 1000:03}"
