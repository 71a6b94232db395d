"""Whatever runs, approaches and machines are called, a report says that, and no more happens by it."""

import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from data_shards.one_line import readable
from pipeline.reports.page import Code, Figure, Figures, Heading, Table, Text, to_html, to_markdown
from pipeline.reports.report import write_report

from .run_folders import make_run

NAMES = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "&lt; & &amp; &#60;",
    "\"double\" 'single'",
    "a | b || c",
    "`code` ``more``",
    "[x](javascript:alert(1))",
    "![x](http://example.org/x.png)",
    "<http://example.org>",
    "**bold** *x* __y__ _z_ ~~s~~ snake_case _first last_",
    "line\nbreak\n\n# heading\r\n- item",
    "# 1. - + > ===",
    "$x^{2}$ and \\frac",
    "\\",
    "\\| \\` \\",
    " * spaces around ",
    "\x07 \x1b[31m \x00",
    "\udcff",
    "\u202e turned \u2028",
    "--> ]]> <!-- x",
    "[x]: javascript:alert(1)",
    "DεpS 漢字 🙂",
]


class Page(HTMLParser):
    """The text of a page's elements, and its tags and addresses."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.tags, self.addresses, self.attributes = {}, set(), [], {}
        self._open = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.setdefault(tag, []).append(dict(attrs))
        self.addresses += [value for name, value in attrs if name in ("src", "href") or name.startswith("on")]
        if tag not in ("img", "meta"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        for tag in self._open:
            self.texts[tag][-1] += data


def rendered(markdown):
    """The page that a reader of Markdown makes of it: with HTML let through, with tables, and `~~`."""
    return Page(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))


def plain(text):
    """Text without spaces: at the ends, and several of them, no page shows."""
    return "".join(text.split())


@pytest.mark.parametrize("name", NAMES)
def test_text_is_that_text_in_every_place_of_both_pages(name, tmp_path):
    figure = tmp_path / "x.svg"
    figure.write_text("<svg/>")
    blocks = [
        Heading(name),
        Text(f"Of {name}, ", Code("a command"), f", {name}", note=True),
        Table([name, "header"], [[name, name], ["plain", name]], strong=frozenset([1])),
        Figures([Figure(figure, name)]),
    ]
    shown = plain(readable(name))
    for page in (Page(to_html(name, blocks)), rendered(to_markdown(name, blocks))):
        texts = {tag: [plain(text) for text in found] for tag, found in page.texts.items()}
        assert texts["h1"] == texts["h2"] == [shown]
        assert plain(f"Of {shown}, a command, {shown}") in texts["p"]
        assert texts["code"] == ["acommand"]
        assert texts["th"] == [shown, "header"]
        assert texts["td"] == [shown, shown, "plain", shown]
        assert shown in texts.get("figcaption", texts.get("em", []))
        assert plain(page.attributes["img"][0]["alt"]) == shown
        assert len(page.addresses) == 1
        assert not page.tags & {"script", "a", "s", "ul", "ol", "blockquote", "hr"}


def test_a_report_of_runs_of_any_name_has_their_names_and_nothing_else(tmp_path):
    """Of what `run.json`, the ledger and the evaluation tell, in one report of three approaches."""
    names = [name for name in NAMES if name != "\udcff"]  # which no file of a run may hold
    thirds = [" ".join(names[start::3]) for start in range(3)]
    folders = []
    for number, name in enumerate(thirds):
        folder = make_run(tmp_path / f"run_{number}", name, seed=number, others=[(name, 5_000_000, 20.0)])
        folders.append(folder)
        run = json.loads((folder / "run.json").read_text())
        run.update(name=name, dataset="data " + thirds[0], engine=name, machine=name)
        run.update(versions={name: name}, phases=[{**phase, "name": name} for phase in run["phases"]])
        (folder / "run.json").write_text(json.dumps(run))
        ledger = json.loads((folder / "ledger.json").read_text())
        ledger["segments"][0]["seconds"][name] = 60.0
        (folder / "ledger.json").write_text(json.dumps(ledger))
    written = write_report(folders, tmp_path / "report")
    markdown, html, *figures = written.pages
    assert len(figures) >= 8
    pages = [rendered(markdown.read_text(encoding="utf-8")), Page(html.read_text(encoding="utf-8"))]
    for page in pages:
        assert not page.tags & {"script", "a", "s", "ul", "ol", "blockquote", "hr", "code"}
        assert all(re.match(r"data:image/svg\+xml;base64,|\w+\.svg$", address) for address in page.addresses)
        cells = {plain(cell) for cell in page.texts["td"]}
        for name in thirds:
            assert plain(readable(name)) in cells
    for figure in figures:
        text = figure.read_text(encoding="utf-8")
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(text).iter()}
        assert not tags & {"script", "img", "a", "image"}
        assert "alert" not in text
