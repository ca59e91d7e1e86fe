"""What `tone_map` takes beside its parameters: tables of light, and what the picture becomes.

The method, with black at 0 on all displays:

1. Signals become light: by the EOTF of PQ, or the inverse OETF of HLG and the OOTF of its system
   gamma.
2. All three are scaled by what the EETF of Report ITU-R BT.2390-8 clause 5.4.1 makes of the
   highest of them ("maxRGB" of Report ITU-R BT.2408-7 annex 5). Their ratios stay, and with them
   the hue; nor does any exceed the target's peak, as some do where luminance is what is mapped.
3. Light of BT.2020's primaries becomes light of BT.709's; what lies outside 0 to 1 is clipped.
4. Light becomes signals by the inverse of BT.1886, the EOTF that SDR is seen with. A picture that
   was mastered on a display is to look alike on the other one, so that the OETF of BT.709, which is
   that of cameras, has no part in it.
"""

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bridges.errors import KernelError
from bridges.formats import PIXEL_FORMATS, ColourModel, PixelFormat
from bridges.frame import ColourRange, FrameInfo, Matrix
from bridges.kernels.colour import WHITE
from bridges.kernels.families.hdr import (
    PQ_PEAK,
    Array,
    bt1886_signal,
    eetf,
    hlg_gamma,
    hlg_scene,
    pq_light,
    pq_signal,
    primaries_matrix,
)
from bridges.kernels.kernel import Kernel

__all__ = ["note", "output", "prepare"]

_TRANSFERS = {16: "pq", 18: "hlg"}
_BT709, _UNSPECIFIED, _BT2020 = 1, 2, 9
"""Numbers of H.273 tables 2 and 3."""

_STEP = 1 << 9
"""The places of a table are this far apart."""


def prepare(
    _kernel: Kernel, info: FrameInfo, /, *, peak: float, target: float, transfer: str, **_: Any
) -> tuple[np.int32 | npt.NDArray[Any], ...]:
    """Return whether the picture is HLG, and the tables of the kernel.

    Returns
    -------
    is_hlg : numpy.int32
        1 or 0.
    lights : numpy.ndarray
        ``(65536,)`` of ``uint32``: light of each code as ``m << 4 | s``, which stands for
        ``m / 2**(28 + s)`` of PQ's 10000 cd/m2, or of the whole scene.
    ootf : numpy.ndarray
        ``uint32`` with 26 fractional bits: by luminance of the scene, what light is scaled with.
    gains : numpy.ndarray
        ``uint32`` with 24 fractional bits: by the highest signal (PQ) or light (HLG), what makes
        light in units of the target's white.
    weights : numpy.ndarray
        ``(9,)`` of ``int32`` with 30 fractional bits: what makes BT.709's red, green and blue.
    signals : numpy.ndarray
        ``uint32``: by light, the code with 3 fractional bits, above 13 bits of how far it is to
        the next one, with 5 fractional bits.

    Raises
    ------
    KernelError
        The picture is neither PQ nor HLG, or not of BT.2020's primaries.
    """
    if _transfer(info, transfer) == "hlg":
        return np.int32(1), *_hlg_tables(peak, target), *_sdr_tables()
    return np.int32(0), *_pq_tables(peak, target), *_sdr_tables()


def output(
    _kernel: Kernel, info: FrameInfo, /, *, transfer: str, format: str, **_: Any
) -> FrameInfo:
    """Return the picture as SDR: primaries, transfer and matrix of BT.709; RGB stays RGB.

    Raises
    ------
    KernelError
        The picture is neither PQ nor HLG, or not of BT.2020's primaries, or the format is none of
        the same colour model.
    """
    _transfer(info, transfer)
    layout = info.format if format == "auto" else _target(info.format, format)
    matrix = Matrix.RGB if layout.model is ColourModel.RGB else Matrix.BT709
    colour = replace(info.colour, primaries=_BT709, transfer=_BT709, matrix=matrix)
    if layout is not info.format:
        full = info.is_full_range or layout.full_range
        colour = replace(colour, range=ColourRange.FULL if full else ColourRange.LIMITED)
    return replace(info, format=layout, colour=colour)


def _target(source: PixelFormat, name: str) -> PixelFormat:
    found = PIXEL_FORMATS.get(name)
    if found is None or found.model is not source.model:
        alike = [each.name for each in PIXEL_FORMATS.values() if each.model is source.model]
        raise KernelError(
            f"tone_map makes {source.model.name} of {source.name}, got format={name!r}; take one "
            f"of {' '.join(alike)}"
        )
    return found


def note(
    _kernel: Kernel, info: FrameInfo, /, *, peak: float, target: float, transfer: str, **_: Any
) -> str:
    """Return which displays were assumed, and what the picture does not say of itself."""
    code = _transfer(info, transfer)
    said = [f"{code.upper()} of {peak:g} cd/m2 shown on {target:g} cd/m2"]
    if info.colour.primaries == _UNSPECIFIED:
        said.append("untagged primaries taken as BT.2020")
    if _TRANSFERS.get(info.colour.transfer) != code:
        said.append(f"in spite of transfer {info.colour.transfer}, which it is tagged with")
    return "; ".join(said)


def _transfer(info: FrameInfo, told: str) -> str:
    """Return ``"pq"`` or ``"hlg"``, and refuse what has other primaries than BT.2020's."""
    colour = info.colour
    found = _TRANSFERS.get(colour.transfer) if told == "auto" else told
    if found is None:
        tagged = "untagged" if colour.transfer == _UNSPECIFIED else "tagged with another"
        raise KernelError(
            f"tone_map reads pictures tagged with transfer 16 (PQ) or 18 (HLG) of H.273, this one "
            f"is {tagged} (transfer {colour.transfer}); SDR needs no tone mapping, and HDR that "
            "is not tagged so takes transfer=pq or transfer=hlg"
        )
    if colour.primaries not in (_BT2020, _UNSPECIFIED):
        raise KernelError(
            f"tone_map reads BT.2020 primaries (9 in H.273), got a picture tagged with primaries "
            f"{colour.primaries}; tag it with those that it has"
        )
    return found


@functools.lru_cache(4)
def _pq_tables(peak: float, target: float) -> tuple[npt.NDArray[np.uint32], ...]:
    lights = pq_light(np.arange(WHITE + 1) / WHITE) / PQ_PEAK
    # Nothing is bright in black: its gain is that of what is next to it.
    signals = np.maximum(np.arange(WHITE + 1), 1) / WHITE
    gains = pq_light(eetf(signals, peak, target)) / pq_light(signals) * (PQ_PEAK / target)
    return _shifted(lights), _table(np.ones(2), 26), _table(gains, 24)


@functools.lru_cache(4)
def _hlg_tables(peak: float, target: float) -> tuple[npt.NDArray[np.uint32], ...]:
    lights = hlg_scene(np.arange(WHITE + 1) / WHITE)
    places = np.maximum(_light_of_places(), 0.5 / (1 << 30))
    ootf = places ** (hlg_gamma(peak) - 1)
    signals = pq_signal(places * peak)
    gains = pq_light(eetf(signals, peak, target)) / (places * target)
    return _shifted(lights), _table(ootf, 26), _table(gains, 24)


@functools.cache
def _sdr_tables() -> tuple[npt.NDArray[Any], ...]:
    weights: list[int] = []
    for row in primaries_matrix():
        rounded = [round(weight * (1 << 30)) for weight in row]
        own = len(weights) // 3
        # White stays white.
        rounded[own] += (1 << 30) - sum(rounded)
        weights += rounded
    return _constant(np.array(weights, np.int32)), _signals()


def _signals() -> npt.NDArray[np.uint32]:
    codes = WHITE * bt1886_signal(np.minimum(_light_of_places(), 1))
    values = np.floor(codes * 8 + 0.5)
    steps = np.floor((np.append(codes[1:], codes[-1]) - values / 8) * 32 + 0.5)
    return _constant(values.astype(np.uint32) << np.uint32(13) | steps.astype(np.uint32))


def _light_of_places() -> Array:
    """Return light, 1 being ``2**30``, of each entry of a table over its logarithm: 0 to 2."""
    codes = np.arange(26 * (1 << 16) // _STEP + 1) * _STEP
    octave = np.maximum(codes >> 16, 1)
    mantissas = (codes - ((octave - 1) << 16)).astype(np.float64)
    light: Array = np.ldexp(mantissas, octave - 1 - 10 - 30)
    return light


def _shifted(lights: Array) -> npt.NDArray[np.uint32]:
    """Return 28 bits of each, without leading zeros as far as 4 bits can tell their place."""
    shifts = np.clip(-np.frexp(lights)[1], 0, 15)
    bits = np.minimum(np.floor(np.ldexp(lights, shifts + 28) + 0.5), (1 << 28) - 1)
    return _constant((bits.astype(np.uint32) << np.uint32(4)) | shifts.astype(np.uint32))


def _table(values: Array, fraction: int) -> npt.NDArray[np.uint32]:
    return _constant(np.floor(np.ldexp(values, fraction) + 0.5).astype(np.uint32))


def _constant(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an array that is shared from now on."""
    array.flags.writeable = False
    return array
