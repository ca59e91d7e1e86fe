"""Routes: as few copies as there can be, then as few hops; every refusal is told."""

from __future__ import annotations

import numpy as np
import pytest

from bridges import AccessMode, Frame, FrameInfo, MemoryType, TensorInfo, create_mapper, routes
from bridges.backends.cpu import CPUContext, CPUTensor
from bridges.backends.ffmpeg import FFmpegContext
from bridges.context import Context
from bridges.errors import FormatError, NoRouteError
from bridges.formats import pixel_format
from bridges.mapper import MapperChain
from bridges.routes import edge, find_route, frame_edge

CPU, FFMPEG, OPENCL = MemoryType.CPU, MemoryType.FFMPEG, MemoryType.OPENCL
READ = AccessMode.READ


class Device(Context):
    """A context of any memory type, with host memory underneath."""

    def __init__(self, memory_type, name=""):
        super().__init__()
        self.memory_type = memory_type
        self.name = name or memory_type.value

    def allocate(self, info):
        return Block(np.zeros(info.shape, info.dtype), context=self)


class Block(CPUTensor):
    """A tensor that says it lives in its context's memory."""

    def __init__(self, array, *, context, **more):
        super().__init__(array, context=context, **more)
        self.memory_type = context.memory_type


@pytest.fixture
def table(monkeypatch):
    """An empty table of edges, to be filled by the test."""
    edges = []
    monkeypatch.setattr(routes, "EDGES", edges)
    monkeypatch.setattr(routes, "load_edges", lambda memory_types: None)
    return edges


def add(source, target, *, copies=False, refuse="", log=None, fail=False):
    """Register an edge that hands on the same array."""

    @edge(source, target, copies=copies, refusal=lambda here, there: refuse)
    def function(tensor, context, access, copied):
        if fail and len(log) >= fail:
            raise FormatError("not this plane")
        if copies:
            copied(tensor.info.nbytes)
        done = None
        if log is not None:
            name = f"{source.value} > {target.value}"
            log.append(name)

            def done():
                log.append(f"close {name}")

        return Block(tensor.handle("array"), context=context, parent=tensor, on_close=done)


def names(route):
    return [str(step) for step in route]


class TestSearch:
    def test_real_edges(self):
        cpu, ffmpeg = CPUContext(), FFmpegContext()
        assert names(find_route([cpu, ffmpeg])) == ["CPU > FFmpeg"]
        assert names(find_route([ffmpeg, cpu])) == ["FFmpeg > CPU"]
        assert not any(step.copies for step in find_route([cpu, ffmpeg]))

    def test_direct(self, table):
        add(CPU, OPENCL)
        assert names(find_route([Device(CPU), Device(OPENCL)])) == ["CPU > OpenCL"]

    def test_through_a_third(self, table):
        add(FFMPEG, CPU)
        add(CPU, OPENCL)
        route = find_route([Device(FFMPEG), Device(CPU), Device(OPENCL)])
        assert names(route) == ["FFmpeg > CPU", "CPU > OpenCL"]

    def test_only_through_contexts_given(self, table):
        add(FFMPEG, CPU)
        add(CPU, OPENCL)
        with pytest.raises(NoRouteError, match="no route from FFmpeg to OpenCL through contexts"):
            find_route([Device(FFMPEG), Device(OPENCL)])

    def test_two_hops_without_a_copy_before_one_with(self, table):
        add(FFMPEG, OPENCL, copies=True)
        add(FFMPEG, CPU)
        add(CPU, OPENCL)
        route = find_route([Device(FFMPEG), Device(CPU), Device(OPENCL)])
        assert names(route) == ["FFmpeg > CPU", "CPU > OpenCL"]

    def test_fewer_hops_where_copies_are_equal(self, table):
        add(FFMPEG, CPU)
        add(CPU, OPENCL, copies=True)
        add(FFMPEG, OPENCL, copies=True)
        route = find_route([Device(FFMPEG), Device(CPU), Device(OPENCL)])
        assert names(route) == ["FFmpeg > OpenCL"]

    def test_first_registered_of_equals(self, table):
        add(CPU, OPENCL)
        add(CPU, OPENCL)
        assert find_route([Device(CPU), Device(OPENCL)]) == (table[0],)

    def test_refused_edge_leaves_the_copying_one(self, table):
        add(CPU, OPENCL, refuse="it has memory of its own")
        add(CPU, OPENCL, copies=True)
        assert find_route([Device(CPU), Device(OPENCL)])[0].copies

    def test_refusals_are_told(self, table):
        add(CPU, OPENCL, refuse="it has memory of its own")
        with pytest.raises(NoRouteError) as caught:
            find_route([Device(CPU), Device(OPENCL)])
        assert str(caught.value) == (
            "no route from CPU to OpenCL through contexts for CPU, OpenCL; "
            "refused: CPU > OpenCL (it has memory of its own)"
        )

    def test_no_edge_at_all(self, table):
        with pytest.raises(NoRouteError, match="no route from CPU to OpenCL"):
            find_route([Device(CPU), Device(OPENCL)])

    def test_wrong_way(self, table):
        add(OPENCL, CPU)
        with pytest.raises(NoRouteError, match="no route"):
            find_route([Device(CPU), Device(OPENCL)])

    def test_circles_end(self, table):
        add(CPU, FFMPEG)
        add(FFMPEG, CPU)
        with pytest.raises(NoRouteError, match="no route"):
            find_route([Device(CPU), Device(FFMPEG), Device(OPENCL)])

    def test_condition_gets_the_two_contexts(self, table):
        asked = []

        @edge(CPU, OPENCL, copies=False, refusal=lambda a, b: asked.append((a, b)) or "")
        def function(tensor, context, access, copied):
            raise AssertionError

        ends = Device(CPU), Device(OPENCL)
        find_route(ends)
        assert asked == [ends]

    def test_a_missing_route_is_a_lookup_error(self, table):
        with pytest.raises(LookupError):
            create_mapper([Device(CPU), Device(OPENCL)])


class TestEnds:
    def test_same_memory_at_both_ends(self):
        with pytest.raises(NoRouteError, match="CPU"):
            create_mapper([CPUContext(), CPUContext()])

    @pytest.mark.parametrize("contexts", [[], [FFmpegContext()]])
    def test_fewer_than_two_ends(self, contexts):
        with pytest.raises(NoRouteError, match="two"):
            create_mapper(contexts)

    def test_host_memory_need_not_be_named(self, table):
        add(FFMPEG, CPU)
        add(CPU, OPENCL)
        mapper = create_mapper([Device(FFMPEG), Device(OPENCL)])
        assert mapper.explain() == "FFmpeg > CPU > OpenCL   zero-copy"
        assert mapper.source.memory_type is FFMPEG
        assert mapper.target.memory_type is OPENCL


@pytest.fixture
def frame():
    """A frame of three planes in the memory of ``FFmpeg``."""
    info = FrameInfo(pixel_format("yuv420p"), 8, 4)
    device = Device(FFMPEG)
    return Frame(info, [device.allocate(plane) for plane in info.planes])


class TestChain:
    def test_closing_the_end_closes_what_lies_between(self, table, frame):
        log = []
        add(FFMPEG, CPU, log=log)
        add(CPU, OPENCL, log=log)
        mapped = create_mapper([Device(FFMPEG), Device(OPENCL)]).map(frame, READ)
        assert mapped.memory_type is OPENCL
        between = mapped.parent
        assert log == ["FFmpeg > CPU"] * 3 + ["CPU > OpenCL"] * 3
        log.clear()
        mapped.close()
        mapped.close()
        assert log == ["close CPU > OpenCL"] * 3 + ["close FFmpeg > CPU"] * 3
        assert between.closed
        assert not frame.closed

    def test_subject_is_kept_alive(self, table, frame):
        add(FFMPEG, CPU)
        mapped = create_mapper([Device(FFMPEG), Device(CPU)]).map(frame, READ)
        assert mapped.parent is frame
        assert mapped.tensors[1].parent is frame.tensors[1]

    @pytest.mark.parametrize("plane", [3, 4, 5])
    def test_a_later_plane_that_fails_closes_everything(self, table, frame, plane):
        log = []
        add(FFMPEG, CPU, log=log)
        add(CPU, OPENCL, log=log, fail=plane)
        with pytest.raises(FormatError, match="not this plane"):
            create_mapper([Device(FFMPEG), Device(OPENCL)]).map(frame, READ)
        opened = [name for name in log if not name.startswith("close")]
        closed = [name.removeprefix("close ") for name in log if name.startswith("close")]
        assert sorted(opened) == sorted(closed)
        assert len(opened) == plane
        assert not frame.closed

    def test_single_tensor(self, table, frame):
        log = []
        add(FFMPEG, CPU, log=log)
        add(CPU, OPENCL, log=log)
        mapper = create_mapper([Device(FFMPEG), Device(OPENCL)])
        with mapper.map(frame.tensors[0], READ) as tensor:
            assert tensor.handle("array") is frame.tensors[0].handle("array")
        assert log[2:] == ["close CPU > OpenCL", "close FFmpeg > CPU"]
        assert not frame.tensors[0].closed

    def test_whole_frames_only(self, table, frame):
        @frame_edge(FFMPEG, CPU, copies=False)
        def function(frame, context, access, copied):
            return frame

        mapper = create_mapper([Device(FFMPEG), Device(CPU)])
        with pytest.raises(FormatError, match="FFmpeg > CPU maps whole frames only"):
            mapper.map(frame.tensors[0], READ)

    def test_wrong_memory(self, table, frame):
        add(CPU, OPENCL)
        mapper = create_mapper([Device(CPU), Device(OPENCL)])
        with pytest.raises(FormatError, match="takes CPU memory, got FFmpeg"):
            mapper.map(frame, READ)

    def test_audit(self, table, frame):
        add(FFMPEG, CPU)
        add(CPU, OPENCL, copies=True)
        mapper = create_mapper([Device(FFMPEG), Device(OPENCL)])
        assert isinstance(mapper, MapperChain)
        mapper.map(frame, READ).close()
        mapper.map(frame.tensors[0], READ).close()
        first, second = mapper.audit.hops
        assert (first.calls, first.bytes_copied) == (2, 0)
        assert (second.calls, second.bytes_copied) == (2, 48 + 32)
        assert mapper.audit.bytes_copied == 80
        assert mapper.explain() == "FFmpeg > CPU > OpenCL   80 B copied in CPU > OpenCL"

    def test_access_is_passed_on(self, table):
        seen = []

        @edge(CPU, OPENCL, copies=False)
        def function(tensor, context, access, copied):
            seen.append(access)
            return Block(tensor.handle("array"), context=context, parent=tensor)

        tensor = CPUContext().allocate(TensorInfo((2, 2), np.dtype("u1")))
        mapper = create_mapper([Device(CPU), Device(OPENCL)])
        for access in (AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE):
            mapper.map(tensor, access).close()
        assert seen == [AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE]


def test_edges_of_frameworks_that_nobody_asked_for_stay_away():
    import subprocess
    import sys
    from pathlib import Path

    code = """
import sys
from bridges import create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.ffmpeg import FFmpegContext
create_mapper([CPUContext(), FFmpegContext()])
assert "pyopencl" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
