"""What pages take from the code itself, so that it cannot differ: tables and the links to names.

``commands`` is every command's help, ``edges`` the table of edges, ``errors`` the tree of errors.
Their content is left out: it tells readers of the bare Markdown where to look.
"""

import importlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from bridges.errors import XTranscodeError
from bridges.routes import declared_edges
from cli.errors import failure_of
from cli.main import cli

_COLUMNS = 86  # As many as the theme's page is wide.
PACKAGES = ("transcode", "bridges", "bridges.kernels", "xma_plugins")
"""Each offers what its ``__all__`` lists; that is the reference."""


class Commands(SphinxDirective):
    """Every command's help as a terminal shows it, each in a section of its own."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        return list(self._sections(cli, None, "xtranscode"))

    def _sections(
        self, command: click.Command, parent: click.Context | None, name: str
    ) -> Iterator[nodes.section]:
        context = click.Context(
            command, parent, name, terminal_width=_COLUMNS, **command.context_settings
        )
        path = context.command_path
        section = nodes.section(ids=[nodes.make_id(path)], names=[path])
        section += [nodes.title(path, path), nodes.literal_block(text=command.get_help(context))]
        section[1]["language"] = "text"
        yield section
        if isinstance(command, click.Group):
            for each in command.list_commands(context):
                child = command.get_command(context, each)
                assert child is not None
                yield from self._sections(child, context, each)


class Edges(SphinxDirective):
    """Every edge between kinds of memory, as `declared_edges` has them."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        ways: dict[tuple[str, str], set[str]] = {}
        for edge in declared_edges():
            does = edge.summary.removeprefix(f"{edge}: ")
            ways.setdefault((str(edge), does), set()).add("copied" if edge.copies else "shared")
        rows = [
            (edge, " or ".join(sorted(how, reverse=True)), does)
            for (edge, does), how in ways.items()
        ]
        return self.parse_text_to_nodes(_table(("edge", "samples are", "what it makes"), rows))


class Errors(SphinxDirective):
    """Every error of the packages, after the one that it is a kind of."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        for name in ("bridges.errors", "transcode.errors", "xma_plugins.errors"):
            importlib.import_module(name)
        rows = [
            (
                f"`{error.__name__}`",
                f"`{error.__module__.partition('.')[0]}`",
                ", ".join(f"`{base.__name__}`" for base in error.__bases__),
                str(failure_of(error("")).exit_code),
                (error.__doc__ or "").partition("\n")[0].replace("``", "`"),
            )
            for error in _kinds(XTranscodeError)
        ]
        heads = ("error", "package", "is a", "exit code", "means")
        return self.parse_text_to_nodes(_table(heads, rows))


def _kinds(error: type[Exception]) -> Iterator[type[Exception]]:
    yield error
    for kind in sorted(error.__subclasses__(), key=lambda each: each.__name__):
        yield from _kinds(kind)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _public_names() -> dict[int, str]:
    """Return where the reference has each object: classes live in modules that it does not name."""
    packages = {name: importlib.import_module(name) for name in PACKAGES}
    return {
        id(getattr(package, public)): f"{name}.{public}"
        for name, package in packages.items()
        for public in package.__all__
    }


def _resolve(app: Sphinx, env: Any, node: Any, shown: nodes.Node) -> nodes.Node | None:
    """Link a name to its place in the reference; leave one that is elsewhere in code as text.

    What is nowhere stays unresolved, which is a warning.
    """
    if node.get("refdomain") != "py":
        return None
    domain, places, known = env.get_domain("py"), _public_names(), False
    for name in _candidates(node):
        for whole, member in ((name, ""), name.rpartition(".")[::2]):
            found = _locate(whole) if whole else None
            if found is None or (member and not _has(found, member)):
                continue
            known = True
            place = ".".join(filter(None, (places.get(id(found), ""), member)))
            if place in domain.objects:
                return domain.resolve_xref(
                    env, node["refdoc"], app.builder, "obj", place, node, shown
                )
    return shown if known else None


def _candidates(node: Any) -> Iterator[str]:
    """Yield what a name may stand for: in its class, its module, or by its whole name."""
    name, module, owner = node["reftarget"], node.get("py:module"), node.get("py:class")
    if module and owner:
        yield f"{module}.{owner}.{name}"
    if module:
        yield f"{module}.{name}"
    yield name
    yield f"builtins.{name}"
    # Classes live in modules that the reference does not name, and speak of what is known there.
    for ours in sorted(sys.modules):
        if ours.startswith(PACKAGES):
            yield f"{ours}.{name}"


def _locate(name: str) -> Any:
    """Return the object of a dotted name, or None."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            found = getattr(found, part, None)
        return found
    return None


def _has(owner: Any, member: str) -> bool:
    """Return whether a class has a member, which may be an attribute of its instances."""
    return isinstance(owner, type) and (
        hasattr(owner, member) or re.search(rf"\b{member}\b", owner.__doc__ or "") is not None
    )


def _shown_signature(
    app: Sphinx,
    what: str,
    name: str,
    value: Any,
    options: Any,
    arguments: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    """Return a signature that is Python: a dataclass's ``<factory>`` is none."""
    return arguments and arguments.replace("<factory>", "..."), returned


def _check_all_is_there(app: Sphinx, env: Any) -> None:
    """Warn of what a package offers and the reference lacks: what has no docstring is left out."""
    known = env.get_domain("py").objects
    for name in _public_names().values():
        if name not in known:
            logging.getLogger(__name__).warning("%s is not in the reference", name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what is here."""
    app.add_directive("commands", Commands)
    app.add_directive("edges", Edges)
    app.add_directive("errors", Errors)
    app.connect("autodoc-process-signature", _shown_signature)
    app.connect("env-check-consistency", _check_all_is_there)
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "version": "1"}
