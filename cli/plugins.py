"""``xtranscode plugins``: what accelerator sessions are made of, and whether it keeps the rules."""

import inspect
import json
import math
from typing import TYPE_CHECKING, Any

import click

from cli.errors import one_line
from cli.params import DEVICE, KEY_VALUE, SIZE

if TYPE_CHECKING:
    from rich.table import Table

    from xma_plugins.conformance import Result, Setup
    from xma_plugins.plugin import Plugin

__all__ = ["plugins"]

_PACKETS = 24
"""How many of a file a decoder is tried with."""


class _Plugins(click.Group):
    """A group whose arguments are those of ``show`` where they begin with no command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_Plugins,
    short_help="Show the plugins of accelerator sessions, and check them.",
    subcommand_metavar="[show] [NAME | FILE.py[:CLASS]] | check NAME",
)
def plugins() -> None:
    """Show what accelerator sessions are made of: plugins by name, and those of your own files.

    \b
    xtranscode plugins                     all of them
    xtranscode plugins copy_filter         what one does, and its parameters
    xtranscode plugins check my.py         whether yours keeps the rules

    Packages bring plugins by entry points of the group xtranscode.plugins.
    """


@plugins.command(short_help="List all plugins, or show one; taken where no command is named.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one a plugin.")
def show(name: str | None, as_json: bool) -> None:
    """List all plugins; or show what one does, and its parameters."""
    from cli.render import console, print_json
    from cli.render import show as print_table
    from xma_plugins.registry import find_plugin, plugin_names

    if name:
        fields = _fields(name, find_plugin(name))
        if as_json:
            print_json(fields)
        else:
            print_table(console(), _details(fields))
        return
    listed = [_tried(each) for each in plugin_names()]
    if as_json:
        for each in listed:
            print_json(each)
    else:
        print_table(console(), _listed(listed))


@plugins.command(short_help="Find out whether a plugin keeps the rules.")
@click.argument("name")
@click.option("--device", type=DEVICE, default="cpu", help="Where it works.  [default: cpu]")
@click.option(
    "--param",
    "params",
    type=KEY_VALUE,
    multiple=True,
    help="What the plugin takes; numbers, true and false are told from text.",
)
@click.option("--format", "pixels", default="yuv420p", help="Of the pictures that are sent.")
@click.option("--size", type=SIZE, help="Of them.  [default: 64x48]")
@click.option("--input", "source", metavar="FILE", help="A video, for a decoder.")
@click.option("--scenario", "only", multiple=True, help="Play this one; may be repeated.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    help="Seconds that one call may take.  [default: 30]",
)
@click.option("--trace", metavar="FILE", help="Write all calls and answers to a file.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one a scenario.")
@click.pass_context
def check(
    ctx: click.Context,
    name: str,
    device: str,
    params: tuple[tuple[str, str], ...],
    pixels: str,
    size: tuple[int, int] | None,
    source: str | None,
    only: tuple[str, ...],
    timeout: float,
    trace: str | None,
    as_json: bool,
) -> None:
    """Use a plugin in every way that is allowed, and try every way that is not.

    NAME is a plugin, or one of a file: my.py, or my.py:MyFilter. The exit code is 1 where it breaks
    a rule.

    \b
    xtranscode plugins check copy_filter --device opencl --param zerocopy=true
    xtranscode plugins check libav_decoder --input talk.mp4
    """
    if not math.isfinite(timeout):
        raise click.BadParameter("a number of seconds is needed", param_hint="'--timeout'")
    from cli.render import print_json
    from xma_plugins.conformance import check as play
    from xma_plugins.registry import find_plugin

    plugin = find_plugin(name)
    setup = _setup(plugin, params, pixels, size, source)
    if trace is not None:
        open(trace, "w").close()  # That it cannot be written is told before, not after.

    def tell(result: "Result") -> None:
        if as_json:
            print_json(_told(result))
        else:
            click.echo(_line(result))

    report = play(plugin, setup, device=device, only=only, timeout=timeout, on_result=tell)
    if trace is not None:
        report.trace.write(trace)
    if not as_json:
        passed = sum(result.state == "passed" for result in report.results)
        count = len(report.broken)
        click.echo(
            f"{name} {'breaks rules' if count else 'keeps the rules'}: {passed} passed, "
            f"{count} broken"
        )
    if not report.is_ok:
        ctx.exit(1)


def _setup(
    plugin: "type[Plugin]",
    params: tuple[tuple[str, str], ...],
    pixels: str,
    size: tuple[int, int] | None,
    source: str | None,
) -> "Setup":
    from bridges.formats import pixel_format
    from xma_plugins.conformance import Setup
    from xma_plugins.kinds import SessionType

    pixel_format(pixels)  # What is wrong with it is told before any device is opened.
    width, height = size or (64, 48)
    given = {key: _value(text) for key, text in params}
    if plugin.kind is not SessionType.DECODER:
        if source is not None:
            raise click.UsageError("--input is for decoders; the others get pictures that are made")
        outputs = ((pixels, width, height), (pixels, max(1, width // 2), max(1, height // 2)))
        return Setup(format=pixels, width=width, height=height, params=given, outputs=outputs)
    if source is None:
        raise click.UsageError("a decoder needs something to decode: --input FILE")
    codec, packets = _packets(source)
    return Setup(params={"codec": codec, **given}, packets=packets)


def _value(text: str) -> Any:
    """Return a parameter as JSON has it; text where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _packets(path: str) -> "tuple[str, tuple[tuple[bytes, int | None], ...]]":
    """Return the codec and the first packets of a video, as decoders take them without a header."""
    import av
    from av.bitstream import BitStreamFilterContext

    from bridges.errors import MediaError
    from transcode.container import error_text, open_input

    with open_input(path) as container:
        if not container.streams.video:
            raise MediaError(f"{one_line(path)}: has no video")
        stream = container.streams.video[0]
        codec = stream.codec_context.name
        found: list[tuple[bytes, int | None]] = []
        try:
            # MP4 and Matroska keep the header apart.
            filters = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
            convert = filters.get(codec) and BitStreamFilterContext(filters[codec], stream)
            for packet in container.demux(stream):
                for each in convert.filter(packet) if convert else [packet]:
                    if each.size:
                        found.append((bytes(each), each.pts))
                if len(found) >= _PACKETS:
                    break
        except av.FFmpegError as error:
            raise MediaError(f"{one_line(path)}: {error_text(path, error)}") from error
    return codec, tuple(found[:_PACKETS])


def _tried(name: str) -> dict[str, Any]:
    """Return what is to be told of a plugin, or why it cannot be."""
    from xma_plugins.errors import PluginError
    from xma_plugins.registry import find_plugin

    try:
        return _fields(name, find_plugin(name))
    except PluginError as error:
        return {"name": name, "kind": None, "error": str(error), "from": _brought_by(name)}


def _fields(name: str, plugin: "type[Plugin]") -> dict[str, Any]:
    main, sub = plugin.xma_version
    return {
        "name": name,
        "kind": plugin.kind.name.lower(),
        "summary": plugin.summary,
        "vendor": plugin.vendor,
        "version": f"{main}.{sub}",
        "from": _brought_by(name),
        "class": f"{plugin.__module__}.{plugin.__qualname__}",
        "needs_device": plugin.uses_device,
        "about": inspect.cleandoc(plugin.__doc__ or ""),
    }


def _brought_by(name: str) -> str:
    """Return the package or the file that a plugin comes from."""
    from importlib import metadata

    from xma_plugins.registry import GROUP

    if ".py" in name:
        return name.partition(".py")[0] + ".py"
    for entry in metadata.entry_points(group=GROUP, name=name):
        if entry.dist is not None:
            return f"{entry.dist.name} {entry.dist.version}"
    return "xtranscode"


def _listed(listed: list[dict[str, Any]]) -> "Table":
    from cli.render import grid

    table = grid(6)
    for each in listed:
        if each["kind"] is None:
            table.add_row(each["name"], "?", "", "", each["from"], one_line(each["error"]))
        else:
            row = ("name", "kind", "vendor", "version", "from", "summary")
            table.add_row(*(each[column] for column in row))
    return table


def _details(fields: dict[str, Any]) -> "Table":
    from cli.render import grid

    table = grid(2)
    table.add_row("plugin", f"{fields['name']}: {fields['summary']}")
    table.add_row("kind", fields["kind"])
    table.add_row("vendor", fields["vendor"])
    table.add_row("version", f"{fields['version']} of the interface")
    table.add_row("from", fields["from"])
    table.add_row("class", fields["class"])
    table.add_row("device", "always" if fields["needs_device"] else "only for pictures on one")
    table.add_row("about", fields["about"])
    return table


def _line(result: "Result") -> str:
    words = result.state
    if result.detail:
        words = f"{words}: {result.detail.removeprefix('rule broken: ')}"
    calls = f"   {result.steps} calls" if result.state == "passed" else ""
    return one_line(f"{result.scenario:14} {words}{calls}")


def _told(result: "Result") -> dict[str, Any]:
    told: dict[str, Any] = {
        "scenario": result.scenario,
        "state": result.state,
        "detail": result.detail,
        "calls": result.steps,
        "seconds": result.seconds,
    }
    if result.broken is not None:
        broken = result.broken
        told |= {"rule": broken.rule.name, "found": broken.detail, "step": broken.step}
    return told
