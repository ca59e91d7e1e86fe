"""Manifests: jobs as people write them down, in YAML, JSON, JSON Lines or CSV.

A file becomes a tree of texts with their places (`manifest_file`); an entry becomes a job for each
profile, combination and file (`manifest_expand`); tables say which fields there are and what makes
values of their texts (`manifest_fields`).
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transcode.job import Job, Output
from transcode.manifest_expand import MOST_JOBS, check_fields, sources, variants
from transcode.manifest_fields import (
    JOB,
    LIMITS,
    LISTS,
    OUTPUT,
    PROFILE,
    PROFILE_NAME,
    SETTINGS,
    TOP,
)
from transcode.manifest_file import read_tree
from transcode.manifest_outputs import check_outputs
from transcode.manifest_shape import read_fields
from transcode.manifest_template import render, source_names
from transcode.manifest_tree import Node, layered
from transcode.manifest_value import parse_target

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from fractions import Fraction
    from os import PathLike

    from transcode.manifest_expand import Variant
    from transcode.manifest_file import ManifestFormat

__all__ = ["Manifest", "ManifestJob", "read_manifest"]

_BESIDE = ("capacities", "slots", "output_root")
"""What holds for all jobs and has nothing to do with any."""


@dataclass(frozen=True, kw_only=True)
class ManifestJob:
    """A job of a manifest, with what the manifest says beside it.

    Attributes
    ----------
    job : Job
        What is to be run; its outputs have their final paths.
    place : str
        Where it stands: ``"jobs.yaml:12:5"``. Several have one place where a pattern, profiles or
        a matrix make several.
    index : int
        Its number in the manifest, from 1.
    profile : str
        The profile's name, or ``""``.
    matrix : mapping of str to str
        Its combination: by names as templates have them, with their texts.
    is_found : bool
        Whether a pattern found the source.
    time_limit : float or None
        Seconds that it may take.
    memory_limit : int or None
        Bytes that it may take.
    load : int or None
        Of its device, in millionths of a card, where the manifest says it.
    measured_fps : Fraction or None
        Frames per second that it reached with the device to itself, where the manifest says it.
    """

    job: Job
    place: str
    index: int
    profile: str = ""
    matrix: Mapping[str, str] = field(default_factory=dict)
    is_found: bool = False
    time_limit: float | None = None
    memory_limit: int | None = None
    load: int | None = None
    measured_fps: Fraction | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a file with jobs says.

    Attributes
    ----------
    path : str
        The file.
    jobs : tuple of ManifestJob
        In the file's order; for one entry profile by profile, then by its matrix, then by files.
    capacities : mapping of str to Fraction
        By the name of a device: how many cards it is worth.
    slots : mapping of str to int
        By the name of a device, or of a kind of device: how many jobs run on it at once.
    output_root : str
        The folder that all outputs lie in.
    left_out : tuple of str
        Files that patterns found and that are no sources: outputs of other jobs, from an earlier
        run.
    """

    path: str
    jobs: tuple[ManifestJob, ...]
    capacities: Mapping[str, Fraction] = field(default_factory=dict)
    slots: Mapping[str, int] = field(default_factory=dict)
    output_root: str = "."
    left_out: tuple[str, ...] = ()


def read_manifest(
    path: str | PathLike[str],
    format: ManifestFormat | None = None,
    *,
    output_root: str | None = None,
) -> Manifest:
    """Read a manifest.

    The document has a list ``jobs``; ``defaults``, which hold for every job that does not say
    otherwise; ``profiles``, which hold for the jobs that name them; ``capacities`` and ``slots`` of
    devices; and an ``output_root``. JSON Lines and CSV have jobs only.

    A job has the fields of `transcode.Job`, its values written as on the command line, and those of
    `ManifestJob`. Instead of ``outputs`` it may have an ``output``: then ``format``, ``video`` and
    ``audio`` stand beside it. Beside ``outputs`` these hold for each that does not say otherwise. A
    ``source`` may be a pattern; paths of outputs are templates. Paths of sources start where the
    program runs, those of outputs at the output root.

    Parameters
    ----------
    path : str or path-like
        ``"-"`` is standard input.
    format : {"yaml", "json", "jsonl", "csv"}, optional
        By default what the file's ending says, and otherwise YAML, which contains JSON.
    output_root : str, optional
        Instead of what the document says.

    Raises
    ------
    SourceError
        The file cannot be read.
    JobError
        What stands there is no manifest, or its jobs cannot run side by side; the message has file,
        line and column.
    """
    root = read_tree(path, format, LISTS)
    top = root.known("a manifest", TOP.fields)
    if "jobs" not in top:
        raise root.error("there is no list of jobs; it starts with the key 'jobs'")
    entries = [check_fields(entry) for entry in top["jobs"].items("jobs")]
    if not entries:
        raise top["jobs"].error("jobs is an empty list")
    beside = read_fields(top, {name: TOP.fields[name] for name in _BESIDE})
    if output_root is not None:
        beside["output_root"] = output_root
    folder = beside.get("output_root", ".")
    defaults = _defaults(top.get("defaults"), root.place)
    profiles = _profiles(top.get("profiles"))
    make = functools.partial(_all_jobs, entries, defaults, profiles, folder)
    jobs = make(())
    left_out = _own_outputs(jobs)
    if left_out:
        jobs = make(left_out)
    check_outputs(jobs, root=folder, manifest=str(path))
    return Manifest(path=str(path), jobs=tuple(jobs), left_out=tuple(sorted(left_out)), **beside)


def _all_jobs(
    entries: Iterable[Node],
    defaults: Node,
    profiles: Mapping[str, Node],
    folder: str,
    left_out: Collection[str],
) -> list[ManifestJob]:
    jobs: list[ManifestJob] = []
    for entry in entries:
        for variant in variants(entry, defaults, profiles):
            for job in _jobs(variant, entry, folder, len(jobs) + 1, left_out):
                jobs.append(job)
                if len(jobs) > MOST_JOBS:
                    raise entry.error(f"a manifest has {MOST_JOBS:,} jobs at most; make two of it")
    return jobs


def _own_outputs(jobs: Iterable[ManifestJob]) -> set[str]:
    """Return what patterns found though it is the output of another job: of an earlier run."""
    outputs: dict[str, ManifestJob] = {}
    for job in jobs:
        for output in job.job.outputs:
            outputs[os.path.abspath(output.path)] = job
    return {
        path
        for job in jobs
        if job.is_found
        and (path := os.path.abspath(job.job.source)) in outputs
        and outputs[path].job.source != job.job.source
        # One that may be replaced may be a source too: better refused than lost.
        and not outputs[path].job.overwrite
    }


def _defaults(node: Node | None, place: str) -> Node:
    if node is None or node.value is None:
        return Node({}, place)
    node.mapping("defaults")
    return check_fields(node)


def _profiles(node: Node | None) -> dict[str, Node]:
    if node is None or node.value is None:
        return {}
    found = node.mapping("profiles")
    for name, fields in found.items():
        PROFILE_NAME.read(Node(name, node.key_places[name]), "profiles")
        check_fields(fields, PROFILE)
    return found


def _jobs(
    variant: Variant, entry: Node, folder: str, first: int, left_out: Collection[str]
) -> Iterator[ManifestJob]:
    """Make the jobs of an entry that differ only in their source."""
    fields = variant.fields
    settings = read_fields(fields, SETTINGS)
    limits = read_fields(fields, LIMITS)
    outputs = list(_outputs(fields, entry))
    source = fields.get("source")
    if source is None or source.value is None:
        raise entry.error("a job of a manifest needs a source, which is a file or a URL")
    is_pattern = source.value not in (found := sources(source, left_out))
    for index, path in enumerate(found, first):
        names: dict[str, str | int] = {"index": index, "profile": variant.profile}
        names |= source_names(path) | variant.matrix
        made = tuple(_output(node, options, names, folder) for node, options in outputs)
        with entry.located():
            job = Job(source=path, outputs=made, **settings)
        yield ManifestJob(
            job=job,
            place=entry.place,
            index=index,
            profile=variant.profile,
            matrix=variant.matrix,
            is_found=is_pattern,
            **limits,
        )


def _outputs(fields: Mapping[str, Node], entry: Node) -> Iterator[tuple[Node, dict[str, Any]]]:
    """Find what a job writes: where each output stands, and its fields."""
    one, many = (fields.get(name) for name in ("output", "outputs"))
    beside = {name: fields[name] for name in OUTPUT.fields if name in fields}
    if one is not None:
        path = JOB.fields["output"].read(one, "output")
        yield one, {"path": path, **read_fields(beside, OUTPUT.fields)}
    elif many is not None:
        for node in many.items("outputs"):
            node.mapping("an output")
            found = OUTPUT.read(layered(Node(beside, entry.place), node), "an output")
            if "path" not in found:
                raise node.error("an output needs a path")
            yield node, found
    else:
        raise entry.error("a job needs an output, or outputs")


def _output(
    node: Node, options: Mapping[str, Any], names: Mapping[str, str | int], folder: str
) -> Output:
    """Make an output with its final path."""
    with node.located():
        # Names may be empty, so that what is right as a template need not be as a path.
        path = parse_target(render(options["path"], names))
        return Output(
            path if folder == "." else os.path.join(folder, path),
            **{name: value for name, value in options.items() if name != "path"},
        )
