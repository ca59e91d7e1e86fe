"""Decode a video, scale it to two sizes on a device, encode both; pictures stay on the device.

Run it as ``python samples/xma_transcode.py in.mp4 out_dir --device opencl``.
"""

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av

import xma_plugins as xma
from bridges import XTranscodeError

SIZES = ((1280, 720), (640, 360))


def output(path: Path, video: Any, width: int, height: int, stack: ExitStack) -> tuple[Any, Any]:
    """Return a session that encodes pictures of a size, and the file that they go to."""
    file = stack.enter_context(av.open(path, "w"))
    stream: Any = file.add_stream("libx264", rate=video.average_rate)
    stream.width, stream.height, stream.pix_fmt = width, height, video.codec_context.pix_fmt
    for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
        setattr(stream.codec_context, name, getattr(video.codec_context, name))
    stream.codec_context.time_base = video.time_base
    stream.codec_context.open()
    given = {"format": stream.pix_fmt, "width": width, "height": height}
    properties = xma.EncoderProperties(plugin="libav_encoder", params={"stream": stream}, **given)
    return stack.enter_context(xma.EncoderSession(properties)), file


def encode(session: xma.EncoderSession, file: Any, frame: xma.XmaFrame | None) -> None:
    """Encode a picture, or the end, and write what comes of it."""
    status = session.send_frame(frame)
    while status is xma.Status.SUCCESS:
        status, data = session.recv_data()
        file.mux([] if data is None else data.data)


def transcode(source: str, folder: Path) -> None:
    """Decode, scale and encode a whole file."""
    with av.open(source) as file, ExitStack() as stack:
        video = file.streams.video[0]
        given = {"plugin": "libav_decoder", "params": {"stream": video, "zerocopy": True}}
        decoder = stack.enter_context(xma.DecoderSession(xma.DecoderProperties(**given)))
        given = {"plugin": "kernel_scaler", "params": {"depth": 1, "zerocopy": True}}
        ports = {"input": xma.Port(), "outputs": [xma.Port(width=w, height=h) for w, h in SIZES]}
        scaler = stack.enter_context(xma.ScalerSession(xma.ScalerProperties(**given, **ports)))
        outputs = [output(folder / f"{w}x{h}.mp4", video, w, h, stack) for w, h in SIZES]
        for packet in file.demux(video):  # The last one holds no data: it is the end.
            status, _ = decoder.send_data(xma.XmaDataBuffer(packet) if packet.size else None)
            while status is xma.Status.SUCCESS:
                status, picture = decoder.recv_frame()
                if picture is not None:
                    with picture:
                        scaler.send_frame(picture)
                    for pair, frame in zip(outputs, scaler.recv_frame_list()[1], strict=True):
                        with frame:
                            encode(*pair, frame)
        for pair in outputs:
            encode(*pair, None)
        print(f"{scaler.device}: {scaler.device.transfers}", *xma.get_session_cmd_load(), sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="opencl", help="cpu, sycl, cuda; the best of OpenCL")
    given = parser.parse_args()
    try:
        given.folder.mkdir(parents=True, exist_ok=True)
        xma.initialize([given.device])
        transcode(given.source, given.folder)
    except (XTranscodeError, av.FFmpegError, OSError) as error:
        sys.exit(f"xma_transcode: {error}")
    finally:
        xma.exit()
