"""What do kernels cost on an NVIDIA GPU, beside a copy of as many bytes within its memory?

    python -m benchmarks.cuda_kernels [--only NAME] [--json FILE]

Times of the GPU are by its own events, over launches that were queued behind other work, so that
none waits for the host. Frames change from launch to launch, and are more than the cache holds.
"""

import argparse
import json
import platform
import re
import statistics
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from cuda.bindings import driver
from cuda.core import EventOptions

from bridges import Colour, ColourRange, Frame, FrameInfo, Matrix, TensorFrame, TensorInfo
from bridges.backends.cuda import CUDAContext, probe
from bridges.backends.cuda_driver import check
from bridges.formats import pixel_format
from bridges.kernels import fuse, parse_call
from bridges.kernels.cuda import CUDARuntime
from bridges.kernels.kernel import Kernel
from bridges.kernels.launch import Plane
from bridges.kernels.nvrtc import compiler_version
from bridges.media import TensorsInfo

SIZES = {"1080p": (1920, 1080), "4K": (3840, 2160)}
FRAMES, LAUNCHES, ROUNDS = 24, 480, 7
BUSY_BYTES, BUSY_COPIES = 1 << 30, 60

POINT = [
    ("rgb_to_grayscale", "rgb24"),
    ("rgb_to_grayscale", "nv12"),
    ("invert", "rgb24"),
    ("invert", "nv12"),
    ("invert", "p010le"),
    ("brightness(amount=0.1)", "nv12"),
    ("contrast(amount=1.5)", "nv12"),
    ("saturation(amount=1.5)", "nv12"),
    ("gamma(value=2.2)", "nv12"),
    ("brightness(amount=0.1) contrast(amount=1.5) saturation(amount=1.5)", "nv12"),
    ("yuv_to_rgb(siting=none)", "nv12"),
    ("yuv_to_rgb", "nv12"),
    ("rgb_to_yuv", "rgb24"),
    ("tone_map(transfer=pq)", "p010le"),
]
"""Kernels whose pixels depend on no others, and the formats that they are tried on."""

OTHERS = [
    ("denoise", "nv12"),
    ("resize(width=1920, height=1080)", "nv12"),
    ("flip", "nv12"),
    ("rotate(angle=90)", "nv12"),
    ("gaussian_blur", "nv12"),
    ("sharpen", "nv12"),
    ("sobel", "gray"),
    ("histogram", "gray"),
    ("statistics", "gray"),
]


class Bench:
    """One device, with work that keeps it busy while launches are queued."""

    def __init__(self) -> None:
        self.context = CUDAContext()
        self.runtime = CUDARuntime(self.context)
        info = TensorInfo((BUSY_BYTES,), np.dtype("u1"))
        self._blocks = [self.context.allocate(info) for _ in range(2)]

    def seconds(self, enqueue: Any) -> float:
        """Return the GPU's time for each of LAUNCHES calls of ``enqueue(index)``."""
        stream, options = self.context.stream, EventOptions(timing_enabled=True)
        one, other = (block.handle("data") for block in self._blocks)
        times = []
        for _ in range(ROUNDS):
            with self.context.current:
                for _ in range(BUSY_COPIES):
                    done = driver.cuMemcpyDtoDAsync(one, other, BUSY_BYTES, stream.handle)
                    check(done, "keep the device busy")
                began = stream.record(options=options)
            for index in range(LAUNCHES):
                enqueue(index)
            assert not began.is_done, "the host is too slow: launches were waited for"
            with self.context.current:
                ended = stream.record(options=options)
            ended.sync()
            times.append((ended - began) / 1000 / LAUNCHES)
        return statistics.median(times)

    def frame(self, info: Any) -> Any:
        if isinstance(info, TensorsInfo):
            return TensorFrame(info, [self.context.allocate(each) for each in info.tensors])
        return Frame(info, [self.context.allocate(plane) for plane in info.planes])

    def measure(self, calls: str, name: str, size: tuple[int, int]) -> dict[str, float]:
        """Return times of one kernel, format and size, in microseconds."""
        colour = Colour(Matrix.BT709, ColourRange.LIMITED)
        read = FrameInfo(pixel_format(name), *size, colour)
        ((kernel, values),) = fuse([parse_call(text) for text in re.split(r"(?<=\)) ", calls)])
        made = kernel.output(read, **values)
        pairs = [(self.frame(read), self.frame(made)) for _ in range(FRAMES)]
        moved = sum(read.planes[k].nbytes for k in self.planes_read(kernel, read, made, values))
        if isinstance(made, FrameInfo):
            moved += sum(made.planes[k].nbytes for k in kernel.written(made))

        def launch(index: int) -> None:
            self.runtime.enqueue(kernel, *pairs[index % FRAMES], values)

        launch(0)
        taken = self.seconds(launch)
        # A copy reads and writes each byte: half as many make the same traffic.
        blocks = [self.context.allocate(TensorInfo((moved,), np.dtype("u1"))) for _ in pairs]

        def copy(index: int) -> None:
            place = blocks[index % FRAMES].handle("data")
            with self.context.current:
                half = moved // 2
                stream = self.context.stream_handle
                check(driver.cuMemcpyDtoDAsync(place, place + half, half, stream), "copy")

        copied = self.seconds(copy)
        row = {
            "MB moved": moved / 1e6,
            "kernel us": taken * 1e6,
            "memcpy us": copied * 1e6,
            "kernel GB/s": moved / taken / 1e9,
            "memcpy GB/s": moved / copied / 1e9,
            "of memcpy": copied / taken,
            "run() us": self._median(lambda: self.runtime.run(kernel, *pairs[0], values)),
        }
        for tensor in (*blocks, *(frame for pair in pairs for frame in pair)):
            tensor.close()
        return row

    @staticmethod
    def planes_read(kernel: Kernel, read: FrameInfo, made: Any, values: Any) -> set[int]:
        return {
            each.index
            for launch in kernel.launches(read, made, values)
            for each in launch.arguments
            if isinstance(each, Plane) and each.frame == "source"
        }

    @staticmethod
    def _median(call: Any, times: int = 300) -> float:
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
        return statistics.median(taken) * 1e6


def main() -> None:
    """Print the table, and write it where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="kernels whose name has this in it")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    bench, found = Bench(), probe()
    result: dict[str, Any] = {
        "device": found.devices[0],
        "driver": found.reason,
        "nvrtc": compiler_version(),
        "versions": {name: version(name) for name in ("av", "cuda-bindings", "cuda-core", "numpy")},
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
        "rows": {},
    }
    for calls, name in (*POINT, *OTHERS):
        for label, size in SIZES.items():
            if options.only in calls:
                row = bench.measure(calls, name, size)
                key = f"{calls} {name} {label}"
                result["rows"][key] = {key: round(row[key], 2) for key in row}
                print(key, result["rows"][key], flush=True)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
