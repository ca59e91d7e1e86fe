"""Compiled plugins through the real libxma2api, on XRT's device without hardware.

Sessions, buffers and commands are the library's own there; a compute unit's commands complete, and
no kernel has run, so that the plugins here copy by themselves what a kernel would. Each test is a
child process, as the library can be initialized once.
"""

from __future__ import annotations

import ctypes
import subprocess

import pytest

from tests.xma_plugins.noop import SOURCES, build, compiler, needs_noop, run
from tests.xma_plugins.xclbin import COPY, write
from xma_plugins.native import structures

PREAMBLE = """
import ctypes as c, sys
import numpy as np
from fractions import Fraction
from bridges.backends.cpu import CPUContext
from bridges.errors import FormatError
from bridges.formats import pixel_format
from bridges.frame import Frame, FrameInfo
from xma_plugins.device import open_device
from xma_plugins.errors import (
    InvalidError, NoDeviceError, OrderError, PluginError, XmaError, XmaTimeoutError,
)
from xma_plugins.frames import XmaDataBuffer, XmaFrame
from xma_plugins.properties import (
    DecoderProperties, EncoderProperties, FilterProperties, KernelProperties, Port,
    ScalerProperties,
)
from xma_plugins.sessions import (
    DecoderSession, EncoderSession, FilterSession, KernelSession, ScalerSession,
)
from xma_plugins.status import Status

folder, xclbin = sys.argv[1:]
# What a card's driver has beside, and threads that do not wait for a card's interrupts.
c.CDLL(f"{folder}/noop_card.so", mode=c.RTLD_GLOBAL)
c.CDLL("libxrt_coreutil.so.2").xrtIniUintSet(b"Runtime.xma_cpu_mode", 2)
from xma_plugins import native

CU = {"cu_name": "copy:copy_1"}

def refused(error, text, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except error as caught:
        assert text in str(caught), caught
    else:
        raise AssertionError(f"no {error.__name__}: {text}")

def picture(width=50, height=35, seed=0, name="yuv420p", **described):
    frame = XmaFrame.allocate(FrameInfo(pixel_format(name), width, height))
    generator = np.random.default_rng(seed)
    for plane in frame.planes:
        array = np.asarray(plane.tensor)
        array[...] = generator.integers(0, 256, array.shape, array.dtype)
    for key, value in described.items():
        setattr(frame, key, value)
    return frame

def same(one, other):
    return all(
        np.array_equal(np.asarray(a.tensor), np.asarray(b.tensor))
        for a, b in zip(one.planes, other.planes, strict=True)
    )

def port(width=50, height=35, name="yuv420p"):
    return Port(format=name, width=width, height=height)
"""
STARTED = """
native.initialize([(xclbin, 0)])
host = open_device("cpu")
"""
END = """
host.close()
native.finalize()
native.finalize()
print("done")
"""


@pytest.fixture(autouse=True)
def _xrt():
    needs_noop()


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    needs_noop()
    folder = tmp_path_factory.mktemp("plugins")
    for source in ("noop_card.c", "copy_filter.c", "every_kind.c"):
        build(source, folder)
    build("copy_filter.c", folder, "-DSUB_VERSION=2", name="newer_filter")
    return folder


@pytest.fixture
def child(tmp_path, plugins):
    xclbin = write(tmp_path / "copy.xclbin", COPY)

    def call(code, *, started=True):
        whole = STARTED + code + END if started else code + "\nprint('done')"
        return run(whole, tmp_path, plugins, xclbin, preamble=PREAMBLE)

    return call


def test_structures_are_laid_out_as_a_compiler_does(tmp_path):
    program = tmp_path / "layout"
    subprocess.run([compiler(), "-o", program, SOURCES / "layout.c"], check=True)
    lines = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    kinds = {"Properties": "PROPERTIES", "Session": "SESSIONS", "Plugin": "PLUGINS"}
    checked = 0
    for line in lines.splitlines():
        name, number = line.split()
        name, _, field = name.partition(".")
        structure = getattr(structures, name, None)
        for end, table in kinds.items():
            if structure is None and name.endswith(end):
                structure = getattr(structures, table)[name.removesuffix(end).lower()]
        found = getattr(structure, field).offset if field else ctypes.sizeof(structure)
        assert found == int(number), line
        checked += 1
    assert checked == 63


def test_a_filter_copies_frames_through_device_buffers(child):
    child("""
plugin = native.native_plugin(f"{folder}/copy_filter.so")
assert plugin.vendor == "xtranscode" and plugin.__name__ == "copy_filter"
for name in ("yuv420p", "nv12", "yuv444p", "rgb24"):
    properties = FilterProperties(plugin=plugin, input=port(name=name), params=CU)
    with FilterSession(properties, host) as session:
        for number in range(3):
            sent = picture(seed=number, name=name, pts=5_000_000_000 - number * 6_000_000_000)
            assert session.send_frame(sent) is Status.SUCCESS
            status, got = session.recv_frame()
            assert status is Status.SUCCESS
            assert same(sent, got) and got.pts == sent.pts
            assert got.info.format.name == name
            got.close()
        assert session.recv_frame() == (Status.TRY_AGAIN, None)
        assert session.send_frame(None) is Status.SUCCESS
        assert session.recv_frame() == (Status.EOS, None)
""")


def test_a_frame_that_the_caller_gives_is_filled(child):
    child("""
plugin = native.native_plugin(f"{folder}/copy_filter.so", "filter")
with FilterSession(FilterProperties(plugin=plugin, input=port(), params=CU), host) as session:
    sent, into = picture(pts=None), picture(seed=9)
    addresses = [plane.tensor.handle("data") for plane in into.planes]
    session.send_frame(sent)
    status, got = session.recv_frame(into)
    assert got is into and same(sent, got) and got.pts is None
    assert [plane.tensor.handle("data") for plane in got.planes] == addresses
""")


def test_memory_that_ends_with_the_last_sample_is_left_alone_behind_it(child):
    # Compiled plugins copy whole rows, the last one's padding too.
    child("""
plugin = native.native_plugin(f"{folder}/copy_filter.so")
info = FrameInfo(pixel_format("yuv420p"), 50, 35)
from xma_plugins.frames import BufferRef, padded_planes
from xma_plugins.native.frames import has_whole_rows
def ending():
    refs = []
    for each in padded_planes(info):
        memory = np.zeros(each.span, np.uint8)
        array = np.ndarray(each.shape, each.dtype, memory, 0, each.strides)
        refs.append(BufferRef(CPUContext().wrap(array)))
    return XmaFrame(info, refs)
ended = ending()
assert not has_whole_rows(ended)
with FilterSession(FilterProperties(plugin=plugin, input=port(), params=CU), host) as session:
    for frame in (ended, picture()):
        other = picture(seed=1)
        for plane, into in zip(other.planes, frame.planes):
            np.asarray(into.tensor)[...] = np.asarray(plane.tensor)
        session.send_frame(frame)
        target = ending()
        status, got = session.recv_frame(target)
        assert got is target and same(frame, got)
exact = np.zeros(34 * 128 + 50, np.uint8)
array = np.ndarray((35, 50), np.uint8, exact, 0, (128, 1))
whole = np.zeros((35, 128), np.uint8)
for memory, expected in ((array, False), (whole[:, :50], True)):
    plane = BufferRef(CPUContext().wrap(memory))
    gray = XmaFrame(FrameInfo(pixel_format("gray"), 50, 35), [plane])
    assert has_whole_rows(gray) is expected
""")


def test_device_buffers_are_handed_from_plugin_to_plugin(child):
    child("""
plugin = native.native_plugin(f"{folder}/copy_filter.so")
properties = FilterProperties(plugin=plugin, input=port(), params=CU | {"zerocopy": True})
other = FilterProperties(plugin=plugin, input=port(), params={"cu_index": 1})
with FilterSession(properties, host) as first, FilterSession(other, host) as second:
    sent = picture(pts=-7)
    first.send_frame(sent)
    status, between = first.recv_frame()
    assert status is Status.SUCCESS and same(sent, between) and between.pts == -7
    for plane in between.planes:
        assert plane.is_clone and plane.native.size == 128 * 35
        assert plane.native.data == plane.tensor.handle("data")
        assert plane.native.paddr and plane.native.bank_index in (0, 1)
    from xma_plugins.native.frames import frame_over
    again = frame_over(between, native.libxma2api.load())
    assert [there.buffer_type for there in again.data] == [2, 2, 2]
    second.send_frame(between)
    status, got = second.recv_frame()
    assert same(sent, got) and got.pts == -7
""")


def test_an_encoder_and_a_decoder(child):
    child("""
library = f"{folder}/every_kind.so"
encoding = EncoderProperties(
    plugin=native.native_plugin(library, "encoder"), format="yuv420p", width=51, height=35,
    bitrate=4000, params=CU,
)
decoding = DecoderProperties(
    plugin=native.native_plugin(library, "decoder"), width=51, height=35, params=CU
)
from xma_plugins.side_data import SideData, SideDataType
with EncoderSession(encoding, host) as encoder, DecoderSession(decoding, host) as decoder:
    assert decoder.get_properties() is None
    times = [3_000_000_000, 9_000_000_000, -5, 0]
    sent = [picture(51, 35, seed, pts=pts) for seed, pts in enumerate(times)]
    sent[1].add_side_data(SideData(SideDataType.QP_MAP, bytes([9])))
    packets = []
    for number, frame in enumerate(sent):
        status = encoder.send_frame(frame)
        assert status is (Status.SUCCESS if number else Status.SEND_MORE_DATA)
        if number:
            status, data = encoder.recv_data()
            packets.append(data)
            assert encoder.recv_data() == (Status.TRY_AGAIN, None)
    assert encoder.send_frame(None) is Status.SUCCESS
    status, data = encoder.recv_data()
    packets.append(data)
    assert encoder.recv_data() == (Status.EOS, None)
    assert [packet.pts for packet in packets] == times
    assert [packet.poc for packet in packets] == [7] * 4
    assert [int.from_bytes(p.data[:4], "little") for p in packets] == [4000, 4009, 4000, 4000]
    for frame, packet in zip(sent, packets):
        planes = [np.asarray(plane.tensor).tobytes() for plane in frame.planes]
        assert packet.data[4:] == b"".join(planes)
        packet.pts = 77
        assert decoder.send_data(packet) == (Status.SUCCESS, len(packet.data))
        assert decoder.get_properties() == FrameInfo(pixel_format("yuv420p"), 51, 35)
        status, got = decoder.recv_frame()
        assert status is Status.SUCCESS and same(frame, got) and got.pts == 77
    assert decoder.send_data(None) == (Status.SUCCESS, 0)
    assert decoder.recv_frame() == (Status.EOS, None)
""")


def test_an_encoder_that_has_more_to_say_than_room(child):
    child("""
plugin = native.native_plugin(f"{folder}/every_kind.so", "encoder")
def encoder(**given):
    return EncoderSession(EncoderProperties(plugin=plugin, **given), host)
told = dict(format="yuv420p", width=50, height=35, bitrate=1)
session = encoder(**told, params=CU | {"data_nbytes": 100})
session.send_frame(picture())
session.send_frame(picture())
refused(XmaError, "recv_data of every_kind.so failed with -1", session.recv_data)
assert session.state == "failed"
session.destroy()
refused(PluginError, "makes no session", encoder, **told | {"bitrate": 0}, params=CU)
refused(InvalidError, "told pixel formats", encoder, **told | {"format": None}, params=CU)
refused(FormatError, "no pixel format yuv420p10le", encoder,
        **told | {"format": "yuv420p10le"}, params=CU)
""")


def test_a_scaler(child):
    child("""
plugin = native.native_plugin(f"{folder}/every_kind.so", "scaler")
outputs = (port(25, 18), port(100, 70))
table = np.zeros((64, 12), np.int16)
table[0, 0] = 3
def scaler(rows):
    return ScalerSession(ScalerProperties(
        plugin=plugin, input=port(), outputs=outputs, horizontal_coefficients=rows, params=CU,
    ), host)
for rows, plus in ((None, 0), (table, 3)):
    with scaler(rows) as session:
        sent = picture(pts=12)
        assert session.send_frame(sent) is Status.SUCCESS
        status, got = session.recv_frame_list()
        assert status is Status.SUCCESS and [frame.pts for frame in got] == [12, 12]
        for frame, size in zip(got, outputs):
            assert (frame.info.width, frame.info.height) == (size.width, size.height)
            for plane, before in zip(frame.planes, sent.planes):
                array, old = np.asarray(plane.tensor), np.asarray(before.tensor)
                v = np.arange(array.shape[0]) * old.shape[0] // array.shape[0]
                u = np.arange(array.shape[1]) * old.shape[1] // array.shape[1]
                assert np.array_equal(array, old[v][:, u] + np.uint8(plus))
        assert session.send_frame(None) is Status.EOS
refused(InvalidError, "64 phases of 12 taps", scaler, np.zeros((12, 64), np.int16))
""")


def test_a_kernel_takes_and_gives_parameters(child):
    child("""
plugin = native.native_plugin(f"{folder}/every_kind.so", "kernel")
properties = KernelProperties(plugin=plugin, params=CU | {"mode": "fast"})
with KernelSession(properties, host) as session:
    session.write({"a": 1 << 40, "b": -2, "c": True, "text": "größer"})
    session.write({"a": 1})
    assert session.read() == {"sum": (1 << 40), "text": "größer"}
session = KernelSession(properties, host)
refused(InvalidError, "'x' of a compiled plugin is a text", session.write, {"x": 1.5})
session.destroy()
session = KernelSession(properties, host)
refused(InvalidError, "got 9223372036854775808", session.write, {"x": 1 << 63})
session.destroy()
session = KernelSession(properties, host)
refused(XmaTimeoutError, "write of every_kind.so failed with -5", session.write, {"fail": 1})
session.destroy()
""")


def test_what_is_no_plugin_or_another_one(child):
    child(
        """
plugin = native.native_plugin
refused(PluginError, "cannot be loaded", plugin, "/nowhere.so")
refused(PluginError, "nothing that XMA knows", plugin, f"{folder}/noop_card.so")
refused(PluginError, "encoder and decoder and scaler and kernel; asked for the only one",
        plugin, f"{folder}/every_kind.so")
refused(PluginError, "has filter; asked for encoder", plugin, f"{folder}/copy_filter.so", "encoder")
named = native.named_plugin
assert named(f"native:{folder}/copy_filter.so").kind.name == "FILTER"
assert named(f"native:decoder:{folder}/every_kind.so").kind.name == "DECODER"
refused(PluginError, "asked for the only one", named, f"native:{folder}/every_kind.so")
refused(PluginError, "cannot be loaded", named, "native:/odd:name.so")
refused(PluginError, "version 2020.2 of libxma2api, which is 2020.1", plugin,
        f"{folder}/newer_filter.so")
""",
        started=False,
    )


def test_an_initialization_that_fails(child, tmp_path):
    (tmp_path / "broken.xclbin").write_bytes(b"no xclbin")
    child(
        """
assert native.num_devices() == 1
host = open_device("cpu")
made = native.native_plugin(f"{folder}/copy_filter.so")
properties = FilterProperties(plugin=made, input=port(), params=CU)
refused(OrderError, "call xma_plugins.native.initialize", FilterSession, properties, host)
native.finalize()
refused(FormatError, "broken.xclbin", native.initialize, [("broken.xclbin", 0)])
refused(OSError, "nowhere", native.initialize, [("/nowhere.xclbin", 0)])
refused(NoDeviceError, "no card 1; libxma2api finds 1", native.initialize, [(xclbin, 1)])
refused(XmaError, "refuses", native.initialize, [])
native.initialize([(xclbin, 0)])
refused(OrderError, "once in a process", native.initialize, [(xclbin, 0)])
native.finalize()
host.close()
""",
        started=False,
    )


def test_sessions_that_libxma2api_does_not_make(child):
    out = child("""
plugin = native.native_plugin(f"{folder}/copy_filter.so")
def session(**params):
    return FilterSession(FilterProperties(plugin=plugin, input=port(), params=params), host)
refused(PluginError, "on compute unit b'copy:copy_9' of card 0", session, cu_name="copy:copy_9")
refused(PluginError, "on compute unit 3 of card 0", session, cu_index=3)
refused(PluginError, "of card 1", session, **CU, dev_index=1)
refused(PluginError, "makes no session", session, **CU, refuse="yes")
refused(InvalidError, "size of what it makes", FilterSession,
        FilterProperties(plugin=plugin, input=Port(format="nv12"), params=CU), host)
session(cu_index=0).destroy()
""")
    assert "copy:copy_9 not found" in out  # In the library's own words.


def test_many_sessions_at_once(child):
    child("""
import threading
plugin = native.native_plugin(f"{folder}/copy_filter.so")
failures = []
def work(number):
    try:
        params = {"cu_name": f"copy:copy_{1 + number % 2}"}
        for _ in range(3):
            properties = FilterProperties(
                plugin=plugin, input=port(), channel_id=number, params=params
            )
            with FilterSession(properties, host) as session:
                for seed in range(10):
                    sent = picture(seed=seed + 100 * number)
                    session.send_frame(sent)
                    status, got = session.recv_frame()
                    assert status is Status.SUCCESS and same(sent, got)
    except BaseException as error:
        failures.append(error)
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
for each in threads: each.start()
for each in threads: each.join()
assert not failures, failures
""")
