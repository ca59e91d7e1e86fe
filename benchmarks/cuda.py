"""How fast are decoding and gray on an NVIDIA GPU, beside PyNvVideoCodec's decoding alone?

    python -m benchmarks.cuda [--streams 1 4 7 14] [--rounds 5] [--json FILE]

Each round runs every case once, one after the other, with so many streams at a time: threads of
one process, each opening the file for itself. Medians of frames a second over the rounds, and of
the ratio to the peer in the same round. Clips are made of the sample clip, by libx264 and libx265.
"""

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import numpy as np
from cuda.bindings import driver

import transcode
from bridges.backends.cuda import CUDAContext, probe
from bridges.backends.cuda_driver import check

CLIP = Path(__file__).parent.parent / "samples" / "media" / "bigbuckbunny.mp4"
CODECS = {
    "h264": ("libx264", {"preset": "veryfast", "g": "60"}, 6_000_000),
    "hevc": (
        "libx265",
        {"preset": "ultrafast", "x265-params": "log-level=error:keyint=60"},
        4_000_000,
    ),
}
REPEATS = 16
"""How often the clip's frames come in the file of a single stream: 2112 frames. Where there are
more streams, files are shorter, down to a quarter."""

Case = Callable[[str], int]
"""Reads a file to its end, and returns how many frames it had."""


def make_clip(folder: Path, name: str, repeats: int = REPEATS) -> Path:
    """Write a 1080p file: the sample clip, coded once, and its packets again and again."""
    codec, options, bit_rate = CODECS[name]
    once, path = folder / f"{name}.once.mp4", folder / f"{name}.{repeats}.mp4"
    with av.open(str(CLIP)) as source, av.open(str(once), "w") as out:
        stream: Any = out.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        stream.bit_rate = bit_rate
        for number, frame in enumerate(source.decode(video=0)):
            scaled = frame.reformat(1920, 1080, "yuv420p")
            scaled.pts, scaled.time_base, scaled.pict_type = number, Fraction(1, 25), 0
            out.mux(stream.encode(scaled))
        out.mux(stream.encode())
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


def pynvvideocodec(path: str) -> int:
    """Decode with the peer's ThreadedDecoder; frames stay on the device."""
    import PyNvVideoCodec

    decoder = PyNvVideoCodec.ThreadedDecoder(path, buffer_size=16, gpu_id=0, use_device_memory=True)
    count = 0
    while batch := decoder.get_batch_frames(8):
        count += len(batch)
    decoder.end()
    return count


def decode(path: str) -> int:
    """Decode; frames stay on the device."""
    with transcode.frames(path, device="cuda") as frames:
        return sum(1 for _ in _closed(frames))


def gray(path: str) -> int:
    """Decode, and compute gray on the device."""
    with transcode.frames(path, device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        return sum(1 for _ in _closed(frames))


def gray_on_host(path: str) -> int:
    """Decode, compute gray, and fetch it."""
    count = 0
    with transcode.frames(path, device="cuda", kernels=["rgb_to_grayscale"]) as frames:
        for picture in frames:
            count += np.asarray(picture).shape[0] == 1080
            picture.close()
    return count


def _closed(frames: transcode.Frames) -> Iterator[None]:
    for picture in frames:
        picture.close()
        yield


CASES: dict[str, Case] = {
    "PyNvVideoCodec": pynvvideocodec,
    "decode": decode,
    "gray": gray,
    "gray, fetched": gray_on_host,
}


def rate(case: Case, path: str, streams: int) -> float:
    """Return frames a second of so many threads."""
    counts, failures = [], []

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
    failure, free, total = driver.cuMemGetInfo()
    check((failure,), "tell how much memory is free")
    return int(total) - int(free)


def peak_bytes(case: Case, path: str, streams: int) -> int:
    """Return the most device memory that so many streams take at a time."""
    with CUDAContext() as context, context.current:
        before = peak = used_bytes()
        done = threading.Event()

        def work() -> None:
            rate(case, path, streams)
            done.set()

        thread = threading.Thread(target=work)
        thread.start()
        while not done.wait(0.01):
            peak = max(peak, used_bytes())
        thread.join()
    return peak - before


def measure(path: str, streams: int, rounds: int) -> dict[str, Any]:
    """Return medians of each case, and of its ratio to the peer."""
    rates: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, case in CASES.items():
            rates[name].append(rate(case, path, streams))
    peer = rates["PyNvVideoCodec"]
    return {
        name: {
            "fps": round(statistics.median(found), 1),
            "ratio": round(statistics.median(a / b for a, b in zip(found, peer, strict=True)), 3),
        }
        for name, found in rates.items()
    }


def main() -> None:
    """Print a line for each codec and number of streams."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 7, 14])
    parser.add_argument("--codecs", nargs="+", default=list(CODECS), choices=list(CODECS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    result: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": probe().devices[0],
        "versions": {name: version(name) for name in ("av", "cuda-core", "PyNvVideoCodec")},
        "rows": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        for codec in asked.codecs:
            paths = {
                n: str(make_clip(Path(folder), codec, max(REPEATS // n, 4))) for n in asked.streams
            }
            path = paths[max(asked.streams)]
            for name, case in CASES.items():
                case(path)
                memory = {n: peak_bytes(case, path, n) >> 20 for n in (1, max(asked.streams))}
                print(f"{codec} {name}: MiB of the device {memory}", flush=True)
                result["rows"].append({"codec": codec, "case": name, "MiB": memory})
            for streams in asked.streams:
                row = measure(paths[streams], streams, asked.rounds)
                result["rows"].append({"codec": codec, "streams": streams, **row})
                cells = (f"{name} {each['fps']} ({each['ratio']})" for name, each in row.items())
                print(f"{codec} {streams}: {' | '.join(cells)}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
