"""Decode a video, put it through the plugin by its name, encode it again.

pip install ./samples/custom_plugin
xtranscode plugins trails
xtranscode plugins check trails
python -m xtranscode_trails in.mp4 out.mp4 0.95
"""

import sys
from typing import Any

import av

from bridges import XTranscodeError
from xma_plugins import (
    DecoderProperties,
    DecoderSession,
    EncoderProperties,
    EncoderSession,
    FilterProperties,
    FilterSession,
    Port,
    open_device,
)


def leave_trails(source: str, target: str, fade: str = "0.9") -> str:
    """Write the video; return what was carried to the device and back."""
    with av.open(source) as file, av.open(target, "w") as out, open_device("cpu") as device:
        video = file.streams.video[0]
        stream: Any = out.add_stream("libx264", rate=video.average_rate)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, video.pix_fmt
        stream.codec_context.time_base = video.time_base
        stream.codec_context.open()
        form = {"format": video.pix_fmt, "width": video.width, "height": video.height}
        reading = DecoderProperties(plugin="libav_decoder", params={"stream": video})
        trails = FilterProperties(plugin="trails", input=Port(**form), params={"fade": float(fade)})
        writing = EncoderProperties(plugin="libav_encoder", params={"stream": stream}, **form)
        with (
            DecoderSession(reading, device) as decoder,
            FilterSession(trails, device) as filtering,
            EncoderSession(writing, device) as encoder,
        ):
            packets = (packet for packet in file.demux(video) if packet.size)
            for data in encoder.through(filtering.through(decoder.through(packets))):
                out.mux(data.data)
        return f"{filtering.name}: {device.transfers}"


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    try:
        print(leave_trails(*sys.argv[1:]))
    except (XTranscodeError, av.FFmpegError, OSError, ValueError) as error:
        sys.exit(f"trails: {error}")
