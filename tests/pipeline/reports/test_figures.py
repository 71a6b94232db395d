"""A figure depends on nothing but what is drawn: not on the settings that its user has for Matplotlib."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import pytest

import pipeline.reports.figures
from pipeline.bench.plots import kernels_plot
from pipeline.reports.figures import label, svg_figure

STYLE = {"svg.hashsalt": "test"}
# A figure's program, as a person with settings of their own starts it.
PROGRAM = """
import sys
from pathlib import Path
import pipeline.reports.figures  # first: tests import Matplotlib themselves
from tests.pipeline.reports.test_figures import draw
draw(Path(sys.argv[1]))
"""


def draw(path, name="a name"):
    with svg_figure(path, (4, 3), STYLE) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0.5, 2000], label=label(name))
        axes.set_title(label(name))
        axes.text(0, 0, label(name))
        axes.set_yticks([1, 1000], [label(name), "-1"])
        axes.legend()
    return path.read_bytes()


@pytest.mark.parametrize(
    "settings",
    [
        {"text.usetex": True},
        {"font.family": ["Comic Sans MS"], "font.size": 30, "mathtext.fontset": "stix"},
        {"axes.facecolor": "pink", "lines.linewidth": 9, "axes.prop_cycle": matplotlib.cycler(color=["k"])},
        {"path.sketch": (1, 100, 2), "svg.fonttype": "none", "savefig.format": "png", "savefig.bbox": "tight"},
        {"axes.formatter.use_locale": True, "axes.unicode_minus": False, "figure.autolayout": True},
    ],
)
def test_a_figure_is_the_same_whatever_its_user_has_set(settings, tmp_path):
    plain = draw(tmp_path / "plain.svg")
    with matplotlib.rc_context(settings):
        assert draw(tmp_path / "set.svg") == plain
        assert all(matplotlib.rcParams[name] == value for name, value in settings.items()), "and it stays set"


def test_a_backend_and_settings_that_cannot_be_used_are_not_used(tmp_path):
    plain = draw(tmp_path / "plain.svg")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: none\nno.setting: 1\n")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "other.svg"],
        env={
            **os.environ,
            "MPLBACKEND": "module://of_a_notebook",
            "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
            "MPLCONFIGDIR": "/proc/no/folder",
        },
        check=True,
        capture_output=True,
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    assert (tmp_path / "other.svg").read_bytes() == plain


def test_settings_that_matplotlib_cannot_be_imported_with_are_told_in_a_line(tmp_path):
    (tmp_path / "matplotlibrc").write_bytes(b"font.family: \xff\n")
    program = (
        "from pipeline.console.exit_codes import one_line_errors\n"
        "with one_line_errors('deps'): import pipeline.reports.figures"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("deps: Matplotlib cannot be imported: 'utf-8' codec can't decode byte 0xff")


NAMES = ["$x^2$", "$\\frac{$", "100 $ and 200 $", "<script>alert(1)</script>", "a & \"b\" 'c'", "--> <x>"]
NAMES += ["\x07\x1b[31m", "a\nb", "\udcff", "漢字", "x" * 5000]


def glyphs(drawn):
    """The characters that are drawn, by their names in the file."""
    return set(re.findall(rb'href="#(DejaVuSans-\w+)"', drawn))


def mark(character, folder):
    """The name of one character."""
    with svg_figure(folder / "mark.svg", (1, 1), STYLE) as figure:
        figure.text(0, 0, character)
    return glyphs((folder / "mark.svg").read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_drawn_as_it_is(name, tmp_path, recwarn):
    drawn = draw(tmp_path / "x.svg", name)
    assert len(drawn) < 200_000
    assert b"<!--" not in drawn
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(drawn).iter()}
    assert not tags & {"script", "x", "image", "foreignObject"}
    assert not list(recwarn)
    for character in "$\\<&":  # mathematics and markup would have taken them as theirs
        if character in name:
            assert mark(character, tmp_path) <= glyphs(drawn)


def test_matplotlib_is_imported_in_one_place():
    root = Path(pipeline.reports.figures.__file__).parents[2]
    sources = [path for package in ("pipeline", "data_shards", "cluster") for path in (root / package).rglob("*.py")]
    found = [path for path in sources if re.search(r"^\s*(from|import) matplotlib", path.read_text(), re.MULTILINE)]
    assert found == [root / "pipeline" / "reports" / "figures.py"]


def test_a_name_with_an_underscore_first_is_in_the_legend(tmp_path):
    with svg_figure(tmp_path / "x.svg", (4, 3), STYLE) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], label=label("_mine"))
        assert [text.get_text().strip() for text in axes.legend().get_texts()] == ["_mine"]


def test_ticks_between_powers_of_ten_are_numbers(tmp_path):
    """Times within one power of ten: Matplotlib writes the ticks between as mathematics."""
    times = {"ours": 1.5, "strong_eager": 4.0, "ofa_style": 6.0}
    row = {"direction": "forward", "operation": "a_b", "shape": "8", "status": "ok", "floor_seconds": 1.0}
    kernels_plot(tmp_path / "x.svg", "title", [{**row, **{f"{name}_seconds": time for name, time in times.items()}}])
    drawn = glyphs((tmp_path / "x.svg").read_bytes())
    assert mark("3", tmp_path) <= drawn
    assert not mark("$", tmp_path) <= drawn
