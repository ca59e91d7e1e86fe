"""Lists of jobs, as people write them down in YAML or JSON.

A file becomes a tree of texts with their places (`yaml_tree`), then jobs. Tables say which fields
there are and what makes values of their texts: mostly what parses the command line too.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from bridges.device import DeviceName
from transcode.errors import JobError
from transcode.job import (
    AudioOptions,
    Job,
    Output,
    VideoOptions,
    parse_audio,
    parse_bit_rate,
    parse_rate,
    parse_size,
    parse_time,
)
from transcode.yaml_tree import Node, read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike

__all__ = ["JobList", "ListedJob", "read_job_list"]


@dataclass(frozen=True, kw_only=True)
class ListedJob:
    """A job of a list, with what a list says beside it.

    Attributes
    ----------
    job : Job
        What is to be run.
    place : str
        Where it stands: ``"jobs.yaml:12:5"``.
    load : int or None
        Of its device, in millionths of a card, where the list says it.
    measured_fps : Fraction or None
        Frames per second that it reached with the device to itself, where the list says it.
    """

    job: Job
    place: str
    load: int | None = None
    measured_fps: Fraction | None = None


@dataclass(frozen=True, kw_only=True)
class JobList:
    """What a file with a list of jobs says.

    Attributes
    ----------
    path : str
        The file.
    jobs : tuple of ListedJob
        In the file's order.
    capacities : mapping of str to Fraction
        By the name of a device: how many cards it is worth.
    """

    path: str
    jobs: tuple[ListedJob, ...]
    capacities: Mapping[str, Fraction]


def read_job_list(path: str | PathLike[str]) -> JobList:
    """Read a list of jobs.

    The document has a list ``jobs``; ``defaults``, which hold for every job that does not say
    otherwise; and ``capacities`` of devices. A job has the fields of `transcode.Job`, its values
    written as on the command line, and those of `ListedJob`. Instead of ``outputs`` it may have an
    ``output``: then ``format``, ``video`` and ``audio`` stand beside it. Beside ``outputs`` these
    hold for each that does not say otherwise. Paths start where the program runs.

    Parameters
    ----------
    path : str or path-like
        ``"-"`` is standard input.

    Raises
    ------
    SourceError
        The file cannot be read.
    JobError
        What stands there is no list of jobs; the message has file, line and column.
    """
    root = read_yaml(path)
    top = _known(root, "a list of jobs", ("capacities", "defaults", "jobs"))
    if "jobs" not in top:
        raise root.error("there is no list of jobs; it starts with the key 'jobs'")
    entries = top["jobs"].items("jobs")
    if not entries:
        raise top["jobs"].error("jobs is an empty list")
    defaults = top.get("defaults", Node({}, root.place))
    if defaults.value is None:
        defaults = Node({}, defaults.place)
    defaults.mapping("defaults")
    return JobList(
        path=str(path),
        jobs=tuple(_listed(_merged(defaults, entry)) for entry in entries),
        capacities=_capacities(top.get("capacities")),
    )


def _known(node: Node, what: str, names: Iterable[str]) -> dict[str, Node]:
    """Return the fields of a mapping.

    Raises
    ------
    JobError
        It has others than those known.
    """
    fields = node.mapping(what)
    names = sorted(names)
    for name in fields:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            advice = f"did you mean {close[0]!r}?" if close else f"there is {', '.join(names)}"
            if name in _VIDEO and "video" in names:
                advice = f"say video: {{{name}: ...}}"
            raise Node(name, node.key_places[name]).error(f"{what} has no {name!r}; {advice}")
    return fields


def _merged(under: Node, over: Node) -> Node:
    """Lay one mapping over another; mappings inside of them are merged likewise."""
    if not isinstance(under.value, dict) or not isinstance(over.value, dict):
        return over
    values = {
        name: _merged(under.value[name], node) if name in under.value else node
        for name, node in over.value.items()
    }
    return Node(under.value | values, over.place, under.key_places | over.key_places)


def _text(text: str) -> str:
    return text


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise JobError(f"{text!r} is no number") from None


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text):
        raise JobError(f"{text!r} is no whole number")
    return int(text)


def _load(text: str) -> int:
    load = _whole(text)
    if not load:
        raise JobError("a load is above 0")
    return load


def _cards(text: str) -> Fraction:
    try:
        cards = Fraction(text)
    except (ValueError, ZeroDivisionError):
        cards = Fraction(0)
    if not 0 < cards <= 1_000_000:
        raise JobError(f"{text!r} is no number of cards, such as 2.5")
    return cards


def _flag(text: str) -> bool:
    flags = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if text.lower() not in flags:
        raise JobError(f"{text!r} is neither true nor false")
    return flags[text.lower()]


def _device(text: str) -> str:
    return str(DeviceName.parse(text))


_VIDEO: dict[str, Callable[[str], object]] = {
    "codec": _text,
    "preset": _text,
    "profile": _text,
    "crf": _number,
    "bit_rate": parse_bit_rate,
    "gop_size": _whole,
    "pix_fmt": _text,
    "size": parse_size,
    "fps": parse_rate,
}
_AUDIO: dict[str, Callable[[str], object]] = {"codec": _text, "bit_rate": parse_bit_rate}
_JOB: dict[str, Callable[[str], object]] = {
    "source": _text,
    "vf": _text,
    "start": parse_time,
    "duration": parse_time,
    "device": _device,
    "software_fallback": _flag,
    "verify": _text,
    "damaged": _text,
    "overwrite": _flag,
}
_BESIDE: dict[str, Callable[[str], object]] = {"load": _load, "measured_fps": parse_rate}
_OUTPUT = ("format", "video", "audio")


def _values(
    fields: Mapping[str, Node], parsers: Mapping[str, Callable[[str], object]]
) -> dict[str, Any]:
    """Parse the fields that there are; one that is null is left out, to take its default."""
    found = {}
    for name, parse in parsers.items():
        node = fields.get(name)
        if node is not None and node.value is not None:
            with node.located(name):
                found[name] = parse(node.text(name))
    return found


def _listed(entry: Node) -> ListedJob:
    names = (*_JOB, *_BESIDE, *_OUTPUT, "filters", "output", "outputs")
    fields = _known(entry, "a job", names)
    values = _values(fields, _JOB)
    if values.get("source") in (None, "-"):
        raise entry.error("a job of a list needs a source, which is a file or a URL")
    filters = fields.get("filters")
    if filters is not None and filters.value is not None:
        values["filters"] = tuple(item.text("a filter") for item in filters.items("filters"))
    outputs = _outputs(fields, entry)
    with entry.located():
        job = Job(outputs=outputs, **values)
    return ListedJob(job=job, place=entry.place, **_values(fields, _BESIDE))


def _outputs(fields: Mapping[str, Node], entry: Node) -> tuple[Output, ...]:
    if ("output" in fields) == ("outputs" in fields):
        raise entry.error("a job has either an output or outputs")
    beside = {name: fields[name] for name in _OUTPUT if name in fields}
    if "output" in fields:
        return (_output({"path": fields["output"], **beside}, fields["output"]),)
    found = []
    for node in fields["outputs"].items("outputs"):
        node.mapping("an output")
        merged = _merged(Node(beside, entry.place), node)
        found.append(_output(_known(merged, "an output", ("path", *_OUTPUT)), node))
    return tuple(found)


def _output(fields: Mapping[str, Node], node: Node) -> Output:
    if "path" not in fields:
        raise node.error("an output needs a path")
    path = fields["path"].text("output")
    values = _values(fields, {"format": _text})
    for name, parse in (("video", _video), ("audio", _audio)):
        if name in fields and fields[name].value is not None:
            with fields[name].located(name):
                values[name] = parse(fields[name])
    with node.located():
        return Output(path, **values)


def _video(node: Node) -> VideoOptions:
    fields = _known(node, "video", (*_VIDEO, "options"))
    options = fields.get("options", Node(None, node.place))
    further = {} if options.value is None else options.mapping("options")
    texts = {name: value.text(name) for name, value in further.items()}
    return VideoOptions(options=texts, **_values(fields, _VIDEO))


def _audio(node: Node) -> AudioOptions:
    if isinstance(node.value, str):
        return parse_audio(node.value)
    return AudioOptions(**_values(_known(node, "audio", _AUDIO), _AUDIO))


def _capacities(node: Node | None) -> dict[str, Fraction]:
    if node is None or node.value is None:
        return {}
    names = node.mapping("capacities")
    for name in names:
        with Node(name, node.key_places[name]).located():
            DeviceName.parse(name)
    return _values(names, dict.fromkeys(names, _cards))
