"""What the real libxma2api does on the host alone: frames, side data, data buffers.

Each function runs in a child process and returns what the library said, as plain numbers. XRT's own
library for cards serves there: no device is opened.
"""

from __future__ import annotations

import json

from tests.xma_plugins.noop import build, needs_noop, run

_PREAMBLE = """
import ctypes as c, json, sys
c.CDLL(f"{sys.argv[1]}/noop_card.so", mode=c.RTLD_GLOBAL)
from xma_plugins.native import libxma2api
from xma_plugins.native.structures import BufferRef, Frame, FrameProperties
xma = libxma2api.load()

def props(format, width, height):
    return FrameProperties(format, width, height, (c.c_int32 * 3)(width, width, width), 8)

# malloc_usable_size tells what a plane got at least.
libc = c.CDLL(None)
libc.malloc_usable_size.argtypes = [c.c_void_p]
libc.malloc_usable_size.restype = c.c_size_t
"""


def _ask(folder, code):
    out = run(_PREAMBLE + code + "\nprint(json.dumps(answer))\nprint('done')", folder, folder)
    return json.loads(out.split("\n", 1)[0])


def prepare(folder):
    """Compile what the child needs into a folder, which the other functions take."""
    needs_noop()
    build("noop_card.c", folder)
    return folder


def plane_counts(folder):
    """Return how many planes each pixel format has, from 0 on."""
    code = "answer = [xma.xma_frame_planes_get(props(f, 64, 48)) for f in range(10)]"
    return _ask(folder, code)


def allocated_frames(folder, asked):
    """Return, for each format, width, height and dummy that is asked for, what a new frame says.

    That is a list for each of the three planes: references, type of buffer, whether it has memory,
    and how many bytes of that there are at least; or None where the library refuses.
    """
    return _ask(
        folder,
        f"""
def new_frame(pixels, width, height, dummy):
    frame = xma.xma_frame_alloc(props(pixels, width, height), dummy)
    if not frame:
        return None
    planes = [
        [p.refcount, p.buffer_type, bool(p.buffer),
         libc.malloc_usable_size(p.buffer) if p.buffer else 0]
        for p in frame.contents.data
    ]
    xma.xma_frame_free(frame)
    return planes
answer = [new_frame(*each) for each in {[(int(pixels), *rest) for pixels, *rest in asked]}]
""",
    )


def side_data_counts(folder):
    """Return the reference counts of side data, step by step; see the code for the steps."""
    return _ask(
        folder,
        """
answer = {}
frame = xma.xma_frame_alloc(props(1, 16, 16), True)
content = c.create_string_buffer(b"abcd", 4)
one = xma.xma_side_data_alloc(content, 0, 4, 0)
count = xma.xma_side_data_get_refcount
answer["made"] = count(one)
answer["size"] = xma.xma_side_data_get_size(one)
answer["copied"] = xma.xma_side_data_get_buffer(one) != c.addressof(content)
answer["content"] = c.string_at(xma.xma_side_data_get_buffer(one), 4).decode()
answer["add"] = xma.xma_frame_add_side_data(frame, one)
answer["added"] = count(one)
answer["found"] = xma.xma_frame_get_side_data(frame, 0) == one
answer["other kind"] = xma.xma_frame_get_side_data(frame, 2) is None
answer["inc"] = xma.xma_side_data_inc_ref(one)
answer["dec"] = xma.xma_side_data_dec_ref(one)
two = xma.xma_side_data_alloc(content, 0, 4, 1)
answer["borrowed"] = xma.xma_side_data_get_buffer(two) == c.addressof(content)
xma.xma_frame_add_side_data(frame, two)
answer["replaced"] = [count(one), count(two)]
answer["remove"] = xma.xma_frame_remove_side_data(frame, two)
answer["removed"] = [count(two), xma.xma_frame_get_side_data(frame, 0) is None]
answer["remove twice"] = xma.xma_frame_remove_side_data_type(frame, 0)
xma.xma_frame_add_side_data(frame, one)
three = xma.xma_side_data_alloc(content, 2, 4, 0)
xma.xma_frame_add_side_data(frame, three)
xma.xma_frame_clear_all_side_data(frame)
answer["cleared"] = [count(one), count(three)]
answer["last"] = xma.xma_side_data_dec_ref(three)
xma.xma_side_data_free(one)
xma.xma_side_data_free(two)
xma.xma_frame_free(frame)
""",
    )


def data_buffers(folder, asked):
    """Return, for each size and dummy that is asked for, what a new data buffer says.

    That is references, type, whether there is memory, size, end mark, time and order.
    """
    return _ask(
        folder,
        f"""
def new_buffer(nbytes, dummy):
    data = xma.xma_data_buffer_alloc(nbytes, dummy)
    d = data.contents
    says = [
        d.data.refcount, d.data.buffer_type, bool(d.data.buffer), d.alloc_size, d.is_eof, d.pts,
        d.poc,
    ]
    xma.xma_data_buffer_free(data)
    return says
answer = [new_buffer(*each) for each in {list(asked)}]
""",
    )
