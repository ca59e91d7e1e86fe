"""Edges of VA surfaces beyond the contract: the real libva, with our software driver under it."""

from __future__ import annotations

import fcntl
import gc
import mmap
import os
import weakref

import numpy as np
import pytest

from bridges import (
    AccessMode,
    Frame,
    FrameInfo,
    MapperChain,
    TensorInfo,
    create_mapper,
)
from bridges.backends.cpu import CPUContext
from bridges.backends.dma import DMAContext, DMATensor
from bridges.errors import DeviceError, FormatError, NoRouteError
from bridges.formats import pixel_format
from bridges.mapper_cache import MapperCache
from bridges.native.drm import MODIFIER_INVALID
from bridges.routes import EDGES, find_route
from tests.bridges.memories.vaapi import MEMORY
from tests.helpers.process import open_files
from tests.lab.software_va import NODE, software_va

READ, WRITE, BOTH = AccessMode.READ, AccessMode.WRITE, AccessMode.READ_WRITE
TILED = 0x0100_0000_0000_0009
"""``I915_FORMAT_MOD_4_TILED`` of drm_fourcc.h: its top byte is lost in 32 bits."""


@pytest.fixture
def driver():
    found = software_va()
    gc.collect()
    alive, descriptors = found.counts().alive, open_files()
    yield found
    gc.collect()
    assert found.counts().alive == alive
    assert open_files() == descriptors


@pytest.fixture
def vaapi(driver):
    with driver.open() as context:
        yield context


def info_of(name="nv12", width=64, height=36):
    return FrameInfo(pixel_format(name), width, height)


def samples_of(info, seed=1):
    random = np.random.default_rng(seed)
    return [
        random.integers(0, np.iinfo(plane.dtype).max, plane.shape, plane.dtype)
        for plane in info.planes
    ]


def filled(context, info, seed=1):
    return MEMORY.frame(context, info, samples_of(info, seed), 0)


def arrays(frame):
    return [tensor.handle("array") for tensor in frame.tensors]


def equal(found, expected):
    return all(map(np.array_equal, found, expected))


def edge_named(name, contexts):
    find_route(contexts)
    return next(edge for edge in EDGES if edge.function.__name__ == name and "VAAPI" in str(edge))


def chain(name, contexts):
    return MapperChain([edge_named(name, contexts)], contexts)


# To DMA


def test_all_planes_share_one_export(vaapi):
    frame = filled(vaapi, info_of("yuv420p"))
    mapper = create_mapper([vaapi, DMAContext()])
    before = open_files()
    first, second = mapper.map(frame, READ), mapper.map(frame, READ)
    assert len({t.handle("dma_fd") for t in first.tensors + second.tensors}) == 1
    assert open_files() == before + 1
    assert [t.handle("offset") for t in first.tensors] == [0, 64 * 48, 64 * 48 + 64 * 32]
    first.close()
    frame.close()
    assert equal([memory_of(t) for t in second.tensors], samples_of(second.info))
    second.close()
    assert open_files() == before - 1  # The surface's own is gone as well.


def memory_of(tensor):
    """Return a plane's samples by its file descriptor alone."""
    fd, info = tensor.handle("dma_fd"), tensor.info
    with mmap.mmap(fd, os.lseek(fd, 0, os.SEEK_END), prot=mmap.PROT_READ) as memory:
        array = np.ndarray(info.shape, info.dtype, memory, tensor.handle("offset"), info.strides)
        copy = array.copy()
        del array
    return copy


@pytest.mark.skipif(NODE != "/dev/null", reason="no dma-buf can be opened anew with less access")
@pytest.mark.parametrize(
    ("access", "mode"), [(READ, os.O_RDONLY), (WRITE, os.O_RDWR), (BOTH, os.O_RDWR)]
)
def test_only_the_access_asked_for_is_exported(driver, access, mode):
    with driver.open(READ_ONLY="1") as vaapi, filled(vaapi, info_of()) as frame:
        held = create_mapper([vaapi, DMAContext()]).map(frame, BOTH)
        with create_mapper([vaapi, DMAContext()]).map(frame, access) as mapped:
            flags = fcntl.fcntl(mapped.tensors[1].handle("dma_fd"), fcntl.F_GETFL)
            assert flags & os.O_ACCMODE == mode
        held.close()


@pytest.mark.parametrize(
    ("name", "target", "cache"),
    [
        ("vaapi_to_dma", DMAContext, 0),
        ("vaapi_to_dma", DMAContext, 2),
        ("view", CPUContext, 0),
        ("download", CPUContext, 0),
    ],
)
def test_every_use_waits_for_the_surface(driver, vaapi, name, target, cache):
    mapper = chain(name, [vaapi, target()])
    if cache:
        mapper = MapperCache(mapper, cache)
    with filled(vaapi, info_of("bgra")) as frame:
        for _ in range(3):
            before = driver.counts().syncs
            with mapper.map(frame, READ):
                assert driver.counts().syncs == before + 1
    mapper.close()


def test_a_modifier_keeps_its_64_bits(driver):
    with driver.open(MODIFIER=hex(TILED)) as vaapi, filled(vaapi, info_of()) as frame:
        mapper = create_mapper([vaapi, DMAContext()])
        with mapper.map(frame, READ) as mapped:
            assert [t.handle("drm_modifier") for t in mapped.tensors] == [TILED, TILED]
        with frame.region(2, 2, 8, 8) as part, pytest.raises(FormatError, match=f"{TILED:#018x}"):
            mapper.map(part, READ)


def test_a_driver_that_exports_nothing_is_refused(driver):
    with driver.open(NO_EXPORT="1") as vaapi:
        with pytest.raises(NoRouteError, match="exports no surfaces"):
            find_route([vaapi, DMAContext()])
        # The pitch is known all the same, from an image.
        with filled(vaapi, info_of("bgra", 5, 3)) as frame:
            assert frame.tensors[0].info.strides == (64, 4, 1)
            assert frame.tensors[0].surface.layout[0].modifier == MODIFIER_INVALID
        assert edge_of([vaapi, CPUContext()]).copies


def edge_of(contexts):
    (edge,) = find_route(contexts)
    return edge


def test_a_region_is_a_part_of_the_memory(vaapi):
    frame = filled(vaapi, info_of())
    luma, chroma = samples_of(frame.info)
    expected = [luma[4:14, 8:28], chroma[2:7, 4:14]]
    with frame.region(8, 4, 20, 10) as part:
        with create_mapper([vaapi, CPUContext()]).map(part, READ) as mapped:
            assert equal(arrays(mapped), expected)
        with create_mapper([vaapi, DMAContext()]).map(part, READ) as mapped:
            assert equal([memory_of(tensor) for tensor in mapped.tensors], expected)
    frame.close()


# To the CPU


@pytest.mark.parametrize(
    ("options", "copies"),
    [
        ({}, False),
        ({"NO_DERIVE": "1"}, True),
        ({"SHADOW": "1"}, True),
        ({"MODIFIER": hex(TILED)}, True),
    ],
    ids=["linear", "no-derive", "shadow", "tiled"],
)
def test_memory_is_seen_in_place_only_where_that_is_proved(driver, options, copies):
    info = info_of("p010le", 33, 17)
    with driver.open(**options) as vaapi:
        assert edge_of([vaapi, CPUContext()]).copies is copies
        mapper = create_mapper([vaapi, CPUContext()])
        frame = vaapi.allocate_frame(info)
        for seed in (1, 2):
            with mapper.map(frame, WRITE) as mapped:
                for array, samples in zip(arrays(mapped), samples_of(info, seed), strict=True):
                    array[...] = samples
            with mapper.map(frame, READ) as mapped:
                assert equal(arrays(mapped), samples_of(info, seed))
                assert not any(array.flags.writeable for array in arrays(mapped))
        nbytes = sum(plane.nbytes for plane in info.planes)
        assert mapper.audit.bytes_copied == (4 * nbytes if copies else 0)
        frame.close()


def test_a_tiled_surface_is_not_shown_in_place(driver):
    with driver.open(MODIFIER=hex(TILED)) as vaapi, filled(vaapi, info_of("bgra")) as frame:
        mapper = chain("view", [vaapi, CPUContext()])
        with pytest.raises(FormatError, match=f"modifier {TILED:#018x}"):
            mapper.map(frame, READ)


def test_a_read_array_outlives_its_mapping(driver, vaapi):
    frame = filled(vaapi, info_of("gray"))
    mapped = create_mapper([vaapi, CPUContext()]).map(frame, READ)
    array = arrays(mapped)[0]
    expected = samples_of(frame.info)
    mapped.close()
    frame.close()
    others = [filled(vaapi, info_of("gray"), seed=9) for _ in range(4)]
    assert equal([array], expected)
    del array, mapped
    assert driver.counts().images == 0
    for other in others:
        other.close()


@pytest.mark.parametrize("name", ["view", "download"])
def test_a_forgotten_mapping_leaves_nothing(driver, vaapi, name):
    mapper = chain(name, [vaapi, CPUContext()])
    with filled(vaapi, info_of()) as frame:
        mapper.map(frame, BOTH)
        gc.collect()
        assert driver.counts().images == 0


def test_download_copies_a_region_and_nothing_around_it(driver):
    with driver.open(NO_DERIVE="1") as hidden:
        frame = hidden.allocate_frame(info_of())
        mapper = create_mapper([hidden, CPUContext()])
        write_all(mapper, frame, samples_of(frame.info))
        expected = samples_of(frame.info)
        with frame.region(8, 4, 20, 10) as part, mapper.map(part, BOTH) as mapped:
            places = [expected[0][4:14, 8:28], expected[1][2:7, 4:14]]
            assert equal(arrays(mapped), places)
            for array, place in zip(arrays(mapped), places, strict=True):
                array += 1
                place += 1
        with mapper.map(frame, READ) as mapped:
            assert equal(arrays(mapped), expected)
        frame.close()


def write_all(mapper, frame, planes):
    with mapper.map(frame, WRITE) as mapped:
        for array, samples in zip(arrays(mapped), planes, strict=True):
            array[...] = samples


def test_download_takes_one_part_of_one_surface(vaapi):
    info = info_of()
    one, other = vaapi.allocate_frame(info), vaapi.allocate_frame(info)
    mapper = chain("download", [vaapi, CPUContext()])
    mixed = Frame(info, [one.tensors[0], other.tensors[1]])
    half = Frame(info_of("gray", 64, 18), [one.tensors[0][::2]])
    for frame in (mixed, half):
        with pytest.raises(FormatError, match="same part of the same VA surface"):
            mapper.map(frame, READ)
    for frame in (half, one, other):
        frame.close()


def test_what_the_owner_keeps_is_kept_while_it_is_mapped(driver, vaapi):
    class Owner:
        pass

    with filled(vaapi, info_of()) as frame:
        number = frame.tensors[0].handle("va_surface")
        for name, target in (
            ("view", CPUContext()),
            ("download", CPUContext()),
            ("vaapi_to_dma", DMAContext()),
        ):
            owner = Owner()
            watched = weakref.ref(owner)
            wrapped = vaapi.wrap(number, frame.info, owner=owner)
            del owner
            mapped = chain(name, [vaapi, target]).map(wrapped, READ)
            wrapped.close()
            del wrapped
            gc.collect()
            assert watched() is not None, name
            mapped.close()
            del mapped
            gc.collect()
            assert watched() is None, name


# From DMA


def dma_frame(info, *, offsets=None, padding=0, separate=False):
    """Return a frame in one memfd, or in one for each plane."""
    context, tensors, start = DMAContext(), [], 0
    layouts = [
        TensorInfo(p.shape, p.dtype, (p.strides[0] + padding, *p.strides[1:])) for p in info.planes
    ]
    if separate:
        return Frame(info, [context.allocate(layout) for layout in layouts])
    with context.allocate(TensorInfo((1 << 16,), np.dtype("u1"))) as whole:
        for layout in layouts:
            start += 100
            fd = whole.handle("dma_fd")
            tensors.append(context.wrap(fd, layout, offset=start))
            start += layout.span
    return Frame(info, tensors)


def fill(frame, seed=1):
    with create_mapper([DMAContext(), CPUContext()]).map(frame, WRITE) as mapped:
        for array, samples in zip(arrays(mapped), samples_of(frame.info, seed), strict=True):
            array[...] = samples


@pytest.mark.parametrize("name", ["nv12", "p010le", "yuv420p", "bgra"])
def test_each_plane_has_its_own_offset_and_pitch(vaapi, name):
    frame = dma_frame(info_of(name, 33, 17), padding=22)
    fill(frame)
    mapped = create_mapper([frame.tensors[0].context, vaapi]).map(frame, BOTH)
    surface = mapped.tensors[0].surface
    assert [p.offset for p in surface.layout] == [t.handle("offset") for t in frame.tensors]
    # Each tensor has a descriptor of its own; the memory is named once, so that it can be derived.
    with chain("view", [vaapi, CPUContext()]).map(mapped, BOTH) as host:
        assert equal(arrays(host), samples_of(frame.info))
        arrays(host)[-1][...] = 7
    mapped.close()
    assert (memory_of(frame.tensors[-1]) == 7).all()
    assert equal([memory_of(frame.tensors[0])], samples_of(frame.info)[:1]) or name == "bgra"
    frame.close()


def test_planes_in_memory_of_their_own(vaapi):
    frame = dma_frame(info_of("yuv420p"), separate=True)
    fill(frame)
    with create_mapper([frame.tensors[0].context, vaapi]).map(frame, BOTH) as mapped:
        assert [p.object_index for p in mapped.tensors[0].surface.layout] == [0, 1, 2]
        frame.close()
        download = chain("download", [vaapi, CPUContext()])
        with download.map(mapped, READ) as host:
            assert equal(arrays(host), samples_of(frame.info))
        with pytest.raises(DeviceError, match="derive an image"):
            chain("view", [vaapi, CPUContext()]).map(mapped, READ)


def test_an_import_keeps_what_the_memory_needs(vaapi):
    class Owner:
        pass

    owner, context, info = Owner(), DMAContext(), info_of("bgra", 8, 4)
    watched = weakref.ref(owner)
    with context.allocate(info.planes[0]) as plane:
        kept = DMATensor(plane.descriptor, plane.info, keep=owner, context=context)
    del owner
    frame = Frame(info, [kept])
    mapped = create_mapper([context, vaapi]).map(frame, READ)
    frame.close()
    assert watched() is not None
    mapped.close()
    del frame, mapped
    assert watched() is None


def test_what_is_drawn_is_waited_for(driver, vaapi):
    frame = dma_frame(info_of())
    mapper = create_mapper([frame.tensors[0].context, vaapi])
    for access, syncs in ((READ, 0), (WRITE, 1)):
        before = driver.counts().syncs
        mapper.map(frame, access).close()
        assert driver.counts().syncs == before + syncs
    frame.close()


@pytest.mark.parametrize("name", ["yuv444p16le", "rgb24"])
def test_formats_that_va_api_has_not_are_refused(driver, vaapi, name):
    frame = dma_frame(info_of(name, 16, 8))
    with pytest.raises(FormatError, match=f"no surfaces of {name}"):
        create_mapper([DMAContext(), vaapi]).map(frame, READ)
    frame.close()


def test_layouts_that_cannot_be_said_are_refused(driver, vaapi):
    context, info = DMAContext(), info_of("bgra", 8, 4)
    mapper = create_mapper([context, vaapi])
    for shape, strides in (
        ((4, 8, 4), (64, 8, 1)),
        ((4, 8, 4), (16, 4, 1)),
        ((4, 9, 4), (64, 4, 1)),
        ((4, 8), (64, 1)),
    ):
        tensor = context.allocate(TensorInfo(shape, np.dtype("u1"), strides))
        with Frame(info, [tensor]) as frame, pytest.raises(FormatError, match=r"plane 0 as \(4, 8"):
            mapper.map(frame, READ)
    assert driver.counts().surfaces == 0


def test_memory_that_the_driver_does_not_take_is_its_error(vaapi):
    plane = info_of("bgra", 8, 4).planes[0]
    context = DMAContext()
    with context.allocate(TensorInfo((4096,), np.dtype("u1"))) as whole:
        tiled = context.wrap(whole.handle("dma_fd"), plane, modifier=TILED)
    mapper = create_mapper([context, vaapi])
    with Frame(info_of("bgra", 8, 4), [tiled]) as frame:
        with pytest.raises(DeviceError, match="import DMA memory as a bgra surface of 8x4"):
            mapper.map(frame, READ)
        assert not frame.closed


def test_a_round_trip_is_the_same_memory(driver, vaapi):
    with driver.open() as other, filled(vaapi, info_of()) as frame:
        mapper = create_mapper([vaapi, DMAContext()])
        back = create_mapper([DMAContext(), other])
        with mapper.map(frame, BOTH) as dma, back.map(dma, BOTH) as again:
            assert equal(MEMORY.read(again), samples_of(frame.info))
            MEMORY.write(again, samples_of(frame.info, 5))
        assert equal(MEMORY.read(frame), samples_of(frame.info, 5))
