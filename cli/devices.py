"""``xtranscode devices``: where kernels and decoders can run."""

import click

__all__ = ["devices"]


@click.command(short_help="Show the devices of this machine.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, one a backend.")
def devices(as_json: bool) -> None:
    """Show each backend with its devices, or why it is absent and the command that brings it.

    The last lines name the hardware decoders that PyAV was built with, whether or not this machine
    has the hardware, and what builds one with VA-API.
    """
    from av.codec.hwaccel import hwdevices_available
    from rich.text import Text

    from bridges.backends.probe import probe_all
    from cli.render import console, grid, print_json, show
    from transcode.report import plain

    probes = probe_all()
    decoders = hwdevices_available()
    if as_json:
        for probe in probes:
            print_json({"type": "backend", **plain(probe)})
        print_json({"type": "decoders", "built": decoders})
        return
    table = grid(3)
    for probe in probes:
        words = [probe.reason, *probe.devices]
        if not probe.available and probe.remedy:
            words.append(f"to bring it: {probe.remedy}")
        state = Text("yes", "green") if probe.available else Text("no", "yellow")
        table.add_row(probe.name, state, "\n".join(words))
    table.add_row("decoders", "", f"built into PyAV: {', '.join(decoders) or 'none'}")
    if "vaapi" not in decoders:
        table.add_row(
            "", "", f"not built into it: vaapi, for Intel's and AMD's GPUs. {_commands()}"
        )
    show(console(), table)


def _commands() -> str:
    from bridges.backends.vaapi_pyav import BUILD_COMMANDS

    lines = ["To build it so:"]
    for system, commands in BUILD_COMMANDS.items():
        lines += [f"on {system}:", *(f"  {command}" for command in commands)]
    return "\n".join(lines)
