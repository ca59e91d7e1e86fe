"""Decode a video, have an OpenVINO model draw the edges of each picture, encode them.

    pip install 'xtranscode[openvino]'
    python samples/openvino_filter.py in.mp4 out.mp4

The model is made here, of a few operations; one that was trained takes its place by
``core.read_model("model.xml")``. It reads luma where FFmpeg decoded it, and writes into memory that
FFmpeg then encodes from. The routes are printed, with what was copied on them.
"""

import sys
from typing import Any

import av
import numpy as np

from bridges import AccessMode, Frame, MemoryType, XTranscodeError, create_mapper, open_context

LAPLACE = np.array([[1, 1, 1], [1, -8, 1], [1, 1, 1]], np.float32)


def edge_model(height: int, width: int) -> Any:
    """Return a model from luma of 8 bits to edges of 8 bits, both of shape (height, width)."""
    import openvino as ov
    from openvino import opset13 as op

    luma = op.parameter([height, width], ov.Type.u8)
    batch = op.unsqueeze(op.convert(luma, "f32"), np.array([0, 1]))
    edges = op.convolution(batch, LAPLACE[None, None], [1, 1], [1, 1], [1, 1], [1, 1])
    codes = op.clamp(op.add(op.abs(edges), op.constant(np.float32(16))), 16.0, 235.0)
    return ov.Model([op.squeeze(op.convert(codes, "u8"), np.array([0, 1]))], [luma])


def draw_edges(source: str, target: str) -> str:
    """Write a video of edges; return the ways that its samples took."""
    openvino, ffmpeg = open_context(MemoryType.OPENVINO), open_context(MemoryType.FFMPEG)
    there, back = create_mapper([ffmpeg, openvino]), create_mapper([openvino, ffmpeg])
    with av.open(source) as file, av.open(target, "w") as out:
        video = file.streams.video[0]
        model = edge_model(video.height, video.width)
        request = openvino.handle("ov_core").compile_model(model, "CPU").create_infer_request()
        stream: Any = out.add_stream("libx264", rate=video.average_rate)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, video.pix_fmt
        stream.codec_context.time_base = video.time_base
        for picture in file.decode(video):
            with there.map(ffmpeg.wrap(picture), AccessMode.READ) as seen:
                luma = seen.tensors[0]
                made, *neutral = (openvino.allocate(plane.info) for plane in seen.tensors)
                request.set_input_tensor(luma.handle("ov_tensor"))
                request.set_output_tensor(made.handle("ov_tensor"))
                request.infer()
                for plane in neutral:
                    np.asarray(plane)[...] = 128  # No colour.
                # FFmpeg holds the planes for as long as its encoder looks at them.
                with back.map(Frame(seen.info, [made, *neutral]), AccessMode.READ) as given:
                    out.mux(stream.encode(given.tensors[0].handle("av_frame")))
        out.mux(stream.encode(None))
    return f"{there.explain()}\n{back.explain()}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        print(draw_edges(*sys.argv[1:]))
    except (XTranscodeError, av.FFmpegError, OSError) as error:
        sys.exit(f"openvino_filter: {error}")
