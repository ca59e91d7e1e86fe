"""The files that parameters of kernels name: tables of colours, and pictures to lay over others."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np

__all__ = [
    "COEFFICIENTS",
    "CUBE",
    "CURVES",
    "PICTURE",
    "random_coefficients",
    "write_coefficients",
    "write_cube",
    "write_picture",
]


def write_cube(path: Path, table: np.ndarray, *lines: str) -> Path:
    """Write a .cube file of a table: ``(N, 3)``, or ``(N, N, N, 3)`` by blue, green and red."""
    keyword = f"LUT_{table.ndim - 1}D_SIZE {len(table)}"
    entries = (" ".join(map(repr, map(float, entry))) for entry in table.reshape(-1, 3))
    path.write_text("\n".join([*lines, keyword, *entries]) + "\n")
    return path


def random_coefficients(random: np.random.Generator, one: int = 4096) -> np.ndarray:
    """Return 64 phases of 12 taps of both signs, which add up to ``one``."""
    table = random.integers(-300, 700, (64, 12))
    table[:, 5] += one - table.sum(1)
    return table


def write_coefficients(path: Path, *tables: np.ndarray) -> Path:
    """Write a file of one table of coefficients, or of those of columns and of rows."""
    lines = [", ".join(map(str, row)) for table in tables for row in table]
    path.write_text("# phases\n" + "\n".join(lines) + "\n")
    return path


def write_picture(
    path: Path, picture: np.ndarray | av.VideoFrame, format_name: str, codec: str = "png"
) -> Path:
    """Write a file of one picture, a PNG file unless another codec is named."""
    frame = picture
    if isinstance(picture, np.ndarray):
        frame = av.VideoFrame.from_ndarray(picture, format_name)
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream: Any = container.add_stream(codec, rate=1)
        stream.height, stream.width = frame.height, frame.width
        stream.pix_fmt = format_name
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return path


def _made(name: str, write: Callable[[Path], Path]) -> str:
    """Return the path of a file that runs of tests share; it is whole as soon as it is there."""
    folder = Path(tempfile.gettempdir()) / f"xtranscode-kernel-files-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    unfinished = folder / f"{os.getpid()}-{name}"
    return str(write(unfinished).replace(folder / name))


_random = np.random.default_rng(20)
CUBE = _made("wild.cube", lambda path: write_cube(path, _random.uniform(-0.5, 2, (5, 5, 5, 3))))
CURVES = _made("curves.cube", lambda path: write_cube(path, _random.uniform(0, 1, (9, 3))))
PICTURE = _made(
    "noise.png",
    lambda path: write_picture(path, _random.integers(0, 256, (7, 30, 4), np.uint8), "rgba"),
)
COEFFICIENTS = _made(
    "coefficients.txt",
    lambda path: write_coefficients(path, *(random_coefficients(_random) for _ in range(2))),
)
