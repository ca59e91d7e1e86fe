"""xtranscode beside ffmpeg: the same jobs, in turn, on the same machine.

The peer is the ffmpeg binary of the PyPI package imageio-ffmpeg. Each round runs ffmpeg and
xtranscode one after the other on each job; a ratio is the median over rounds of xtranscode's
figure divided by that round's ffmpeg figure, so that a machine that slows down slows both.

    python benchmarks/vs_ffmpeg.py [--rounds 7] [--only plain,gray,small,version] [--json FILE]
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click
import imageio_ffmpeg
from rich.console import Console
from rich.table import Table

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
XTRANSCODE = str(Path(sys.executable).with_name("xtranscode"))
CLIP = Path(__file__).parent.parent / "samples" / "media" / "bigbuckbunny.mp4"
X264 = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23"]
OURS = ["--preset", "veryfast", "--crf", "23", "-y", "--progress", "none", "-q"]


@dataclass(frozen=True)
class Cost:
    """What one process cost: seconds, seconds, bytes."""

    wall: float
    cpu: float
    peak_rss: float


@dataclass(frozen=True)
class Contest:
    """One job, as ffmpeg and as xtranscode are told to do it."""

    name: str
    ffmpeg: list[str]
    ours: list[str]


def measure(command: list[str]) -> Cost:
    """Run a command to its end and return what it cost."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - started
    process.stderr.close()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {process.returncode}: {said.decode()}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def make_inputs(folder: Path) -> dict[str, Path]:
    """Make the inputs: film (the sample, scaled up and repeated), a test picture, a tiny clip."""
    common = [FFMPEG, "-y", "-loglevel", "error", "-nostdin"]
    encode = ["-an", "-c:v", "libx264", "-preset", "medium", "-pix_fmt", "yuv420p"]
    jobs = {
        "film": ["-stream_loop", "1", "-i", str(CLIP), "-t", "10", "-vf", "scale=1920:1080"],
        "picture": ["-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=30:duration=10"],
        "tiny": ["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25:duration=1"],
    }
    paths = {}
    for name, source in jobs.items():
        paths[name] = folder / f"{name}.mp4"
        subprocess.run([*common, *source, *encode, "-crf", "20", str(paths[name])], check=True)
    return paths


def contests(inputs: dict[str, Path], folder: Path) -> list[Contest]:
    """Return every contest, by the name that --only takes."""
    theirs, ours = str(folder / "theirs.mp4"), str(folder / "ours.mp4")
    ffmpeg = [FFMPEG, "-y", "-loglevel", "error", "-nostdin", "-i"]
    gray = ["-vf", "format=gray,format=yuv420p"]
    kernel = ["--filter", "rgb_to_grayscale"]
    result = []
    for label, name in (("film", "film"), ("picture", "picture")):
        path = str(inputs[name])
        for job, theirs_extra, ours_extra in (("plain", [], []), ("gray", gray, kernel)):
            result.append(
                Contest(
                    f"{job} {label} 1080p",
                    [*ffmpeg, path, *theirs_extra, *X264, theirs],
                    [XTRANSCODE, "run", path, ours, *ours_extra, *OURS],
                )
            )
    tiny = str(inputs["tiny"])
    result.append(
        Contest(
            "small gray 320x240",
            [*ffmpeg, tiny, *gray, *X264, theirs],
            [XTRANSCODE, "run", tiny, ours, *kernel, *OURS],
        )
    )
    result.append(Contest("version", [FFMPEG, "-version"], [XTRANSCODE, "--version"]))
    return result


def medians(costs: list[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(
        statistics.median(c.wall for c in costs),
        statistics.median(c.cpu for c in costs),
        statistics.median(c.peak_rss for c in costs),
    )


def run_contest(contest: Contest, rounds: int) -> dict[str, object]:
    """Run one contest, in turn, after one round that only warms caches."""
    measure(contest.ffmpeg)
    measure(contest.ours)
    theirs, ours = [], []
    for _ in range(rounds):
        theirs.append(measure(contest.ffmpeg))
        ours.append(measure(contest.ours))
    pairs = list(zip(theirs, ours, strict=True))
    return {
        "job": contest.name,
        "ffmpeg": vars(medians(theirs)),
        "xtranscode": vars(medians(ours)),
        "ratio": vars(
            medians(
                [Cost(b.wall / a.wall, b.cpu / a.cpu, b.peak_rss / a.peak_rss) for a, b in pairs]
            )
        ),
    }


def show(rows: list[dict], rounds: int) -> None:
    """Print the table."""
    table = Table(title=f"xtranscode beside ffmpeg, medians of {rounds} paired rounds")
    table.add_column("job")
    for title in ("ffmpeg s", "ours s", "wall ratio", "CPU ratio", "peak memory ratio", "ours MB"):
        table.add_column(title, justify="right")
    for row in rows:
        theirs, ours, ratio = row["ffmpeg"], row["xtranscode"], row["ratio"]
        figures = (theirs["wall"], ours["wall"], ratio["wall"], ratio["cpu"], ratio["peak_rss"])
        table.add_row(
            row["job"], *(f"{figure:.3f}" for figure in figures), f"{ours['peak_rss'] / 1e6:.0f}"
        )
    Console().print(table)


def machine() -> dict[str, object]:
    """Describe what the figures were measured on."""
    banner = subprocess.run([FFMPEG, "-version"], capture_output=True, text=True, check=True)
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "av": version("av"),
        "ffmpeg": banner.stdout.splitlines()[0],
        "date": time.strftime("%Y-%m-%d"),
    }


@click.command()
@click.option("--rounds", default=7, show_default=True, help="Paired runs of each job.")
@click.option("--only", default="", help="Names of jobs to run, joined by commas.")
@click.option("--json", "json_file", type=click.Path(), help="Also write the figures here.")
def main(rounds: int, only: str, json_file: str | None) -> None:
    """Measure xtranscode beside ffmpeg."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = [
            contest
            for contest in contests(make_inputs(folder), folder)
            if not only or any(part in contest.name for part in only.split(","))
        ]
        rows = [run_contest(contest, rounds) for contest in chosen]
    show(rows, rounds)
    if json_file:
        Path(json_file).write_text(
            json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
