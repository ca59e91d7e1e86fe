"""Encoders as objects: what send and receive answer, in every order that is allowed."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from transcode import AudioOptions, VideoOptions
from transcode.encoder import AudioEncoder, VideoEncoder, find_encoder
from transcode.errors import EncodeError
from transcode.notices import Notices
from xma_plugins import Status
from xma_plugins.errors import OrderError


def picture(index, time_base=Fraction(1, 25)):
    frame = av.VideoFrame(64, 48, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([16 + index % 200]) * plane.buffer_size)
    frame.pts, frame.time_base = index, time_base
    return frame


def video_encoder(options, first=None):
    container = av.open(io.BytesIO(), "w", format="matroska")
    first = first or picture(0)
    rate = Fraction(25)
    return VideoEncoder(container, first, options, rate=rate, threads=1, notices=Notices())


def drain(encoder):
    packets = []
    while True:
        status, packet = encoder.recv_data()
        if status is not Status.SUCCESS:
            assert packet is None
            return status, packets
        packets.append(packet)


def test_an_encoder_that_looks_ahead_asks_for_more_and_gives_all_at_the_end():
    encoder = video_encoder(VideoOptions(preset="medium"))
    with pytest.raises(OrderError, match="nothing was sent yet"):
        encoder.recv_data()
    answers = [encoder.send_frame(picture(index)) for index in range(12)]
    assert answers == [Status.SEND_MORE_DATA] * 12
    with pytest.raises(OrderError, match="send the next"):
        encoder.recv_data()
    assert encoder.send_frame(None) is Status.SUCCESS
    status, packets = drain(encoder)
    assert status is Status.EOS
    assert sorted(packet.pts for packet in packets) == list(range(12))
    with pytest.raises(OrderError, match="has ended"):
        encoder.send_frame(None)


def test_an_encoder_without_delay_gives_each_at_once():
    encoder = video_encoder(VideoOptions(codec="rawvideo"))
    for index in range(3):
        assert encoder.send_frame(picture(index)) is Status.SUCCESS
        status, packets = drain(encoder)
        assert status is Status.TRY_AGAIN
        assert [packet.pts for packet in packets] == [index]
    encoder.send_frame(None)
    assert drain(encoder) == (Status.EOS, [])


def test_one_frame_is_flushed():
    encoder = video_encoder(VideoOptions())
    encoder.send_frame(picture(0))
    encoder.send_frame(None)
    status, packets = drain(encoder)
    assert status is Status.EOS
    assert len(packets) == 1
    assert packets[0].is_keyframe


def test_times_are_rescaled_to_a_coarse_clock_or_refused():
    fine = Fraction(1, 90000)
    encoder = video_encoder(VideoOptions(codec="mpeg4"), picture(0, fine))
    frame = picture(3600, fine)
    encoder.send_frame(frame)
    assert (frame.pts, frame.time_base) == (1, Fraction(1, 25))
    with pytest.raises(EncodeError, match="finer than"):
        encoder.send_frame(picture(3700, fine))


def test_the_source_s_picture_types_are_no_orders():
    encoder = video_encoder(VideoOptions(preset="ultrafast", gop_size=250))
    packets = []
    for index in range(8):
        frame = picture(index)
        frame.pict_type = 1  # An intra picture, as a decoder would say of each.
        if encoder.send_frame(frame) is Status.SUCCESS:
            packets += drain(encoder)[1]
    encoder.send_frame(None)
    packets += drain(encoder)[1]
    assert [packet.is_keyframe for packet in packets].count(True) == 1


def test_audio_of_any_rate_and_length(tmp_path):
    source = av.open(str(tmp_path / "tone.wav"), "w")
    stream = source.add_stream("pcm_s16le", rate=44100, layout="stereo")
    samples = np.zeros((1, 2 * 10_000), np.int16)
    frame = av.AudioFrame.from_ndarray(samples, "s16", "stereo")
    frame.sample_rate = 44100
    source.mux(stream.encode(frame))
    source.close()
    with av.open(str(tmp_path / "tone.wav")) as container:
        output = av.open(io.BytesIO(), "w", format="matroska")
        encoder = AudioEncoder(output, container.streams.audio[0], AudioOptions(codec="libopus"))
        assert encoder.stream.rate == 48000
        packets = [p for frame in container.decode(audio=0) for p in encoder.encode(frame)]
        packets += encoder.encode(None)
    seconds = sum(packet.duration * packet.time_base for packet in packets)
    assert float(seconds) == pytest.approx(10_000 / 44100, abs=0.03)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("nosuch", "video", "unknown video encoder 'nosuch'"),
        ("aac", "video", "aac encodes audio, not video"),
        ("libx264", "audio", "libx264 encodes video, not audio"),
    ],
)
def test_encoders_that_are_not_there(name, kind, message):
    with pytest.raises(EncodeError, match=message):
        find_encoder(name, kind)
