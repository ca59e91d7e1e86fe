"""What a hop costs: one 1080p frame mapped and closed, along every edge that this machine has.

A hop is a ``map`` and the ``close`` of its result, the native object asked for in between. Frames
are made as the tests make them. The peer of an edge that copies is ``memcpy`` of the same bytes.

    python -m benchmarks.edges [--times 2000] [--only CPU] [--json FILE]
"""

import contextlib
import itertools
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from bridges import (
    AccessMode,
    Colour,
    Frame,
    FrameInfo,
    MapperCache,
    MapperChain,
    MemoryType,
    create_mapper,
)
from bridges.backends.cpu import CPUContext
from bridges.backends.probe import open_context
from bridges.formats import pixel_format
from bridges.routes import Declaration, declared_edges, find_route
from tests.bridges.edge_bench import EdgeBench

ROOT = Path(__file__).parent.parent
FORMATS = ("rgb24", "bgra", "nv12", "gray")
TARGET_MICROSECONDS = {MemoryType.GSTREAMER: 30}
LIBRARIES = ("av", "numpy", "pyopencl", "dpctl", "opencv-python-headless", "openvino")
KEYS = (
    "array",
    "cl_mem",
    "cv_mat",
    "cv_umat",
    "ov_tensor",
    "gst_buffer",
    "dma_fd",
    "av_frame",
    "va_surface",
    "data",
)


def info_of(name: str) -> FrameInfo:
    return FrameInfo(pixel_format(name), 1920, 1080, Colour(), pts=1, time_base=Fraction(1, 25))


def microseconds(work: Callable[[], None], times: int) -> float:
    """Return the median time of one call."""
    for _ in range(times // 10 + 1):
        work()
    taken = []
    for _ in range(times):
        started = time.perf_counter_ns()
        work()
        taken.append(time.perf_counter_ns() - started)
    return statistics.median(taken) / 1000


def native_key(tensor: Any) -> str:
    """Return the key of the native object, which some edges make only when it is asked for."""
    for key in KEYS:
        with contextlib.suppress(KeyError):
            tensor.handle(key)
            return key
    raise KeyError(f"no native object of {tensor.memory_type} memory")


def measure(declared: Declaration, times: int) -> dict[str, Any]:
    bench = EdgeBench(declared)
    mapper = bench.mapper
    info = next(
        info
        for info in map(info_of, FORMATS)
        if bench.source.takes(info) and bench.target.takes(info)
    )
    arrays = [np.ones(plane.shape, plane.dtype) for plane in info.planes]
    frame = bench.source.frame(bench.contexts[0], info, arrays, 0)

    with mapper.map(frame, AccessMode.READ) as mapped:
        key = native_key(mapped.tensors[0])

    def hop() -> None:
        with mapper.map(frame, AccessMode.READ) as mapped:
            for tensor in mapped.tensors:
                tensor.handle(key)

    times = times // 20 if declared.copies else times
    result: dict[str, Any] = {"format": info.format.name}
    before = mapper.audit.bytes_copied, mapper.audit.hops[0].calls
    result["microseconds"] = round(microseconds(hop, times), 2)
    after = mapper.audit.bytes_copied, mapper.audit.hops[0].calls
    result["bytes_copied"] = (after[0] - before[0]) // (after[1] - before[1])
    if declared.copies:
        other = [np.empty_like(array) for array in arrays]

        def copy() -> None:
            for one, another in zip(arrays, other, strict=True):
                np.copyto(another, one)

        result["memcpy_microseconds"] = round(microseconds(copy, times), 2)
    frame.close()
    return result


def chains(times: int) -> dict[str, Any]:
    """Map along three hops: afresh from FFmpeg, and from a cache for memory that comes again."""
    ffmpeg, opencl = open_context(MemoryType.FFMPEG), open_context(MemoryType.OPENCL)
    info = info_of("rgb24")
    results = {}
    there, back = create_mapper([ffmpeg, opencl]), create_mapper([opencl, CPUContext()])
    frame = ffmpeg.allocate_frame(info)

    def afresh() -> None:
        with (
            there.map(frame, AccessMode.READ) as mapped,
            back.map(mapped, AccessMode.READ) as seen,
        ):
            seen.tensors[0].handle("array")

    results["FFmpeg > CPU > OpenCL > CPU, afresh"] = round(microseconds(afresh, times), 2)
    umat = open_context(MemoryType.OPENCV_UMAT)
    ends = [umat, umat.derive(MemoryType.OPENCL), CPUContext(), open_context(MemoryType.OPENVINO)]
    ours = Frame(info, [umat.allocate(plane) for plane in info.planes])
    # Three hops on purpose: a mapper would leave OpenCL out.
    route = [hop for pair in itertools.pairwise(ends) for hop in find_route(pair)]
    with MapperCache(MapperChain(route, ends), 8) as cached:

        def warm() -> None:
            with cached.map(ours, AccessMode.READ) as mapped:
                mapped.tensors[0].handle("ov_tensor")

        stops = cached.explain().partition("  ")[0]
        results[f"{stops}, cache warm"] = round(microseconds(warm, times), 2)
        results[f"{stops}, bytes copied"] = cached.audit.bytes_copied
        results["hit rate"] = round(cached.statistics.hit_rate, 4)
    return results


def import_milliseconds() -> float:
    """Return what ``import bridges`` adds to the start of an interpreter."""

    def start(code: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
        return time.perf_counter() - started

    pairs = [(start("pass"), start("import bridges")) for _ in range(15)]
    return round(statistics.median(after - before for before, after in pairs) * 1000, 1)


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def show(results: dict[str, Any]) -> None:
    table = Table("edge", "format", "us a hop", "asked", "B copied", "memcpy us", box=None)
    for name, row in results["edges"].items():
        if "skipped" in row:
            table.add_row(name, "", "", "", "", row["skipped"])
            continue
        table.add_row(
            name,
            row["format"],
            f"{row['microseconds']:.1f}",
            "" if row["asked"] is None else f"{row['asked']}",
            f"{row['bytes_copied']:,}",
            f"{row.get('memcpy_microseconds', '')}",
        )
    console = Console()
    console.print(table)
    for name, value in results["chains"].items():
        console.print(f"{name}: {value}")
    console.print(f"import bridges: {results['import_milliseconds']} ms (asked: 60)")


@click.command()
@click.option("--times", default=2000, help="Hops along an edge that does not copy.")
@click.option("--only", default="", help="A part of the edges' names.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Where to keep the result.")
def main(times: int, only: str, path: Path | None) -> None:
    """Measure every edge, chains, and the import."""
    edges: dict[str, Any] = {}
    for declared in declared_edges():
        name = f"{declared} ({'copies' if declared.copies else 'zero-copy'}, {declared.name})"
        if only.lower() not in name.lower():
            continue
        try:
            row = measure(declared, times)
        except (pytest.skip.Exception, ImportError) as reason:
            edges[name] = {"skipped": str(reason)}
            continue
        ends = {declared.source, declared.target}
        limits = [limit for kind, limit in TARGET_MICROSECONDS.items() if kind in ends]
        row["asked"] = None if declared.copies else max([20, *limits])
        edges[name] = row
    results = {
        "date": date.today().isoformat(),
        "machine": platform.processor() or platform.machine(),
        "versions": versions(),
        "edges": edges,
        "chains": chains(times),
        "import_milliseconds": import_milliseconds(),
    }
    show(results)
    if path is not None:
        path.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
