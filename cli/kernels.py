"""``xtranscode kernels``: what ``run --filter`` can name, and whether it is alike everywhere."""

import inspect
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.table import Table

    from bridges.kernels import Kernel, Parameter
    from bridges.kernels.check import Result

__all__ = ["kernels"]

_GROUPS = {
    "colour": ("convert", "gray", "point"),
    "size and place": ("geometry", "resize"),
    "neighbourhood": ("blur", "denoise", "sobel"),
    "composition": ("overlay",),
    "measurement": ("statistics",),
}
"""Headings, and under each the kernels or the families of kernels."""

_STATES = {"measure": "the others are compared with this", "equal": "equal"}


class _Kernels(click.Group):
    """A group whose arguments are those of ``show`` where they begin with no command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_Kernels,
    short_help="Show the kernels that --filter takes.",
    subcommand_metavar="[show] [NAME | FILE.cl[:NAME]] | check CALL",
)
def kernels() -> None:
    """Show what --filter takes: kernels by name, and those of files of your own.

    \b
    xtranscode kernels                     all of them
    xtranscode kernels contrast            its parameters and pixel formats
    xtranscode kernels my.cl               the same of a file of your own
    xtranscode kernels check my.cl         whether all devices give the same

    A parameter is given in parentheses: --filter 'contrast(amount=1.2)'.
    """


@kernels.command(short_help="List all kernels, or show one; taken where no command is named.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one a kernel.")
def show(name: str | None, as_json: bool) -> None:
    """List all kernels; or show one's parameters and the pixel formats that it reads and writes."""
    from bridges.kernels import get, names
    from bridges.kernels.call import parse_given
    from cli.render import console, print_json
    from cli.render import show as print_table

    chosen = [parse_given(name)[0]] if name else [get(each) for each in names()]
    if as_json:
        for kernel in chosen:
            print_json(_fields(kernel))
    elif name:
        print_table(console(), _details(chosen[0]))
    else:
        print_table(console(), _listed(chosen))


@kernels.command(short_help="Compare what all devices make of a kernel.")
@click.argument("call")
@click.option(
    "--reference",
    metavar="FILE.py",
    help="Compare with its function of the kernel's name, too: signals of 0 to 1 in float64.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one a device.")
@click.pass_context
def check(ctx: click.Context, call: str, reference: str | None, as_json: bool) -> None:
    """Run a kernel on every OpenCL, SYCL and CUDA device, and compare the results bit by bit.

    CALL is a kernel, such as my.cl:tint or invert. Without parameters, the defaults and the ends
    of all ranges are tried. One of the package is compared with its NumPy reference. The exit code
    is 1 where a device differs or fails.

    \b
    xtranscode kernels check my.cl
    xtranscode kernels check 'my.cl:tint(amount=0.5)' --reference my.py
    """
    from bridges.kernels.call import parse_given
    from bridges.kernels.check import check as compare
    from bridges.kernels.check import trials
    from bridges.kernels.devices import devices
    from bridges.kernels.float_reference import load_function
    from cli.render import print_json

    kernel, given = parse_given(call)
    trials(kernel, given)  # What is wrong with them is told before any device is opened.
    function = load_function(reference, kernel.name) if reference else None
    results: list[Result] = []
    with devices() as found:
        width = max((len(device.name) for device in found), default=0)
        for result in compare(kernel, given, found, function):
            results.append(result)
            if as_json:
                print_json(result)
            else:
                click.echo(_line(result, width))
    alone = _lonely(results)
    if alone:
        click.echo(alone, err=as_json)
    if any(result.state in ("differs", "failed") for result in results):
        ctx.exit(1)


def _line(result: "Result", width: int) -> str:
    from cli.errors import one_line

    words = _STATES.get(result.state, f"{result.state}: {result.detail}")
    if result.state == "equal" and result.detail:
        words = result.detail
    tried = f"   {result.pictures} pictures of {' '.join(result.formats)}" if result.formats else ""
    return one_line(f"{result.name:{width}}   {words}{tried}")


def _lonely(results: "Iterable[Result]") -> str:
    """Return what to say where there was nothing to compare with; else nothing."""
    count = sum(result.state in ("measure", "equal", "differs") for result in results)
    if count > 1 or any(result.state == "failed" for result in results):
        return ""
    found = "one device is there" if count else "no device is there that runs kernels"
    return f"there was nothing to compare with: {found}; see xtranscode devices"


def _listed(chosen: "list[Kernel]") -> "Table":
    from cli.render import grid

    table = grid(2)
    for heading in (*_GROUPS, "other"):
        group = [each for each in chosen if _heading(each) == heading]
        if group:
            table.add_row(f"[{heading}]")
        for kernel in group:
            table.add_row(f"  {kernel.name}", kernel.summary)
    return table


def _heading(kernel: "Kernel") -> str:
    headings = {name: heading for heading, names in _GROUPS.items() for name in names}
    return headings.get(kernel.name) or headings.get(kernel.kind, "other")


def _fields(kernel: "Kernel") -> dict[str, Any]:
    return {
        "name": kernel.name,
        "summary": kernel.summary,
        "parameters": [
            {
                "name": parameter.name,
                "type": parameter.type.__name__,
                "default": parameter.default,
                "range": None if parameter.low is None else [parameter.low, parameter.high],
                "choices": parameter.choices,
                "summary": parameter.summary,
            }
            for parameter in kernel.parameters
        ],
        "kind": kernel.kind,
        "reads": kernel.formats_read,
        "writes": kernel.formats_written,
        "source": _source(kernel),
    }


def _details(kernel: "Kernel") -> "Table":
    from bridges.kernels import reference
    from cli.render import grid

    table = grid(2)
    table.add_row("kernel", f"{kernel.name}: {kernel.summary}")
    for parameter in kernel.parameters:
        table.add_row("parameter", _declaration(parameter))
    table.add_row("reads", _patterns(kernel.reads))
    table.add_row("writes", _patterns(kernel.writes))
    table.add_row("kind", kernel.kind)
    table.add_row("source", _source(kernel))
    function: Callable[..., Any] | None = None
    if not kernel.file:
        function = getattr(reference, kernel.name, None)
    if function is not None:
        table.add_row("reference", inspect.getdoc(function))
    return table


def _patterns(patterns: tuple[str, ...]) -> str:
    return "every format" if patterns == ("*",) else " ".join(patterns)


def _source(kernel: "Kernel") -> str:
    """Return the file and the line of the declaration."""
    if kernel.file:
        return f"{kernel.file}:{kernel.line}"
    from importlib import resources

    for file in resources.files("bridges.kernels.families").iterdir():
        if file.name.endswith(".cl") and file.read_text("utf-8") == kernel.source:
            return f"{file}:{kernel.line}"
    return ""


def _declaration(parameter: "Parameter") -> str:
    """Return the declaration as the kernel's source has it, with its explanation."""
    default = parameter.default
    shown = str(default).lower() if isinstance(default, bool) else default
    text = f"{parameter.name}: {parameter.type.__name__}"
    if default is not None:
        text += f" = {shown}"
    if parameter.low is not None and parameter.high is not None:
        text += f" in [{parameter.low:g}, {parameter.high:g}]"
    if parameter.choices:
        text += f" in {{{', '.join(parameter.choices)}}}"
    return f"{text}   {parameter.summary}".rstrip()
