"""VP9 streams that test a decoder, made on demand as IVF files.

Most come from ffmpeg's libvpx. What no encoder makes on request is made here: a change of the
resolution between key frames by ``vp9_resized.c``, and intra-only frames out of key frames.
"""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FRAMES", "STREAMS", "make"]

FRAMES = 12
"""How many each stream shows, unless `STREAMS` says otherwise."""
_RESIZED = Path(__file__).with_name("vp9_resized.c")
_FAST = ("-deadline", "realtime", "-cpu-used", "8", "-b:v", "300k")
_TEN_BITS = ("-pix_fmt", "yuv420p10le")
# A hidden frame that was filtered is coded anew where it is to be seen. One that was not is shown.
_HIDDEN = ("-auto-alt-ref", "6", "-lag-in-frames", "20", "-arnr-maxframes", "0", "-cpu-used", "5")
# Nothing is predicted from how the frame before was coded: it may be replaced.
_REPLACEABLE = ("-error-resilient", "1", "-g", "4", "-lag-in-frames", "0")


def _ffmpeg(*arguments: str | Path) -> str:
    """Run ffmpeg; return what it says."""
    command = ["ffmpeg", "-hide_banner", "-nostdin", "-y", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=100).stderr


def _encode(path: Path, size: str, *options: str, frames: int = FRAMES) -> None:
    # In RGB, since with 4:2:0 the source rounds sizes down to even ones.
    source = ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25,format=rgb24")
    encoder = ("-frames:v", str(frames), "-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p", *options)
    _ffmpeg("-v", "error", *source, *encoder, "-f", "ivf", path)


def _encode_twice(path: Path, size: str, *options: str, frames: int) -> None:
    """Encode in two passes, as hidden frames that are shown later need it."""
    for number in ("1", "2"):
        passes = ("-pass", number, "-passlogfile", str(path))
        _encode(path, size, *_HIDDEN, *passes, *options, frames=frames)


def _read_packets(path: Path) -> list[bytes]:
    data, packets, position = path.read_bytes(), [], 32
    while position < len(data):
        (size,) = struct.unpack_from("<I", data, position)
        packets.append(data[position + 12 : position + 12 + size])
        position += 12 + size
    return packets


def _write_packets(path: Path, header: bytes, packets: list[bytes]) -> None:
    entries = (struct.pack("<IQ", len(data), i) + data for i, data in enumerate(packets))
    path.write_bytes(header + b"".join(entries))


def _header_bits(path: Path) -> int:
    """Return how long the uncompressed header of the first frame is, as ffmpeg reads it."""
    said = _ffmpeg("-i", path, "-c", "copy", "-bsf:v", "trace_headers", "-frames:v", "1",
                   "-f", "null", "-")  # fmt: skip
    last = re.search(r"(\d+) +header_size_in_bytes", said)
    assert last
    return int(last[1]) + 16


def _as_intra_only(key: bytes, bits: int, profile: int) -> bytes:
    """Return a key frame as a hidden intra-only one, which refreshes every slot.

    Their headers differ at the beginning only (VP9 specification, 6.2), and what follows them is
    coded alike.
    """
    header = f"{int.from_bytes(key[: -(-bits // 8)], 'big'):0{-(-bits // 8) * 8}b}"
    marker, sync, rest = header[:4], header[8:32], header[32:bits]
    show_existing, is_inter, is_shown, is_resilient, is_intra_only = "0", "1", "0", "1", "1"
    colour = rest[:5] if profile == 2 else ""
    frame = rest[5 if profile == 2 else 4 :]
    flags = show_existing + is_inter + is_shown + is_resilient + is_intra_only
    changed = marker + flags + sync + colour + "1" * 8 + frame
    changed += "0" * (-len(changed) % 8)
    return int(changed, 2).to_bytes(len(changed) // 8, "big") + key[-(-bits // 8) :]


def _intra_only(path: Path, size: str, profile: int, *options: str) -> None:
    """Replace the second key frame, and show it by a frame of its own."""
    _encode(path, size, *_FAST, *_REPLACEABLE, *options)
    header, packets = path.read_bytes()[:32], _read_packets(path)
    show_slot_0 = bytes([0b1000_1000 | profile >> 1 << 4])
    _write_packets(path, header, packets[4:])
    packets[4:5] = [_as_intra_only(packets[4], _header_bits(path), profile), show_slot_0]
    _write_packets(path, header, packets)


def _resized(path: Path) -> None:
    program = path.with_suffix(".program")
    command = ["gcc", "-O1", "-o", program, _RESIZED, "-lvpx"]
    subprocess.run(command, check=True, capture_output=True, timeout=100)
    subprocess.run([program, path], check=True, timeout=100)


STREAMS: dict[str, tuple[str, int, Callable[[Path], None]]] = {
    "8-bit": ("nv12", FRAMES, lambda path: _encode(path, "322x178", *_FAST)),
    "10-bit": ("p010le", FRAMES, lambda path: _encode(path, "322x178", *_FAST, *_TEN_BITS)),
    "8-bit-odd": ("nv12", FRAMES, lambda path: _encode(path, "35x17", *_FAST)),
    "10-bit-odd": ("p010le", FRAMES, lambda path: _encode(path, "35x17", *_FAST, *_TEN_BITS)),
    "hidden": ("nv12", 40, lambda path: _encode_twice(path, "162x90", frames=40)),
    "10-bit-hidden": (
        "p010le", 24, lambda path: _encode_twice(path, "162x90", *_TEN_BITS, frames=24)
    ),
    "resized": ("nv12", 24, _resized),
    "intra-only": ("nv12", FRAMES, lambda path: _intra_only(path, "98x50", 0)),
    "10-bit-intra-only": ("p010le", FRAMES, lambda path: _intra_only(path, "98x50", 2, *_TEN_BITS)),
}  # fmt: skip
"""Of each stream, the format that its frames are decoded to, how many it shows, its maker."""


def make(name: str, folder: Path) -> Path:
    """Return a stream of `STREAMS`, made if it is not in the folder yet."""
    path = folder / f"{name}.ivf"
    if not path.exists():
        STREAMS[name][2](path)
    return path
