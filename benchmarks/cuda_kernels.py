"""What does gray cost on an NVIDIA GPU, beside a copy of as many bytes within its memory?

    python benchmarks/cuda_gray.py [--json FILE]

Times of the GPU are by its own events, over launches that were queued behind other work, so that
none waits for the host. Frames change from launch to launch, and are more than the cache holds.
"""

import argparse
import json
import platform
import statistics
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from cuda.bindings import driver
from cuda.core import EventOptions

from bridges import AccessMode, Colour, ColourRange, Frame, FrameInfo, TensorInfo, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.cuda import CUDAContext, probe
from bridges.backends.cuda_driver import check
from bridges.formats import pixel_format
from bridges.kernels import get
from bridges.kernels.cuda import CUDARuntime
from bridges.kernels.launch import Plane
from bridges.kernels.nvrtc import compiler_version

KERNEL = get("rgb_to_grayscale")
SIZES = {"1080p": (1920, 1080), "4K": (3840, 2160)}
FRAMES, LAUNCHES, ROUNDS = 24, 480, 7
BUSY_BYTES, BUSY_COPIES = 1 << 30, 60


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

    def frame(self, info: FrameInfo) -> Frame:
        return Frame(info, [self.context.allocate(plane) for plane in info.planes])

    def measure(self, name: str, size: tuple[int, int]) -> dict[str, float]:
        """Return times of one format and size, in microseconds."""
        colour = Colour(range=ColourRange.LIMITED)
        read = FrameInfo(pixel_format(name), *size, colour)
        made = KERNEL.output(read)
        pairs = [(self.frame(read), self.frame(made)) for _ in range(FRAMES)]
        (launched, *_) = KERNEL.launches(read, made)
        planes = [each for each in launched.arguments if isinstance(each, Plane)]
        frames = {"source": read, "target": made}
        moved = sum(frames[each.frame].planes[each.index].nbytes for each in planes)

        def launch(index: int) -> None:
            self.runtime.enqueue(KERNEL, *pairs[index % FRAMES])

        launch(0)
        kernel = self.seconds(launch)
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
            "kernel us": kernel * 1e6,
            "memcpy us": copied * 1e6,
            "kernel GB/s": moved / kernel / 1e9,
            "memcpy GB/s": moved / copied / 1e9,
            "run() us": self._median(lambda: self.runtime.run(KERNEL, *pairs[0])),
            "from host and back us": self._through_edges(read, made),
        }
        for tensor in (*blocks, *(frame for pair in pairs for frame in pair)):
            tensor.close()
        return row

    def _through_edges(self, read: FrameInfo, made: FrameInfo) -> float:
        cpu = CPUContext()
        mapper = create_mapper([cpu, self.context])
        source, target = (
            Frame(info, [cpu.wrap(np.zeros(plane.shape, plane.dtype)) for plane in info.planes])
            for info in (read, made)
        )

        def turn() -> None:
            with (
                mapper.map(source, AccessMode.READ) as there,
                mapper.map(target, AccessMode.WRITE) as back,
            ):
                self.runtime.run(KERNEL, there, back)

        return self._median(turn, 50)

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
    for name in ("rgb24", "nv12"):
        for label, size in SIZES.items():
            row = bench.measure(name, size)
            result["rows"][f"{name} {label}"] = {key: round(row[key], 2) for key in row}
            print(f"{name} {label}", result["rows"][f"{name} {label}"])
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
