"""Decode a video, turn each picture to gray where a compute device reads it, write raw gray.

    python samples/rgb_to_grayscale.py input.mp4 output.gray [SYCL | OpenCL | CUDA | CPU] [NODE]

On Intel's GPU pictures do not leave it: FFmpeg > VAAPI > DMA > USM > SYCL. The same lines run where
there is no video engine or no SYCL; the route that pictures took is printed. Look at the result
with ``ffplay -f rawvideo -pixel_format gray -video_size 1920x1080 output.gray``.
"""

import contextlib
import os
import sys

from av.codec.hwaccel import hwdevices_available

from bridges import Context, MemoryType, XTranscodeError, open_context
from bridges.chain import run_chain
from bridges.element_table import create_element
from bridges.errors import DeviceNotFoundError


def best_device() -> Context:
    """Return a SYCL device, or else an OpenCL device, or else the host."""
    for memory in (MemoryType.SYCL, MemoryType.OPENCL):
        with contextlib.suppress(DeviceNotFoundError):
            return open_context(memory)
    return open_context(MemoryType.CPU)


def rgb_to_grayscale(
    source: str, target: str, memory: str = "", node: str = "/dev/dri/renderD128"
) -> str:
    """Write the luma of each picture of ``source``; return how many there were, and their route."""
    engine = "vaapi" if "vaapi" in hwdevices_available() and os.path.exists(node) else ""
    with open_context(MemoryType.parse(memory)) if memory else best_device() as device:
        to_device = create_element("map", [device], to=str(device.memory_type), cache=64)
        count = run_chain(
            create_element("ffmpeg_source", location=source, hardware=engine, node=node),
            [
                to_device,
                create_element("kernel", [device], call="rgb_to_grayscale"),
                create_element("map", to="CPU"),
            ],
            create_element("raw_sink", location=target, overwrite=True),
        )
        return f"{count} pictures by {to_device.route}"


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 5:
        sys.exit(__doc__)
    try:
        print(rgb_to_grayscale(*sys.argv[1:]))
    except XTranscodeError as error:
        sys.exit(f"rgb_to_grayscale: {error}")
