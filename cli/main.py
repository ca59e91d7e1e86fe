"""The ``xtranscode`` command and its entry point.

A command's module is imported when the command is asked for, and what it needs from the packages
below when it runs, so that ``--version`` and ``--help`` answer at once.
"""

import contextlib
import importlib
import os
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import click

from cli.errors import BROKEN_PIPE_CODE, Interrupted, failure_of, one_line, signals_interrupt

__all__ = ["cli", "main"]

_COMMANDS = ("run", "batch", "plan", "probe", "devices", "routes", "kernels", "plugins")
"""Each is the function of that name in the module of that name."""


class _Ended(click.ClickException):
    """Carries an error out of a command; click takes a bare EOFError or EPIPE for its own."""

    def __init__(self, error: Exception, *, advice: str = "") -> None:
        super().__init__(str(error))
        self.error = error
        self.advice = advice


class _Commands(click.Group):
    """A group whose commands are imported late, and whose every error is one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"cli.{cmd_name}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            # None where the command has no -v.
            verbose = ctx.meta.get("cli.verbose")
            is_bug = failure_of(error).is_bug
            if is_bug and verbose:
                traceback.print_exception(error)
            advice = "; -v shows the way there" if is_bug and verbose is False else ""
            raise _Ended(error, advice=advice) from error

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        extra |= {"standalone_mode": False, "prog_name": "xtranscode"}
        code = _exit_code(lambda: super(_Commands, self).main(*args, **extra))
        if any(thread.name.startswith("xtranscode-") for thread in threading.enumerate()):
            # A read or a kernel that never comes back: drivers would wait for it at the end.
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)
        sys.exit(code)


def _exit_code(call: Callable[[], Any]) -> int:
    """Run a command; turn whatever ends it into one line on stderr and an exit code."""
    try:
        code = call()
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "xtranscode"
        _say(f"{_decapitalized(error.format_message())} (see {path} --help)")
        return error.exit_code
    except _Ended as ended:
        return _fail(ended.error, ended.advice)
    except click.ClickException as error:
        _say(error.format_message())
        return error.exit_code
    except (Exception, Interrupted) as error:  # noqa: BLE001 - no traceback, whatever it is
        return _fail(error)


def _fail(error: BaseException, advice: str = "") -> int:
    _drop_broken_output()
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE_CODE
    failure = failure_of(error)
    _say(failure.message + advice)
    return failure.exit_code


def _say(message: str) -> None:
    with contextlib.suppress(OSError):  # Nobody may be reading any more.
        click.echo(f"xtranscode: {one_line(message)}", err=True)


def _decapitalized(message: str) -> str:
    message = message.strip().removesuffix(".").replace(". (", " (")
    return message[:1].lower() + message[1:]


def _drop_broken_output() -> None:
    """Let the interpreter's last flush of a broken standard output go nowhere, silently."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        # Imported here because it costs as much time as all the rest.
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("xtranscode")
        except PackageNotFoundError:
            number = "(not installed)"
        click.echo(f"xtranscode {number}")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Transcode video with your own compute kernels, without needless copies.

    \b
    Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated.
    """


def _occupy(number: int) -> None:
    """Take a file's number, so that no other file gets it, for one that cannot be written to.

    A video sent to a standard output that was closed then fails, and is not lost in silence.
    """
    null = os.open(os.devnull, os.O_RDONLY)
    if null != number:
        os.dup2(null, number)
        os.close(null)


def main() -> None:
    """Run the ``xtranscode`` command: the console script."""
    if sys.stdout is None:  # The caller closed it.
        _occupy(1)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - open to the end
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # File names may hold bytes that are no text in the terminal's encoding.
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    with signals_interrupt():
        cli.main()
