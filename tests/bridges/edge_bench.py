"""One edge between two contexts of this machine, and how to look at either side."""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
from fractions import Fraction
from pathlib import Path

import numpy as np

from bridges import Colour, ColourRange, FrameInfo, MapperChain, Matrix
from bridges.errors import NoRouteError
from bridges.formats import pixel_format
from bridges.routes import EDGES, load_edges
from tests.bridges.memories import memory_of
from tests.helpers.require import require

FORMATS = ("rgb24", "gray", "nv12", "yuv420p", "yuv422p10le", "p010le", "gray16le", "bgra")
SIZES = ((1, 1), (5, 3), (64, 36), (127, 95))
COLOUR = Colour(Matrix.BT2020_NCL, ColourRange.FULL, primaries=9, transfer=16)


def info_of(name, size):
    return FrameInfo(pixel_format(name), *size, COLOUR, pts=4321, time_base=Fraction(1001, 30000))


def samples_of(info, seed):
    random = np.random.default_rng(seed)
    top = 1 << info.format.bits
    return [
        (random.integers(0, top, plane.shape) << info.format.shift).astype(plane.dtype)
        for plane in info.planes
    ]


def equal(found, expected):
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


def derived(source, target):
    """Yield what the two ends make of each other: contexts of one device."""
    with contextlib.suppress(NoRouteError):
        yield source, source.derive(target.memory_type)
    with contextlib.suppress(NoRouteError):
        yield target.derive(source.memory_type), target


class EdgeBench:
    """Finds contexts that an edge takes, makes frames for it, and looks at both sides."""

    def __init__(self, declared):
        self.source = memory_of(declared.source)
        self.target = memory_of(declared.target)
        pairs = [
            (one, other) for one in self.source.contexts() for other in self.target.contexts(one)
        ]
        # Not before: an edge imports the frameworks of both its ends.
        load_edges([declared.source, declared.target])
        self.edge = next(
            edge
            for edge in EDGES
            if (edge.source, edge.target) == (declared.source, declared.target)
            and edge.function.__name__ == declared.name
        )
        assert self.edge.copies == declared.copies
        reasons = []
        made = (pair for one, other in pairs for pair in derived(one, other))
        for pair in itertools.chain(pairs, made):
            reason = self.edge.refusal(*pair)
            if not reason:
                self.contexts = pair
                self.mapper = MapperChain([self.edge], pair)
                return
            reasons.append(reason)
        require(
            f"{declared.source.name}>{declared.target.name}".lower(),
            False,
            "; ".join(dict.fromkeys(reasons)),
        )

    def info(self, name="rgb24", size=(64, 36)):
        """Return what a frame is, in the asked format or the first one that both sides take."""
        for each in (name, *FORMATS):
            info = info_of(each, size)
            if self.source.takes(info) and self.target.takes(info):
                return info
        raise AssertionError("no format fits both ends")

    def infos(self):
        for name, size in itertools.product(FORMATS, SIZES):
            info = info_of(name, size)
            if self.source.takes(info) and self.target.takes(info):
                yield info

    def frame(self, info, seed=1, padding=0):
        return self.source.frame(self.contexts[0], info, samples_of(info, seed), padding)

    def state(self):
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return (
            pages * os.sysconf("SC_PAGE_SIZE"),
            len(os.listdir("/proc/self/fd")),
            self.source.alive(),
            self.target.alive(),
        )
