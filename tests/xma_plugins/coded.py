"""Coded data for the tests of decoders and encoders, and PyAV's own word on it."""

from fractions import Fraction

import av
import numpy as np

from bridges.formats import pixel_format
from bridges.frame import FrameInfo
from tests.xma_plugins.pictures import arrays
from xma_plugins.frames import XmaDataBuffer, XmaFrame
from xma_plugins.status import Status


def packets_of(path):
    """Return the packets of a file's first video stream that hold data."""
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(container.streams.video[0]) if packet.size]


def pictures_of(path):
    """Return what PyAV decodes of a file."""
    with av.open(str(path)) as container:
        return list(container.decode(container.streams.video[0]))


def head_of(path):
    """Return codec, extradata, time base, width and height of a file's first video stream."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        head = context.codec.canonical_name, context.extradata, Fraction(stream.time_base)
        return *head, context.width, context.height


def bytes_of(picture):
    """Return all samples of a picture of PyAV, without padding: what FFmpeg's rawvideo writes."""
    context = av.CodecContext.create("rawvideo", "w")
    context.width, context.height = picture.width, picture.height
    context.pix_fmt, context.time_base = picture.format.name, Fraction(1, 1000)
    (packet,) = context.encode(picture)
    return bytes(packet)


def decode(session, data):
    """Send data and the end, in the calling order that codes tell; return all pictures."""
    made = []
    for item in [*data, None]:
        status, _ = session.send_data(item)
        while status is Status.SUCCESS:
            status, frame = session.recv_frame()
            made += [] if frame is None else [frame]
    return made


def encode(session, frames, *, close=True):
    """Send pictures and the end; return all packets."""
    made = []
    for frame in [*frames, None]:
        status = session.send_frame(frame)
        while status is Status.SUCCESS:
            status, data = session.recv_data()
            made += [] if data is None else [data.data]
        if close and frame is not None:
            frame.close()
    return made


def decoded(codec, packets, extradata=None):
    """Return what PyAV decodes of packets, in the order in which they are shown."""
    # FFmpeg's own decoder of AV1 works in hardware alone.
    context = av.CodecContext.create("libdav1d" if codec == "av1" else codec, "r")
    if extradata:
        context.extradata = extradata
    return [picture for packet in [*packets, None] for picture in context.decode(packet)]


def buffers_of(packets):
    """Return packets as data of a session."""
    return [XmaDataBuffer(packet, pts=packet.pts) for packet in packets]


def luma(picture):
    """Return the luma of a picture of 8 bits as floats."""
    plane = picture.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: picture.height, : picture.width].astype(np.float64)


def codec_of(name):
    """Return what an encoder makes."""
    return av.Codec(name, "w").canonical_name


def moving(count, *, width=64, height=64, noise=6):
    """Return pictures of waves that move, with some noise; the same at every call."""
    random = np.random.default_rng(5)
    y, x = np.mgrid[:height, :width]
    info = FrameInfo(pixel_format("yuv420p"), width, height)
    for number in range(count):
        frame = XmaFrame.allocate(info)
        planes = arrays(frame)
        wave = 128 + 60 * np.sin((x + 3 * number) / 5) * np.cos((y - number) / 7)
        planes[0][...] = np.clip(wave + random.normal(0, noise, wave.shape), 0, 255)
        planes[1][...], planes[2][...] = 110, 140
        frame.pts, frame.time_base = number, Fraction(1, 25)
        yield frame
