"""A virtual machine that runs one command: QEMU without KVM, under a kernel with a DRM node."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.virtual_machine.channels import Channels
from tests.lab.virtual_machine.initrd import archive
from tests.lab.virtual_machine.kernel import KernelError, kernel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Guest", "GuestError", "GuestMissingError", "GuestTimeoutError", "is_inside", "missing"]

_INIT = Path(__file__).parent / "init"
_BUSYBOX = Path("/bin/busybox")
_QEMU = "qemu-system-x86_64"
_MARK = "xtranscode.guest"
"""A word on the kernel's command line, by which a process knows that it is in the guest."""
_KERNEL_OPTIONS = (
    "console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check "
    # Without what only takes time. What QEMU translated serves again at the same address alone.
    "nokaslr norandmaps mitigations=off init_on_alloc=0 cryptomgr.notests"
)
_CONSOLE_CHARACTERS = 4000
_BOOTS, _BOOT_SECONDS = 3, 40
"""Once in a hundred times the kernel hangs while it boots under QEMU, so it is started again."""


class GuestError(Exception):
    """The guest ended without saying how its command did."""


class GuestMissingError(GuestError):
    """This machine cannot start a guest."""


class GuestTimeoutError(GuestError):
    """The guest took too long, and was ended."""


def is_inside() -> bool:
    """Return whether this process runs in the guest."""
    return _MARK in Path("/proc/cmdline").read_text().split()


def missing() -> str:
    """Return why this machine cannot start a guest, or nothing if it can."""
    if is_inside():
        return "this is the guest itself"
    if not shutil.which(_QEMU):
        return f"no {_QEMU}; try: apt install qemu-system-x86"
    if not _BUSYBOX.exists():
        return f"no {_BUSYBOX}; try: apt install busybox-static"
    try:
        kernel()
    except KernelError as error:
        return str(error)
    return ""


@dataclass(frozen=True, kw_only=True)
class Guest:
    """What the guest is made of. Its root is this machine's, and forgets what is written.

    Attributes
    ----------
    root : Path, optional
        A folder of this machine with another system, in which the command runs.
    share : Path, optional
        A folder of this machine that can be written in the guest, at the same path.
    environment : mapping of str to str
        All environment variables of the command.
    memory_mib, cpus : int
        What the guest has.
    timeout_seconds : float
        How long it may run.
    """

    root: Path | None = None
    share: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    memory_mib: int = 3072
    cpus: int = 2
    timeout_seconds: float = 300

    def run(self, command: Sequence[str], stdout: int = 1, stderr: int = 2) -> int:
        """Run a command in the current folder of a new guest; return its exit status.

        Parameters
        ----------
        command : sequence of str
            A program and its arguments. It reads nothing.
        stdout, stderr : int
            File descriptors that get what it writes, while it does.

        Raises
        ------
        GuestMissingError
            This machine cannot start a guest.
        GuestTimeoutError
            It took too long.
        GuestError
            It crashed.
        """
        if reason := missing():
            raise GuestMissingError(reason)
        deadline = time.monotonic() + self.timeout_seconds
        outputs = {"stdout": stdout, "stderr": stderr}
        if os.path.sameopenfile(stdout, stderr):
            del outputs["stderr"]  # Over one channel, the order of what is written is kept.
        initrd = self._initrd(command)
        for left in reversed(range(_BOOTS)):
            with Channels(outputs) as channels:
                try:
                    self._boot(initrd, channels, deadline)
                except TimeoutError:
                    if channels.has_started or not left or time.monotonic() >= deadline:
                        raise GuestTimeoutError(self._complaint(channels)) from None
                else:
                    break
        if channels.exit_status is None:
            raise GuestError(f"it crashed{_last_words(channels.console)}")
        return channels.exit_status

    def _boot(self, initrd: bytes, channels: Channels, deadline: float) -> None:
        """Run QEMU until it ends, or raise TimeoutError."""
        with tempfile.TemporaryFile() as file:
            file.write(initrd)
            file.flush()
            line = [*self._qemu(f"/proc/self/fd/{file.fileno()}"), *channels.options()]
            with _started(line, channels, file.fileno()) as process:
                channels.follow(process.kill, deadline, time.monotonic() + _BOOT_SECONDS)

    def _complaint(self, channels: Channels) -> str:
        """Return what took too long."""
        what = f"ended after {self.timeout_seconds:g} s"
        if not channels.has_started:
            what += ", and its command did not start"
        return what + _last_words(channels.console)

    def _initrd(self, command: Sequence[str]) -> bytes:
        modules = kernel().modules
        files = {
            "init": _INIT.read_bytes(),
            "bin/busybox": _BUSYBOX.read_bytes(),
            "job": os.fsencode(self._job(modules)),
            "command": os.fsencode(self._script(command)),
        }
        return archive(files | {f"modules/{path.name}": path.read_bytes() for path in modules})

    def _job(self, modules: Sequence[Path]) -> str:
        """Return what the guest's first process has to know, as lines of shell."""
        job = {
            "modules": " ".join(path.name for path in modules),
            "root": str(self.root.resolve()) if self.root else "",
            "share": str(self.share.resolve()) if self.share else "",
            "project": str(_project(Path.cwd())),
        }
        return "".join(f"{name}={shlex.quote(value)}\n" for name, value in job.items())

    def _script(self, command: Sequence[str]) -> str:
        """Return what the guest's shell does: it becomes the command."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        words = shlex.join(["env", "-i", *variables, *command])
        folder = shlex.quote(str(Path.cwd()))
        return f"exec >/run/stdout 2>/run/stderr && cd {folder} && exec {words}\n"

    def _qemu(self, initrd: str) -> list[str]:
        """Return QEMU's command line without the channels; it does not outlive this process."""
        words = f"{_MARK} {_KERNEL_OPTIONS}"
        line = ["setpriv", "--pdeathsig=KILL", _QEMU, "-nodefaults", "-no-reboot"]
        line += ["-display", "none", "-machine", "pc", "-cpu", "max"]
        line += ["-accel", "tcg,thread=multi,tb-size=512"]
        line += ["-smp", str(self.cpus), "-m", str(self.memory_mib)]
        line += ["-kernel", str(kernel().image), "-initrd", initrd, "-append", words]
        line += _lent("root", Path("/"), "readonly=on")
        return line + (_lent("share", self.share.resolve(), "readonly=off") if self.share else [])


def _lent(name: str, folder: Path, option: str) -> list[str]:
    """Return how QEMU lends a folder, which the guest mounts by that name."""
    path = str(folder).replace(",", ",,")
    system = f"local,id={name},path={path},security_model=none,multidevs=remap,{option}"
    return ["-fsdev", system, "-device", f"virtio-9p-pci,fsdev={name},mount_tag={name}"]


def _project(folder: Path) -> Path:
    """Return the project that a folder belongs to, or the folder itself."""
    for each in (folder, *folder.parents):
        if (each / "pyproject.toml").exists():
            return each
    return folder


@contextlib.contextmanager
def _started(line: list[str], channels: Channels, initrd: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start QEMU, whose complaints come with the console's; end it with the block."""
    process = subprocess.Popen(
        line,
        stdin=subprocess.DEVNULL,
        stdout=channels.console_end,
        stderr=channels.console_end,
        pass_fds=(*channels.ends, initrd),
    )
    channels.close_ends()
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _last_words(console: bytes) -> str:
    """Return the end of what the console said, on lines of its own."""
    text = console.decode(errors="replace").replace("\r", "").strip()
    return (
        f"; the last that it said:\n{text[-_CONSOLE_CHARACTERS:]}" if text else ", and said nothing"
    )
