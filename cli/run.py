"""``xtranscode run``: transcode one video."""

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from cli.errors import failure_of, one_line
from cli.params import AUDIO, BIT_RATE, DEVICE, KEY_VALUE, RATE, SIZE, TIME

if TYPE_CHECKING:
    from cli.render import JsonProgress, TextProgress
    from transcode.job import Job

__all__ = ["run"]


def _remember_verbose(ctx: click.Context, _param: click.Parameter, wanted: bool) -> bool:
    ctx.meta["cli.verbose"] = wanted
    return wanted


@click.command(short_help="Transcode a video.")
@click.argument("source", type=click.Path(readable=False))
@click.argument("target", type=click.Path(readable=False))
@click.option(
    "--filter",
    "filters",
    metavar="KERNEL",
    multiple=True,
    help="A kernel, such as rgb_to_grayscale; repeat for more; see xtranscode kernels.",
)
@click.option("--vf", metavar="CHAIN", help="A libavfilter chain, ahead of the kernels.")
@click.option(
    "--size", metavar="WxH", type=SIZE, help="Such as 1280x720; 1280x-2 keeps the aspect."
)
@click.option(
    "--fps", metavar="RATE", type=RATE, help="A constant frame rate, such as 25 or 30000/1001."
)
@click.option(
    "--start", metavar="TIME", type=TIME, help="Leave out what comes before: 90, 1:30 or 0:01:30.5."
)
@click.option("--duration", metavar="TIME", type=TIME, help="Stop after so much time.")
@click.option("--codec", metavar="NAME", default="libx264", show_default=True, help="Encoder.")
@click.option("--preset", metavar="NAME", help="As the encoder names it.")
@click.option("--profile", metavar="NAME", help="As the encoder names it.")
@click.option(
    "--crf", metavar="NUMBER", type=float, help="Constant quality, in the encoder's own scale."
)
@click.option("--bitrate", "bit_rate", metavar="RATE", type=BIT_RATE, help="Such as 800k or 2.5M.")
@click.option(
    "--gop",
    "gop_size",
    metavar="FRAMES",
    type=click.IntRange(min=0),
    help="Most frames from key frame to key frame.",
)
@click.option("--pix-fmt", metavar="NAME", help="Pixel format to encode.")
@click.option(
    "-o",
    "options",
    metavar="KEY=VALUE",
    type=KEY_VALUE,
    multiple=True,
    help="A further encoder option; repeatable.",
)
@click.option(
    "--audio",
    metavar="HOW",
    type=AUDIO,
    default="copy",
    show_default=True,
    help="copy, none, or an encoder with a bit rate: aac:128k.",
)
@click.option("--format", "container", metavar="NAME", help="Container; default: by TARGET's name.")
@click.option(
    "--device",
    metavar="NAME",
    type=DEVICE,
    default="auto",
    show_default=True,
    help="Where kernels run: auto, cpu, opencl[:platform[:device]], sycl[:filter], cuda[:n]; "
    "cuda and vaapi[:node] decode, scale and encode too.",
)
@click.option(
    "--software-fallback", is_flag=True, help="Decode in software what such a device cannot."
)
@click.option(
    "--verify",
    type=click.Choice(["none", "fast", "full"]),
    default="fast",
    show_default=True,
    help="What to check before TARGET appears: nothing, times and tags, or every frame too.",
)
@click.option(
    "--damaged",
    type=click.Choice(["fail", "keep"]),
    default="fail",
    show_default=True,
    help="Fail on a damaged source, or go on with what can be decoded.",
)
@click.option("-y/-n", "overwrite", default=None, help="Replace TARGET, or never; default: ask.")
@click.option("-q", "--quiet", is_flag=True, help="Show errors only.")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    callback=_remember_verbose,
    help="Show the times of the stages and FFmpeg's warnings.",
)
@click.option(
    "--progress",
    type=click.Choice(["auto", "bar", "json", "none"]),
    default="auto",
    show_default=True,
    help="auto: a bar on a terminal. json: one object a line with a type (started, progress, "
    "notice, finished, error) on stdout, or on stderr where TARGET is '-'.",
)
def run(
    source: str,
    target: str,
    overwrite: bool | None,
    quiet: bool,
    verbose: bool,
    progress: str,
    **fields: Any,
) -> None:
    """Transcode the video SOURCE into TARGET; '-' is standard input or output.

    Audio, subtitles, chapters and tags are kept. TARGET appears when it is complete and verified.

    \b
    xtranscode run talk.mp4 gray.mp4 --filter rgb_to_grayscale
    xtranscode run talk.mp4 small.mkv --size 1280x-2 --crf 23 --audio aac:128k
    """
    if progress == "json":
        _run_for_programs(source, target, overwrite, verbose, fields)
        return
    job = _job(source, target, overwrite, **fields)
    _run(job, _text_progress(job, progress, quiet, verbose), verbose)


def _run_for_programs(
    source: str, target: str, overwrite: bool | None, verbose: bool, fields: dict[str, Any]
) -> None:
    """Run with one JSON object a line, whose last one tells the result or the error."""
    from cli.render import JsonProgress

    shown = JsonProgress(stderr=target == "-")
    try:
        _run(_job(source, target, overwrite, **fields), shown, verbose)
    except BrokenPipeError:
        raise
    except BaseException as error:
        failure = failure_of(error)
        shown.write("error", {"message": failure.message, "exit_code": failure.exit_code})
        if target != "-":
            raise
        # The message is on standard error already, and its line is the last.
        raise click.exceptions.Exit(failure.exit_code) from error


def _text_progress(job: "Job", progress: str, quiet: bool, verbose: bool) -> "TextProgress":
    from cli.render import TextProgress, can_show_bar, console

    bar = progress == "bar" or (progress == "auto" and can_show_bar())
    out = console(stderr=True, terminal=True if progress == "bar" else None)
    out.quiet = quiet
    return TextProgress(job, out, bar=bar and not quiet, verbose=verbose)


def _job(
    source: str,
    target: str,
    overwrite: bool | None,
    *,
    container: str | None,
    audio: Any,
    options: tuple[tuple[str, str], ...],
    filters: tuple[str, ...],
    vf: str | None,
    start: Any,
    duration: Any,
    device: str,
    software_fallback: bool,
    verify: Any,
    damaged: Any,
    **video: Any,
) -> "Job":
    from transcode.job import Job, Output, VideoOptions

    encoding = VideoOptions(options=dict(options), **video)
    job = Job(
        source=source,
        outputs=(Output(target, format=container, video=encoding, audio=audio),),
        filters=filters,
        vf=vf,
        start=start,
        duration=duration,
        device=device,
        software_fallback=software_fallback,
        verify=verify,
        damaged=damaged,
    )
    # After the job's own checks: no question about a job that cannot be run.
    return replace(job, overwrite=_may_replace(source, target, overwrite))


def _may_replace(source: str, target: str, overwrite: bool | None) -> bool:
    """Return whether a file under the target's name may be replaced; ask if need be.

    Raises
    ------
    OutputError
        There is one and it may not, or standard output is a terminal.
    """
    from transcode.errors import OutputError

    if target == "-":
        if sys.stdout.isatty():
            raise OutputError("standard output is a terminal; send the video to a pipe or a file")
        return False
    if overwrite or not os.path.isfile(target) or _is_same(source, target):
        return bool(overwrite)
    name = one_line(target)
    if overwrite is None and source != "-" and sys.stdin.isatty() and sys.stderr.isatty():
        if _ask(f"{name} exists. Replace it?"):
            return True
        raise OutputError(f"{name} was kept")
    advice = "and is kept (-n)" if overwrite is False else "already; say -y to replace it"
    raise OutputError(f"{name} exists {advice}")


def _ask(question: str) -> bool:
    """Ask on standard error, which is a terminal even where standard output is not."""
    try:
        click.echo(f"{question} [y/N] ", nl=False, err=True)
        answer = sys.stdin.readline()
    except BaseException:
        click.echo(err=True)
        raise
    return answer.strip().lower() in ("y", "yes")


def _is_same(source: str, target: str) -> bool:
    """Whether both names are one file: no question then, because the job is refused anyway."""
    return os.path.exists(source) and os.path.samefile(source, target)


def _run(job: "Job", shown: "TextProgress | JsonProgress", verbose: bool) -> None:
    import transcode
    from bridges.backends.ffmpeg_log import show_warnings
    from transcode.errors import OutputError

    try:
        with shown:
            if verbose:
                show_warnings()
            transcode.run(job, on_progress=shown)
    except OutputError as error:
        if job.outputs[0].is_stdout and isinstance(error.__cause__, BrokenPipeError):
            raise BrokenPipeError from error
        raise
