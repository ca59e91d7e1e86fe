"""Clips of the codecs that NVDEC decodes, for tests: small, with a rate that varies."""

from __future__ import annotations

import functools
from fractions import Fraction

import av
import numpy as np

CODECS = {
    "h264": ("libx264", "yuv420p", {"bf": "3"}),
    "hevc": ("libx265", "yuv420p", {"x265-params": "log-level=error"}),
    "hevc of 10 bits": ("libx265", "yuv420p10le", {"x265-params": "log-level=error"}),
    "vp9": ("libvpx-vp9", "yuv420p", {"deadline": "realtime"}),
    "vp8": ("libvpx", "yuv420p", {"deadline": "realtime"}),
    "mpeg2": ("mpeg2video", "yuv420p", {"qscale": "3"}),
    "mpeg4": ("mpeg4", "yuv420p", {"qscale": "3"}),
}
NOT_EXACT = ("mpeg2", "mpeg4")
"""Their standards leave the inverse DCT a tolerance (ISO/IEC 23002-1), which decoders use, and
which adds up from one picture to the next."""

OTHERS = {
    "h264 4:2:2": ("libx264", "yuv422p10le", {}),
    "av1": ("libsvtav1", "yuv420p", {"preset": "12"}),
    "av1 of 10 bits": ("libsvtav1", "yuv420p10le", {"preset": "12"}),
}
"""What only some GPUs decode: AV1 those for graphics since Ampere, 4:2:2 those since Blackwell."""
TIMES = np.cumsum([0, 40, 20, 60, 40, 33, 33, 34, 80, 10, 40, 40, 40, 55, 25, 40, 40, 40, 40, 40])
"""In milliseconds; the rate varies."""


def make_clip(folder):
    """Return what makes a clip by its name in `CODECS` or `OTHERS`, once."""

    @functools.cache
    def make(name, size=(322, 242)):
        codec, pix_fmt, options = {**CODECS, **OTHERS}[name]
        path = folder / f"{name.replace(':', '')}.{size[0]}x{size[1]}.mkv"
        y, x = np.mgrid[: size[1], : size[0]]
        with av.open(str(path), "w") as out:
            stream = out.add_stream(codec, rate=25, options={"g": "8", **options})
            stream.width, stream.height = (side + side % 2 for side in size)
            if codec.startswith(("libx26", "libvpx")):
                stream.width, stream.height = size
            stream.pix_fmt = pix_fmt
            clock = Fraction(1, 25 if codec.startswith("mpeg") else 1000)
            stream.time_base = stream.codec_context.time_base = clock
            for number, time in enumerate(TIMES):
                planes = ((x + 7 * number) % 256, (2 * y + number) % 256, (x + y) % 256)
                frame = av.VideoFrame.from_ndarray(np.dstack(planes).astype(np.uint8), "rgb24")
                frame = frame.reformat(format=pix_fmt)
                frame.pts = number if codec.startswith("mpeg") else int(time)
                frame.time_base = clock
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        return path

    return make
