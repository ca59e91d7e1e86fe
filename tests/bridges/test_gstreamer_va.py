"""Surfaces of GStreamer's VA elements, and what is not done with them."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest

from bridges import (
    AccessMode,
    MemoryType,
    TensorInfo,
    create_mapper,
)
from bridges.backends.cpu import CPUContext
from bridges.backends.gstreamer import GStreamerContext
from bridges.edges import gstreamer_to_vaapi
from bridges.errors import (
    DeviceError,
    FormatError,
    NoRouteError,
)
from tests.bridges.gst_buffer import filled, info_of
from tests.bridges.memories import memory_of

READ = AccessMode.READ


class Libgstva:
    """Stands in for GStreamer's library of VA memory, which needs a GPU to make any."""

    def __init__(self, surface, display):
        self.gst_va_memory_get_surface = lambda memory: surface
        self.gst_va_memory_peek_display = lambda memory: 4660
        self.gst_va_display_get_va_dpy = {4660: display}.get


class TestVideoMemory:
    @pytest.fixture
    def vaapi(self):
        return memory_of(MemoryType.VAAPI).contexts()[0]

    @pytest.fixture
    def frame(self, gstreamer, gst):
        info = info_of("nv12", (64, 36))
        context = GStreamerContext("va")
        return context.wrap(filled(64 * 36 * 3 // 2)[0], gstreamer.caps(info))

    def test_the_surface_is_the_buffer_s(self, vaapi, frame, monkeypatch):
        drawn = vaapi.allocate_frame(frame.info)
        number = drawn.tensors[0].handle("va_surface")
        fake = Libgstva(number, vaapi.handle("va_display"))
        monkeypatch.setattr(gstreamer_to_vaapi, "library", lambda name: fake)
        mapper = create_mapper([frame.tensors[0].context, vaapi])
        assert mapper.explain() == "GStreamer > VAAPI   zero-copy"
        buffer = frame.tensors[0].handle("gst_buffer")
        references = sys.getrefcount(buffer)
        with mapper.map(frame, READ) as mapped:
            assert mapped.info == frame.info
            assert [tensor.handle("va_surface") for tensor in mapped.tensors] == [number] * 2
            assert [tensor.handle("plane_index") for tensor in mapped.tensors] == [0, 1]
            assert sys.getrefcount(buffer) > references
        del mapped
        gc.collect()
        assert sys.getrefcount(buffer) == references
        drawn.close()

    def test_another_display_s_surface_is_refused(self, vaapi, frame, monkeypatch):
        fake = Libgstva(5, 0x1234)
        monkeypatch.setattr(gstreamer_to_vaapi, "library", lambda name: fake)
        with pytest.raises(FormatError, match=r"VAAPIContext\.borrow\(0x1234, owner=buffer\)"):
            create_mapper([frame.tensors[0].context, vaapi]).map(frame, READ)

    def test_what_is_no_surface_is_refused(self, vaapi, frame, monkeypatch):
        fake = Libgstva(0xFFFF_FFFF, 0)
        monkeypatch.setattr(gstreamer_to_vaapi, "library", lambda name: fake)
        with pytest.raises(FormatError, match="no VA surface"):
            create_mapper([frame.tensors[0].context, vaapi]).map(frame, READ)

    def test_without_its_library_the_way_is_refused(self, vaapi, frame, monkeypatch):
        def absent(name):
            raise OSError(f"lib{name}-1.0.so.0: cannot open shared object file")

        monkeypatch.setattr(gstreamer_to_vaapi, "library", absent)
        with pytest.raises(NoRouteError, match=r"apt install gstreamer1\.0-plugins-bad"):
            create_mapper([frame.tensors[0].context, vaapi])
        with pytest.raises(NoRouteError, match=r"create\('va'\) is for VA surfaces"):
            create_mapper([GStreamerContext(), vaapi])

    def test_it_is_not_mapped_to_the_host(self, frame):
        with pytest.raises(NoRouteError, match="GStreamer copies VA memory to map it"):
            create_mapper([frame.tensors[0].context, CPUContext()])

    def test_it_is_not_allocated(self, gstreamer):
        with pytest.raises(DeviceError, match="allocate their own buffers"):
            GStreamerContext("va").allocate(TensorInfo((4, 6), np.dtype("u1")))
