"""Map so many surfaces to a kernel's device, and print what the process holds before and after.

python -m tests.lab.map_surfaces FILE NODE COUNT
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel

from bridges import AccessMode, create_mapper
from bridges.backends.ffmpeg import FFmpegContext
from bridges.backends.opencl import OpenCLContext
from bridges.way import contexts_between
from tests.helpers.process import open_files

ROUNDS_BEFORE = 3
"""What is kept for good is there after so many."""


def held() -> dict[str, int]:
    """Return descriptors, and bytes of surfaces that are mapped."""
    gc.collect()
    mapped = 0
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "/dmabuf" in line or "software VA surface" in line:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            mapped += end - start
    return {"descriptors": open_files(), "mapped": mapped}


def map_file(path: str, node: str, opencl: OpenCLContext) -> int:
    """Map each picture of a file once; return how many there were."""
    count = 0
    accelerator = HWAccel("vaapi", device=node, allow_software_fallback=False, is_hw_owned=True)
    with av.open(path, hwaccel=accelerator) as container, FFmpegContext("vaapi") as ffmpeg:
        mapper = None
        for picture in container.decode(video=0):
            surface = ffmpeg.wrap(picture)
            if mapper is None:
                between = contexts_between(ffmpeg, opencl)
                mapper = create_mapper([ffmpeg, *between, opencl], cache=32)
            with mapper.map(surface, AccessMode.READ) as seen:
                assert seen.tensors[0].handle("cl_mem")
            count += 1
        assert mapper is not None
        assert mapper.audit.bytes_copied == 0
        mapper.close()
        for context in between:
            context.close()
    return count


def main(path: str, node: str, count: int) -> None:
    """Print both as JSON."""
    with OpenCLContext.create() as opencl:
        for _ in range(ROUNDS_BEFORE):
            map_file(path, node, opencl)
        before, done = held(), 0
        while done < count:
            done += map_file(path, node, opencl)
        print(json.dumps([before, held()]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
