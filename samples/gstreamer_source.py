"""Take frames from a GStreamer pipeline, run a kernel on each, and encode them with FFmpeg.

    apt install python3-gi gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-base
    python samples/gstreamer_source.py out.mp4 \\
        "videotestsrc num-buffers=50 ! video/x-raw,format=I420" "contrast(amount=1.3)"

A pipeline is anything that ends in raw YUV: "filesrc location=in.mp4 ! decodebin". OpenCL sees its
buffers where they lie, and FFmpeg the kernel's results; the routes are printed. GStreamer is the
system's, whose Python has to be of the same version as the one that runs this.
"""

import sys
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

from bridges import AccessMode, Frame, MemoryType, XTranscodeError, create_mapper, open_context
from bridges.backends.gstreamer_caps import namespaces
from bridges.errors import MediaError
from bridges.kernels import apply, create_runtime, parse_call

READ, TICK, NANOSECOND = AccessMode.READ, Fraction(1, 90_000), Fraction(1, 10**9)


def frames_of(pipeline: str, context: Any) -> Iterator[Frame]:
    """Yield what a pipeline gives, each frame over the pipeline's own buffer."""
    gst = namespaces().gst
    from gi.repository import GLib  # The system's: the line above finds it.

    try:
        running = gst.parse_launch(f"{pipeline} ! appsink name=out sync=false max-buffers=4")
    except GLib.Error as error:
        raise MediaError(f"no such pipeline: {error.message}") from error
    out, bus = running.get_by_name("out"), running.get_bus()
    try:
        running.set_state(gst.State.PLAYING)
        while True:
            if (sample := out.emit("try-pull-sample", gst.SECOND // 10)) is not None:
                with context.wrap(sample.get_buffer(), sample.get_caps()) as frame:
                    yield frame
            elif (failure := bus.pop_filtered(gst.MessageType.ERROR)) is not None:
                raise MediaError(f"the pipeline failed: {failure.parse_error()[0].message}")
            elif out.get_property("eos"):
                return
    finally:
        running.set_state(gst.State.NULL)


def encode(target: str, pipeline: str, call: str = "invert") -> str:
    """Write what a kernel makes of a pipeline's frames; return the ways that they took."""
    gstreamer, ffmpeg = open_context(MemoryType.GSTREAMER), open_context(MemoryType.FFMPEG)
    kernel, values = parse_call(call)
    with open_context(MemoryType.OPENCL) as opencl, av.open(target, "w") as out:
        runtime = create_runtime(opencl)
        there, back = create_mapper([gstreamer, opencl]), create_mapper([opencl, ffmpeg])
        stream: Any = None
        for frame in frames_of(pipeline, gstreamer):
            with there.map(frame, READ) as seen, apply(runtime, kernel, seen, values) as made:
                if stream is None:
                    stream = out.add_stream("libx264")
                    stream.width, stream.height = made.info.width, made.info.height
                    stream.pix_fmt = made.info.format.name
                    stream.codec_context.time_base = TICK
                with back.map(made, READ) as given:
                    picture = given.tensors[0].handle("av_frame")
                    picture.time_base = NANOSECOND
                    out.mux(stream.encode(picture))
        out.mux([] if stream is None else stream.encode(None))
        return f"{there.explain()}\n{back.explain()}"


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    try:
        print(encode(*sys.argv[1:]))
    except (XTranscodeError, av.FFmpegError, OSError) as error:
        sys.exit(f"gstreamer_source: {error}")
