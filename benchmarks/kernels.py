"""What each kernel costs on the processor, beside memcpy and the nearest thing that others have.

The copy is of the picture that the kernel reads. Milliseconds per frame, medians of rounds in which
all contestants take turns: with one frame again and again (``warm``), and with twelve that the
cache does not hold (``rotating``). OpenCL and OpenCV get as many threads as the process has cores.

    python -m benchmarks.kernels [--only NAME] [--size 1080p] [--rounds 15] [--json FILE]
    taskset -c 0 python -m benchmarks.kernels ...      # one thread
"""

import itertools
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import click
import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from bridges import AccessMode, Colour, ColourRange, Frame, FrameInfo, Matrix, create_mapper
from bridges.backends.cpu import CPUContext
from bridges.backends.opencl import OpenCLContext
from bridges.formats import pixel_format
from bridges.kernels import create_runtime, fuse, parse_call
from bridges.media import TensorsInfo

SIZES = {"720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
FRAMES = 12

Array = Any
Peer = Callable[[list[Array], tuple[int, int]], Callable[[], Any]]
"""Makes, of the planes of a picture and the size of the result, what does the same to it."""


@dataclass(frozen=True)
class Case:
    """One row of the table: kernels, and who does the same."""

    calls: tuple[str, ...]
    source: str
    peer: str
    make_peer: Peer | None
    target: str = ""
    sizes: tuple[str, ...] = ("1080p", "4K")

    @property
    def name(self) -> str:
        return " + ".join(self.calls)


def cv(function: Callable[..., Any], *arguments: Any, **options: Any) -> Peer:
    """A function of OpenCV that takes a picture and fills one."""

    def make(planes: list[Array], _size: tuple[int, int]) -> Callable[[], Any]:
        out = function(planes[0], *arguments, **options)
        return lambda: function(planes[0], *arguments, dst=out, **options)

    return make


def cv_colour(code: int, rows: Callable[[list[Array]], Array] = lambda planes: planes[0]) -> Peer:
    def make(planes: list[Array], _size: tuple[int, int]) -> Callable[[], Any]:
        picture = rows(planes)
        out = cv2.cvtColor(picture, code)
        return lambda: cv2.cvtColor(picture, code, dst=out)

    return make


def cv_resize(interpolation: int) -> Peer:
    def make(planes: list[Array], size: tuple[int, int]) -> Callable[[], Any]:
        out = cv2.resize(planes[0], size, interpolation=interpolation)
        return lambda: cv2.resize(planes[0], size, dst=out, interpolation=interpolation)

    return make


def stacked(planes: list[Array]) -> Array:
    """Luma above chroma, as OpenCV wants 4:2:0."""
    width = planes[0].shape[1]
    return np.concatenate([plane.reshape(-1, width) for plane in planes])


def filters(chain: str, name: str) -> Peer:
    """A chain of libavfilter, or swscale by its filter, on frames of a pixel format."""

    def make(planes: list[Array], _size: tuple[int, int]) -> Callable[[], Any]:
        height, width = planes[0].shape[:2]
        frame = av.VideoFrame(width, height, name)
        for plane, array in zip(frame.planes, planes, strict=True):
            raw = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            row = array.reshape(array.shape[0], -1).view(np.uint8)
            raw[:, : row.shape[1]] = row
        frame.pts, frame.colorspace, frame.color_range = 0, 1, 1
        graph = av.filter.Graph()
        nodes = [
            graph.add(
                "buffer",
                f"video_size={width}x{height}:pix_fmt={name}:time_base=1/25:colorspace=1:range=1",
            )
        ]
        for part in chain.split(","):
            filter_name, _, arguments = part.partition("=")
            nodes.append(graph.add(filter_name, arguments or None))
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes).configure()
        clock = itertools.count(1)

        def work() -> None:
            frame.pts = next(clock)
            graph.push(frame)
            graph.pull()

        # Some filters look ahead: they return a picture for each one only after a few.
        for _ in range(20):
            with suppress(BlockingIOError):
                work()
                break
        return work

    return make


def blur_peer(sigma: float) -> Peer:
    side = 2 * int(np.ceil(3 * sigma)) + 1

    def make(planes: list[Array], _size: tuple[int, int]) -> Callable[[], Any]:
        out = np.empty_like(planes[0])
        return lambda: cv2.GaussianBlur(planes[0], (side, side), sigma, dst=out)

    return make


def sharpen_peer(planes: list[Array], _size: tuple[int, int]) -> Callable[[], Any]:
    blurred, out = np.empty_like(planes[0]), np.empty_like(planes[0])

    def work() -> None:
        cv2.GaussianBlur(planes[0], (7, 7), 1.0, dst=blurred)
        cv2.addWeighted(planes[0], 2.0, blurred, -1.0, 0, dst=out)

    return work


def sobel_peer(planes: list[Array], _size: tuple[int, int]) -> Callable[[], Any]:
    def work() -> None:
        across = cv2.Sobel(planes[0], cv2.CV_32F, 1, 0)
        down = cv2.Sobel(planes[0], cv2.CV_32F, 0, 1)
        cv2.convertScaleAbs(cv2.magnitude(across, down), alpha=0.25)

    return work


def pad_peer(planes: list[Array], _size: tuple[int, int]) -> Callable[[], Any]:
    constant = cv2.BORDER_CONSTANT
    return lambda: cv2.copyMakeBorder(planes[0], 16, 16, 16, 16, constant, value=(16, 16, 16))


def crop_peer(planes: list[Array], _size: tuple[int, int]) -> Callable[[], Any]:
    part = planes[0][64:-64, 64:-64]
    out = np.empty_like(part)
    return lambda: np.copyto(out, part)


def histogram_peer(planes: list[Array], _size: tuple[int, int]) -> Callable[[], Any]:
    return lambda: cv2.calcHist([planes[0]], [0], None, [256], [0, 256])


def statistics_peer(planes: list[Array], _size: tuple[int, int]) -> Callable[[], Any]:
    def work() -> None:
        cv2.minMaxLoc(planes[0])
        cv2.mean(planes[0])

    return work


def transform_peer(planes: list[Array], _size: tuple[int, int]) -> Callable[[], Any]:
    matrix = np.eye(3) * 1.5 - 0.5 * np.array([0.2126, 0.7152, 0.0722])
    out = np.empty_like(planes[0])
    return lambda: cv2.transform(planes[0], matrix, dst=out)


def blend_peer(planes: list[Array], _size: tuple[int, int]) -> Callable[[], Any]:
    over, out = planes[0][:256, :256].copy(), planes[0].copy()

    def work() -> None:
        np.copyto(out, planes[0])
        cv2.addWeighted(out[:256, :256], 0.5, over, 0.5, 0, dst=out[:256, :256])

    return work


def cases(folder: Path) -> Iterator[Case]:
    """Yield all rows; files that kernels take are made in ``folder``."""
    table = (255 * (np.arange(256) / 255) ** (1 / 2.2)).round().astype(np.uint8)
    cube, picture = folder / "look.cube", folder / "logo.png"
    write_cube(cube)
    write_picture(picture)
    yield Case(("rgb_to_grayscale",), "rgb24", "cv2.cvtColor", cv_colour(cv2.COLOR_RGB2GRAY))
    yield Case(("rgb_to_grayscale",), "rgb0", "cv2.cvtColor", cv_colour(cv2.COLOR_RGBA2GRAY))
    swscale = filters("scale=out_range=full,format=gray", "rgb24")
    yield Case(("rgb_to_grayscale",), "rgb24", "swscale", swscale)
    to_gray = ("yuv_to_rgb(siting=none)", "rgb_to_grayscale")
    gray_of = cv_colour(cv2.COLOR_YUV2GRAY_NV12, stacked)
    yield Case(to_gray, "nv12", "cv2.cvtColor (luma alone)", gray_of)
    not_ = cv(cv2.bitwise_not)
    yield Case(("invert",), "rgb24", "cv2.bitwise_not", not_)
    yield Case(("invert",), "yuv420p", "libavfilter negate", filters("negate", "yuv420p"))
    scaled = cv(cv2.convertScaleAbs, alpha=1.0, beta=25.5)
    yield Case(("brightness(amount=0.1)",), "rgb24", "cv2.convertScaleAbs", scaled)
    scaled = cv(cv2.convertScaleAbs, alpha=1.5, beta=-63.75)
    yield Case(("contrast(amount=1.5)",), "rgb24", "cv2.convertScaleAbs", scaled)
    yield Case(("saturation(amount=1.5)",), "rgb24", "cv2.transform", transform_peer)
    yield Case(("gamma(value=2.2)",), "rgb24", "cv2.LUT", cv(cv2.LUT, table))
    lut = filters(f"lut3d=file={cube}:interp=tetrahedral", "rgb24")
    yield Case((f"lut(file='{cube}')",), "rgb24", "libavfilter lut3d", lut)
    overlay = (f"overlay(file='{picture}', x=10, y=10, opacity=0.5)",)
    yield Case(overlay, "rgb24", "NumPy copy + cv2.addWeighted", blend_peer)
    chain = ("brightness(amount=0.1)", "contrast(amount=1.5)", "saturation(amount=1.5)")
    yield Case(
        chain, "yuv420p", "libavfilter hue, saturation alone", filters("hue=s=1.5", "yuv420p")
    )
    to_rgb = cv_colour(cv2.COLOR_YUV2RGB_NV12, stacked)
    yield Case(("yuv_to_rgb(siting=none)",), "nv12", "cv2.cvtColor", to_rgb)
    swscale = filters("scale=flags=bilinear+accurate_rnd+full_chroma_int,format=rgb24", "yuv420p")
    yield Case(("yuv_to_rgb",), "yuv420p", "swscale", swscale)
    to_yuv = cv_colour(cv2.COLOR_RGB2YUV_I420)
    yield Case(("rgb_to_yuv(siting=centre)",), "rgb24", "cv2.cvtColor", to_yuv)
    swscale = filters("scale=flags=bilinear+accurate_rnd+full_chroma_int,format=yuv420p", "rgb24")
    yield Case(("rgb_to_yuv",), "rgb24", "swscale", swscale)
    yield from resizes()
    yield from moves()
    yield Case(("gaussian_blur",), "gray", "cv2.GaussianBlur", blur_peer(1.5))
    yield Case(("gaussian_blur",), "rgb24", "cv2.GaussianBlur", blur_peer(1.5))
    yield Case(("sharpen",), "gray", "cv2.GaussianBlur + addWeighted", sharpen_peer)
    yield Case(("sharpen",), "rgb24", "cv2.GaussianBlur + addWeighted", sharpen_peer)
    yield Case(("sobel",), "gray", "cv2.Sobel + magnitude", sobel_peer)
    denoise = filters("atadenoise=s=5", "yuv420p")
    yield Case(("denoise",), "yuv420p", "libavfilter atadenoise", denoise)
    yield Case(("tone_map(transfer=pq)",), "yuv420p10le", "not compared", None)
    yield Case(("histogram",), "gray", "cv2.calcHist", histogram_peer)
    yield Case(("statistics",), "gray", "cv2.minMaxLoc + mean", statistics_peer)


def resizes() -> Iterator[Case]:
    ratios = [
        ("1080p", 1280, 720),
        ("4K", 1920, 1080),
        ("720p", 1920, 1080),
        ("1080p", 960, 540),
        ("1080p", 640, 360),
    ]
    for name in ("gray", "rgb24"):
        for size, width, height in ratios:
            call = f"resize(width={width}, height={height}, filter=bilinear, antialias=false)"
            linear = cv_resize(cv2.INTER_LINEAR)
            yield Case((call,), name, "cv2.resize linear", linear, sizes=(size,))
    for kind, interpolation, peer in (
        ("bicubic", cv2.INTER_CUBIC, "cv2.resize cubic"),
        ("lanczos", cv2.INTER_LANCZOS4, "cv2.resize lanczos4"),
    ):
        for name in ("gray", "rgb24"):
            call = f"resize(width=1280, height=720, filter={kind}, antialias=false)"
            yield Case((call,), name, peer, cv_resize(interpolation), sizes=("1080p",))
    for name in ("gray", "rgb24"):
        call = "resize(width=1280, height=720, filter=bilinear)"
        yield Case((call,), name, "cv2.resize area", cv_resize(cv2.INTER_AREA), sizes=("1080p",))
    swscale = filters("scale=1280:720:flags=bicubic+accurate_rnd", "yuv420p")
    yield Case(("resize(width=1280, height=720)",), "yuv420p", "swscale", swscale, sizes=("1080p",))


def moves() -> Iterator[Case]:
    for name in ("gray", "rgb24"):
        yield Case(("flip",), name, "cv2.flip", cv(cv2.flip, 1))
        yield Case(("flip(direction=vertical)",), name, "cv2.flip", cv(cv2.flip, 0))
        quarter = cv(cv2.rotate, cv2.ROTATE_90_CLOCKWISE)
        yield Case(("rotate(angle=90)",), name, "cv2.rotate", quarter)
        yield Case(("rotate(angle=180)",), name, "cv2.rotate", cv(cv2.rotate, cv2.ROTATE_180))
        yield Case(("transpose",), name, "cv2.transpose", cv(cv2.transpose))
        around = "pad(left=16, top=16, right=16, bottom=16)"
        yield Case((around,), name, "cv2.copyMakeBorder", pad_peer)
    inner = "crop(x=64, y=64, width={}, height={})"
    for size in ("1080p", "4K"):
        width, height = SIZES[size]
        call = inner.format(width - 128, height - 128)
        yield Case((call,), "rgb24", "NumPy copy", crop_peer, sizes=(size,))


def write_cube(path: Path) -> None:
    """Write a 33-point cube that turns colours a little."""
    steps = np.linspace(0, 1, 33)
    lines = ["LUT_3D_SIZE 33"]
    for blue, green, red in itertools.product(steps, steps, steps):
        lines.append(f"{0.9 * red + 0.1 * green:.6f} {green**1.1:.6f} {0.8 * blue + 0.2 * red:.6f}")
    path.write_text("\n".join(lines) + "\n")


def write_picture(path: Path) -> None:
    """Write a 256x256 PNG whose alpha rises from left to right."""
    pixels = np.full((256, 256, 4), 200, np.uint8)
    pixels[..., 3] = np.arange(256, dtype=np.uint8)
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png")
        stream.width = stream.height = 256
        stream.pix_fmt = "rgba"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgba")))
        container.mux(stream.encode(None))


class Bench:
    """A kernel on frames that OpenCL takes where they are, and its peers on the same arrays."""

    def __init__(self, case: Case, size: tuple[int, int], context: OpenCLContext) -> None:
        ((self.kernel, self.values),) = fuse([parse_call(text) for text in case.calls])
        colour = Colour(Matrix.BT709, ColourRange.UNSPECIFIED)
        self.info = FrameInfo(pixel_format(case.source), *size, colour)
        self.runtime = create_runtime(context)
        made = self.kernel.output(self.info, **self.values)
        self.stack = ExitStack()
        random = np.random.default_rng(1)
        self.arrays = [
            [random.integers(0, 200, each.shape).astype(each.dtype) for each in self.info.planes]
            for _ in range(FRAMES)
        ]
        sources = [self._map(context, self.info, arrays) for arrays in self.arrays]
        targets = [self._target(context, made) for _ in range(FRAMES)]
        self.frames = list(zip(sources, targets, strict=True))
        self.size = (made.width, made.height) if isinstance(made, FrameInfo) else size
        self.nbytes = sum(each.nbytes for each in self.info.planes)

    def _map(self, context: OpenCLContext, info: FrameInfo, arrays: list[Array]) -> Any:
        frame = Frame(info, [CPUContext().wrap(array) for array in arrays])
        mapper = create_mapper([CPUContext(), context])
        return self.stack.enter_context(mapper.map(frame, AccessMode.READ_WRITE))

    def _target(self, context: OpenCLContext, made: Any) -> Any:
        if isinstance(made, TensorsInfo):
            from bridges import TensorFrame

            tensors = [context.allocate(each) for each in made.tensors]
            return self.stack.enter_context(TensorFrame(made, tensors))
        return self._map(context, made, [np.zeros(each.shape, each.dtype) for each in made.planes])

    def run(self, index: int) -> None:
        source, target = self.frames[index % FRAMES]
        self.runtime.run(self.kernel, source, target, self.values)


def contestants(bench: Bench, case: Case) -> dict[str, list[Callable[[], Any]]]:
    """Return what takes turns, for each of the frames."""
    ours = [lambda k=k: bench.run(k) for k in range(FRAMES)]
    blocks = [np.ones((2, bench.nbytes), np.uint8) for _ in range(FRAMES)]
    copies = [lambda pair=pair: np.copyto(pair[1], pair[0]) for pair in blocks]
    made: dict[str, list[Callable[[], Any]]] = {"kernel": ours, "memcpy": copies}
    if case.make_peer is not None:
        made["peer"] = [case.make_peer(arrays, bench.size) for arrays in bench.arrays]
    return made


def medians(made: dict[str, list[Callable[[], Any]]], rounds: int, frames: int) -> dict[str, float]:
    """Return milliseconds per frame; contestants take turns, a few frames each."""
    taken: dict[str, list[float]] = {name: [] for name in made}
    for name, works in made.items():
        for work in works[:frames]:
            work()
        del name
    for _ in range(rounds):
        for name, works in made.items():
            for index in range(FRAMES):
                work = works[index % frames]
                started = time.perf_counter_ns()
                work()
                taken[name].append(time.perf_counter_ns() - started)
    return {name: statistics.median(times) / 1e6 for name, times in taken.items()}


def measure(case: Case, size: str, context: OpenCLContext, rounds: int) -> dict[str, Any]:
    bench = Bench(case, SIZES[size], context)
    with bench.stack:
        made = contestants(bench, case)
        row: dict[str, Any] = {"kernel": case.name, "source": case.source, "size": size}
        row["peer"] = case.peer
        for name, frames in (("warm", 1), ("rotating", FRAMES)):
            row[name] = {
                key: round(value, 4) for key, value in medians(made, rounds, frames).items()
            }
    return row


def first_frame() -> dict[str, float]:
    """Return milliseconds from a new device to its first frame, with the program on disk."""
    info = FrameInfo(pixel_format("rgb24"), 1920, 1080)
    taken = []
    for _ in range(5):
        started = time.perf_counter_ns()
        context = OpenCLContext.create()
        ((gray, values),) = fuse([parse_call("rgb_to_grayscale")])
        source = Frame(info, [context.allocate(each) for each in info.planes])
        made = gray.output(info, **values)
        assert isinstance(made, FrameInfo)
        target = Frame(made, [context.allocate(each) for each in made.planes])
        create_runtime(context).run(gray, source, target, values)
        taken.append((time.perf_counter_ns() - started) / 1e6)
        context.close()
    return {"first": round(taken[0], 1), "later": round(statistics.median(taken[1:]), 1)}


def ratio(row: dict[str, Any], state: str, other: str) -> str:
    times = row[state]
    return f"{times['kernel'] / times[other]:.2f}" if other in times else ""


@click.command()
@click.option("--only", default="", help="Rows whose kernel's name has this in it.")
@click.option("--size", default="", help="Rows of this size alone.")
@click.option("--rounds", default=15, help="Rounds of twelve frames each.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Write the results here.")
def main(only: str, size: str, rounds: int, file: Path | None) -> None:
    threads = len(os.sched_getaffinity(0))
    cv2.setNumThreads(threads)
    first = first_frame()
    context = OpenCLContext.create()
    columns = ["kernel", "format", "size", "warm ms", "/memcpy", "/peer"]
    columns += ["rotating ms", "/memcpy", "/peer", "peer"]
    table = Table(*columns, title=f"{context.name}, {threads} threads")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder)):
            for each in case.sizes:
                if only not in case.name or (size and size != each):
                    continue
                row = measure(case, each, context, rounds)
                row["kernel"] = row["kernel"].replace(f"{folder}/", "")
                rows.append(row)
                cells = [row["kernel"], row["source"], each]
                for state in ("warm", "rotating"):
                    cells.append(f"{row[state]['kernel']:.3f}")
                    cells += [ratio(row, state, "memcpy"), ratio(row, state, "peer")]
                table.add_row(*cells, case.peer)
                Console(stderr=True).print(" ".join(cells), case.peer)
    Console(width=160).print(table)
    print(f"first frame from a cached program: {first} ms after the device was asked for")
    if file is not None:
        names = ("av", "numpy", "pyopencl", "opencv-python-headless")
        content = {
            "date": str(date.today()),
            "machine": platform.processor() or platform.machine(),
            "device": context.name,
            "threads": threads,
            "versions": {name: version(name) for name in names},
            "first_frame_ms": first,
            "rows": rows,
        }
        file.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
