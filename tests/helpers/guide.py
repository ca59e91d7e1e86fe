"""The examples of a page: found in its Markdown, and run as they are printed.

A block is run by its language: ``sh`` line by line, ``console`` with what it shows compared, and
all ``python`` of a page as one program. A comment above it says what else there is to know:

- ``<!-- file: my.cl -->``: the block is a file, which lies in the folder of every page.
- ``<!-- or refused: WORDS -->``: takes hardware; without it the refusal has these words.
- ``<!-- not run: REASON -->``
- ``<!-- command: NAME -->``: the gate runs it, see ``.ci/run``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["PAGES", "ROOT", "Block", "Guide", "blocks", "run_page"]

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md")))
LANGUAGES = ("console", "python", "sh")

_BLOCK = re.compile(
    r"(?:^<!-- ([a-z ]+): ([^\n]*) -->\n)?^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
# Each block is compiled with its place on the page, so that a failure names the line there.
_PROGRAM = """
import json, sys
path, examples = json.load(sys.stdin)
names = {"__name__": "guide"}
for line, text, refusal in examples:
    try:
        exec(compile("\\n" * line + text, path, "exec"), names)
    except Exception as error:
        if not refusal or refusal not in str(error):
            raise
    print("\\f", end="", flush=True)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; ``note`` and ``words`` are those of the comment above it."""

    line: int
    language: str
    text: str
    note: str
    words: str

    @property
    def runs(self) -> bool:
        return self.language in LANGUAGES and self.note in ("", "or refused")


@dataclass
class Guide:
    """What came of a page: what each Python block printed, and each command line."""

    folder: Path
    printed: list[str] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)


def blocks(page: str) -> list[Block]:
    """Return all fenced blocks of a page that name a language."""
    text = (ROOT / page).read_text()
    return [
        Block(
            text.count("\n", 0, match.start(4)), match[3], match[4], match[1] or "", match[2] or ""
        )
        for match in _BLOCK.finditer(text)
    ]


def run_page(page: str, folder: Path, venv: Path) -> Guide:
    """Run all blocks of a page in a folder, with the programs of an environment."""
    guide, found = Guide(folder), blocks(page)
    hidden = ("PYTHONPATH", "COLUMNS", "FORCE_COLOR")
    settings = {key: value for key, value in os.environ.items() if key not in hidden}
    settings |= {"PATH": f"{venv / 'bin'}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(folder)}
    for block in (each for page in PAGES for each in blocks(page)):
        if block.note == "file":
            (folder / block.words).write_text(block.text)

    def call(command: list[str], given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=folder,
            env=settings,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )

    for block in (each for each in found if each.runs):
        if block.language == "sh":
            for line in block.text.splitlines():
                done = call(["bash", "-o", "pipefail", "-c", line])
                guide.told[line] = said = done.stdout + done.stderr
                refused = block.words and done.returncode == 1 and block.words in done.stderr
                assert done.returncode == 0 or refused, f"{page}: {line}: {said}"
        elif block.language == "console":
            for line, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.M):
                done = call(["bash", "-c", line])
                assert (done.stdout + done.stderr) == expected, f"{page}: {line}"
    python = [block for block in found if block.runs and block.language == "python"]
    if python:
        given = [(block.line, block.text, block.words) for block in python]
        program = [str(venv / "bin" / "python"), "-W", "error", "-c", _PROGRAM]
        done = call(program, json.dumps([str(ROOT / page), given]))
        assert done.returncode == 0, f"{page}: {done.stdout}{done.stderr}"
        guide.printed = done.stdout.split("\f")[:-1]
    return guide
