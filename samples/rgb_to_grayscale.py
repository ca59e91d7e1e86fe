"""Decode a video, turn each picture to gray where a compute device reads it, write raw gray.

    python samples/rgb_to_grayscale.py input.mp4 output.gray [OpenCL | SYCL | CUDA]

Without a kind of memory, the kernel runs on the host. Look at the result with
``ffplay -f rawvideo -pixel_format gray -video_size 1920x1080 output.gray``.
"""

import sys

from bridges import MemoryType, XTranscodeError, open_context
from bridges.chain import run_chain
from bridges.element_table import create_element


def rgb_to_grayscale(source: str, target: str, memory: str = "CPU") -> int:
    """Write the luma of each picture of ``source`` to ``target``; return how many there were."""
    with open_context(MemoryType.parse(memory)) as device:
        return run_chain(
            create_element("ffmpeg_source", location=source),
            [
                create_element("map", [device], to=str(device.memory_type)),
                create_element("kernel", [device], call="rgb_to_grayscale"),
                create_element("map", to="CPU"),
            ],
            create_element("raw_sink", location=target, overwrite=True),
        )


if __name__ == "__main__":
    try:
        print(rgb_to_grayscale(*sys.argv[1:]), "pictures")
    except XTranscodeError as error:
        sys.exit(f"rgb_to_grayscale: {error}")
