"""Decode a video, even out the contrast of each picture with OpenCV, encode it again.

    pip install 'xtranscode[opencv]'
    python samples/opencv_filter.py in.mp4 out.mp4

OpenCV reads luma where FFmpeg decoded it, and writes into memory that FFmpeg then encodes from;
chroma goes along untouched. The routes are printed, with what was copied on them.
"""

import sys
from typing import Any

import av

from bridges import AccessMode, Frame, MemoryType, XTranscodeError, create_mapper, open_context


def even_out(source: str, target: str) -> str:
    """Write a video of better contrast; return the ways that its samples took."""
    opencv, ffmpeg = open_context(MemoryType.OPENCV), open_context(MemoryType.FFMPEG)
    import cv2  # It was found by the line above, which says how to install it where it was not.

    clahe = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8))
    there, back = create_mapper([ffmpeg, opencv]), create_mapper([opencv, ffmpeg])
    with av.open(source) as file, av.open(target, "w") as out:
        video = file.streams.video[0]
        stream: Any = out.add_stream("libx264", rate=video.average_rate)
        stream.width, stream.height, stream.pix_fmt = video.width, video.height, video.pix_fmt
        stream.codec_context.time_base = video.time_base
        for picture in file.decode(video):
            with there.map(ffmpeg.wrap(picture), AccessMode.READ) as seen:
                luma, *chroma = seen.tensors
                made = opencv.allocate(luma.info)
                clahe.apply(luma.handle("cv_mat"), made.handle("cv_mat"))
                # FFmpeg holds the planes for as long as its encoder looks at them.
                with back.map(Frame(seen.info, [made, *chroma]), AccessMode.READ) as given:
                    out.mux(stream.encode(given.tensors[0].handle("av_frame")))
        out.mux(stream.encode(None))
    return f"{there.explain()}\n{back.explain()}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        print(even_out(*sys.argv[1:]))
    except (XTranscodeError, av.FFmpegError, OSError) as error:
        sys.exit(f"opencv_filter: {error}")
