"""``xtranscode plan``: which jobs of a list fit on their devices at once."""

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from cli.errors import failure_of, one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from transcode.plan import DevicePlan, Plan, PlannedJob
    from xma_plugins.admission import Reservation

__all__ = ["plan"]

_DOES_NOT_FIT = 3


@click.command(short_help="Show which jobs of a list fit on their devices at once.")
@click.argument("jobs", metavar="JOBS.YAML", type=click.Path(allow_dash=True))
@click.argument("command", metavar="[-- COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line, one a job or device."
)
@click.option("--hold", is_flag=True, help="Keep the load of all jobs reserved until Ctrl-C.")
def plan(jobs: str, command: tuple[str, ...], as_json: bool, hold: bool) -> int:
    """Show the load of each job on its device, and whether it fits now, beside what others reserve.

    Loads are in millionths of a card, a device that does four streams of 1080p60 at once. With a
    COMMAND, the load of all jobs is reserved until it ends; the plan goes to standard error.

    \b
    xtranscode plan jobs.yaml
    xtranscode plan jobs.yaml -- make

    \b
    Exit codes: 0 all jobs fit at once, 3 they do not and nothing was reserved;
    with a COMMAND that was run, its own.
    """
    if command and not command[0]:
        raise click.BadParameter("it has no name", param_hint="'COMMAND'")
    from cli.render import console
    from transcode.manifest import read_manifest
    from transcode.plan import plan as make_plan
    from xma_plugins.errors import ChannelCapacityError

    made = make_plan(read_manifest(jobs))
    if as_json:
        _print_json(made, stderr=bool(command))
    else:
        _show(made, console(stderr=bool(command)))
    if not (hold or command):
        return 0 if made.fits else _DOES_NOT_FIT
    try:
        held = made.reserve(" ".join(command) or f"xtranscode plan {jobs}")
    except ChannelCapacityError as error:
        click.echo(f"xtranscode: {failure_of(error).message}", err=True)
        return _DOES_NOT_FIT
    with contextlib.ExitStack() as stack:
        for reservation in held:
            stack.enter_context(reservation)
        if command:
            _become(command, held)
        click.echo("xtranscode: reserved until Ctrl-C", err=True)
        while True:
            signal.pause()


def _become(command: tuple[str, ...], held: "tuple[Reservation, ...]") -> NoReturn:
    """Replace this process by a command, which then holds the reservations.

    Nothing stands between the two, so that no signal has to be passed on, and the load is reserved
    for as long as the command runs, even if somebody kills it.
    """
    for reservation in held:
        reservation.survive_exec()
    sys.stdout.flush()
    sys.stderr.flush()
    # Python ignores these two, and a program that is started inherits that.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        error.filename = command[0]
        raise


def _print_json(made: "Plan", *, stderr: bool) -> None:
    from cli.render import print_json

    file = sys.stderr if stderr else sys.stdout
    for job in made.jobs:
        print_json({"type": "job", **_job_fields(job)}, file=file)
    for device in made.devices:
        print_json({"type": "device", **_device_fields(device)}, file=file)


def _job_fields(job: "PlannedJob") -> dict[str, Any]:
    return {
        "source": job.listed.job.source,
        "outputs": [output.path for output in job.listed.job.outputs],
        "place": job.listed.place,
        "device": job.device,
        "load": job.load,
        "fits": job.wave == 1,
        "wave": job.wave,
    }


def _device_fields(device: "DevicePlan") -> dict[str, Any]:
    return {
        "name": device.name,
        "description": device.description,
        "total": device.total,
        "capacity": device.capacity,
        "reserved": device.reserved,
        "holders": device.holders,
        "jobs": len(device.jobs),
        "at_once": device.at_once,
        "waves": device.waves,
    }


def _show(made: "Plan", out: "Console") -> None:
    from rich.text import Text

    from cli.render import grid, show

    capacities = {device.name: device.capacity for device in made.devices}
    table = grid(4)
    table.columns[2].justify = "right"
    table.add_row(*(Text(title, "dim") for title in ("job", "device", "load", "now")))
    for job in made.jobs:
        names = [job.listed.job.source, *(output.path for output in job.listed.job.outputs)]
        path = one_line(" > ".join(map(str, names)))
        table.add_row(path, job.device, f"{job.load:,}", _state(job, capacities[job.device]))
    show(out, table)
    for device in made.devices:
        out.print()
        show(out, Text.assemble((device.name, "bold"), f"  {one_line(device.description)}"))
        show(out, _facts(device))


def _state(job: "PlannedJob", capacity: int) -> "Text":
    from rich.text import Text

    if job.wave is None:
        return Text("never fits" if job.load > capacity else "no room", "red")
    return Text("fits", "green") if job.wave == 1 else Text(f"wave {job.wave}", "yellow")


def _facts(device: "DevicePlan") -> "Table":
    from cli.render import grid

    table = grid(2)
    table.add_row("total", f"{device.total:,} of {device.capacity:,}")
    for holder in device.holders:
        who = f"{one_line(holder.label)}, process {holder.pid}"
        table.add_row("reserved", f"{holder.load:,} by {who}")
    table.add_row("at once", f"{device.at_once} of {len(device.jobs)} jobs")
    waves = "cannot tell: not every job has room" if device.waves is None else str(device.waves)
    table.add_row("waves", waves)
    return table
