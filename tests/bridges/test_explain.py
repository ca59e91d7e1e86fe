"""Routes are explained as they are taken."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from bridges import MemoryType, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext
from bridges.explain import Machine, explain, refusals_between
from bridges.routes import EDGES, declared_edges, find_route, load_edges

if TYPE_CHECKING:
    import pytest

CPU, FFMPEG, OPENCL, SYCL = (
    MemoryType.CPU,
    MemoryType.FFMPEG,
    MemoryType.OPENCL,
    MemoryType.SYCL,
)


def test_the_files_say_what_the_edges_are(opencl):
    load_edges([CPU, FFMPEG, OPENCL])
    registered = {(e.source, e.target, e.function.__name__): e.copies for e in EDGES}
    declared = {(e.source, e.target, e.name): e.copies for e in declared_edges()}
    assert registered.items() <= declared.items()
    assert len(declared) == len(declared_edges())
    for edge in declared_edges():
        assert edge.summary.startswith(f"{edge.source.value} > {edge.target.value}: "), edge.summary


def test_what_is_explained_is_what_is_taken(opencl):
    for shares in (True, False):
        opencl.shares_host_memory = shares
        contexts = [FFmpegContext(), CPUContext(), opencl]
        for one, other in itertools.permutations(contexts, 2):
            between = [one, *(c for c in contexts if c not in (one, other)), other]
            taken = explain(one.memory_type, other.memory_type, refusals_between(between))[-1]
            route = find_route(between)
            assert taken.taken
            assert taken.copies == sum(edge.copies for edge in route)
            assert taken.stops == (route[0].source, *(edge.target for edge in route))
            assert str(taken) == create_mapper(between).explain().partition("  ")[0]


def test_a_better_route_is_named_with_what_it_lacks(opencl):
    opencl.shares_host_memory = False
    found = explain(CPU, OPENCL, refusals_between([CPUContext(), opencl]))
    assert "has memory of its own" in found[0].refusal
    assert found[0].refusal.startswith("CPU > OpenCL: ")
    assert [route.taken for route in found] == [False] * (len(found) - 1) + [True]
    assert found[-1].copies == 1
    refusals = [route.refusal for route in found]
    assert len(set(refusals)) == len(refusals)


def test_no_context_no_route():
    found = explain(FFMPEG, OPENCL, refusals_between([FFmpegContext(), CPUContext()]))
    assert found
    assert not any(route.taken for route in found)
    assert any("no OpenCL context was given" in route.refusal for route in found)


def test_the_number_of_refusals_is_limited():
    refusals = (f"reason {number}" for number in itertools.count())
    known = {}
    found = explain(FFMPEG, SYCL, lambda path: known.setdefault(path[-1], next(refusals)), limit=3)
    assert len(found) <= 3
    assert not any(route.taken for route in found)


def test_a_machine_opens_what_it_has(opencl):
    with Machine() as machine:
        here = {str(edge) for edge in declared_edges() if not machine.edge_refusal(edge)}
        assert {"CPU > OpenCL", "OpenCL > CPU", "FFmpeg > CPU", "CPU > FFmpeg"} <= here
        for edge in declared_edges():
            assert isinstance(machine.edge_refusal(edge), str)
    machine.close()


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch):
    from bridges.backends import probe

    def absent(name: str) -> object:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(probe.importlib, "import_module", absent)
    with Machine() as machine:
        edge = next(edge for edge in declared_edges() if edge.target is OPENCL)
        assert "try: pip install" in machine.edge_refusal(edge)


def test_a_machine_says_what_a_mapper_does(opencl):
    """Where no context has to be derived, plain contexts give the very route that is shown."""
    compared = []
    with Machine() as machine:
        for ends in itertools.permutations(MemoryType, 2):
            found = explain(*ends, machine.refusal)
            taken = found[-1] if found and found[-1].taken else None
            if taken is None or machine.derived(taken.edges):
                continue
            route = create_mapper([machine._open(stop) for stop in taken.stops])
            assert route.explain().partition("  ")[0] == str(taken)
            compared.append(ends)
    # CPU, FFmpeg and OpenCL are there whatever else is.
    assert set(itertools.permutations((CPU, FFMPEG, OPENCL), 2)) <= set(compared)


def test_what_a_notebook_shows_is_the_route(opencl):
    opencl.shares_host_memory = True
    contexts = [FFmpegContext(), CPUContext(), opencl]
    (route,) = explain(FFMPEG, OPENCL, refusals_between(contexts))
    assert repr(route) == "<Route FFmpeg > CPU > OpenCL   zero-copy   taken>"
    assert repr(find_route(contexts)) == (
        "(<Edge FFmpeg > CPU   zero-copy>, <Edge CPU > OpenCL   zero-copy>)"
    )
    assert repr(create_mapper(contexts)) == "<MapperChain FFmpeg > CPU > OpenCL   zero-copy>"
    opencl.shares_host_memory = False
    refused, *_, taken = explain(CPU, OPENCL, refusals_between([CPUContext(), opencl]))
    assert repr(refused).startswith("<Route CPU > OpenCL   zero-copy   CPU > OpenCL: ")
    assert repr(taken) == "<Route CPU > OpenCL   copied in CPU > OpenCL   taken>"


def test_what_a_notebook_shows_of_a_context():
    context = CPUContext()
    assert repr(context) == f"<CPUContext {context.name}>"
    context.close()
    assert repr(context) == f"<CPUContext {context.name}, closed>"
