"""``xtranscode routes``: how samples get from one kind of memory into another."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bridges.explain import Machine, Route
    from bridges.routes import Declaration
    from bridges.tensor import MemoryType

__all__ = ["routes"]


@click.command(short_help="Show the ways between kinds of memory.")
@click.argument("source", metavar="[FROM", required=False)
@click.argument("target", metavar="TO]", required=False)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line, one an edge or route."
)
@click.option("--dot", "as_dot", is_flag=True, help="The diagram, for Graphviz's dot.")
def routes(source: str | None, target: str | None, as_json: bool, as_dot: bool) -> None:
    """Show every edge between kinds of memory, whether it copies, and whether this machine has it.

    With FROM and TO, such as FFmpeg SYCL: the route that is taken between them, after those that
    would be better and why they cannot be taken.
    """
    from bridges.explain import Machine, explain
    from bridges.routes import declared_edges

    if as_json and as_dot:
        raise click.UsageError("--json and --dot exclude each other")
    ends = _ends(source, target)
    with Machine() as machine:
        if ends is None:
            _show_edges(declared_edges(), machine, as_json, as_dot)
        else:
            _show_routes(explain(*ends, machine.refusal), machine, ends, as_json, as_dot)


def _ends(source: str | None, target: str | None) -> "tuple[MemoryType, MemoryType] | None":
    from bridges.errors import FormatError
    from bridges.tensor import MemoryType

    if source is None:
        return None
    if target is None:
        raise click.UsageError("name both ends, such as: xtranscode routes FFmpeg OpenCL")
    try:
        ends = MemoryType.parse(source), MemoryType.parse(target)
    except FormatError as error:
        raise click.UsageError(str(error).replace("MemoryType", "memory")) from error
    if ends[0] is ends[1]:
        raise click.UsageError(f"both ends are {ends[0]} memory: there is nothing to map")
    return ends


def _show_edges(
    edges: "tuple[Declaration, ...]", machine: "Machine", as_json: bool, as_dot: bool
) -> None:
    from rich.text import Text

    from cli.render import console, grid, print_json, show

    if as_json:
        for edge in edges:
            print_json({"type": "edge", **_fields(edge), **_state(machine.edge_refusal(edge))})
        return
    if as_dot:
        click.echo(_dot({edge: machine.edge_refusal(edge) for edge in edges}))
        return
    table = grid(4)
    alike = Counter((edge.source, edge.target, edge.copies) for edge in edges)
    for edge in sorted(edges, key=lambda edge: (_rank(edge.source), _rank(edge.target))):
        reason = machine.edge_refusal(edge)
        several = alike[edge.source, edge.target, edge.copies] > 1
        name = f"{edge} ({edge.name})" if several else str(edge)
        state = Text("no", "yellow") if reason else Text("yes", "green")
        table.add_row(name, _cost(edge.copies), state, reason)
    show(console(), table)


def _show_routes(
    found: "tuple[Route, ...]",
    machine: "Machine",
    ends: "tuple[MemoryType, MemoryType]",
    as_json: bool,
    as_dot: bool,
) -> None:
    from rich.text import Text

    from bridges.errors import NoRouteError
    from cli.render import console, grid, print_json, show

    if as_json:
        for route in found:
            print_json(
                {
                    "type": "route",
                    "stops": [stop.value for stop in route.stops],
                    "copies": route.copies,
                    "edges": [_fields(edge) for edge in route.edges],
                    "derived": machine.derived(route.edges),
                    "taken": route.taken,
                    **_state(route.refusal),
                }
            )
    elif as_dot:
        edges = {edge: route.refusal for route in found for edge in route.edges}
        edges |= {edge: "" for route in found if route.taken for edge in route.edges}
        click.echo(_dot(edges))
    else:
        table = grid(3)
        for route in found:
            state = Text("taken", "green") if route.taken else Text("unavailable", "yellow")
            derived = machine.derived(route.edges) if route.taken else ()
            if route.refusal:
                state.append(f": {route.refusal}", "default")
            elif derived:
                state.append(f", with {', '.join(derived)} derived from the one before", "default")
            table.add_row(str(route), _cost(route.copies), state)
        show(console(), table)
    if not any(route.taken for route in found):
        raise NoRouteError(
            f"no route from {ends[0]} to {ends[1]} memory on this machine"
            + ("" if found else ": no edges join them")
        )


def _rank(memory_type: "MemoryType") -> int:
    from bridges.tensor import MemoryType

    return list(MemoryType).index(memory_type)


def _cost(copies: int) -> str:
    return {0: "zero-copy", 1: "copies"}.get(copies, f"copies {copies} times")


def _fields(edge: "Declaration") -> dict[str, Any]:
    return {
        "source": edge.source.value,
        "target": edge.target.value,
        "copies": edge.copies,
        "summary": edge.summary,
    }


def _state(refusal: str) -> dict[str, Any]:
    return {"available": not refusal, "reason": refusal}


def _dot(edges: "dict[Declaration, str]") -> str:
    """Return a graph: full lines share memory, dashed ones copy, grey ones are not to be had."""
    lines = ["digraph routes {", "  node [shape=box, style=rounded]"]
    for edge, refusal in edges.items():
        style = "dashed" if edge.copies else "solid"
        colour = "grey" if refusal else "black"
        ends = f'"{edge.source.value}" -> "{edge.target.value}"'
        lines.append(f"  {ends} [style={style}, color={colour}]")
    return "\n".join([*lines, "}"])
