"""The report of a batch as a page: its numbers, its safety, what it costs, how it looks."""

import html
import re
import shutil
import subprocess
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import av
import numpy as np
import pytest

from tests.helpers.require import require
from tests.transcode.batch.journals import START, VERSIONS, begin, done, large, record, report
from transcode.batch import journal as journal_module
from transcode.batch.journal import Journal
from transcode.batch.page import page
from transcode.batch.summary import summarize
from transcode.batch.task import Outcome
from transcode.errors import OutputError
from transcode.file_identity import FileIdentity
from transcode.publish import write_text

VOID = {"meta", "input", "br"}
HOSTILE = (
    '<script>alert("1")</script>',
    "quote\" onload='x' & &amp; .mov",
    "two\nlines\r\x1b[31m",
    "\u202egpj.exe",
    "]]></title></style><h1>",
    "עברית 日本\u3000語 é",
)


class Page(HTMLParser):
    """What stands in a page: balanced elements, cells by table, attributes, texts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: list[tuple[str, str]] = []
        self.tags: set[str] = set()
        self._region = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag == "div" and ("role", "region") in attrs:
            self._region = dict(attrs)["aria-label"]
            self.tables[self._region] = []
        if tag == "tr":
            self.tables[self._region].append([])
        if tag in ("td", "th"):
            self.tables[self._region][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))
        if {"td", "th"} & set(self.open):
            self.tables[self._region][-1][-1] += data

    def words(self) -> str:
        texts = " ".join(data for tag, data in self.texts if tag not in ("style", "script"))
        return re.sub(r"[ \n]+", " ", texts)


def pictures(text: str) -> dict[str, ElementTree.Element]:
    """Return the SVG pictures of a page by name, read as XML."""
    found = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    return {svg.attrib["class"]: svg for svg in found}


def marks(svg: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [rect for rect in svg.iter("rect") if rect.attrib["class"] == kind]


@pytest.fixture
def clock(monkeypatch):
    """Set the journal's clock: seconds after the batch began."""

    class Clock:
        now = START

        def time(self):
            return self.now

        def __call__(self, seconds):
            self.now = START + seconds

    clock = Clock()
    monkeypatch.setattr(journal_module, "time", clock)
    return clock


@pytest.fixture
def journal(tmp_path, clock):
    with Journal(str(tmp_path / "night.journal"), write=True) as opened:
        yield opened


def run(journal, clock, made, outcome, *, at=(0.0, 2.0), state=None):
    """Write down one try of a job."""
    clock(at[0])
    journal.started(made.output, input=FileIdentity(4_000_000, 1, 2), versions=VERSIONS)
    clock(at[1])
    state = state or ("done" if outcome.kind == "done" else "failed")
    journal.ended(made.output, outcome, state, verified="fast")


def failed(made, worker="beta:22", kind="crashed"):
    error = f"{made.source}: the process crashed"
    return Outcome(kind=kind, error=error, seconds=3.0, worker=worker, peak_nbytes=1 << 20)


def mixed(journal, clock):
    """Write down 3 jobs that are done, one that failed twice, one that runs, one that waits."""
    jobs = [record(number, profile="ab"[number % 2]) for number in range(1, 7)]
    begin(journal, jobs)
    for index, made in enumerate(jobs[:3]):
        told = report(made.source, made.output, frames=100 * (index + 1), notices=("was <odd>",))
        run(journal, clock, made, done(told), at=(2 * index, 2 * index + 2))
    run(journal, clock, jobs[3], failed(jobs[3]), at=(0, 3), state="waiting")
    run(journal, clock, jobs[3], failed(jobs[3]), at=(4, 7))
    clock(5)
    journal.started(jobs[4].output, input=None, versions=VERSIONS)


def test_of_no_jobs_the_page_says_so(journal):
    begin(journal, [])
    text = "".join(page(journal))
    assert "There are no jobs." in Page(text).words()
    assert not pictures(text)


def test_a_journal_that_no_batch_has_begun_has_a_page(journal):
    assert "There are no jobs." in Page("".join(page(journal))).words()


def test_where_all_went_well_it_says_that_first(journal, clock):
    jobs = [record(number) for number in range(1, 4)]
    begin(journal, jobs)
    for index, made in enumerate(jobs):
        run(journal, clock, made, done(report(made.source, made.output)), at=(index, index + 1))
    journal.note(ended=str(START + 3), elapsed_seconds="3.000")
    found = Page("".join(page(journal)))
    assert "All 3 jobs are done." in found.words()
    assert "jobs that failed" not in found.tables
    assert ("p", "class", "verdict fine") in found.attributes


def test_the_numbers_are_those_of_the_summary(journal, clock):
    mixed(journal, clock)
    words = Page("".join(page(journal))).words()
    summary = summarize(journal)
    assert (summary.done, summary.failed, summary.running, summary.waiting) == (3, 1, 1, 1)
    assert "3 of 6 jobs are done, 1 failed, 2 have not ended." in words
    assert "The batch is running, or was killed." in words
    assert summary.frames == 600
    assert re.search(r"frames\s+600\s+24 s of video", words)
    assert "12.0 MB > 3.0 MB" in words


def test_why_it_stopped_is_said(journal):
    begin(journal, [record(1)])
    journal.note(stopped="too little room on the disk", ended=str(START + 5))
    words = Page("".join(page(journal))).words()
    assert "1 have not ended" in words
    assert "It was stopped: too little room on the disk." in words
    assert "No job ran in the last batch." in words


def test_the_end_of_the_batch_before_is_not_that_of_one_that_runs(journal):
    begin(journal, [record(1)], ended=str(START - 100), elapsed_seconds="50")
    assert "The batch is running, or was killed." in Page("".join(page(journal))).words()


def test_failures_stand_first_with_where_how_and_why(journal, clock):
    mixed(journal, clock)
    found = Page("".join(page(journal)))
    assert next(iter(found.tables)) == "jobs that failed"
    _, row = found.tables["jobs that failed"]
    assert row[:2] == ["4", "night.yaml:4"]
    assert row[2] == "clip00004.movclip00004.mp4"
    assert row[3:] == ["crashed", "/data/in/clip00004.mov: the process crashed", "2", "beta:22"]
    assert "Sources are below /data/in/ ; outputs are below /data/out/ ." in found.words()


def test_like_failures_and_notices_are_counted(tmp_path):
    path = tmp_path / "large.journal"
    large(path, 200)
    with Journal(str(path), write=False) as journal:
        found = Page("".join(page(journal)))
    _, error = found.tables["why jobs failed"]
    assert error == ["4", "failed: /data/in/clip00050.mov: packet 50 is damaged", "50"]
    _, *notices = found.tables["notices"]
    assert (notices) == [
        ["196", "1 frames have no time", "1"],
        ["196", "the alpha plane was dropped", "1"],
    ]


def test_every_job_has_a_row(journal, clock):
    mixed(journal, clock)
    head, *rows = Page("".join(page(journal))).tables["all jobs"]
    states = [dict(zip(head, row, strict=True))["state"] for row in rows]
    assert states == ["done", "done", "done", "failed: crashed", "running", "waiting"]
    second = dict(zip(head, rows[1], strict=True))
    assert second["job"] == "2"
    assert second["frames"] == "200"
    assert second["frames/s"] == "100"
    assert second["time"] == "2 s"
    assert (second["source"], second["output"]) == ("4.0 MB", "1.0 MB")
    assert second["output/source"] == "25 %"
    assert second["copied a frame"] == "1.0 kB"
    assert second["verified"] == "yes"
    assert second["what was noticed"].startswith("1 noticewas <odd>")


def test_a_job_that_is_done_but_could_not_report_has_a_row(journal, clock):
    made = record(1)
    begin(journal, [made])
    outcome = Outcome(kind="done", seconds=1.0, worker="a:1", output=FileIdentity(5_000, 1, 2))
    run(journal, clock, made, outcome)
    head, row = Page("".join(page(journal))).tables["all jobs"]
    cells = dict(zip(head, row, strict=True))
    assert (cells["state"], cells["frames"], cells["output"]) == ("done", "-", "5.0 kB")


def test_few_tries_are_drawn_one_by_one_in_the_lane_of_their_worker(journal, clock):
    mixed(journal, clock)
    svg = pictures("".join(page(journal)))["timeline"]
    assert [len(marks(svg, kind)) for kind in ("good", "bad", "open")] == [3, 2, 1]
    labels = [text.text for text in svg.iter("text")]
    assert labels[:3] == ["alpha:11", "beta:22", "no end seen"]
    assert svg.find("desc").text == "6 tries in 7 s, 2 of them failed; at most 3 at once"
    # Seven seconds are as wide as the picture is; the second job ran from 2 to 4.
    bars = marks(svg, "good")
    widths = [float(bar.attrib["width"]) for bar in bars]
    whole = 1200 - 12 - 150
    assert widths == pytest.approx([whole * 2 / 7] * 3, abs=1)
    assert float(bars[1].attrib["x"]) == pytest.approx(150 + whole * 2 / 7, abs=1)
    assert bars[1].find("title").text == "> clip00002.mp4, try 1: done, 2 s"


def test_many_tries_are_drawn_as_how_many_ran_at_once(tmp_path):
    path = tmp_path / "large.journal"
    large(path, 4000)
    with Journal(str(path), write=False) as journal:
        text = "".join(page(journal))
    drawn = pictures(text)
    svg = drawn["timeline"]
    assert svg.find("desc").text == "4,000 tries in 1:06:40, 80 of them failed; at most 8 at once"
    assert 40 <= len(marks(svg, "bad")) <= 80
    # Tries last 1 to 7 seconds, 4 on average, and 8 begin every 8 seconds: 4 run at once.
    assert "4 at once on average, 8 at most" in Page(text).words()
    points = [pair.split(",") for pair in svg.find("polygon").attrib["points"].split()]
    corners = np.array(points, dtype=float)
    heights = corners[:, 1].max() - corners[1:-1:2, 1]
    # How much of each bin the tries cover, all with all.
    numbers = np.arange(4000)
    starts = numbers // 8 * 8.0
    ends = starts + 1 + (numbers + 1) % 7
    edges = np.linspace(0, 4000, len(heights) + 1)
    covered = np.minimum.outer(ends, edges[1:]) - np.maximum.outer(starts, edges[:-1])
    busy = covered.clip(0).sum(axis=0)
    np.testing.assert_allclose(heights / heights.max(), busy / busy.max(), atol=0.002)
    assert sum(1 for svg in drawn.values() for _ in svg.iter()) < 2500


def test_a_histogram_counts_every_job_once(tmp_path):
    path = tmp_path / "large.journal"
    large(path, 700)
    with Journal(str(path), write=False) as journal:
        drawn = pictures("".join(page(journal)))
    for name in ("seconds", "speed"):
        tips = [bar.find("title").text for bar in marks(drawn[name], "good")]
        assert sum(int(tip.split(": ")[1].split()[0]) for tip in tips) == 686
    # Seconds are 1 + number % 7: each as often as any other, so their median is the middle one.
    assert drawn["seconds"].find("desc").text.startswith("686 jobs: least 1, median 4, most 7")
    tips = [bar.find("title").text for bar in marks(drawn["sizes"], "good")]
    assert sum(int(tip.split()[0]) for tip in tips) == 686


def test_every_picture_says_in_words_what_it_shows(journal, clock):
    mixed(journal, clock)
    drawn = pictures("".join(page(journal)))
    assert list(drawn) == ["timeline", "stages", "seconds", "speed", "sizes"]
    for name, svg in drawn.items():
        assert svg.attrib["role"] == "img"
        assert svg.attrib["aria-labelledby"] == f"{name}-title {name}-desc"
        assert svg.find("title").text
        assert svg.find("desc").text


def test_hostile_names_are_shown_and_do_nothing(journal, clock):
    jobs = [
        record(number, source=f"/in/{name}", output=f"/out/{number}/{name}", profile=name)
        for number, name in enumerate(HOSTILE, 1)
    ]
    begin(journal, jobs, manifest=f"/data/{HOSTILE[0]}", executor=HOSTILE[1])
    for made in jobs:
        # Bytes that are no UTF-8 reach a report from a container's tags.
        notices = (f"tag {made.source}\udcff",)
        told = report(made.source, made.output, notices=notices)
        outcome = failed(made, f"{made.profile}:1") if made.number % 2 else done(told)
        run(journal, clock, made, outcome)
    text = "".join(page(journal))
    assert text.encode("utf-8").decode("utf-8") == text
    found = Page(text)
    assert not {"img", "link", "iframe", "object"} & found.tags
    assert text.count("<script") == 1
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    words = found.words()
    for shown in (HOSTILE[0], HOSTILE[1], r"two\nlines\r\x1b[31m", r"\u202egpj.exe", HOSTILE[4]):
        assert shown in words
    assert HOSTILE[5] in words
    assert r"\xff" in words
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e]", text)
    pictures(text)


def test_nothing_comes_from_outside(journal, clock):
    mixed(journal, clock)
    text = "".join(page(journal))
    found = Page(text)
    for tag, name, value in found.attributes:
        assert name not in ("src", "srcset", "style"), tag
        if name == "href":
            assert value.startswith("#")
    assert "url(" not in text
    assert "@import" not in text
    assert "://" not in text
    assert "default-src 'none'" in html.unescape(text)


def test_every_head_has_a_scope_and_every_link_leads_somewhere(journal, clock):
    mixed(journal, clock)
    text = "".join(page(journal))
    assert len(re.findall(r"<th\b", text)) == len(re.findall(r"<th scope=", text))
    ids = set(re.findall(r' id="([^"]+)"', text))
    assert {link[1:] for link in re.findall(r'href="([^"]+)"', text)} <= ids
    assert len(ids) == len(re.findall(r' id="', text))


def test_ten_thousand_jobs_take_as_little_memory_as_one_thousand(tmp_path):
    peaks, sizes = [], []
    for count in (1_000, 10_000):
        path = tmp_path / f"{count}.journal"
        large(path, count)
        with Journal(str(path), write=False) as journal:
            tracemalloc.start()
            try:
                sizes.append(sum(len(part) for part in page(journal)))
                peaks.append(tracemalloc.get_traced_memory()[1])
            finally:
                tracemalloc.stop()
    assert sizes[1] < 10.5 * sizes[0]
    # 57 bytes a job are kept: when each began and ended, its speed, time, and sizes.
    assert peaks[1] - peaks[0] < 2_000_000


def test_the_file_appears_whole_or_not_at_all(journal, clock, tmp_path):
    mixed(journal, clock)
    path = tmp_path / "page" / "night.html"
    with pytest.raises(OutputError, match="there is no folder"):
        write_text(str(path), page(journal), source=journal.path)
    path.parent.mkdir()
    path.write_text("old")

    def broken():
        yield "new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_text(str(path), broken(), source=journal.path)
    assert [(file.name, file.read_text()) for file in path.parent.iterdir()] == [
        ("night.html", "old")
    ]
    write_text(str(path), page(journal), source=journal.path)
    assert [file.name for file in path.parent.iterdir()] == ["night.html"]
    assert Page(path.read_text(encoding="utf-8")).tables["all jobs"]


def test_the_page_never_replaces_its_journal(journal):
    with pytest.raises(OutputError, match="is the input itself"):
        write_text(journal.path, page(journal), source=journal.path)


# In a browser ---------------------------------------------------------------------------------


@pytest.fixture
def browse(tmp_path):
    """Open a page in Chromium with some options; return what it prints."""
    browser = shutil.which("chromium") or ""
    require("chromium", bool(browser), "is not installed; try: apt install chromium")

    def browse(path: Path, *options: str) -> str:
        command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += ["--disable-dev-shm-usage", f"--user-data-dir={tmp_path / 'profile'}"]
        ran = subprocess.run(
            [*command, *options, path.as_uri()], capture_output=True, check=True, timeout=60
        )
        return ran.stdout.decode()

    return browse


def picture(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_a_browser_shows_it_in_light_and_in_dark(journal, clock, browse, tmp_path):
    mixed(journal, clock)
    path = tmp_path / "night.html"
    write_text(str(path), page(journal), source=journal.path)
    brightness = []
    for scheme in ("1", "0"):  # Blink's numbers: light, dark.
        shot = tmp_path / f"{scheme}.png"
        browse(
            path,
            f"--screenshot={shot}",
            "--window-size=1280,1600",
            f"--blink-settings=preferredColorScheme={scheme}",
        )
        pixels = picture(shot)
        assert pixels.shape == (1600, 1280, 3)
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
        brightness.append(float(np.median(pixels)))
    assert brightness[0] > 230
    assert brightness[1] < 40


def test_its_script_runs_and_no_other(journal, clock, browse, tmp_path):
    made = record(1, source="/in/<script>document.title='bad'</script>.mov")
    begin(journal, [made, record(2)])
    run(journal, clock, made, done(report(made.source, made.output)))
    path = tmp_path / "night.html"
    write_text(str(path), page(journal), source=journal.path)
    # As if something had not been escaped.
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("</body>", "<script>document.title = 'bad'</script></body>"))
    dom = browse(path, "--dump-dom")
    assert "<title>night.yaml: batch report</title>" in dom
    assert "2 of 2 jobs" in dom  # The script's own count of the rows that it shows.
    assert dom.count('<button type="button" title="sort">') >= 15
    assert re.search(r'<dd class="big">100</dd>\s*<dd class="note">4 s of video</dd>', dom)
