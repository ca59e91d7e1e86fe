"""What sessions cost: a send and a receive, a whole transcode, threads; and what they do not copy.

A transcode through sessions is measured beside one of another checkout of this project, such as the
last one before the pipeline ran on sessions. Both run in turn, each in a process of its own.

    git worktree add ../before 531521f
    python -m benchmarks.xma [--rounds 7] [--before ../before] [--sessions 1000] [--json FILE]
"""

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.vs_ffmpeg import CLIP, FFMPEG, machine
from bridges.formats import pixel_format
from bridges.frame import FrameInfo
from xma_plugins.device import Device, open_device
from xma_plugins.drivers import selectors
from xma_plugins.frames import XmaDataBuffer, XmaFrame
from xma_plugins.properties import (
    DecoderProperties,
    EncoderProperties,
    FilterProperties,
    Port,
    ScalerProperties,
)
from xma_plugins.sessions import DecoderSession, EncoderSession, FilterSession, ScalerSession
from xma_plugins.skeleton import PassThrough
from xma_plugins.status import Status

_PAIRS = 20_000
_THREADS = 32
_CHAIN_FRAMES = 60

_RUN = "import sys; from cli.main import main; sys.exit(main())"


def overhead(rounds: int) -> dict[str, float]:
    """Return the microseconds of a send and a receive, with a session and without one."""
    frame = XmaFrame.allocate(FrameInfo(pixel_format("yuv420p"), 64, 48))
    properties = FilterProperties(
        plugin=PassThrough, input=Port(format="yuv420p"), params={"depth": 1}
    )
    with_session, without = [], []
    with FilterSession(properties) as session, FilterSession(properties) as bare:

        def through() -> None:
            session.send_frame(frame)
            _, made = session.recv_frame()
            made.close()

        def direct() -> None:
            made = XmaFrame()
            bare.plugin.send_frame(bare, frame)
            bare.plugin.recv_frame(bare, made)
            made.close()

        for _ in range(rounds):
            with_session.append(_microseconds(through))
            without.append(_microseconds(direct))
    extra = [a - b for a, b in zip(with_session, without, strict=True)]
    return {
        "with": statistics.median(with_session),
        "without": statistics.median(without),
        "overhead": statistics.median(extra),
    }


def _microseconds(call: Callable[[], None]) -> float:
    started = time.perf_counter()
    for _ in range(_PAIRS):
        call()
    return (time.perf_counter() - started) / _PAIRS * 1e6


def transcodes(before: Path, rounds: int) -> list[dict[str, Any]]:
    """Return seconds of jobs through sessions, beside those of another checkout."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = _make_clip(folder)
        gray, resize = "rgb_to_grayscale", "resize(width=1280, height=720)"
        jobs = {
            "plain": [],
            "gray": ["--filter", gray],
            "resize + gray": ["--filter", resize, "--filter", gray],
            "resize + gray on the host": ["--filter", resize, "--filter", gray, "--device", "cpu"],
        }
        for label, extra in jobs.items():
            pairs = []
            for _ in range(rounds + 1):
                pairs.append([_run(root, clip, folder, extra) for root in (before, Path.cwd())])
            del pairs[0]  # It only warmed caches.
            rows.append(
                {
                    "job": f"{label} 1080p",
                    "before": statistics.median(a for a, _ in pairs),
                    "sessions": statistics.median(b for _, b in pairs),
                    "ratio": statistics.median(b / a for a, b in pairs),
                }
            )
    return rows


def _make_clip(folder: Path) -> Path:
    path = folder / "film.mp4"
    scale = ["-stream_loop", "1", "-i", str(CLIP), "-t", "8", "-vf", "scale=1920:1080", "-an"]
    coded = ["-c:v", "libx264", "-preset", "medium", "-crf", "20", "-pix_fmt", "yuv420p"]
    subprocess.run([FFMPEG, "-y", "-loglevel", "error", *scale, *coded, str(path)], check=True)
    return path


def _run(root: Path, clip: Path, folder: Path, extra: list[str]) -> float:
    target = str(folder / "out.mp4")
    options = ["--preset", "veryfast", "--crf", "23", "-y", "--progress", "none", "-q"]
    command = [sys.executable, "-c", _RUN, "run", str(clip), target, *extra, *options]
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=root, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def chains() -> list[dict[str, Any]]:
    """Return the bytes that a decoder > scaler > encoder chain moves, on each device there is."""
    rows = []
    for name in selectors():
        with open_device(name) as device:
            before, between, after, seconds = _chain(device)
            rows.append(
                {
                    "device": f"{name}: {device.name}",
                    "to the device": before,
                    "between": between,
                    "to the host": after,
                    "fps": _CHAIN_FRAMES / seconds,
                }
            )
    return rows


def _chain(device: Device) -> tuple[int, int, int, float]:
    """Decode 1080p pictures, scale them to 720p and encode them; return bytes a frame."""
    packets = _packets()
    moved = device.transfers
    between = 0
    with contextlib.ExitStack() as stack:
        decoder, scaler, encoder = map(stack.enter_context, _sessions(device))
        started = time.perf_counter()
        for picture in _decoded(decoder, packets):
            arrived = moved.nbytes
            status = Status.TRY_AGAIN
            while status is Status.TRY_AGAIN:
                status = scaler.send_frame(picture)
                if status is Status.SEND_MORE_DATA:
                    break
                between += _encode(scaler, encoder, device, arrived)
                arrived = moved.nbytes
            picture.close()
        while scaler.send_frame(None) is not Status.EOS:
            between += _encode(scaler, encoder, device, moved.nbytes)
        encoder.send_frame(None)
        while encoder.recv_data()[0] is Status.SUCCESS:
            pass
        seconds = time.perf_counter() - started
    frames = _CHAIN_FRAMES
    return (
        moved.bytes_to_device // frames,
        between,
        moved.bytes_to_host // frames,
        seconds,
    )


def _sessions(device: Device) -> tuple[DecoderSession, ScalerSession, EncoderSession]:
    on_device = {"zerocopy": True}
    decoding = DecoderProperties(plugin="libav_decoder", params={"codec": "mpeg4", **on_device})
    scaling = ScalerProperties(
        plugin="kernel_scaler",
        input=Port(format="yuv420p", width=1920, height=1080),
        outputs=(Port(format="yuv420p", width=1280, height=720),),
        params=on_device,
    )
    encoding = EncoderProperties(
        plugin="libav_encoder",
        format="yuv420p",
        width=1280,
        height=720,
        params={"codec": "rawvideo"},
    )
    return (
        DecoderSession(decoding, device),
        ScalerSession(scaling, device),
        EncoderSession(encoding, device),
    )


def _encode(scaler: ScalerSession, encoder: EncoderSession, device: Device, arrived: int) -> int:
    """Encode what is scaled; return the bytes that moved since a picture arrived, up to there."""
    between = 0
    while True:
        status, made = scaler.recv_frame_list()
        if status is not Status.SUCCESS:
            return between
        between += device.transfers.nbytes - arrived
        (scaled,) = made
        with scaled:
            if encoder.send_frame(scaled) is Status.SUCCESS:
                while encoder.recv_data()[0] is Status.SUCCESS:
                    pass
        arrived = device.transfers.nbytes


def _packets() -> list[av.Packet]:
    random = np.random.default_rng(1)
    context = av.CodecContext.create("mpeg4", "w")
    context.width, context.height, context.pix_fmt = 1920, 1080, "yuv420p"
    context.time_base, context.bit_rate = Fraction(1, 25), 8_000_000
    packets = []
    noise = random.integers(0, 256, (1620, 1920), np.uint8)
    for index in range(_CHAIN_FRAMES):
        frame = av.VideoFrame.from_ndarray(np.roll(noise, index, axis=1), "yuv420p")
        frame.pts = index
        packets += context.encode(frame)
    return packets + context.encode(None)


def _decoded(decoder: DecoderSession, packets: list[av.Packet]) -> Iterator[XmaFrame]:
    for packet in [*packets, None]:
        data = None if packet is None else XmaDataBuffer(packet, pts=packet.pts)
        status, _ = decoder.send_data(data)
        while status is Status.SUCCESS:
            status, picture = decoder.recv_frame()
            if picture is not None:
                yield picture


def threads(rounds: int) -> dict[str, Any]:
    """Make, run and destroy sessions in 32 threads; return what is left over."""
    with open_device("cpu") as device:
        _thread_rounds(device, 10)
        fds, memory = len(os.listdir("/proc/self/fd")), _resident()
        started = time.perf_counter()
        _thread_rounds(device, rounds)
        seconds = time.perf_counter() - started
        return {
            "threads": _THREADS,
            "rounds": rounds,
            "seconds": seconds,
            "us a session": seconds / (_THREADS * rounds) * 1e6,
            "fds more": len(os.listdir("/proc/self/fd")) - fds,
            "MB more": (_resident() - memory) / 1e6,
            "buffers left": len(device.buffers),
        }


def _thread_rounds(device: Device, rounds: int) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(rounds):
                _one_session(device)
        except BaseException as error:  # noqa: BLE001 - Raised below.
            errors.append(error)

    workers = [threading.Thread(target=work) for _ in range(_THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if errors:
        raise errors[0]


def _one_session(device: Device) -> None:
    properties = FilterProperties(
        plugin="kernel_filter", input=Port(format="gray"), params={"kernel": "invert"}
    )
    with (
        FilterSession(properties, device) as session,
        XmaFrame.allocate(FrameInfo(pixel_format("gray"), 64, 48)) as frame,
    ):
        session.send_frame(frame)
        session.send_frame(None)
        _, made = session.recv_frame()
        assert made is not None
        made.close()


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """Print rows as a table."""
    table = Table(title=title)
    for name in rows[0]:
        table.add_column(name, justify="left" if isinstance(rows[0][name], str) else "right")
    for row in rows:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Paired runs of each figure.")
@click.option("--before", type=click.Path(exists=True, path_type=Path), help="Another checkout.")
@click.option("--sessions", default=1000, show_default=True, help="Sessions a thread.")
@click.option("--json", "json_file", type=click.Path(), help="Also write the figures here.")
def main(rounds: int, before: Path | None, sessions: int, json_file: str | None) -> None:
    """Measure sessions."""
    results: dict[str, Any] = {"machine": machine(), "send and receive": overhead(rounds)}
    show("microseconds of a send and a receive", [results["send and receive"]])
    results["chains"] = chains()
    show("decoder > scaler > encoder: bytes a frame", results["chains"])
    results["threads"] = threads(sessions)
    show("sessions in threads", [results["threads"]])
    if before is not None:
        results["transcodes"] = transcodes(before, rounds)
        show("seconds of a transcode", results["transcodes"])
    if json_file:
        Path(json_file).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
