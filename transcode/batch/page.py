"""The report of a batch as one HTML page that needs nothing else: no network, no other file.

The page is written while the journal is read, so that a batch of any length takes little memory.
"""

from __future__ import annotations

import os
import time
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING

from transcode.batch import page_table
from transcode.batch.page_table import markup
from transcode.batch.plot import bars, cloud, histogram
from transcode.batch.tally import Tally, TallyOfTries, tally, tally_of_tries
from transcode.batch.timeline import timeline
from transcode.quantity import count_text, number_text, seconds_text, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from transcode.batch.journal import Journal

__all__ = ["page"]


def page(journal: Journal) -> Iterator[str]:
    """Yield the page of a batch, bit by bit.

    Parameters
    ----------
    journal : Journal
        Of the batch. While it runs, the parts of the page may be some jobs apart.

    Raises
    ------
    JournalError
        It cannot be read.
    """
    facts = journal.facts()
    jobs = tally(journal)
    since = float(facts.get("started", 0))
    tries = tally_of_tries(journal, since)
    # What stands there of an end before the start is of the batch before.
    ended = float(facts.get("ended", 0))
    is_over = ended >= since > 0
    until = ended if is_over else tries.last
    yield from _head(facts)
    yield _verdict(facts, jobs, is_over)
    yield _tiles(jobs, tries, until - since, is_over)
    yield from _failures(journal, jobs)
    yield from _times(journal, jobs, tries, (since, until))
    yield from _spreads(jobs)
    yield from _rankings(jobs, tries)
    yield from _notices(jobs)
    yield from _jobs(journal, jobs)
    yield f"<script>{_asset('page.js')}</script>\n</body>\n</html>\n"


def _asset(name: str) -> str:
    return (files("transcode.batch") / name).read_text(encoding="utf-8")


def _head(facts: Mapping[str, str]) -> Iterator[str]:
    style, script = _asset("page.css"), _asset("page.js")
    # Were a file's name ever taken for markup: nothing but these two has an effect.
    rule = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}"
    manifest = facts.get("manifest", "")
    name = markup(os.path.basename(manifest)) or "no manifest"
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{rule}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{name}: batch report</title>\n<style>{style}</style>\n</head>\n<body>\n"
    )
    yield f'<h1><bdi>{name}</bdi></h1>\n<p class="dim"><bdi>{markup(manifest)}</bdi></p>\n'
    lines = [("started", _date(facts.get("started", ""))), ("ran on", facts.get("executor", ""))]
    lines += [("with", facts.get("versions", "")), ("written", _date(str(time.time())))]
    words = " · ".join(f"{label} {markup(value)}" for label, value in lines if value)
    yield f'<p class="dim small">{words}</p>\n'


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _date(seconds: str) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(float(seconds))) if seconds else ""


def _verdict(facts: Mapping[str, str], jobs: Tally, is_over: bool) -> str:
    """Return what there is to say in one line."""
    count, failed, left = jobs.all.jobs, jobs.all.failed, jobs.waiting + jobs.running
    kind, words = "fine", f"All {count_text(count)} jobs are done."
    if not count:
        kind, words = "open", "There are no jobs."
    elif failed or left:
        kind = "bad" if failed else "open"
        words = f"{count_text(jobs.all.done)} of {count_text(count)} jobs are done"
        words += f", {count_text(failed)} failed" if failed else ""
        words += f", {count_text(left)} have not ended" if left else ""
        words += "."
    if not is_over and facts:
        words += " The batch is running, or was killed."
    elif facts.get("stopped"):
        words += f" It was stopped: {markup(facts['stopped'])}."
    return f'<p class="verdict {kind}" role="status">{words}</p>\n'


def _tiles(jobs: Tally, tries: TallyOfTries, seconds: float, is_over: bool) -> str:
    total, left = jobs.all, jobs.waiting + jobs.running
    share = 100 * total.output_nbytes / total.source_nbytes if total.source_nbytes else 0
    peak = max((group.peak_nbytes for group in tries.hosts.values()), default=0)
    checked = total.done - jobs.verified.get("none", 0)
    tiles = (
        (
            ("done", count_text(total.done), f"of {count_text(total.jobs)} jobs"),
            "fine" if total.jobs and total.done == total.jobs else "",
        ),
        (
            ("failed", count_text(total.failed), f"{count_text(jobs.retried)} tried again"),
            "bad" if total.failed else "",
        ),
        (
            ("not ended", count_text(left), f"{count_text(jobs.running)} running")
            if left
            else ("done before", count_text(jobs.skipped), "verified and unchanged"),
            "open" if left else "",
        ),
        (("verified", count_text(checked), "before they were published"), ""),
        (("frames", count_text(total.frames), f"{seconds_text(jobs.video_seconds)} of video"), ""),
        (
            (
                "source &gt; output",
                f"{size_text(total.source_nbytes)} &gt; {size_text(total.output_nbytes)}",
                f"{number_text(share)} %" if share else "",
            ),
            "wide",
        ),
        (("wall time", seconds_text(seconds), "" if is_over else "so far as is known"), ""),
        (("most memory", size_text(peak) if peak else "-", "of one process"), ""),
    )
    cells = "".join(
        f'<div class="{kind}"><dt>{label}</dt><dd class="big">{big}</dd>'
        f'<dd class="note">{note}</dd></div>\n'
        for (label, big, note), kind in tiles
    )
    return f'<dl class="tiles">\n{cells}</dl>\n'


def _failures(journal: Journal, jobs: Tally) -> Iterator[str]:
    if not jobs.all.failed:
        return
    yield f"<h2>What failed, and why</h2>\n{_folders(jobs)}"
    if len(jobs.errors) < jobs.all.failed:
        yield from page_table.frequent("why jobs failed", jobs.errors)
        yield "<h3>Each of them</h3>\n"
    yield from page_table.failures(journal, jobs)


def _folders(jobs: Tally) -> str:
    """Return where the files are whose names are shown without the folders that all are in."""
    folders = {"Sources": str(jobs.sources), "Outputs": str(jobs.outputs)}
    words = "; ".join(
        f"{label.lower()} are below <bdi>{markup(folder)}</bdi>"
        for label, folder in folders.items()
        if folder
    )
    return f'<p class="dim small">{words[:1].upper()}{words[1:]}.</p>\n' if words else ""


def _times(
    journal: Journal, jobs: Tally, tries: TallyOfTries, span: tuple[float, float]
) -> Iterator[str]:
    yield "<h2>Where the time went</h2>\n"
    yield f"<p>{_time_words(jobs, tries, span)}</p>\n"
    attempts = (attempt for attempt in journal.attempts() if attempt.started >= span[0])
    kept = islice(attempts, len(tries.tries))
    picture = timeline(tries.tries, span, kept, lambda output: f"> {os.path.basename(output)}")
    if picture:
        yield "<figure><figcaption>Tries over time</figcaption>"
        yield f'<div tabindex="0">{picture}</div></figure>\n'


def _time_words(jobs: Tally, tries: TallyOfTries, span: tuple[float, float]) -> str:
    if not len(tries.tries):
        return "No job ran in the last batch."
    seconds, busy = span[1] - span[0], tries.tries.busy(span[1])
    words = (
        f"The last batch made {count_text(len(tries.tries))} tries, which took "
        f"{seconds_text(busy)} together in {seconds_text(seconds)} of wall time: "
        f"{number_text(busy / seconds if seconds else 0)} at once on average, "
        f"{tries.tries.most_at_once} at most."
    )
    if tries.bad.jobs:
        share = 100 * tries.bad.seconds / busy if busy else 0
        words += (
            f" {count_text(tries.bad.jobs)} of them failed; those took "
            f"{seconds_text(tries.bad.seconds)}, {number_text(share)} % of that."
        )
    if tries.earlier:
        words += f" {count_text(tries.earlier)} tries of batches before are not counted here."
    return words


def _spreads(jobs: Tally) -> Iterator[str]:
    """Yield the pictures of how the jobs that are done spread."""
    text: Callable[[float], str] = number_text
    pictures = {
        "Work by stage, all jobs": bars("stages", "Work by stage", jobs.stages, seconds_text),
        "Time of a job": histogram("seconds", "Time of a job", jobs.seconds, "s", text),
        "Speed of a job": histogram("speed", "Speed of a job", jobs.fps, "frames per second", text),
        "Size": cloud(
            "sizes",
            "Size of output by size of source",
            (jobs.source_sizes, jobs.output_sizes),
            ("source, bytes", "output, bytes"),
            lambda nbytes: size_text(nbytes).replace(".0 ", " "),
        ),
    }
    if not any(pictures.values()):
        return
    yield '<h2>How the jobs compare</h2>\n<div class="plots">\n'
    for caption, picture in pictures.items():
        if picture:
            yield f"<figure><figcaption>{caption}</figcaption>{picture}</figure>\n"
    yield "</div>\n"


def _rankings(jobs: Tally, tries: TallyOfTries) -> Iterator[str]:
    """Yield the tables of what took long."""
    if jobs.longest:
        yield '<div class="pair">\n<div>\n'
        yield from page_table.ranked("jobs that took longest", "Longest jobs", jobs.longest, jobs)
        yield "</div>\n<div>\n"
        caption = "jobs with the fewest frames per second"
        yield from page_table.ranked(caption, "Slowest jobs", jobs.slowest, jobs)
        yield "</div>\n</div>\n"
    if len(jobs.profiles) > 1:
        yield "<h3>By profile</h3>\n"
        yield from page_table.groups(jobs.profiles)
    if len(tries.hosts) > 1:
        yield "<h3>By machine</h3>\n"
        yield from page_table.hosts(tries.hosts)


def _notices(jobs: Tally) -> Iterator[str]:
    if len(jobs.notices):
        yield "<h2>What was noticed</h2>\n"
        yield (
            '<p class="dim small">Notices that differ only in numbers and in files '
            "are counted as one.</p>\n"
        )
        yield from page_table.frequent("notices", jobs.notices)


def _jobs(journal: Journal, jobs: Tally) -> Iterator[str]:
    if jobs.all.jobs:
        yield f'<h2>All jobs</h2>\n{_folders(jobs)}<div id="controls" class="controls"></div>\n'
        yield from page_table.jobs(journal, jobs)
