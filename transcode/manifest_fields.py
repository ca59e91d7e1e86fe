"""The fields of a manifest: tables of what there is, mostly parsed as on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from bridges.device import DEVICE_KINDS
from transcode import manifest_value as value
from transcode.job import AudioOptions, DamageMode, VerifyMode, VideoOptions
from transcode.manifest_shape import Either, ListOf, MapOf, Matrix, Record

if TYPE_CHECKING:
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
]

VIDEO = Record(
    about="How the video is encoded.",
    make=VideoOptions,
    fields={
        "codec": value.text("Name of a PyAV encoder, such as libx264."),
        "preset": value.text("As the encoder names it."),
        "profile": value.text("As the encoder names it."),
        "crf": value.number("Constant quality, in the encoder's own scale."),
        "bit_rate": value.bit_rate("Bits per second: 800000, 800k or 2.5M."),
        "gop_size": value.whole(
            "Largest distance of two key frames, in frames.", maximum=(1 << 31) - 1
        ),
        "pix_fmt": value.text("Pixel format, as libav names it."),
        "size": value.size(
            "Width and height, such as 1280x720; one may be -2: the aspect is kept."
        ),
        "fps": value.rate("Frames per second: 25, 29.97, 30000/1001 or pal."),
        "options": MapOf(
            about="Further options of the encoder, passed on as they are.",
            value=value.text("As the encoder takes it."),
        ),
    },
)
AUDIO = Either(
    about="How audio is carried: copy, none, aac, aac:128k, or codec and bit_rate.",
    value=value.audio("In one text."),
    record=Record(
        about="In two fields.",
        make=AudioOptions,
        fields={
            "codec": value.text("copy, none, or the name of a PyAV encoder."),
            "bit_rate": value.bit_rate("Bits per second of each track, where it is encoded."),
        },
    ),
)
_TARGET = value.target(
    "Where to, from the output root on. It may have {stem}, {name}, {ext}, {dir} of the source, "
    "{profile}, {index}, and the names of the matrix."
)
_BESIDE: dict[str, Shape] = {
    "format": value.text("The container, as libav names it; by default from the path's ending."),
    "video": VIDEO,
    "audio": AUDIO,
}
OUTPUT = Record(about="One file to write.", fields={"path": _TARGET, **_BESIDE}, required=["path"])
SETTINGS: dict[str, Shape] = {
    "vf": value.text("A libavfilter chain, as ffmpeg -vf takes it."),
    "filters": ListOf(
        about="Kernels by name, each with its parameters: resize(width=1280, height=720).",
        item=value.kernel("A kernel."),
        name="a filter",
    ),
    "start": value.time("Where to begin: 90, 1.5, 1:30 or 00:01:30.250."),
    "duration": value.duration("How much to take: 90, 1.5, 1:30 or 00:01:30.250."),
    "device": value.device(f"Where kernels run: {', '.join(DEVICE_KINDS.values())}."),
    "software_fallback": value.flag("Whether software decodes what the device cannot."),
    "verify": value.choice("What is checked before the output is published.", get_args(VerifyMode)),
    "damaged": value.choice("What to do about a damaged source.", get_args(DamageMode)),
    "overwrite": value.flag("Whether a file that stands under an output's name may be replaced."),
}
"""What a `transcode.Job` takes, beside its source and its outputs."""

LIMITS: dict[str, Shape] = {
    "load": value.count("What it takes of its device, in millionths of a card."),
    "measured_fps": value.rate("Frames per second that it reached with the device to itself."),
    "time_limit": value.seconds("How long it may run: 90, 1:30 or 1:00:00."),
    "memory_limit": value.memory(
        "How much memory it may use: 4G, 512M, or a number of bytes; a K is 1024 of them."
    ),
}
"""What a `ManifestJob` takes beside."""

_SOURCE = value.source(
    "What to read: a file, a URL, or a pattern with *, ?, [..] or **, one job for each file."
)
PROFILE_NAME = value.profile_name("Name of a profile.")
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
    prefixed=value.text("As the encoder takes it."),
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

_DEVICE_NAME = value.device("A device.")
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
            value=value.cards("Cards."),
            key=_DEVICE_NAME,
        ),
        "slots": MapOf(
            about="How many jobs run at once on a device or a kind of device, by its name.",
            value=value.count("Jobs."),
            key=_DEVICE_NAME,
        ),
        "output_root": value.folder(
            "The folder that outputs lie in; by default the one where the program runs."
        ),
    },
    required=["jobs"],
)
