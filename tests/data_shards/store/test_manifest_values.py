"""Values in a manifest that cannot be right are refused, whatever its checksum: names are bare names of files."""

import urllib.parse

import pytest

from data_shards.config import DataConfig
from data_shards.errors import ShardDamage
from data_shards.open_data import open_data
from data_shards.store.index import open_split
from data_shards.store.manifest import ShardEntry, SplitEntry, read_manifest
from data_shards.store.verify import verify
from data_shards.streaming.remote import RemoteSplit
from tests.data_shards.crafted import craft_manifest

NO_NAMES = [
    "", ".", "..", "../manifest.json", "a/b", "/etc/passwd", "a\\b", ".hidden", "-rf", "a b", "a\nb", "a\tb", "a\0b",
    "\x1b[2J", "x; touch WITNESS; #", "$(touch WITNESS)", "`touch WITNESS`", "x' 'y", 'x" "y', "x|y", "x&y", "x>y", "*",
    "~root", "a%2fb", "a?b", "a#b", "ä.tar", "a\u202eb", "x" * 256,
]  # fmt: skip


def train(manifest):
    return manifest["splits"]["train"]


def refused(root, change):
    """The one line in which opening and verifying refuse a manifest."""
    craft_manifest(root, change)
    lines = set()
    for work in (lambda: open_split(root, "train"), lambda: verify(root)):
        with pytest.raises(ShardDamage) as caught:
            work()
        assert caught.value.shard == str(root / "manifest.json")
        lines.add(str(caught.value))
    (line,) = lines
    return line


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_shard_whose_name_is_more_than_a_name_is_refused(breakable, name):
    line = refused(breakable, lambda manifest: train(manifest)["shards"][1].update(name=name))
    assert "splits.train.shards.1.name: " in line
    assert line.endswith("is not the bare name of a file: up to 255 of A-Z, a-z, 0-9, '.', '_' and '-', neither of "
                         "'.' and '-' first")  # fmt: skip
    assert line.isprintable()


@pytest.mark.parametrize("name", [name for name in NO_NAMES if "\n" not in name])
def test_a_split_whose_name_is_more_than_a_name_is_refused(breakable, name):
    line = refused(breakable, lambda manifest: manifest["splits"].update({name: train(manifest)}))
    assert "is not the bare name of a file" in line


@pytest.mark.parametrize("name", ["train-000000.tar", "index.npy"])
def test_two_files_of_one_name_are_refused(breakable, name):
    line = refused(breakable, lambda manifest: train(manifest)["shards"][1].update(name=name))
    assert line.endswith(f"splits.train: two files are called {name!r}")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda split: split["shards"][0].update(samples=-40), "samples: Input should be greater than or equal to 1"),
        (lambda split: split["shards"][0].update(samples=0), "samples: Input should be greater than or equal to 1"),
        (lambda split: split["shards"][0].update(bytes=-1), "40 samples do not fit into the -1 bytes of train-000000"),
        (lambda split: split["shards"][0].update(bytes=1000), "40 samples do not fit into the 1000 bytes of"),
        (lambda split: split["shards"][0].update(bytes=2**63), "bytes: Input should be less than or equal to 46116860"),
        (lambda split: split["shards"][0].update(samples=2**64, bytes=2**62), "samples do not fit into"),
        (lambda split: split["shards"][0].update(samples=41), "its shards hold 151 samples, not 150"),
        (lambda split: split.update(samples=10**30), "its shards hold 150 samples, not 10000"),
        (lambda split: split.update(samples=-1), "its shards hold 150 samples, not -1"),
        (lambda split: split.update(shards=[]), "its shards hold 0 samples, not 150"),
    ],
)
def test_counts_that_cannot_be_right_are_refused(breakable, change, reason):
    assert reason in refused(breakable, lambda manifest: change(train(manifest)))


@pytest.mark.parametrize("number", [-1, 0, 1])
def test_a_format_that_had_no_checksum_is_refused_with_one(breakable, number):
    assert "format: Input should be" in refused(breakable, lambda manifest: manifest.update(format=number))


def test_two_classes_of_one_name_are_refused(breakable):
    line = refused(breakable, lambda manifest: manifest["classes"].__setitem__(3, "02"))
    assert line.endswith("two classes are called '02'")


def test_names_of_classes_command_no_terminal(breakable):
    names = ["\x1b[2J", "two\nlines", "na\u202eme", "Zürich 北", *(str(each) for each in range(96))]
    craft_manifest(breakable, lambda manifest: manifest.update(classes=names, dataset="a\rb"))
    manifest = read_manifest(breakable)
    assert manifest.classes[:4] == (r"\x1b[2J", r"two\nlines", r"na\u202eme", "Zürich 北")
    assert manifest.dataset == r"a\rb"


@pytest.mark.parametrize("command", ["pipe:cat PLACE/{}", "pipe:cat 'PLACE/{}'", 'pipe:cat "PLACE/{}"'])
def test_no_shard_name_runs_a_command(breakable, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    config = DataConfig(
        shards=breakable, access="sequential", stream_from=command.replace("PLACE", str(breakable)), workers=0
    )
    image = open_split(breakable, "train").read(0)
    assert open_data(config).train.read(0) == image, "in quotation marks or not"
    for name in ("x; touch witness; #", "$(touch witness)", "`touch witness`", "'; touch witness; '"):
        craft_manifest(breakable, lambda manifest, name=name: train(manifest)["shards"][0].update(name=name))
        with pytest.raises(ShardDamage, match="not the bare name"):
            open_data(config).train.read(0)
    assert not (tmp_path / "witness").exists()


def test_a_name_that_no_manifest_may_have_is_one_word_of_a_command_and_one_part_of_a_url():
    shard = ShardEntry.model_construct(name="x; touch #'?.tar", samples=1, bytes=4096, sha256="")
    entry = SplitEntry.model_construct(samples=1, index_sha256="", shards=(shard,))
    command = RemoteSplit("here", "train", entry, (), "pipe:cat place/{}").place(0)
    assert command == """pipe:cat place/'train/x; touch #'"'"'?.tar'"""
    url = RemoteSplit("here", "train", entry, (), "http://host/").place(0)
    assert urllib.parse.urlsplit(url).path == urllib.parse.quote("/train/x; touch #'?.tar")
