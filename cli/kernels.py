"""``xtranscode kernels``: what ``run --filter`` can name."""

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

    from bridges.kernels import Kernel, Parameter

__all__ = ["kernels"]


@click.command(short_help="Show the kernels that --filter takes.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one a kernel.")
def kernels(name: str | None, as_json: bool) -> None:
    """List all kernels; or show one's parameters and the pixel formats that it reads and writes.

    A parameter is given in parentheses: --filter 'name(parameter=value)'.
    """
    from bridges.kernels import get, names
    from cli.render import console, grid, print_json, show

    chosen = [get(each) for each in ([name] if name else names())]
    if as_json:
        for kernel in chosen:
            print_json(_fields(kernel))
    elif name:
        show(console(), _details(chosen[0]))
    else:
        table = grid(2)
        for kernel in chosen:
            table.add_row(kernel.name, kernel.summary)
        show(console(), table)


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
                "summary": parameter.summary,
            }
            for parameter in kernel.parameters
        ],
        "reads": kernel.formats_read,
        "writes": kernel.formats_written,
    }


def _details(kernel: "Kernel") -> "Table":
    from cli.render import grid

    table = grid(2)
    table.add_row("kernel", f"{kernel.name}: {kernel.summary}")
    for parameter in kernel.parameters:
        table.add_row("parameter", _declaration(parameter))
    table.add_row("reads", " ".join(kernel.formats_read))
    table.add_row("writes", " ".join(kernel.formats_written))
    return table


def _declaration(parameter: "Parameter") -> str:
    """Return the declaration as the kernel's source has it, with its explanation."""
    default = parameter.default
    shown = str(default).lower() if isinstance(default, bool) else default
    text = f"{parameter.name}: {parameter.type.__name__} = {shown}"
    if parameter.low is not None and parameter.high is not None:
        text += f" in [{parameter.low:g}, {parameter.high:g}]"
    return f"{text}   {parameter.summary}".rstrip()
