"""The fields of a manifest: tables of what there is, mostly parsed as on the command line."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, get_args

from bridges.device import DEVICE_KINDS, DeviceName
from transcode.errors import JobError
from transcode.job import (
    AudioOptions,
    DamageMode,
    VerifyMode,
    VideoOptions,
    parse_audio,
    parse_bit_rate,
    parse_rate,
    parse_size,
    parse_time,
)
from transcode.manifest_shape import Either, ListOf, MapOf, Matrix, Record, Value, any_case, choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from transcode.manifest_shape import Shape

__all__ = [
    "AUDIO",
    "JOB",
    "LIMITS",
    "LISTS",
    "MATRIX",
    "OUTPUT",
    "PROFILE",
    "PROFILE_NAME",
    "SETTINGS",
    "TOP",
    "VIDEO",
    "parse_bytes",
    "parse_target",
]

_NUMBER = r"[+-]?(?:[0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})(?:[eE][+-]?[0-9]{1,2})?"
_WHOLE = "[0-9]{1,15}"
_ABOVE_0 = "0*[1-9][0-9]{0,14}"
_CARDS = r"[0-9]{1,9}(?:\.[0-9]{1,9})?|[0-9]{1,9}/[0-9]{1,9}"
_BYTES = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([kKmMgGtT]?)"
_TIME = r"\s*(?:(?:[0-9]{1,6}:)?[0-9]{1,6}:)?[0-9]{1,12}(?:\.[0-9]{1,12})?\s*"
_BIT_RATE = r"\s*[0-9]{1,12}(?:\.[0-9]{1,6})?[kKmM]?\s*"
_SIZE = r"\s*(?:-2|[0-9]{1,9})[xX:](?:-2|[0-9]{1,9})\s*"
_RATES = "|".join(any_case(word) for word in ("ntsc", "pal", "film", "ntsc-film"))
_RATE = rf"\s*(?:{_RATES}|\+?[0-9_]*\.?[0-9_]*(?:[eE][+-]?[0-9_]+)?(?:/[0-9_]+)?)\s*"
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_FLAG = "|".join(any_case(word) for word in _FLAGS)
_DEVICE = rf"\s*(?:{'|'.join(any_case(kind) for kind in DEVICE_KINDS)})(?:\s*|:[\s\S]+)"


def _number(text: str) -> float:
    if not re.fullmatch(_NUMBER, text):
        raise JobError(f"{text!r} is no number")
    return float(text)


def _whole(text: str) -> int:
    if not re.fullmatch(_WHOLE, text):
        raise JobError(f"{text!r} is no whole number")
    return int(text)


def _above_0(text: str) -> int:
    if not re.fullmatch(_ABOVE_0, text):
        raise JobError(f"{text!r} is no whole number above 0")
    return int(text)


def _cards(text: str) -> Fraction:
    match = re.fullmatch(_CARDS, text)
    cards = Fraction(0)
    if match and not re.search("/0+$", text):
        cards = Fraction(text)
    if not 0 < cards <= 1_000_000:
        raise JobError(f"{text!r} is no number of cards, such as 2.5")
    return cards


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise JobError(f"{text!r} is neither true nor false")
    return _FLAGS[text.lower()]


def _device(text: str) -> str:
    return str(DeviceName.parse(text))


def _duration(text: str) -> Fraction:
    seconds = parse_time(text)
    if not seconds:
        raise JobError(f"{text!r} is no time above 0")
    return seconds


def _seconds(text: str) -> float:
    return float(_duration(text))


def parse_bytes(text: str) -> int:
    """Parse ``"4G"``, ``"512M"``, ``"1.5g"`` or ``"1000000"`` into bytes; a K is 1024 of them.

    Raises
    ------
    JobError
        The text has another form, or is less than a byte.
    """
    match = re.fullmatch(_BYTES, text.strip())
    count = int(Fraction(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " ")) if match else 0
    if count <= 0:
        raise JobError(f"memory {text!r} has the form 4G, 512M or 1000000")
    return count


def _path(text: str) -> str:
    if not text:
        raise JobError("it has no name")
    if "\0" in text:
        raise JobError(f"{text!r} is no file name")
    return text


def _source(text: str) -> str:
    if text == "-":
        raise JobError("a manifest reads files and URLs, not standard input")
    return _path(text)


def parse_target(text: str) -> str:
    """Return the path of an output, or its template.

    Raises
    ------
    JobError
        It is standard output, a folder, or no name.
    """
    if text == "-":
        raise JobError("a manifest writes files, not to standard output")
    if not text:
        raise JobError("the output has no name")
    if text.rpartition("/")[2] in ("", ".", ".."):
        raise JobError(f"{text!r} is a folder; name a file in it")
    return _path(text)


def _profile_name(text: str) -> str:
    if "/" in text:
        raise JobError(f"{text!r}: the name of a profile becomes part of file names; leave '/' out")
    return _path(text)


def _filled(text: str) -> str:
    if not text.strip():
        raise JobError("it has no name")
    return text


# What YAML makes of an unquoted 5, 2.5 or no, where a text is wanted.
_ANY = ("number", "boolean")


def _text(about: str) -> Value:
    return Value(about=about, types=_ANY)


def _file(about: str, parse: Callable[[str], str]) -> Value:
    return Value(about=about, parse=parse, types=_ANY, pattern=r"[^\x00-]|[^\x00]{2,}")


def _time(about: str, parse: Callable[[str], object] = parse_time, **limits: int) -> Value:
    return Value(about=about, parse=parse, types=("number",), pattern=_TIME, limits=limits)


def _rate(about: str) -> Value:
    limits = {"exclusiveMinimum": 0, "maximum": 100_000}
    return Value(about=about, parse=parse_rate, types=("number",), pattern=_RATE, limits=limits)


def _bit_rate(about: str) -> Value:
    return Value(
        about=about,
        parse=parse_bit_rate,
        types=("number",),
        pattern=_BIT_RATE,
        limits={"minimum": 1},
    )


def _is(about: str) -> Value:
    return Value(about=about, parse=_flag, types=("boolean",), pattern=_FLAG)


def _count(about: str) -> Value:
    return Value(
        about=about, parse=_above_0, types=("integer",), pattern=_ABOVE_0, limits={"minimum": 1}
    )


VIDEO = Record(
    about="How the video is encoded.",
    make=VideoOptions,
    fields={
        "codec": _text("Name of a PyAV encoder, such as libx264."),
        "preset": _text("As the encoder names it."),
        "profile": _text("As the encoder names it."),
        "crf": Value(
            about="Constant quality, in the encoder's own scale.",
            parse=_number,
            types=("number",),
            pattern=_NUMBER,
        ),
        "bit_rate": _bit_rate("Bits per second: 800000, 800k or 2.5M."),
        "gop_size": Value(
            about="Largest distance of two key frames, in frames.",
            parse=_whole,
            types=("integer",),
            pattern=_WHOLE,
            limits={"minimum": 0, "maximum": (1 << 31) - 1},
        ),
        "pix_fmt": _text("Pixel format, as libav names it."),
        "size": Value(
            about="Width and height, such as 1280x720; one of them may be -2: the aspect is kept.",
            parse=parse_size,
            pattern=_SIZE,
        ),
        "fps": _rate("Frames per second: 25, 29.97, 30000/1001 or pal."),
        "options": MapOf(
            about="Further options of the encoder, passed on as they are.",
            value=_text("As the encoder takes it."),
        ),
    },
)
AUDIO = Either(
    about="How audio is carried: copy, none, aac, aac:128k, or codec and bit_rate.",
    value=Value(about="In one text.", parse=parse_audio, types=_ANY),
    record=Record(
        about="In two fields.",
        make=AudioOptions,
        fields={
            "codec": _text("copy, none, or the name of a PyAV encoder."),
            "bit_rate": _bit_rate("Bits per second of each track, where it is encoded."),
        },
    ),
)
_TARGET = _file(
    "Where to, from the output root on. It may have {stem}, {name}, {ext}, {dir} of the source, "
    "{profile}, {index}, and the names of the matrix.",
    parse_target,
)
_BESIDE: dict[str, Shape] = {
    "format": _text("The container, as libav names it; by default from the path's ending."),
    "video": VIDEO,
    "audio": AUDIO,
}
OUTPUT = Record(about="One file to write.", fields={"path": _TARGET, **_BESIDE}, required=["path"])
SETTINGS: dict[str, Shape] = {
    "vf": _text("A libavfilter chain, as ffmpeg -vf takes it."),
    "filters": ListOf(
        about="Kernels by name, each with its parameters: resize(width=1280, height=720).",
        item=Value(about="A kernel.", parse=_filled, types=_ANY, pattern=r"[\s\S]*\S[\s\S]*"),
        name="a filter",
    ),
    "start": _time("Where to begin: 90, 1.5, 1:30 or 00:01:30.250.", minimum=0),
    "duration": _time(
        "How much to take: 90, 1.5, 1:30 or 00:01:30.250.", _duration, exclusiveMinimum=0
    ),
    "device": Value(
        about=f"Where kernels run: {', '.join(DEVICE_KINDS.values())}.",
        parse=_device,
        pattern=_DEVICE,
    ),
    "software_fallback": _is("Whether software decodes what the device cannot."),
    "verify": choice("What is checked before the output is published.", get_args(VerifyMode)),
    "damaged": choice("What to do about a damaged source.", get_args(DamageMode)),
    "overwrite": _is("Whether a file that stands under an output's name may be replaced."),
}
"""What a `transcode.Job` takes, beside its source and its outputs."""

LIMITS: dict[str, Shape] = {
    "load": _count("What it takes of its device, in millionths of a card."),
    "measured_fps": _rate("Frames per second that it reached with the device to itself."),
    "time_limit": _time("How long it may run: 90, 1:30 or 1:00:00.", _seconds, exclusiveMinimum=0),
    "memory_limit": Value(
        about="How much memory it may use: 4G, 512M, or a number of bytes; a K is 1024 of them.",
        parse=parse_bytes,
        types=("number",),
        pattern=rf"\s*(?:{_BYTES})\s*",
        limits={"minimum": 1},
    ),
}
"""What a `ManifestJob` takes beside."""

_SOURCE = _file(
    "What to read: a file, a URL, or a pattern with *, ?, [..] or **, one job for each file.",
    _source,
)
PROFILE_NAME = Value(
    about="Name of a profile.", parse=_profile_name, types=_ANY, pattern=r"[^/\x00]+"
)
_SINGLE: dict[str, Shape] = {"source": _SOURCE, "output": _TARGET, **_BESIDE, **SETTINGS, **LIMITS}
MATRIX = Matrix(
    about="Values of fields, as lists: one job for each combination. Names are dotted: video.crf.",
    fields={
        **{name: shape for name, shape in _SINGLE.items() if name not in ("video", "audio")},
        "audio": AUDIO.value,
        **{f"video.{name}": shape for name, shape in VIDEO.fields.items() if name != "options"},
        **{f"audio.{name}": shape for name, shape in AUDIO.record.fields.items()},
    },
    prefix="video.options.",
    prefixed=_text("As the encoder takes it."),
)
PROFILE = Record(
    about="The fields of jobs that name this profile.",
    fields={
        **_SINGLE,
        "outputs": ListOf(about="Files to write.", item=OUTPUT, name="an output"),
        "matrix": MATRIX,
    },
    either=[("output", "outputs")],
)
JOB = Record(
    about="A job, or more of them.",
    fields={
        **PROFILE.fields,
        "profile": PROFILE_NAME,
        "profiles": ListOf(
            about="Names of profiles, one job for each.",
            item=PROFILE_NAME,
            name="a profile",
            minimum=1,
        ),
    },
    either=[*PROFILE.either, ("profile", "profiles")],
)
LISTS = tuple(name for name, shape in JOB.fields.items() if isinstance(shape, ListOf))
"""Fields of a job that are lists."""

_DEVICE_NAME = Value(about="A device.", parse=_device, pattern=_DEVICE)
TOP = Record(
    about="A manifest: jobs, and what holds for all of them.",
    fields={
        "defaults": Record(
            about="What holds for jobs that do not say otherwise.",
            fields=JOB.fields,
            either=JOB.either,
        ),
        "profiles": MapOf(
            about="Fields of the jobs that name a profile, by its name.",
            value=PROFILE,
            key=PROFILE_NAME,
        ),
        "jobs": ListOf(about="What is to be run.", item=JOB, name="a job", minimum=1),
        "capacities": MapOf(
            about="How many cards a device is worth, by its name.",
            value=Value(
                about="Cards.",
                parse=_cards,
                types=("number",),
                pattern=_CARDS,
                limits={"exclusiveMinimum": 0, "maximum": 1_000_000},
            ),
            key=_DEVICE_NAME,
        ),
        "slots": MapOf(
            about="How many jobs run at once on a device or a kind of device, by its name.",
            value=_count("Jobs."),
            key=_DEVICE_NAME,
        ),
        "output_root": Value(
            about="The folder that outputs lie in; by default the one where the program runs.",
            parse=_path,
            types=_ANY,
            pattern=r"[^\x00]+",
        ),
    },
    required=["jobs"],
)
