"""Decoders freed at a time of one's own choice."""

from __future__ import annotations

import gc
import threading

import av
import pytest

from bridges.native import libavcodec
from bridges.native.libavcodec import decoding_device, free_decoder


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
    monkeypatch.setattr(libavcodec._library(), "avcodec_get_class", lambda: 1)
    assert not free_decoder(context)
    assert context.width > 0


def test_a_decoder_in_software_has_no_device(decoder, monkeypatch):
    context, _ = decoder
    assert decoding_device(context) == 0
    monkeypatch.setattr(libavcodec._library(), "avcodec_get_class", lambda: 1)
    assert decoding_device(context) == 0
