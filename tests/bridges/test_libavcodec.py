"""Decoders freed at a time of one's own choice, and the device that they are to work on."""

from __future__ import annotations

import ctypes
import gc
import threading

import av
import pytest

from bridges.backends import ffmpeg_hardware
from bridges.backends.ffmpeg_hardware import decode_on_stream
from bridges.native import libavcodec
from bridges.native.libavcodec import decoding_device, free_decoder
from bridges.native.libavutil import library
from bridges.native.libavutil_cuda import cuda_device


@pytest.fixture
def decoder(clips):
    with av.open(str(clips.path("h264"))) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = "FRAME", 3
        before = threading.active_count()
        frames = [frame for _, frame in zip(range(3), container.decode(stream), strict=False)]
        yield stream.codec_context, frames
        assert threading.active_count() == before


def test_it_is_freed_once_and_its_frames_stay(decoder):
    context, frames = decoder
    samples = [bytes(frame.planes[0]) for frame in frames]
    assert free_decoder(context)
    assert not free_decoder(context)
    assert [bytes(frame.planes[0]) for frame in frames] == samples
    del context
    gc.collect()


def test_what_is_laid_out_in_another_way_is_left_to_pyav(decoder, monkeypatch):
    context, _ = decoder
    monkeypatch.setattr(libavcodec.library(), "avcodec_get_class", lambda: 1)
    assert not free_decoder(context)
    assert context.width > 0


def test_a_decoder_in_software_has_no_device(decoder, monkeypatch):
    context, _ = decoder
    assert decoding_device(context) == 0
    monkeypatch.setattr(libavcodec.library(), "avcodec_get_class", lambda: 1)
    assert decoding_device(context) == 0


@pytest.fixture
def device():
    """Return what makes devices of a kind, of which nothing is opened, and lets go of them."""
    made = []

    def make(kind):
        reference = library().av_hwdevice_ctx_alloc(
            library().av_hwdevice_find_type_by_name(kind.encode())
        )
        assert reference, f"this FFmpeg was built without {kind}"
        made.append(ctypes.c_void_p(reference))
        return reference

    yield make
    for reference in made:
        library().av_buffer_unref(ctypes.byref(reference))


def give_device(context, reference):
    """Have a decoder own a reference to a device, as PyAV does; return how many there are."""
    native = libavcodec._pointer(context).value
    flags = libavcodec.library().av_opt_find(native, b"hwaccel_flags", None, 0, 0)
    field = ctypes.c_void_p.from_address(
        native + flags.contents.offset - ctypes.sizeof(ctypes.c_void_p)
    )
    assert field.value is None
    field.value = library().av_buffer_ref(reference)
    return field.value


def references(reference):
    count = libavcodec.library().av_buffer_get_ref_count
    count.argtypes = [ctypes.c_void_p]
    return count(reference)


def test_the_device_is_what_ffmpeg_lets_go_of_with_the_decoder(device):
    context = av.CodecContext.create("h264", "r")
    reference = device("drm")
    given = give_device(context, reference)
    assert decoding_device(context) == given
    assert references(reference) == 2
    assert free_decoder(context)
    assert references(reference) == 1


def test_a_decoder_s_stream_is_that_of_its_cuda_device(device):
    context = av.CodecContext.create("h264", "r")
    reference = device("cuda")
    give_device(context, reference)
    assert not cuda_device(reference).stream
    decode_on_stream(context, 0x1234)
    assert cuda_device(reference).stream == 0x1234
    assert free_decoder(context)


def test_devices_of_other_kinds_have_no_stream(device, monkeypatch):
    context = av.CodecContext.create("h264", "r")
    give_device(context, device("drm"))
    monkeypatch.setattr(
        ffmpeg_hardware, "cuda_device", lambda _: pytest.fail("it is no CUDA device")
    )
    decode_on_stream(context, 0x1234)
    assert free_decoder(context)
