"""What tests read back from a written file, with PyAV alone."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition

from tests.assets import barcode
from tests.assets.picture import channel_of, luma_of


def videos_of(container):
    """Return the video streams, cover pictures left out."""
    covers = Disposition.attached_pic
    return [stream for stream in container.streams.video if not stream.disposition & covers]


def frames_of(path, number=0):
    """Decode every frame of a video stream."""
    with av.open(str(path)) as container:
        return list(container.decode(videos_of(container)[number]))


def indices_of(path, number=0):
    """Read the number in every frame's picture."""
    return [barcode.read(luma_of(frame)) for frame in frames_of(path, number)]


def seconds_of(path, number=0):
    """Return the exact time of every decoded frame."""
    return [frame.pts * frame.time_base for frame in frames_of(path, number)]


def from_first(times):
    """Return times as distances from the first of them."""
    return [time - times[0] for time in times]


def track_seconds(track):
    """Return when a clip's frames are shown, as distances from the first."""
    return [(pts - track.pts[0]) * track.time_base for pts in track.pts]


def tick_of(path, number=0):
    """Return the time base of a video stream."""
    with av.open(str(path)) as container:
        return Fraction(videos_of(container)[number].time_base)


def packets_of(path):
    """Return the packets with content of each stream, by its index, in the order of the file."""
    packets = defaultdict(list)
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.size:
                packets[packet.stream_index].append(packet)
    return packets


def key_numbers(path):
    """Return which frames, in the order shown, are key frames."""
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(videos_of(container)[0]) if p.size]
    packets.sort(key=lambda packet: packet.pts)
    return [number for number, packet in enumerate(packets) if packet.is_keyframe]


def video_bytes(path):
    """Return the size of all packets of the first video stream."""
    with av.open(str(path)) as container:
        return sum(packet.size for packet in container.demux(videos_of(container)[0]))


def first_payload(path):
    """Return the bytes of the first video packet, and what was written ahead of all packets."""
    with av.open(str(path)) as container:
        stream = videos_of(container)[0]
        packet = next(iter(container.demux(stream)))
        return bytes(packet), bytes(stream.codec_context.extradata or b"")


def colour_of(frame):
    """Return range, matrix, primaries and transfer of a frame, as plain numbers."""
    tags = frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc
    return tuple(int(tag) for tag in tags)


def matrix_of(frame):
    """Return the nine numbers of a frame's display matrix, or None."""
    if SideDataType.DISPLAYMATRIX not in frame.side_data:
        return None
    return tuple(memoryview(bytes(frame.side_data[SideDataType.DISPLAYMATRIX])).cast("i"))


def patches_of(frame, channels):
    """Measure the colour patches of some channels: ``{"y": array, ...}``."""
    return {name: barcode.patch_medians(channel_of(frame, name)) for name in channels}


def tone_of(path, number=0):
    """Decode an audio track; return its samples, its rate and the time of its first sample."""
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.audio[number]))
    first = frames[0]
    blocks = []
    for frame in frames:
        samples = frame.to_ndarray().astype(np.float64)
        if np.issubdtype(frame.to_ndarray().dtype, np.integer):
            samples /= np.iinfo(frame.to_ndarray().dtype).max
        # The first channel: planar frames have it in the first row, packed ones every n-th.
        step = 1 if frame.format.is_planar else frame.layout.nb_channels
        blocks.append(samples[0, ::step])
    return np.concatenate(blocks), first.sample_rate, first.pts * first.time_base


def onset_seconds(path, number=0):
    """Return when the tone of an audio track is first heard."""
    samples, rate, start = tone_of(path, number)
    loud = np.abs(samples) > 0.5 * np.abs(samples).max()
    return float(start) + int(np.argmax(loud)) / rate


def pitch_of(path, number=0):
    """Return the strongest frequency of an audio track, in Hz."""
    samples, rate, _ = tone_of(path, number)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))
