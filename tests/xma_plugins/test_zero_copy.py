"""Decoder, scaler and encoders in a row: samples stay on the device from the first to the last.

The steps are those of the zero-copy transcode pipeline in the guide of the Xilinx Media Accelerator
(XRT 2.13, "ZeroCopy trancode pipeline").
"""

import ctypes
import gc
import itertools
import os
import queue
import threading
from contextlib import ExitStack
from pathlib import Path

import av
import numpy as np
import pytest

from bridges.edges.cpu_to_ffmpeg import held_planes
from bridges.kernels import get
from tests.helpers.process import open_files
from tests.xma_plugins.coded import bytes_of, head_of, packets_of, pictures_of
from tests.xma_plugins.device_pictures import applied
from tests.xma_plugins.devices import opened
from tests.xma_plugins.pictures import arrays, dense
from xma_plugins.buffers import BufferType
from xma_plugins.builtin.libav_frame import from_av, to_av
from xma_plugins.device import open_device
from xma_plugins.errors import BufferUseError
from xma_plugins.frames import XmaDataBuffer, XmaFrame
from xma_plugins.host_frames import to_host
from xma_plugins.properties import (
    DecoderProperties,
    EncoderProperties,
    FilterProperties,
    Port,
    ScalerProperties,
)
from xma_plugins.sessions import DecoderSession, EncoderSession, FilterSession, ScalerSession
from xma_plugins.status import Status

SIZES = ((96, 70), (48, 32))


def decoder_of(path, device, **params):
    codec, extradata, time_base, width, height = head_of(path)
    head = {"codec": codec, "extradata": extradata, "time_base": time_base, "threads": 1}
    return DecoderSession(
        DecoderProperties(
            plugin="libav_decoder",
            width=width,
            height=height,
            params={**head, "zerocopy": True, **params},
        ),
        device,
    )


def scaler_of(device, sizes=SIZES, **params):
    outputs = tuple(Port(width=width, height=height) for width, height in sizes)
    return ScalerSession(
        ScalerProperties(
            plugin="kernel_scaler",
            input=Port(),
            outputs=outputs,
            params={"zerocopy": True, "depth": 1, **params},
        ),
        device,
    )


def encoder_of(device, plugin, size, pix_fmt, time_base=None, **params):
    return EncoderSession(
        EncoderProperties(
            plugin=plugin,
            format=pix_fmt,
            width=size[0],
            height=size[1],
            time_base=time_base,
            params=params,
        ),
        device,
    )


def sent(session, item):
    """Send, and return whether something can be received."""
    status = session.send_frame(item)
    assert status in (Status.SUCCESS, Status.SEND_MORE_DATA)
    return status is Status.SUCCESS


def wanted(path, sizes=SIZES):
    """Return for each picture its samples in all sizes, by PyAV and the kernel's reference."""
    made = []
    for found in pictures_of(path):
        with from_av(found) as frame:
            planes = [array.copy() for array in arrays(frame)]
            values = [
                get("resize").check({"width": width, "height": height, "filter": "bicubic"})
                for width, height in sizes
            ]
            each = [applied(get("resize"), planes, frame.info, value) for value in values]
        made.append([b"".join(plane.tobytes() for plane in planes) for planes in each])
    return made


def spans(frame):
    return sum(plane.tensor.info.span for plane in frame.planes)


def rebuilt(packets, size, pix_fmt):
    """Return what PyAV decodes of FFV1."""
    context = av.CodecContext.create("ffv1", "w")
    context.width, context.height, context.pix_fmt = *size, pix_fmt
    context.time_base = 1
    context.open()
    decoder = av.CodecContext.create("ffv1", "r")
    decoder.extradata = context.extradata
    decoder.width, decoder.height = size
    return [bytes_of(found) for each in [*packets, None] for found in decoder.decode(each)]


@pytest.mark.parametrize("name", ["h264", "hdr10", "odd_yuv420p"])
def test_the_sequence_of_the_guide(clips, device, name):
    path = clips.path(name)
    pix_fmt = clips[name].main.pix_fmt
    expected = wanted(path)
    shares = device.driver.shares_host_memory
    moved = device.transfers
    coded, raw, held = [], [], []
    with ExitStack() as stack:
        # Step 2 and 3: sessions for all plugins, told of zero copy.
        decoder = stack.enter_context(decoder_of(path, device))
        scaler = stack.enter_context(scaler_of(device))
        clock = head_of(path)[2]
        one = stack.enter_context(
            encoder_of(None, "libav_encoder", SIZES[0], pix_fmt, clock, codec="ffv1")
        )
        two = stack.enter_context(encoder_of(device, "copy_encoder", SIZES[1], pix_fmt, depth=1))

        def receive(session, packets):
            status, data = session.recv_data(XmaDataBuffer())
            while status is Status.SUCCESS:
                packets.append((data.pts, bytes(data.data)))
                held.append(data.data)
                status, data = session.recv_data(XmaDataBuffer())

        def encode(small, large):
            # Step 12 and 13: the encoders take the scaler's buffers; only these are carried back.
            before = moved.bytes_to_device, moved.bytes_to_host
            for session, packets, frame in ((one, coded, large), (two, raw, small)):
                if sent(session, frame):
                    # Step 14 and 15.
                    receive(session, packets)
            assert moved.bytes_to_device == before[0]
            back = moved.bytes_to_host - before[1]
            assert back == (0 if shares else spans(large) + spans(small))

        def process():
            # Step 6 and 7: a dummy is given a buffer of the decoder's pool.
            before = moved.bytes_to_device, moved.bytes_to_host
            picture = XmaFrame()
            status, _ = decoder.recv_frame(picture)
            if status is not Status.SUCCESS:
                return status
            assert picture.buffer_type is BufferType.DEVICE_ONLY
            there = moved.bytes_to_device - before[0]
            assert there == (0 if shares else spans(picture))
            # Step 8 to 11: from the decoder's output to the encoders' input nothing is carried.
            between = moved.nbytes
            scaler.send_frame(picture)
            picture.close()
            dummies = [XmaFrame() for _ in SIZES]
            assert scaler.recv_frame_list(dummies)[0] is Status.SUCCESS
            assert {frame.buffer_type for frame in dummies} == {BufferType.DEVICE_ONLY}
            assert moved.nbytes == between
            assert moved.bytes_to_host == before[1]
            encode(dummies[1], dummies[0])
            for frame in dummies:
                frame.close()
            return status

        # Step 4 and 5: coded data of the host goes to the decoder.
        for packet in packets_of(path):
            if decoder.send_data(XmaDataBuffer(packet, pts=packet.pts))[0] is Status.SUCCESS:
                while process() is Status.SUCCESS:
                    pass
        decoder.send_data(None)
        while process() is Status.SUCCESS:
            pass
        assert scaler.send_frame(None) is Status.EOS
        for session, packets in ((one, coded), (two, raw)):
            session.send_frame(None)
            receive(session, packets)
        if shares:
            assert moved.nbytes == 0
    times = list(clips[name].main.pts)
    assert [pts for pts, _ in coded] == [pts for pts, _ in raw] == times
    assert [samples for _, samples in raw] == [small for _, small in expected]
    packets = [packet for packet in held if isinstance(packet, av.Packet)]
    assert rebuilt(packets, SIZES[0], pix_fmt) == [large for large, _ in expected]
    assert held_planes() == 0


def test_gray_on_the_way_carries_its_chroma_once(clips, device):
    """A picture of luma alone has chroma without colour, the same in all pictures."""
    path = clips.path("h264")
    track = clips["h264"].main
    port = Port(format="yuv420p", width=track.width, height=track.height)
    with (
        decoder_of(path, device) as decoder,
        FilterSession(
            FilterProperties(
                plugin="kernel_filter",
                input=port,
                output=port,
                params={"kernel": "rgb_to_grayscale", "zerocopy": True, "depth": 1},
            ),
            device,
        ) as gray,
        scaler_of(device, SIZES[:1]) as scaler,
    ):
        carried = []
        pictures = []
        for packet in [*packets_of(path), None]:
            status, _ = decoder.send_data(XmaDataBuffer(packet) if packet else None)
            while status is Status.SUCCESS:
                status, picture = decoder.recv_frame()
                if picture is None:
                    continue
                before = device.transfers.nbytes
                gray.send_frame(picture)
                picture.close()
                _, between = gray.recv_frame()
                scaler.send_frame(between)
                _, (made,) = scaler.recv_frame_list()
                carried.append(device.transfers.nbytes - before)
                chroma = sum(plane.tensor.info.span for plane in between.planes[1:])
                between.close()
                with made, to_host(made) as here:
                    pictures.append([array.copy() for array in arrays(here)])
    assert carried[0] in (0, chroma)
    assert (carried[0] == 0) == device.driver.shares_host_memory
    assert not any(carried[1:])
    for found, (luma, *others) in zip(pictures_of(path), pictures, strict=True):
        with from_av(found) as frame:
            planes = [array.copy() for array in arrays(frame)]
            values = get("resize").check(
                {"width": SIZES[0][0], "height": SIZES[0][1], "filter": "bicubic"}
            )
            expected = applied(get("resize"), planes, frame.info, values)
        assert np.array_equal(luma, expected[0])
        assert all((plane == 128).all() for plane in others)


def test_one_picture_for_several(clips, device):
    """Who fans out takes references; the buffer comes back when the last lets go."""
    path = clips.path("ffv1")
    expected = [bytes_of(found) for found in pictures_of(path)]
    shares = device.driver.shares_host_memory
    with (
        decoder_of(path, device, pool=1, timeout=5) as decoder,
        scaler_of(device, ((128, 96),)) as scaler,
        encoder_of(device, "copy_encoder", (128, 96), "yuv420p", depth=1) as encoder,
    ):
        for number, packet in enumerate(packets_of(path)):
            decoder.send_data(XmaDataBuffer(packet))
            _, picture = decoder.recv_frame()
            moved = device.transfers.nbytes
            buffers = [plane.buffer for plane in picture.planes]
            scaler.send_frame(picture)
            with picture.reference() as other:
                picture.close()
                encoder.send_frame(other)
            _, (made,) = scaler.recv_frame_list()
            assert device.transfers.nbytes == moved
            _, data = encoder.recv_data()
            with made, to_host(made) as here:
                assert dense(here) == bytes(data.data) == expected[number]
            if not shares:
                assert not any(buffer.is_freed for buffer in buffers)


def drop_some(path, device):
    """Close pictures in mid-way, at each place that there is, and destroy in mid-stream."""
    with (
        decoder_of(path, device, pool=3, timeout=1) as decoder,
        scaler_of(device, pool=2, timeout=1) as scaler,
        encoder_of(None, "libav_encoder", SIZES[0], "yuv420p", codec="ffv1") as encoder,
    ):
        for number, packet in enumerate(packets_of(path)):
            decoder.send_data(XmaDataBuffer(packet))
            status, picture = decoder.recv_frame()
            if number % 3 == 0:
                picture.close()
                continue
            assert scaler.send_frame(picture) is not Status.TRY_AGAIN
            picture.close()
            _, (large, small) = scaler.recv_frame_list()
            small.close()
            if number % 3 == 1 and encoder.send_frame(large) is Status.SUCCESS:
                encoder.recv_data()
            large.close()
        decoder.send_data(XmaDataBuffer(packets_of(path)[0]))
        status, picture = decoder.recv_frame()
        assert status is Status.SUCCESS
        scaler.send_frame(picture)
        picture.close()


def test_pictures_that_are_dropped_in_mid_way(clips, device):
    drop_some(clips.path("ffv1"), device)
    assert device.buffers == ()
    assert held_planes() == 0


ORDERS = list(itertools.permutations(("decoder", "scaler", "encoder")))


@pytest.mark.parametrize("order", ORDERS, ids=",".join)
def test_sessions_may_be_destroyed_in_any_order(clips, device, order):
    """While pictures are held everywhere: who holds them is told, and nothing else happens."""
    path = clips.path("ffv1")
    sessions = {
        "decoder": decoder_of(path, device),
        "scaler": scaler_of(device),
        "encoder": encoder_of(
            None, "libav_encoder", SIZES[0], "yuv420p", codec="libx264", options={"preset": "fast"}
        ),
    }
    kept = []
    for packet in packets_of(path)[:6]:
        sessions["decoder"].send_data(XmaDataBuffer(packet))
        _, picture = sessions["decoder"].recv_frame()
        sessions["scaler"].send_frame(picture)
        _, (large, small) = sessions["scaler"].recv_frame_list()
        assert sessions["encoder"].send_frame(large) is Status.SEND_MORE_DATA
        large.close()
        kept += [picture, small]
    told = {}
    for name in order:
        try:
            sessions[name].destroy()
        except BufferUseError as error:
            told[name] = str(error)
        sessions[name].destroy()
        assert sessions[name].state == "destroyed"
    shares = device.driver.shares_host_memory
    assert ("decoder" in told) == (not shares)
    assert "encoder" not in told
    assert "6 of its frames are still held, by" in told["scaler"]
    assert "the application" in told["scaler"]
    small = kept[1]
    with pytest.raises(BufferUseError, match="was freed at"):
        assert small.planes[0].tensor
    if not shares:
        with pytest.raises(BufferUseError, match="was freed at"):
            to_host(kept[0])
    for frame in kept:
        frame.close()
    sessions.clear()
    assert device.buffers == ()
    assert held_planes() == 0


def resident_kib():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024


@pytest.mark.parametrize("name", ["cpu", "opencl", "sycl"])
def test_many_runs_leave_memory_and_descriptors_as_they_were(clips, name):
    path, device = clips.path("ffv1"), opened(name)
    for _ in range(4):
        drop_some(path, device)
    before = resident_kib(), open_files()
    for _ in range(12):
        drop_some(path, device)
    assert open_files() == before[1]
    # One picture of each run, with all its sizes, would be more.
    assert resident_kib() - before[0] < 12 * 128 * 96 * 1.5 * 12 / 1024
    assert device.banks[0].used == 0


def test_a_device_of_another_kind_is_reached_through_the_host(clips):
    path = clips.path("ffv1")
    expected = wanted(path)
    with open_device("cpu") as one, open_device("cpu", 1) as two:
        with decoder_of(path, one) as decoder, scaler_of(two) as scaler:
            decoder.send_data(XmaDataBuffer(packets_of(path)[0]))
            _, picture = decoder.recv_frame()
            scaler.send_frame(picture)
            picture.close()
            _, made = scaler.recv_frame_list()
            for frame, samples in zip(made, expected[0], strict=True):
                assert {plane.buffer.device for plane in frame.planes} == {two}
                with frame, to_host(frame) as here:
                    assert dense(here) == samples
        assert one.transfers.nbytes == two.transfers.nbytes == 0


def test_ffmpeg_may_hold_pictures_longer_than_their_session(clips, device):
    """What it reads in place stays where it is, whoever was told that it is gone."""
    path = clips.path("ffv1")
    expected = wanted(path)
    pictures = []
    with ExitStack() as stack:
        decoder = stack.enter_context(decoder_of(path, device))
        scaler = scaler_of(device)
        for packet in packets_of(path)[:4]:
            decoder.send_data(XmaDataBuffer(packet))
            _, picture = decoder.recv_frame()
            scaler.send_frame(picture)
            picture.close()
            for frame in scaler.recv_frame_list()[1]:
                with frame:
                    pictures.append(to_av(frame))
        if device.driver.shares_host_memory:
            with pytest.raises(
                BufferUseError, match="4 of its frames are still held, by the application"
            ):
                scaler.destroy()
        scaler.destroy()
        # Whatever is allocated now must not be where the pictures are.
        others = [device.allocate(4096 * number) for number in range(1, 60)]
        for buffer in others:
            buffer.data[:] = 255
            buffer.write()
        samples = [bytes_of(picture) for picture in pictures]
        for buffer in others:
            buffer.close()
        pictures.clear()
    assert samples == [each for sizes in expected[:4] for each in sizes]
    assert held_planes() == 0


def test_a_thread_for_each_session(clips, device):
    """Small pools hold back whoever is ahead, and nobody waits for ever."""
    path = clips.path("bframes")
    decoded, scaled = queue.Queue(), queue.Queue()
    with (
        decoder_of(path, device, pool=2, timeout=20) as decoder,
        scaler_of(device, pool=2, timeout=20) as scaler,
    ):

        def decode():
            for packet in [*packets_of(path), None]:
                status, _ = decoder.send_data(packet and XmaDataBuffer(packet))
                while status is Status.SUCCESS:
                    status, picture = decoder.recv_frame()
                    if picture is not None:
                        decoded.put(picture)
            decoded.put(None)

        def receive():
            status, made = scaler.recv_frame_list()
            if status is Status.SUCCESS:
                scaled.put(made)

        def scale():
            while (picture := decoded.get()) is not None:
                with picture:
                    status = scaler.send_frame(picture)
                    while status is Status.TRY_AGAIN:
                        receive()
                        status = scaler.send_frame(picture)
                if status is Status.SUCCESS:
                    receive()
            while scaler.send_frame(None) is not Status.EOS:
                receive()
            scaled.put(None)

        threads = [threading.Thread(target=work) for work in (decode, scale)]
        for thread in threads:
            thread.start()
        times = []
        while (made := scaled.get(timeout=60)) is not None:
            times.append(made[0].pts)
            for frame in made:
                frame.close()
        for thread in threads:
            thread.join()
    assert times == list(clips["bframes"].main.pts)
