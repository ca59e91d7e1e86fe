"""Jobs: what to read, what to do with it, and what to write."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from os import PathLike, fspath
from typing import Any, Literal, get_args

from bridges.device import DeviceName
from transcode.errors import JobError

__all__ = [
    "DECODING",
    "AudioOptions",
    "DamageMode",
    "Job",
    "Output",
    "VerifyMode",
    "VideoOptions",
    "parse_audio",
    "parse_bit_rate",
    "parse_rate",
    "parse_size",
    "parse_time",
]

DECODING = ("vaapi", "cuda")
"""Kinds of devices, of those in `bridges.device`, that decode video."""

VerifyMode = Literal["none", "fast", "full"]
DamageMode = Literal["fail", "keep"]


@dataclass(frozen=True, kw_only=True)
class VideoOptions:
    """How the video of an output is encoded.

    Attributes
    ----------
    codec : str
        Name of a PyAV encoder.
    preset, profile : str or None
        As the encoder names them.
    crf : float or None
        Constant quality, in the encoder's own scale.
    bit_rate : int or None
        Bits per second.
    gop_size : int or None
        Largest distance of two key frames, in frames.
    pix_fmt : str or None
        libav's name; by default the one nearest to the source that the encoder takes.
    size : tuple of int or None
        Width and height in pixels; one of them may be -2: even, keeping the display aspect.
    fps : Fraction or None
        Frames per second of a constant-rate output; by default the source's own times are kept.
    options : mapping of str to str
        Further options of the encoder, passed on as they are.
    """

    codec: str = "libx264"
    preset: str | None = None
    profile: str | None = None
    crf: float | None = None
    bit_rate: int | None = None
    gop_size: int | None = None
    pix_fmt: str | None = None
    size: tuple[int, int] | None = None
    fps: Fraction | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _set(self, "fps", self.fps, parse_rate)
        _set(self, "bit_rate", self.bit_rate, parse_bit_rate)
        texts = {str(key): str(value) for key, value in dict(self.options).items()}
        object.__setattr__(self, "options", texts)
        if self.size is not None:
            _check_size(self.size)
        if self.fps is not None and self.fps <= 0:
            raise JobError(f"fps must be above 0, got {self.fps}")
        if self.bit_rate is not None and self.bit_rate <= 0:
            raise JobError(f"bit rate must be above 0, got {self.bit_rate}")
        if self.gop_size is not None and self.gop_size < 0:
            raise JobError(f"GOP size must not be negative, got {self.gop_size}")
        if self.gop_size is not None and self.gop_size >= 1 << 31:
            raise JobError(f"GOP size is at most {(1 << 31) - 1} frames, got {self.gop_size}")

    def size_of(self, width: int, height: int) -> tuple[int, int]:
        """Return the size in pixels that is asked for of pictures of some width and height."""
        wanted = self.size or (width, height)
        if wanted[0] == -2:
            return max(2, 2 * round(Fraction(width * wanted[1], height * 2))), wanted[1]
        if wanted[1] == -2:
            return wanted[0], max(2, 2 * round(Fraction(height * wanted[0], width * 2)))
        return wanted


@dataclass(frozen=True, kw_only=True)
class AudioOptions:
    """How audio is carried: ``codec`` is ``"copy"``, ``"none"`` or a PyAV encoder's name.

    Attributes
    ----------
    codec : str
        What to do with every audio track.
    bit_rate : int or None
        Bits per second of each track, where it is encoded.
    """

    codec: str = "copy"
    bit_rate: int | None = None

    def __post_init__(self) -> None:
        if self.bit_rate is not None and self.codec in ("copy", "none"):
            raise JobError(f"audio {self.codec} takes no bit rate; name an encoder, such as aac")


@dataclass(frozen=True)
class Output:
    """One file to write.

    Attributes
    ----------
    path : str or path-like
        Where to; ``"-"`` is standard output, which needs ``format``.
    format : str or None
        libav's name of the container; by default from the path's ending.
    video : VideoOptions
        How its video is encoded.
    audio : AudioOptions
        How its audio is carried.
    """

    path: str | PathLike[str]
    format: str | None = field(default=None, kw_only=True)
    video: VideoOptions = field(default_factory=VideoOptions, kw_only=True)
    audio: AudioOptions = field(default_factory=AudioOptions, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", fspath(self.path))
        if isinstance(self.audio, str):
            object.__setattr__(self, "audio", parse_audio(self.audio))
        for name, kind in (("video", VideoOptions), ("audio", AudioOptions)):
            if not isinstance(getattr(self, name), kind):
                raise JobError(f"{name} takes {kind.__name__}, got {getattr(self, name)!r}")
        if not self.path:
            raise JobError("the output has no name")
        if "\0" in str(self.path):
            raise JobError(f"{self.path!r} is no file name")
        if self.path == "-" and self.format is None:
            raise JobError("standard output needs a container: say --format matroska, for example")

    @property
    def name(self) -> str:
        """What messages call it."""
        return "standard output" if self.is_stdout else str(self.path)

    @property
    def is_stdout(self) -> bool:
        """Whether this output is the process's standard output."""
        return self.path == "-"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One transcode, from one source.

    Video goes through these steps, in this order: trim, ``vf``, ``filters``, size, frame rate,
    pixel format, encoder.

    Attributes
    ----------
    source : str or path-like
        What to read; ``"-"`` is standard input.
    outputs : tuple of Output
        What to write: exactly one for now.
    vf : str or None
        A libavfilter chain, as ``ffmpeg -vf`` takes it.
    filters : tuple of str
        Kernels by name, each with its parameters: ``"rgb_to_grayscale"``.
    start, duration : Fraction or None
        In seconds from the source's first time stamp. The first frame kept is the first at or
        after ``start``; the last is the last before ``start + duration``.
    device : str
        Where kernels run; see `bridges.device.DeviceName`. A ``cuda`` or ``vaapi`` device decodes,
        scales and encodes too, and its frames are shown to kernels where they are.
    software_fallback : bool
        Whether software decodes what such a device cannot.
    verify : {"none", "fast", "full"}
        What is checked before the output is published: nothing; every packet, time and tag; or
        that and every frame decoded.
    damaged : {"fail", "keep"}
        What to do about a source that breaks off, or a packet that cannot be decoded: fail at
        once, or keep the frames that are good and count the rest.
    overwrite : bool
        Whether a file that stands under an output's name may be replaced.
    """

    source: str | PathLike[str]
    outputs: tuple[Output, ...]
    vf: str | None = None
    filters: tuple[str, ...] = ()
    start: Fraction | None = None
    duration: Fraction | None = None
    device: str = "auto"
    software_fallback: bool = False
    verify: VerifyMode = "fast"
    damaged: DamageMode = "fail"
    overwrite: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", fspath(self.source))
        object.__setattr__(self, "outputs", tuple(self.outputs))
        filters: object = self.filters
        if isinstance(filters, str):
            raise JobError(f"filters takes a list of texts, got the text {filters!r}")
        object.__setattr__(self, "filters", tuple(self.filters))
        _set(self, "start", self.start, parse_time)
        _set(self, "duration", self.duration, parse_time)
        if len(self.outputs) != 1:
            raise JobError(f"a job has exactly one output, got {len(self.outputs)}")
        if self.start is not None and self.start < 0:
            raise JobError(f"start must not be negative, got {float(self.start)} s")
        if self.duration is not None and self.duration <= 0:
            raise JobError(f"duration must be above 0, got {float(self.duration)} s")
        if self.verify not in get_args(VerifyMode):
            raise JobError(f"verify is one of {get_args(VerifyMode)}, got {self.verify!r}")
        if self.damaged not in get_args(DamageMode):
            raise JobError(f"damaged is one of {get_args(DamageMode)}, got {self.damaged!r}")
        if not isinstance(self.device, str):
            raise JobError(f"device takes a text such as 'opencl', got {self.device!r}")
        if DeviceName.parse(self.device).kind not in DECODING and self.software_fallback:
            raise JobError(
                f"software decodes anyway with device {self.device!r}; leave software_fallback "
                "out, or name a cuda or vaapi device"
            )


def _set(
    target: object, name: str, value: Any, parse: Callable[[str], Fraction] | Callable[[str], int]
) -> None:
    """Take a number or a text where a field holds an exact number.

    Raises
    ------
    JobError
        The value is neither, or the text has another form.
    """
    if isinstance(value, str):
        value = parse(value)
    elif isinstance(value, float):
        # As it is written, not as it is stored: 29.97 and not 8435806...
        value = parse(repr(value)) if name == "fps" else Fraction(repr(value))
    elif isinstance(value, int) and name != "bit_rate":
        value = Fraction(value)
    elif value is not None and not isinstance(value, (int, Fraction)):
        raise JobError(f"{name} takes a number or a text, got {value!r}")
    object.__setattr__(target, name, value)


def _check_size(size: tuple[int, int]) -> None:
    if size.count(-2) > 1 or any(side != -2 and not 0 < side <= 16384 for side in size):
        raise JobError(
            f"size {size[0]}x{size[1]}: each side is 1 to 16384 pixels, and one of them may be -2"
        )


def parse_size(text: str) -> tuple[int, int]:
    """Parse ``"1280x720"`` or ``"1280x-2"`` into width and height in pixels.

    Raises
    ------
    JobError
        The text has another form, or a side is out of range.
    """
    match = re.fullmatch(r"(-2|\d{1,9})[xX:](-2|\d{1,9})", text.strip())
    if match is None:
        raise JobError(f"size {text!r} has the form 1280x720, or 1280x-2 to keep the aspect")
    size = int(match[1]), int(match[2])
    _check_size(size)
    return size


_NAMED_RATES = {
    "ntsc": Fraction(30000, 1001),
    "pal": Fraction(25),
    "film": Fraction(24),
    "ntsc-film": Fraction(24000, 1001),
}
_BROADCAST_RATES = {
    "23.976": Fraction(24000, 1001),
    "23.98": Fraction(24000, 1001),
    "29.97": Fraction(30000, 1001),
    "47.95": Fraction(48000, 1001),
    "59.94": Fraction(60000, 1001),
    "119.88": Fraction(120000, 1001),
}


def parse_rate(text: str) -> Fraction:
    """Parse a frame rate: ``"25"``, ``"30000/1001"``, ``"29.97"`` (which is 30000/1001), ``"pal"``.

    Raises
    ------
    JobError
        The text is no number above 0.
    """
    key = text.strip().lower()
    named = _NAMED_RATES.get(key) or _BROADCAST_RATES.get(key.rstrip("0") if "." in key else key)
    if named is not None:
        return named
    try:
        rate = Fraction(key)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 100_000:
        raise JobError(f"frame rate {text!r} has the form 25, 29.97 or 30000/1001")
    return rate


def parse_time(text: str) -> Fraction:
    """Parse seconds, exactly: ``"90"``, ``"1.5"``, ``"1:30"``, ``"00:01:30.250"``.

    Raises
    ------
    JobError
        The text has another form.
    """
    match = re.fullmatch(r"(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,12}(?:\.\d{1,12})?)", text.strip())
    if match is None:
        raise JobError(f"time {text!r} has the form 90, 1.5, 1:30 or 00:01:30.250")
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + Fraction(seconds)


def parse_bit_rate(text: str) -> int:
    """Parse ``"800000"``, ``"800k"`` or ``"2.5M"`` into bits per second.

    Raises
    ------
    JobError
        The text has another form, or is 0.
    """
    match = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([kKmM]?)", text.strip())
    factor = {"": 1, "k": 1000, "m": 1_000_000}
    rate = int(Fraction(match[1]) * factor[match[2].lower()]) if match else 0
    if rate <= 0:
        raise JobError(f"bit rate {text!r} has the form 800000, 800k or 2.5M")
    return rate


def parse_audio(text: str) -> AudioOptions:
    """Parse ``"copy"``, ``"none"``, ``"aac"`` or ``"aac:128k"``.

    Raises
    ------
    JobError
        There is no codec name, or a bit rate follows ``copy`` or ``none``.
    """
    codec, colon, rate = text.strip().partition(":")
    if not codec:
        raise JobError(f"audio {text!r} has the form copy, none, aac or aac:128k")
    return AudioOptions(codec=codec, bit_rate=parse_bit_rate(rate) if colon else None)
