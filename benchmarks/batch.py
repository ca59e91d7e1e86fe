"""Batches: what they cost beside their jobs, and what they survive.

    python -m benchmarks.batch [--only overhead,kills,faults,memory] [--json FILE]

overhead: 1,000 clips of a second on 2 workers, beside the same jobs in two plain processes, by
turns.
kills: 30 rounds in which the parent, a worker or a Dask scheduler is killed (SIGKILL) at a random
moment, and the batch resumed.
faults: 200 jobs, 30 of damaged sources, 5 that crash their process (a kernel that writes where
nothing is), 3 that hang (a pipe that nobody writes to).
memory: the parent's resident memory over 10,000 jobs.

What is counted is printed, not asserted.
"""

import contextlib
import json
import os
import platform
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import av
import click
from rich.console import Console
from rich.table import Table

from transcode.batch.journal import Journal

XTRANSCODE = str(Path(sys.executable).with_name("xtranscode"))
CLIP = Path(__file__).parent.parent / "samples" / "media" / "bigbuckbunny.mp4"
QUICK = {"video": {"preset": "ultrafast"}}
CRASH = """\
/* crash: writes where nothing is. */
DEVICE pixel crash(pixel p, i32 x, i32 y) {
    *(volatile int *)8 = x;
    return p;
}
"""
Process = subprocess.Popen[bytes]
Found = dict[str, Any]

PLAIN = """
import sys
from transcode import Job, Output, VideoOptions, run
for n in range(int(sys.argv[2])):
    output = Output(f"{sys.argv[3]}/{n}.mp4", video=VideoOptions(preset="ultrafast"))
    run(Job(source=sys.argv[1], outputs=(output,)))
"""


def one_second(folder: Path) -> Path:
    """Cut a second out of the clip that the project ships, in a small size."""
    import transcode

    path = folder / "one.mp4"
    video = transcode.VideoOptions(preset="veryfast", size=(320, 180))
    transcode.run(CLIP, path, duration=1, video=video, audio="none")
    return path


def write_manifest(folder: Path, jobs: list[dict[str, Any]]) -> str:
    path = folder / "jobs.json"
    path.write_text(json.dumps({"defaults": QUICK, "jobs": jobs}))
    return path.name


def batch(folder: Path, name: str, *words: str) -> Process:
    """Start a batch; what it says is left out."""
    command = [XTRANSCODE, "batch", name, "--progress", "none", *words]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)


def overhead(folder: Path, jobs: int = 200, rounds: int = 5) -> Found:
    """Time blocks of jobs, in a batch and in two plain processes by turns."""
    source = one_second(folder)
    costs, shares = [], []
    for round_ in range(rounds):
        times = {}
        for kind in ("plain", "batch") if round_ % 2 else ("batch", "plain"):
            out = folder / f"{kind}{round_}"
            out.mkdir()
            started = time.perf_counter()
            if kind == "plain":
                half = str(jobs // 2)
                parts = [out / "0", out / "1"]
                for part in parts:
                    part.mkdir()
                running = [
                    subprocess.Popen([sys.executable, "-c", PLAIN, source, half, part])
                    for part in parts
                ]
            else:
                listed = [{"source": str(source), "output": f"{n}.mp4"} for n in range(jobs)]
                running = [batch(out, write_manifest(out, listed), "--workers", "2")]
            assert [each.wait() for each in running] == [0] * len(running)
            times[kind] = time.perf_counter() - started
        costs.append(1000 * 2 * (times["batch"] - times["plain"]) / jobs)
        shares.append(times["batch"] / times["plain"])
    return {
        "jobs": jobs * rounds,
        "plain ms a job": round(1000 * 2 * times["plain"] / jobs, 1),
        "batch / plain": round(statistics.median(shares), 3),
        "ms a job beyond the job": round(statistics.median(costs), 1),
        "asked, at most": 60,
    }


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


def dask(folder: Path, *words: str) -> Process:
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *words, "--no-dashboard"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kills(folder: Path, rounds: int = 30) -> Found:
    """Kill and resume; count what was done more than once, and what was left behind."""
    shutil.copy(one_second(folder), folder / "a.mp4")
    count = 40 * rounds
    name = write_manifest(
        folder, [{"source": "a.mp4", "output": f"out/{n}.mp4"} for n in range(count)]
    )
    chance = random.Random(20)
    killed: Counter[str] = Counter()
    orphans = touched = 0
    inodes: dict[str, int] = {}
    for round_ in range(rounds):
        victim = ("parent", "worker", "scheduler")[round_ % 3]
        killed[victim] += 1
        if victim == "scheduler":
            kill_scheduler(folder, name, chance)
        else:
            parent = batch(folder, name, "--resume", "--workers", "2")
            time.sleep(chance.uniform(0.3, 2.0))
            if victim == "worker" and (found := children(parent.pid)):
                os.kill(chance.choice(found), signal.SIGKILL)
                time.sleep(chance.uniform(0, 0.5))
            parent.kill()
            parent.wait()
        time.sleep(1)
        orphans += bool(processes(folder))
        now = done(folder, name)
        touched += sum(now.get(output) != inode for output, inode in inodes.items())
        inodes = now
    code = batch(folder, name, "--resume", "--workers", "2").wait()
    tries: Counter[str] = Counter()
    with Journal(str(folder / f"{name}.journal"), write=False) as journal:
        for attempt in journal.attempts():
            tries[attempt.output] += attempt.kind == "done"
        verified = sum(record.verified == "fast" for record in journal.records("done"))
        failures = [f"{record.kind}: {record.error}" for record in journal.records("failed")]
    names = os.listdir(folder / "out")
    return {
        "rounds": rounds,
        **{f"{victim}s killed": times for victim, times in killed.items()},
        "jobs": count,
        "exit code of the last batch": code,
        "failures": failures[:3],
        "outputs": len([each for each in names if not each.startswith(".")]),
        "whole": sum(frames(folder / "out" / each) == 25 for each in names),
        "verified": verified,
        "done twice": sum(times > 1 for times in tries.values()),
        "touched after they were done": touched,
        "temporary files left": len([each for each in names if each.startswith(".")]),
        "processes left": orphans,
    }


def kill_scheduler(folder: Path, name: str, chance: random.Random) -> None:
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    words = ("--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    running = [dask(folder, "scheduler", *words)]
    while not file.exists():
        time.sleep(0.05)
    address = json.loads(file.read_text())["address"]
    for number in range(2):
        words = (address, "--nthreads", "1", "--no-nanny", "--local-directory", f"worker{number}")
        running.append(dask(folder, "worker", *words))
    parent = batch(folder, name, "--resume", "--cluster", address)
    time.sleep(chance.uniform(2.0, 5.0))
    running[0].kill()
    parent.wait()
    for each in running[1:]:
        each.kill()
    for each in running:
        each.wait()


def processes(folder: Path) -> list[int]:
    """Return the child processes of batches that run in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_here = (entry / "cwd").readlink() == folder.resolve()
            if is_here and b"child_main" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def done(folder: Path, name: str) -> dict[str, int]:
    path = folder / f"{name}.journal"
    if not path.exists():
        return {}
    with Journal(str(path), write=False) as journal:
        return {record.output: os.stat(record.output).st_ino for record in journal.records("done")}


def frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def faults(folder: Path) -> Found:
    """Run good and bad jobs together; compare which failed with which are bad."""
    source = one_second(folder)
    data = source.read_bytes()
    (folder / "crash.cl").write_text(CRASH)
    kinds = ["damaged"] * 30 + ["crash"] * 5 + ["hang"] * 3 + ["good"] * 162
    random.Random(3).shuffle(kinds)
    jobs = []
    for number, kind in enumerate(kinds):
        job = {"source": str(source), "output": f"out/{number}.mp4"}
        if kind == "damaged":
            path = folder / f"damaged{number}.mp4"
            path.write_bytes(data[: len(data) * (number % 90 + 5) // 100])
            job["source"] = path.name
        elif kind == "crash":
            job["filters"] = ["crash.cl:crash"]
        elif kind == "hang":
            os.mkfifo(folder / f"pipe{number}.mp4")
            job["source"] = f"pipe{number}.mp4"
        jobs.append(job)
    name = write_manifest(folder, jobs)
    started = time.perf_counter()
    code = batch(folder, name, "--workers", "2", "--stall-limit", "3").wait()
    seconds = time.perf_counter() - started
    with Journal(str(folder / f"{name}.journal"), write=False) as journal:
        failed = {record.number - 1: record.kind for record in journal.records("failed")}
        finished = {record.number - 1 for record in journal.records("done")}
    return {
        "jobs": len(kinds),
        "exit code": code,
        "failed": len(failed),
        **{
            f"{kind}: failed as": dict(
                Counter(failed.get(n, "not at all") for n, each in enumerate(kinds) if each == kind)
            )
            for kind in ("damaged", "crash", "hang")
        },
        "good ones done": sum(kinds[number] == "good" for number in finished),
        "good ones failed": sum(kinds[number] == "good" for number in failed),
        "outputs": len(os.listdir(folder / "out")),
        "seconds": round(seconds, 1),
    }


def memory(folder: Path, jobs: int = 10_000) -> Found:
    """Watch the parent while it runs jobs, most of which end at once: their source is missing."""
    listed = [{"source": f"{n}.mp4", "output": f"out/{n}.mkv"} for n in range(jobs)]
    name = write_manifest(folder, listed)
    parent = batch(folder, name, "--workers", "2")
    sizes, started = [], time.perf_counter()
    while parent.poll() is None:
        status = Path(f"/proc/{parent.pid}/statm").read_text().split()
        if status[1] != "0":
            sizes.append(
                (time.perf_counter() - started, int(status[1]) * os.sysconf("SC_PAGE_SIZE"))
            )
        time.sleep(0.5)
    seconds = time.perf_counter() - started
    # Reading ten thousand jobs is the first part; what follows is the batch.
    at = {share: mib(sizes[int(share * (len(sizes) - 1))][1]) for share in (0.2, 0.5, 0.8, 1.0)}
    return {
        "jobs": jobs,
        "seconds": round(seconds, 1),
        **{f"MiB after {share:.0%} of the time": size for share, size in at.items()},
    }


def mib(nbytes: int) -> float:
    return round(nbytes / (1 << 20), 1)


PARTS = {"overhead": overhead, "kills": kills, "faults": faults, "memory": memory}


@click.command()
@click.option("--only", default=",".join(PARTS), show_default=True)
@click.option("--json", "json_file", metavar="FILE", help="Write what was found, too.")
def main(only: str, json_file: str | None) -> None:
    """Measure, and print a table a part."""
    out = Console()
    found = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": {"python": platform.python_version(), "av": av.__version__},
    }
    for name in only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            found[name] = PARTS[name](Path(folder))
        table = Table(title=name)
        table.add_column("")
        table.add_column("", justify="right")
        for key, value in found[name].items():
            table.add_row(key, str(value))
        out.print(table)
    if json_file is not None:
        Path(json_file).write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
