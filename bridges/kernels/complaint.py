"""What compilers say of a source, in the words of the file that its author wrote."""

import re
from dataclasses import dataclass

__all__ = ["AFTER", "complaint"]

AFTER = "after the file"
"""What the text behind a file calls itself, so that its lines are not taken for the file's."""

_MARKER = re.compile(r'#line 1 "(.*)"')
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        # Clang, in most OpenCL runtimes; PoCL; NVRTC.
        r"(?P<file>.*?):(?P<line>\d+):\d+: (?:fatal )?error: (?P<said>.*)",
        r"(?:fatal )?error: (?P<file>.*?):(?P<line>\d+):\d+(?: <Spelling=.*?>)?: (?P<said>.*)",
        r"(?P<file>.*?)\((?P<line>\d+)\): (?:catastrophic )?error(?: #[\w-]+)?: (?P<said>.*)",
    )
)
_TELLING = re.compile(r"error|fail|cannot|not found|undefined|unresolved", re.IGNORECASE)
_LONGEST = 300
"""Characters that are shown of a log that no pattern fits."""


@dataclass(frozen=True)
class _Error:
    """One error of a log."""

    file: str
    line: int
    said: str


def complaint(log: str, source: str) -> str:
    """Return the first error of a compiler's log, with its place and the line of the source.

    Parameters
    ----------
    log : str
        What the compiler says.
    source : str
        The whole text that it was given, in which files begin with ``#line 1 "name"``.

    Returns
    -------
    str
        Such as ``my.cl:12: error: no member named 'q' in 'pixel': 'p.q = 1;'``; the whole log,
        shortened, where no error of it names a line.
    """
    texts = _texts(source)
    errors = [error for line in log.splitlines() if (error := _read(line.strip())) is not None]
    # What is wrong in the author's own lines often makes more go wrong behind them.
    named = [error for error in errors if error.file in texts.keys() - {AFTER}]
    if not errors:
        return _short(log)
    first = (named or errors)[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{_shown(first, texts)}{more}"


def _short(log: str) -> str:
    lines = [line for line in log.splitlines() if _TELLING.search(line)]
    text = " ".join(" ".join(lines or [log]).split())
    return text[:_LONGEST] or "the compiler does not say why"


def _texts(source: str) -> dict[str, list[str]]:
    """Return the lines of each file in a source; what stands before the first has no name."""
    texts: dict[str, list[str]] = {"": []}
    lines = texts[""]
    for line in source.split("\n"):
        marker = _MARKER.match(line)
        if marker is not None:
            lines = texts[marker[1]] = []
        else:
            lines.append(line)
    return texts


def _read(line: str) -> _Error | None:
    for pattern in _PATTERNS:
        found = pattern.fullmatch(line)
        if found is not None:
            return _Error(found["file"], int(found["line"]), found["said"])
    return None


def _shown(error: _Error, texts: dict[str, list[str]]) -> str:
    """Return an error with the line of the source that it is in."""
    if error.file == AFTER:
        file = list(texts)[list(texts).index(AFTER) - 1]
        return f"{file}: error behind its last line: {error.said}; is a brace or semicolon missing?"
    # Compilers have names of their own for a text that has none.
    file = error.file if error.file in texts else ""
    lines = texts[file]
    where = f"{file}:{error.line}" if file else f"line {error.line}"
    text = lines[error.line - 1].strip() if 0 < error.line <= len(lines) else ""
    return f"{where}: error: {error.said}" + (f": '{text}'" if text else "")
