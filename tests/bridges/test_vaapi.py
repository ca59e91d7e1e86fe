"""The VA-API backend: the real libva, with the software driver of tests/lab under it."""

from __future__ import annotations

import ctypes as c
import gc
import weakref

import numpy as np
import pytest

from bridges import AccessMode, FrameInfo, MemoryType, TensorInfo, create_mapper
from bridges.backends import vaapi as backend
from bridges.backends import vaapi_display
from bridges.backends.cpu import CPUContext
from bridges.backends.dma import DMAContext
from bridges.backends.probe import open_context
from bridges.backends.vaapi import VAAPIContext, probe
from bridges.errors import (
    ClosedError,
    DeviceError,
    DeviceNotFoundError,
    FormatError,
    NoRouteError,
)
from bridges.formats import pixel_format
from bridges.native.libva import libva
from tests.helpers.process import open_files
from tests.lab.software_va import NODE, software_va

FORMATS = ("nv12", "p010le", "yuv420p", "gray", "bgra", "bgr0", "rgba")


@pytest.fixture
def driver():
    found = software_va()
    gc.collect()
    before = found.counts()
    yield found
    gc.collect()
    assert found.counts().alive == before.alive


@pytest.fixture
def vaapi(driver):
    with driver.open() as context:
        yield context


def info_of(name, width=64, height=36):
    return FrameInfo(pixel_format(name), width, height)


class Owner:
    """Somebody who can be watched."""


# Finding devices


def test_an_opened_device_says_what_it_is(vaapi):
    assert vaapi.memory_type is MemoryType.VAAPI
    assert vaapi.name == f"{software_va().vendor} on {NODE}"
    assert vaapi.handle("va_display") == vaapi.display.native != 0
    assert vaapi.handle("drm_device") == NODE
    assert not vaapi.shares_host_memory
    with pytest.raises(KeyError, match="va_display"):
        vaapi.handle("cl_context")


def test_a_backend_is_opened_by_its_name(driver):
    with driver.environment(), open_context(MemoryType.VAAPI, NODE) as context:
        assert isinstance(context, VAAPIContext)


def test_a_node_that_is_not_there_is_named():
    with pytest.raises(DeviceNotFoundError, match=r"'/dev/dri/renderD250'.*No such file.*are: "):
        backend.create("/dev/dri/renderD250")


def test_without_a_driver_the_words_of_libva_are_told(driver, monkeypatch, capfd):
    with driver.environment():
        monkeypatch.setenv("LIBVA_DRIVER_NAME", "absent")
        descriptors = open_files()
        with pytest.raises(DeviceNotFoundError, match=r"absent.*apt install") as caught:
            backend.create(NODE)
    assert isinstance(caught.value.__cause__, DeviceError)
    assert open_files() == descriptors
    assert capfd.readouterr() == ("", "")


def test_without_libva_it_is_said_what_to_install(monkeypatch):
    def missing():
        raise OSError("libva.so.2: cannot open shared object file")

    monkeypatch.setattr(vaapi_display, "libva", missing)
    with pytest.raises(DeviceNotFoundError, match="apt install libva2"):
        backend.create()
    found = probe()
    assert not found.available
    assert "libva.so.2" in found.reason
    assert found.remedy.startswith("apt install libva2")


def test_probe_tries_every_node(driver, monkeypatch):
    monkeypatch.setattr(backend, "render_nodes", lambda: [NODE, "/dev/dri/renderD250"])
    with driver.environment():
        found = probe()
    assert found.available
    assert found.devices == (f"{software_va().vendor} on {NODE}",)
    monkeypatch.setattr(backend, "render_nodes", list)
    assert not probe().available
    assert probe().reason == "there is no render node in /dev/dri"


def test_a_closed_context_refuses_and_its_surfaces_stay(driver):
    context = driver.open()
    frame = context.allocate_frame(info_of("bgra"))
    context.close()
    context.close()
    with pytest.raises(ClosedError):
        context.handle("va_display")
    with pytest.raises(ClosedError):
        context.allocate_frame(info_of("bgra"))
    display = weakref.ref(frame.tensors[0].surface.display)
    assert driver.counts().surfaces == 1
    frame.tensors[0].surface.sync()
    frame.close()
    gc.collect()
    assert display() is None


def test_a_display_of_somebody_else_is_not_terminated(vaapi):
    owner = Owner()
    watched = weakref.ref(owner)
    borrowed = VAAPIContext.borrow(vaapi.display.native, owner=owner)
    del owner
    assert watched() is not None
    with pytest.raises(KeyError):
        borrowed.handle("drm_device")
    borrowed.allocate_frame(info_of("nv12")).close()
    borrowed.close()
    del borrowed
    gc.collect()
    assert watched() is None
    vaapi.allocate_frame(info_of("nv12")).close()


def test_what_can_be_derived(vaapi):
    dma = vaapi.derive(MemoryType.DMA)
    assert isinstance(dma, DMAContext)
    assert dma.handle("drm_device") == NODE
    assert vaapi.derive(MemoryType.VAAPI) is vaapi
    with pytest.raises(NoRouteError):
        vaapi.derive(MemoryType.CUDA)


# Surfaces


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (127, 95)])
def test_every_format_has_surfaces(driver, vaapi, name, size):
    info = info_of(name, *size)
    frame = vaapi.allocate_frame(info)
    assert frame.info == info
    assert [tensor.info.shape for tensor in frame.tensors] == [p.shape for p in info.planes]
    assert all(tensor.info.strides[0] % 64 == 0 for tensor in frame.tensors)
    numbers = {tensor.handle("va_surface") for tensor in frame.tensors}
    assert len(numbers) == 1
    assert [tensor.handle("plane_index") for tensor in frame.tensors] == list(
        range(len(info.planes))
    )
    assert driver.counts().surfaces == 1
    frame.close()
    frame.close()


def test_a_surface_goes_with_the_last_of_its_planes(driver, vaapi):
    luma, chroma = vaapi.allocate_frame(info_of("nv12")).tensors
    luma.close()
    assert driver.counts().surfaces == 1
    with pytest.raises(ClosedError):
        luma.handle("va_surface")
    chroma.close()
    assert driver.counts().surfaces == 0


def test_forgotten_surfaces_are_destroyed(driver, vaapi):
    for _ in range(2000):  # The driver has room for a thousand.
        vaapi.allocate_frame(info_of("bgra", 16, 16))
    assert driver.counts().surfaces == 0


@pytest.mark.parametrize("name", ["yuv444p16le", "gbrp", "rgb24", "yuv422p10le"])
def test_a_format_that_va_api_has_not_is_refused(driver, vaapi, name):
    with pytest.raises(FormatError, match=f"no surfaces of {name}.*nv12"):
        vaapi.allocate_frame(info_of(name))
    with pytest.raises(FormatError, match=f"no surfaces of {name}"):
        vaapi.wrap(1, info_of(name), owner=Owner())


@pytest.mark.parametrize("name", ["yuyv422", "yuv444p", "p012le", "p016le", "yuv411p"])
def test_a_format_that_the_driver_has_not_is_its_error(vaapi, name):
    with pytest.raises(DeviceError, match=rf"create a {name} surface of 64x36.*\(status 0xe\)"):
        vaapi.allocate_frame(info_of(name))


def test_empty_and_huge_surfaces_are_refused(vaapi):
    with pytest.raises(FormatError, match="at least one pixel"):
        vaapi.allocate_frame(info_of("nv12", 0, 4))
    with pytest.raises(DeviceError, match="resolution"):
        vaapi.allocate_frame(info_of("nv12", 100_000, 4))


@pytest.mark.parametrize(
    ("shape", "fourcc"), [((5, 7), b"Y800"), ((5, 7, 4), b"BGRA")], ids=["gray", "bgra"]
)
def test_one_plane(vaapi, shape, fourcc):
    with vaapi.allocate(TensorInfo(shape, np.dtype("u1"))) as tensor:
        assert tensor.info.shape == shape
        assert tensor.surface.format.va.encode() == fourcc


@pytest.mark.parametrize(
    ("shape", "dtype"), [((5, 7), "<u2"), ((5, 7, 3), "u1"), ((5,), "u1"), ((5, 7, 4), "i1")]
)
def test_other_planes_are_refused(vaapi, shape, dtype):
    with pytest.raises(FormatError, match="allocate_frame"):
        vaapi.allocate(TensorInfo(shape, np.dtype(dtype)))


# Parts


def test_a_region_tells_its_place(vaapi):
    frame = vaapi.allocate_frame(info_of("nv12"))
    region = frame.region(8, 4, 20, 10).region(2, 2, 10, 6)
    for index, tensor in enumerate(region.tensors):
        assert tensor.handle("plane_index") == index
        assert (tensor.handle("offset_x"), tensor.handle("offset_y")) == (10, 6)
        assert tensor.handle("va_surface") == frame.tensors[0].handle("va_surface")
    assert [tensor.info.shape for tensor in region.tensors] == [(6, 10), (3, 5, 2)]
    frame.close()
    assert region.tensors[1].handle("offset_x") == 10
    region.close()


def test_an_element_is_not_cut(vaapi):
    with vaapi.allocate_frame(info_of("nv12")) as frame, pytest.raises(FormatError, match="2 byte"):
        frame.tensors[1][:, :, 1:]


@pytest.mark.parametrize("target", [CPUContext, DMAContext])
def test_what_is_collected_together_goes_in_any_order(driver, target):
    for _ in range(20):
        vaapi = driver.open()
        frame = vaapi.allocate_frame(info_of("nv12"))
        mapped = create_mapper([vaapi, target()]).map(frame, AccessMode.READ)
        ring = [mapped, frame, vaapi, vaapi.display, frame.tensors[0].surface]
        ring.append(ring)
        del vaapi, frame, mapped, ring
    gc.collect()
    assert driver.counts().alive == 0


# Surfaces of somebody else


def raw_surface(context):
    number = c.c_uint32()
    assert (
        libva().vaCreateSurfaces(
            context.handle("va_display"), 1, 64, 36, c.byref(number), 1, None, 0
        )
        == 0
    )
    return number


def destroy(context, number):
    assert libva().vaDestroySurfaces(context.handle("va_display"), c.byref(number), 1) == 0


def test_a_wrapped_surface_stays_its_owners(driver, vaapi):
    number, owner = raw_surface(vaapi), Owner()
    watched = weakref.ref(owner)
    frame = vaapi.wrap(number.value, info_of("nv12"), owner=owner)
    del owner
    assert frame.tensors[1].handle("va_surface") == number.value
    assert frame.tensors[0].memory_key() is None
    part = frame.tensors[0][2:4]
    frame.close()
    assert watched() is not None
    part.close()
    assert watched() is None
    assert driver.counts().surfaces == 1
    destroy(vaapi, number)


def test_keys_tell_surfaces_apart(driver, vaapi):
    number, other = raw_surface(vaapi), raw_surface(vaapi)
    pool, another = Owner(), Owner()
    info = info_of("nv12")

    def keys(one, pool, region=None):
        frame = vaapi.wrap(one.value, info, owner=Owner(), pool=pool)
        part = frame.region(*region) if region else frame
        return [tensor.memory_key() for tensor in part.tensors]

    first = keys(number, pool)
    assert first == keys(number, pool)
    assert len({*first, *keys(other, pool), *keys(number, another)}) == 6
    assert not set(first) & set(keys(number, pool, (2, 2, 8, 8)))
    watched = weakref.ref(pool)
    del pool
    assert watched() is not None  # The keys hold it.
    del first
    assert watched() is None
    destroy(vaapi, number)
    destroy(vaapi, other)


def test_a_cache_keeps_a_pools_mapping_and_not_its_surface(driver, vaapi):
    number, pool = raw_surface(vaapi), Owner()
    mapper = create_mapper([vaapi, DMAContext()], cache=4)
    descriptors = set()
    for _ in range(3):
        owner = Owner()
        watched = weakref.ref(owner)
        frame = vaapi.wrap(number.value, info_of("nv12"), owner=owner, pool=pool)
        del owner
        before = driver.counts().syncs
        with mapper.map(frame, AccessMode.READ) as mapped:
            descriptors.add(mapped.tensors[0].handle("dma_fd"))
            assert driver.counts().syncs > before
            assert watched() is not None
        frame.close()
        del frame, mapped
        gc.collect()
        assert watched() is None
    assert len(descriptors) == 1
    assert (mapper.statistics.hits, mapper.statistics.misses) == (2, 1)
    watched = weakref.ref(pool)
    del pool
    assert watched() is not None
    mapper.close()
    gc.collect()
    assert watched() is None
    destroy(vaapi, number)


def test_a_surface_that_is_gone_is_an_error(vaapi):
    number = raw_surface(vaapi)
    frame = vaapi.wrap(number.value, info_of("nv12"), owner=Owner())
    destroy(vaapi, number)
    with pytest.raises(DeviceError, match=f"surface {number.value} .*invalid VASurfaceID"):
        create_mapper([vaapi, CPUContext()]).map(frame, AccessMode.READ)
    with pytest.raises(DeviceError, match="invalid VASurfaceID"):
        create_mapper([vaapi, DMAContext()]).map(frame, AccessMode.READ)
    frame.close()
