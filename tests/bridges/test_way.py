"""The contexts that a route may pass between two devices, and the element that maps along it."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from bridges import AccessMode, MemoryType, create_mapper, way
from bridges.backends.cpu import CPUContext
from bridges.backends.dma import DMAContext, open_descriptors
from bridges.backends.ffmpeg import FFmpegContext
from bridges.element_table import create_element
from bridges.errors import ClosedError, ElementError
from bridges.way import contexts_between
from tests.bridges.drm_prime import filled, info_of, samples_of
from tests.bridges.memories.sycl import sycl_backend
from tests.bridges.vaapi_frames import Pool, pretended_vaapi, samples, write
from tests.lab.software_va import software_va

READ = AccessMode.READ


@pytest.fixture
def vaapi():
    driver = software_va()
    before = driver.counts().alive
    with driver.open(NO_DERIVE="1") as context:
        yield context
    del context
    gc.collect()
    assert driver.counts().alive == before


@pytest.fixture
def pool(vaapi):
    found = Pool(vaapi)
    for index, frame in enumerate(found.frames):
        write(frame, samples(index))
    yield found
    found.close()
    gc.collect()
    assert 1001 in found.freed  # Nobody holds the frames context any more.


@pytest.fixture
def engine(pool):
    with FFmpegContext("vaapi") as context:
        context.wrap(pool.frame(0)).close()
        with pretended_vaapi():
            yield context


def kinds(contexts):
    found = [str(context.memory_type) for context in contexts]
    for context in contexts:
        context.close()
    return found


@pytest.mark.parametrize("source", [CPUContext, FFmpegContext, DMAContext])
def test_from_host_memory_there_are_none(source, opencl):
    assert contexts_between(source(), opencl) == []


class TestFromVideoEngine:
    @pytest.mark.parametrize("target", [CPUContext, FFmpegContext])
    def test_to_the_host(self, engine, target):
        assert kinds(contexts_between(engine, target())) == ["VAAPI", "DMA"]

    def test_to_a_device_that_works_in_host_memory(self, engine, opencl):
        assert kinds(contexts_between(engine, opencl)) == ["VAAPI", "DMA"]
        with sycl_backend().create("cpu") as sycl:
            assert kinds(contexts_between(engine, sycl)) == ["VAAPI", "DMA"]

    def test_to_a_device_that_is_not_the_engine_s(self, engine, opencl):
        opencl.shares_host_memory = False
        assert kinds(contexts_between(engine, opencl)) == ["VAAPI", "DMA"]

    def test_no_further_than_the_target(self, engine, vaapi):
        assert kinds(contexts_between(engine, DMAContext())) == ["VAAPI"]
        assert contexts_between(engine, vaapi) == []
        assert kinds(contexts_between(vaapi, CPUContext())) == ["DMA"]

    def test_the_display_is_that_of_the_frames(self, engine, vaapi):
        display, dma = contexts_between(engine, CPUContext())
        assert display.handle("va_display") == vaapi.handle("va_display")
        display.close()
        dma.close()

    def test_they_lead_there(self, engine, pool):
        target = CPUContext()
        between = contexts_between(engine, target)
        mapper = create_mapper([engine, *between, target])
        with mapper.map(engine.wrap(pool.frame(1)), READ) as mapped:
            arrays = [tensor.handle("array") for tensor in mapped.tensors]
            assert all(map(np.array_equal, arrays, samples(1)))
        assert mapper.audit.bytes_copied == 0
        mapper.close()
        for context in between:
            context.close()


def test_from_descriptors_of_ffmpeg_s():
    with FFmpegContext("drm_prime") as prime:
        assert kinds(contexts_between(prime, CPUContext())) == ["DMA"]
        assert contexts_between(prime, DMAContext()) == []


class TestMap:
    @pytest.fixture
    def derived(self, monkeypatch):
        """What the element derives, and has to close."""
        found = []

        def remembered(source, target):
            made = contexts_between(source, target)
            found.extend(made)
            return made

        monkeypatch.setattr(way, "contexts_between", remembered)
        return found

    @pytest.mark.parametrize("kind", ["CPU", "OpenCL"])
    def test_surfaces(self, engine, pool, opencl, derived, kind):
        before = open_descriptors()
        with create_element("map", [opencl], to=kind, cache=8) as element:
            for index in (0, 1, 0):
                frame = engine.wrap(pool.frame(index))
                with element.process(frame) as mapped, create_element("map", to="CPU") as back:
                    on_host = back.process(mapped)
                    arrays = [tensor.handle("array") for tensor in on_host.tensors]
                    assert all(map(np.array_equal, arrays, samples(index)))
                frame.close()
            assert element.mapper.statistics.hits == 1
            there = {"CPU": "", "OpenCL": " > OpenCL"}[kind]
            route = element.route
            assert route.startswith(f"FFmpeg > VAAPI > DMA{there or ' > CPU'}")
            assert route.endswith("zero-copy")
            assert [str(each.memory_type) for each in derived] == ["VAAPI", "DMA"]
            assert not any(each.closed for each in derived)
        assert element.route == route
        assert all(each.closed for each in derived)
        del frame, mapped, on_host, arrays
        gc.collect()
        assert open_descriptors() == before

    def test_a_target_that_the_frames_device_has(self, engine, pool, derived):
        with create_element("map", to="VAAPI") as element:
            with element.process(engine.wrap(pool.frame(0))) as mapped:
                target = mapped.tensors[0].context
                assert target.memory_type is MemoryType.VAAPI
                assert mapped.tensors[0].handle("va_surface") == pool.surfaces[0]
            assert derived == []
        assert target.closed

    def test_contexts_that_are_given_are_taken_and_left_open(self, engine, pool, vaapi, derived):
        given = [vaapi, DMAContext()]
        with create_element("map", given, to="CPU") as element:
            element.process(engine.wrap(pool.frame(0))).close()
            assert all(each.closed for each in derived)
        assert not any(each.closed for each in given)

    def test_what_cannot_be_derived_is_told_and_closed(self, engine, pool, derived):
        element = create_element("map", to="SYCL")
        with pytest.raises(ElementError, match="map has no device for SYCL memory"):
            element.process(engine.wrap(pool.frame(0)))
        element.close()
        assert element.route == ""
        assert derived == []

    def test_frames_of_descriptors(self, derived):
        info = info_of("nv12")
        with FFmpegContext("drm_prime") as prime, create_element("map", to="CPU") as element:
            with element.process(prime.wrap(filled(info))) as mapped:
                arrays = [tensor.handle("array") for tensor in mapped.tensors]
                assert all(map(np.array_equal, arrays, samples_of(info)))
            del arrays
        assert element.route.endswith("zero-copy")
        assert all(each.closed for each in derived)
        with pytest.raises(ClosedError):
            prime.wrap(filled(info))
