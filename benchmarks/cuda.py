"""How fast are decoding and gray on an NVIDIA GPU, beside other libraries' decoding alone?

    python -m benchmarks.cuda [--only decode memory transcode files] [--json FILE]

decode     frames a second of so many streams at a time: threads of one process, each opening the
           file for itself. Each round runs every case once, one after the other; medians over the
           rounds, and of the ratio to PyNvVideoCodec in the same round.
memory     device memory of a stream: what so many streams take at most, over their number.
bus        bytes a second from the device to page-locked memory, in blocks of a gray 1080p picture:
           what is fetched can come no faster.
transcode  a whole run to libx264, beside the encoder alone on pictures that are in memory. Each
           begins after a rest, for clocks go down while all cores are at work. Such a machine is
           shared, and its speed changes by tenths: a run is compared to the mean of the encoder
           alone before it and after it.
files      a thousand files in one process: device memory, host memory and descriptors on the way.

Each library works in a process of its own, which stays for all rounds. Clips are made of the sample
clip, by libx264 and libx265; ``--clips FOLDER`` has those of an earlier run.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

CLIP = Path(__file__).parent.parent / "samples" / "media" / "bigbuckbunny.mp4"
CODECS = {
    "h264": ("libx264", {"preset": "veryfast", "g": "60"}, 6_000_000),
    "hevc": (
        "libx265",
        {"preset": "ultrafast", "x265-params": "log-level=error:keyint=60"},
        4_000_000,
    ),
}
REPEATS_TO_ENCODE = 60
"""How often the clip's 132 frames come in a file for a whole run: half a minute at 270 fps."""

REST_SECONDS = 3

_TRIES = 5

PEER = "PyNvVideoCodec"
GRAY = ["rgb_to_grayscale"]

Case = Callable[[str], int]
"""Reads a file to its end, and returns how many frames it had."""


def make_clip(folder: Path, name: str) -> Path:
    """Write the sample clip in 1080p, coded once."""
    import av

    path = folder / f"{name}.mp4"
    if path.exists():
        return path
    codec, options, bit_rate = CODECS[name]
    with av.open(str(CLIP)) as source, av.open(str(path), "w") as out:
        stream: Any = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        stream.bit_rate = bit_rate
        for number, frame in enumerate(source.decode(video=0)):
            scaled = frame.reformat(1920, 1080, "yuv420p")
            scaled.pts, scaled.time_base, scaled.pict_type = number, Fraction(1, 25), 0
            out.mux(stream.encode(scaled))
        out.mux(stream.encode())
    return path


def repeated(once: Path, folder: Path, repeats: int) -> Path:
    """Write a file with a clip's packets again and again."""
    import av

    path = folder / f"{once.stem}.{repeats}.mp4"
    with av.open(str(once)) as source, av.open(str(path), "w") as out:
        (video,) = source.streams.video
        copy = out.add_stream_from_template(video)
        packets = [packet for packet in source.demux(video) if packet.size]
        length = round(Fraction(len(packets), 25) / (video.time_base or 1))
        for repeat in range(repeats):
            for packet in packets:
                again = av.Packet(bytes(packet))
                again.pts = (packet.pts or 0) + repeat * length
                again.dts = (packet.dts or 0) + repeat * length
                again.duration, again.time_base = packet.duration, video.time_base
                again.is_keyframe, again.stream = packet.is_keyframe, copy
                out.mux(again)
    return path


# What is measured, each in the process of its library.


def pynvvideocodec(path: str) -> int:
    """Decode with the peer's ThreadedDecoder; frames stay on the device."""
    import PyNvVideoCodec

    decoder = PyNvVideoCodec.ThreadedDecoder(path, buffer_size=16, gpu_id=0, use_device_memory=True)
    count = 0
    while batch := decoder.get_batch_frames(8):
        count += len(batch)
    decoder.end()
    return count


def torchcodec(path: str) -> int:
    """Decode with torchcodec, to RGB tensors on the device, as it gives them."""
    from torchcodec.decoders import VideoDecoder, set_cuda_backend

    with set_cuda_backend("beta"):
        decoder = VideoDecoder(path, device="cuda", seek_mode="approximate")
    return sum(1 for _ in decoder)


def decode(path: str) -> int:
    """Decode; frames stay on the device."""
    import transcode

    with transcode.frames(path, device="cuda") as frames:
        return _count(frames)


def gray(path: str) -> int:
    """Decode, and compute gray on the device."""
    import transcode

    with transcode.frames(path, device="cuda", kernels=GRAY) as frames:
        return _count(frames)


def gray_on_host(path: str) -> int:
    """Decode, compute gray, and fetch it into page-locked memory."""
    import numpy as np

    import transcode

    count = 0
    with transcode.frames(path, device="cuda", kernels=GRAY) as frames:
        for picture in frames:
            count += np.asarray(picture).ndim == 2
            picture.close()
    return count


def _count(frames: Any) -> int:
    count = 0
    for picture in frames:
        picture.close()
        count += 1
    return count


CASES: dict[str, tuple[str, Case]] = {
    PEER: ("peer", pynvvideocodec),
    "torchcodec": ("torchcodec", torchcodec),
    "decode": ("ours", decode),
    "gray": ("ours", gray),
    "gray, fetched": ("ours", gray_on_host),
}
"""Each with the process that runs it."""


def rate(case: Case, path: str, streams: int) -> float:
    """Return frames a second of so many threads."""
    counts: list[int] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            counts.append(case(path))
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(streams)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(counts) / (time.perf_counter() - started)


def used_bytes() -> int:
    """Return how much of the device's memory is in use, whoever uses it."""
    from cuda.bindings import driver

    failure, free, total = driver.cuMemGetInfo()
    if failure:
        raise RuntimeError(failure)
    return int(total) - int(free)


def peak_bytes(case: Case, path: str, streams: int) -> int:
    """Return the most device memory that so many streams take at a time, over what was there."""
    from bridges.backends.cuda import CUDAContext

    with CUDAContext() as context, context.current:
        case(path)  # What a library keeps for good is no stream's.
        before = peak = used_bytes()
        done = threading.Event()

        def work() -> None:
            rate(case, path, streams)
            done.set()

        thread = threading.Thread(target=work)
        thread.start()
        while not done.wait(0.005):
            peak = max(peak, used_bytes())
        thread.join()
    return peak - before


def bus(streams: int) -> float:
    """Return GB a second that so many threads carry to page-locked memory, each on its stream."""
    import numpy as np

    from bridges.backends.cuda import CUDAContext
    from bridges.tensor import TensorInfo

    info, count = TensorInfo((1080, 1920), np.dtype(np.uint8)), 2000 // streams

    def carry(_: str) -> int:
        with CUDAContext() as context, context.allocate(info) as source:
            for _ in range(count):
                context.fetch(source.handle("data"), info)
        return count

    return rate(carry, "", streams) * info.nbytes / 1e9


def files(path: str, count: int) -> list[dict[str, int]]:
    """Read a short file again and again by four threads, and tell what is held now and then."""
    import gc

    from bridges.backends.cuda import CUDAContext

    def held(done: int) -> dict[str, int]:
        gc.collect()
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return {
            "files": done,
            "device MiB": used_bytes() >> 20,
            "host MiB": resident >> 20,
            "descriptors": len(os.listdir("/proc/self/fd")),
            "threads": threading.active_count(),
        }

    marks = []
    with CUDAContext() as context, context.current:
        for done in range(0, count + 1, count // 10):
            marks.append(held(done))
            if done < count:
                part = count // 10 // 4

                def some(each: str, part: int = part) -> int:
                    return sum(gray_on_host(each) for _ in range(part))

                rate(some, path, 4)
    return marks


@functools.cache
def gray_pictures(path: str) -> list[Any]:
    """Return the pictures that come again and again in a file for a whole run."""
    import av

    with av.open(path) as source:
        return [
            frame.reformat(format="gray").reformat(format="yuv420p")
            for frame in itertools.islice(source.decode(video=0), 132)
        ]


def encoder_alone(path: str) -> dict[str, float]:
    """Return how fast libx264 is on gray pictures that lie in memory, through PyAV."""
    import av

    made = gray_pictures(path)
    time.sleep(REST_SECONDS)
    with tempfile.TemporaryDirectory() as folder, av.open(f"{folder}/out.mp4", "w") as out:
        stream: Any = out.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        stream.codec_context.thread_type = "AUTO"
        started, worked = time.perf_counter(), time.process_time()
        count = 132 * REPEATS_TO_ENCODE
        for number in range(count):
            frame = made[number % len(made)]
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, 25), 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        return speed(count, time.perf_counter() - started, time.process_time() - worked)


def speed(frames: int, seconds: float, worked: float) -> dict[str, float]:
    """Return frames a second, and what each costs all processors together."""
    return {"fps": frames / seconds, "CPU ms a frame": round(worked / frames * 1000, 2)}


def transcoded(path: str, device: str) -> dict[str, Any]:
    """Return what a whole run to libx264 with gray reports."""
    import transcode

    with tempfile.TemporaryDirectory() as folder:
        video = transcode.VideoOptions(codec="libx264", preset="veryfast")
        target = f"{folder}/out.mp4"
        time.sleep(REST_SECONDS)
        started, worked = time.perf_counter(), time.process_time()
        report = transcode.run(
            path, target, device=device, filters=GRAY, video=video, verify="none"
        )
        elapsed, worked = time.perf_counter() - started, time.process_time() - worked
    return {
        **speed(report.frames, elapsed, worked),
        "stages": {name: round(seconds, 3) for name, seconds in report.stage_seconds.items()},
        "device MiB": report.device_bytes >> 20,
        "route": report.route,
    }


def serve() -> None:
    """Do what lines of JSON ask for, and answer each with a line."""
    # What libraries print is no answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work: dict[str, Callable[..., Any]] = {
        "rate": lambda case, *rest: rate(CASES[case][1], *rest),
        "peak": lambda case, *rest: peak_bytes(CASES[case][1], *rest),
        "bus": bus,
        "files": files,
        "encoder": encoder_alone,
        "transcode": transcoded,
    }
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        try:
            answer = {"result": work[what](*arguments)}
        except Exception as error:  # noqa: BLE001 - told to the parent
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


class Worker:
    """A process that measures."""

    def __init__(self, libraries: str) -> None:
        command = [sys.executable, "-m", "benchmarks.cuda", "--serve"]
        found = {"LD_LIBRARY_PATH": libraries} if libraries else {}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **found},
        )

    def __call__(self, *asked: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise ProcessLookupError(f"{asked}: the process ended with {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{asked}: {answer['error']}")
        return answer["result"]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def median(values: list[float]) -> float:
    return round(statistics.median(values), 3)


class Bench:
    """The workers, and what they found."""

    def __init__(self, asked: argparse.Namespace, folder: Path) -> None:
        self.asked = asked
        self._folder = folder
        self._workers: dict[str, Worker] = {}
        self.crashes: dict[str, int] = {}
        clips = folder if asked.clips is None else asked.clips
        self._once = {name: make_clip(clips, name) for name in asked.codecs}
        self.cases = [name for name in CASES if name in asked.cases and self._runs(name)]

    def _runs(self, case: str) -> bool:
        try:
            self.worker(CASES[case][0])("rate", case, str(next(iter(self._once.values()))), 1)
        except (RuntimeError, ProcessLookupError) as error:
            self._workers.pop(CASES[case][0], None)
            print(f"left out: {error}", flush=True)
            return False
        return True

    def worker(self, name: str) -> Worker:
        if name not in self._workers:
            self._workers[name] = Worker(self.asked.ffmpeg if name == "torchcodec" else "")
        return self._workers[name]

    def ask(self, what: str, case: str, path: str, streams: int) -> float:
        """Return a rate or a peak; a library that crashes is started again, and told of."""
        name = CASES[case][0]
        for _ in range(_TRIES):
            try:
                found: float = self.worker(name)(what, case, path, streams)
            except ProcessLookupError as error:
                print(f"{case}: {error}", flush=True)
                self.crashes[case] = self.crashes.get(case, 0) + 1
                del self._workers[name]
            else:
                return found
        raise RuntimeError(f"{case} crashed {_TRIES} times with {streams} streams")

    def clip(self, codec: str) -> str:
        return str(repeated(self._once[codec], self._folder, self.asked.repeats))

    def decode(self) -> list[dict[str, Any]]:
        """Return a row for each codec and number of streams."""
        rows = []
        for codec in self.asked.codecs:
            for streams in self.asked.streams:
                path = self.clip(codec)
                found: dict[str, list[float]] = {name: [] for name in self.cases}
                for _ in range(self.asked.rounds):
                    for name in self.cases:
                        found[name].append(self.ask("rate", name, path, streams))
                peers = found.get(PEER, [])
                row = {
                    name: {
                        "fps": round(statistics.median(fps), 1),
                        "ratio": median([a / b for a, b in zip(fps, peers, strict=False)] or [0]),
                    }
                    for name, fps in found.items()
                }
                told = (f"{name} {each['fps']} ({each['ratio']})" for name, each in row.items())
                print(f"{codec} {streams}: {' | '.join(told)}", flush=True)
                rows.append({"codec": codec, "streams": streams, "cases": row})
        return rows

    def memory(self) -> list[dict[str, Any]]:
        """Return MiB of the device for each codec and case, of one stream and of many."""
        rows = []
        most = max(self.asked.streams)
        for codec in self.asked.codecs:
            path = self.clip(codec)
            for name in self.cases:
                told = {
                    str(count): round(self.ask("peak", name, path, count) / count / 2**20, 1)
                    for count in (1, most)
                }
                print(f"{codec} {name}: MiB a stream {told}", flush=True)
                rows.append({"codec": codec, "case": name, "MiB a stream": told})
        return rows

    def bus(self) -> dict[str, float]:
        """Return GB a second for each number of streams."""
        worker = self.worker("ours")
        found = {
            str(count): median([worker("bus", count) for _ in range(self.asked.rounds)])
            for count in self.asked.streams
        }
        print(f"bus: GB a second to page-locked memory {found}", flush=True)
        return found

    def transcode(self) -> dict[str, Any]:
        """Return how fast a whole run is, beside the encoder alone."""
        path = str(repeated(self._once["h264"], self._folder, REPEATS_TO_ENCODE))
        worker = self.worker("ours")
        alone, whole = [worker("encoder", path)], []
        for _ in range(self.asked.rounds):
            whole.append(worker("transcode", path, "cuda"))
            alone.append(worker("encoder", path))
            told = f"{whole[-1]['fps']:.1f} fps, then {alone[-1]['fps']:.1f} alone"
            print(f"transcode: {told}", flush=True)
        beside = [(one["fps"] + other["fps"]) / 2 for one, other in itertools.pairwise(alone)]
        ratios = [mine["fps"] / its for mine, its in zip(whole, beside, strict=True)]
        found = {"ratio": median(ratios), "ratios": [round(ratio, 3) for ratio in ratios]}
        on_host = [worker("transcode", path, "cpu")]
        sides = {"encoder alone": alone, "whole run": whole, "whole run on the host": on_host}
        for name, runs in sides.items():
            for what in ("fps", "CPU ms a frame"):
                found[f"{name}, {what}"] = median([run[what] for run in runs])
        found["last"] = whole[-1]
        print(f"transcode: {found}", flush=True)
        return found

    def files(self) -> list[dict[str, int]]:
        """Return what is held after every hundredth of a thousand files."""
        marks: list[dict[str, int]] = self.worker("files")("files", str(CLIP), self.asked.files)
        for mark in marks:
            print(f"files: {mark}", flush=True)
        return marks

    def close(self) -> None:
        for worker in self._workers.values():
            worker.close()


PARTS = ("decode", "memory", "bus", "transcode", "files")


def versions() -> dict[str, str]:
    """Return what was measured, by name."""
    found = {}
    for name in ("av", "cuda-core", "cuda-bindings", PEER, "torchcodec", "torch"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    """Print a line for each thing that was measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 7, 14])
    parser.add_argument("--codecs", nargs="+", default=list(CODECS), choices=list(CODECS))
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=8, help="of 132 frames, in a file")
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--ffmpeg", default="", help="folder of FFmpeg's libraries for torchcodec")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve()
        return
    from bridges.backends.cuda import probe

    result: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": probe().devices[0],
        "cores": os.cpu_count(),
        "versions": versions(),
        "rounds": asked.rounds,
        "frames of a file": 132 * asked.repeats,
    }
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(asked, Path(folder))
        try:
            for part in asked.only:
                result[part] = getattr(bench, part)()
                result["crashes"] = bench.crashes
                if asked.json:
                    asked.json.write_text(json.dumps(result, indent=1) + "\n")
        finally:
            bench.close()


if __name__ == "__main__":
    main()
