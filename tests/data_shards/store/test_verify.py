"""`verify` names each damaged sample and file, and says what is wrong with it."""

import errno
import io
import os
import re
import shutil
import tarfile
import zlib

import numpy as np
import pytest
import simplejpeg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.packing.pack import pack
from data_shards.sources.digits100 import Digits100
from data_shards.store.image_format import encode_png
from data_shards.store.index import INDEX_DTYPE, open_split
from data_shards.store.manifest import read_manifest
from data_shards.store.regular_file import open_regular
from data_shards.store.verify import verify

SHARD = "train/train-000001.tar"  # samples 40 … 79
VICTIM = 47


class Breaker:
    """Damages one shard of a packed data set, around sample VICTIM."""

    def __init__(self, root):
        self.root, self.path = root, root / SHARD
        row = open_split(root, "train").index[VICTIM]
        self.offset, self.size = int(row["offset"]), int(row["size"])
        self.bytes = bytearray(self.path.read_bytes())

    def save(self):
        self.path.write_bytes(self.bytes)

    def flip(self, offset):
        self.bytes[offset] ^= 0x55
        self.save()

    def cut(self, size):
        del self.bytes[size:]
        self.save()

    def rewrite(self, change):
        """Writes the tar anew; `change` maps (name, payload) to a payload, or to None to leave the member out."""
        changed = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(self.bytes)) as old, tarfile.open(fileobj=changed, mode="w") as new:
            for member in old:
                payload = change(member.name, old.extractfile(member).read())
                if payload is not None:
                    member.size = len(payload)
                    new.addfile(member, io.BytesIO(payload))
        self.bytes = changed.getvalue()
        self.save()

    def replace(self, name, payload):
        self.rewrite(lambda old_name, old: payload if old_name == name else old)


@pytest.fixture
def breaker(breakable):
    return Breaker(breakable)


def of_sample(damages, sample):
    """The findings that name a sample."""
    return [damage for damage in damages if damage.key == f"{sample:09d}"]


def test_a_whole_data_set_has_no_damage(digits100_root):
    assert verify(digits100_root) == []


def test_a_flipped_byte_in_an_image_is_named(breaker):
    breaker.flip(breaker.offset + breaker.size // 2)
    (damage,) = of_sample(verify(breaker.root), VICTIM)
    assert (damage.shard, damage.offset, damage.samples) == (str(breaker.path), breaker.offset, 1)
    assert "CRC-32 differs" in damage.reason


def test_a_shard_cut_in_an_image_names_it_and_all_that_follow(breaker):
    breaker.cut(breaker.offset + 100)
    damages = verify(breaker.root)
    (torn,) = of_sample(damages, VICTIM)
    assert f"ends after 100 of its {breaker.size} bytes" in torn.reason
    (lost,) = of_sample(damages, VICTIM + 1)
    assert lost.samples == 79 - VICTIM
    assert f"the sample is missing: the shard ends at byte {breaker.offset + 100}" in lost.reason


def test_a_shard_cut_in_a_header_names_what_is_lost(breaker):
    breaker.cut(breaker.offset - 200)
    (lost,) = of_sample(verify(breaker.root), VICTIM)
    assert (lost.samples, lost.offset) == (80 - VICTIM, breaker.offset)


def test_a_shard_cut_between_two_samples_names_what_is_lost(breaker):
    # To a reader of tars this looks like a shorter, whole tar.
    breaker.cut(breaker.offset - 512)
    with tarfile.open(breaker.path) as tar:
        assert len(tar.getnames()) == 2 * (VICTIM - 40)
    damages = verify(breaker.root)
    (lost,) = of_sample(damages, VICTIM)
    assert (lost.samples, lost.shard) == (80 - VICTIM, str(breaker.path))
    assert any(f"has {breaker.offset - 512} bytes" in damage.reason for damage in damages)


def test_a_shard_cut_between_image_and_label_names_the_label(breaker):
    breaker.cut(breaker.offset + breaker.size + -breaker.size % 512)
    damages = verify(breaker.root)
    assert "its label is missing" in of_sample(damages, VICTIM)[0].reason
    assert of_sample(damages, VICTIM + 1)[0].samples == 79 - VICTIM


def test_a_shard_cut_in_its_end_mark_is_found(breaker):
    breaker.cut(len(breaker.bytes) - 300)
    (damage,) = verify(breaker.root)
    assert "were packed" in damage.reason


@pytest.mark.parametrize("image", [b"", b"this is no image", simplejpeg.encode_jpeg(np.zeros((32, 32, 3), np.uint8))])
def test_another_image_in_its_place_is_named(breaker, image):
    breaker.replace(f"{VICTIM:09d}.jpg", image)
    (damage,) = of_sample(verify(breaker.root), VICTIM)
    assert damage.shard == str(breaker.path)


@pytest.mark.parametrize(
    ("fill", "reason"), [(b"\0", "CRC-32 differs.*; not a whole JPEG"), (b"\xa7", "CRC-32 differs.*; not a whole JPEG")]
)
def test_garbage_of_the_same_length_is_named(breaker, fill, reason):
    breaker.bytes[breaker.offset : breaker.offset + breaker.size] = fill * breaker.size
    breaker.save()
    (damage,) = of_sample(verify(breaker.root), VICTIM)
    assert (damage.offset, damage.samples) == (breaker.offset, 1)
    assert re.search(reason, damage.reason)


def test_a_missing_label_is_named(breaker):
    breaker.rewrite(lambda name, payload: None if name == f"{VICTIM:09d}.cls" else payload)
    assert "its label is missing" in of_sample(verify(breaker.root), VICTIM)[0].reason


@pytest.mark.parametrize(
    ("label", "reason"), [(b"100", "not one of 0 … 99"), (b"x", "not one of"), (b"", "not one of")]
)
def test_a_label_that_is_no_class_is_named(breaker, label, reason):
    breaker.replace(f"{VICTIM:09d}.cls", label)
    assert reason in of_sample(verify(breaker.root), VICTIM)[0].reason


def test_a_label_other_than_the_indexed_one_is_named(breaker):
    label = int(open_split(breaker.root, "train").labels[VICTIM])
    breaker.replace(f"{VICTIM:09d}.cls", str((label + 1) % 100).encode())
    (damage,) = of_sample(verify(breaker.root), VICTIM)
    assert damage.reason == f"the label is {(label + 1) % 100}; the index says {label}"


def test_a_broken_header_costs_one_sample_not_the_rest(breaker):
    breaker.flip(breaker.offset - 512 + 4)
    damages = verify(breaker.root)
    assert {damage.key for damage in damages} == {f"{VICTIM:09d}", None}
    assert of_sample(damages, VICTIM)[0].reason == "its image is missing"
    assert any(damage.offset == breaker.offset - 512 and "not a tar header" in damage.reason for damage in damages)


def test_a_sample_that_was_never_packed_is_named(breaker):
    with tarfile.open(breaker.path, "a") as tar:
        member = tarfile.TarInfo("extra.jpg")
        tar.addfile(member)
    assert any("'extra.jpg' is not among the samples" in damage.reason for damage in verify(breaker.root))


def test_a_missing_shard_names_its_first_sample_and_how_many(breaker):
    breaker.path.unlink()
    (damage,) = verify(breaker.root)
    assert (damage.shard, damage.key, damage.samples) == (str(breaker.path), "000000040", 40)
    assert str(damage).endswith("cannot be read: No such file or directory (40 samples from this one on)")


def test_a_shard_too_many_is_named(breaker):
    shutil.copy(breaker.path, breaker.path.with_name("train-000099.tar"))
    (damage,) = verify(breaker.root)
    assert damage.shard.endswith("train-000099.tar")
    assert "not in the manifest" in damage.reason


def test_shards_that_changed_places_are_found(breaker):
    other = breaker.path.with_name("train-000000.tar")
    breaker.path.write_bytes(other.read_bytes())
    other.write_bytes(breaker.bytes)
    damages = verify(breaker.root)
    assert of_sample(damages, 0)[0].samples == 40
    assert of_sample(damages, 40)[0].samples == 40


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda index: index[:100], "lists 100 samples; the shards were packed with 150"),
        (lambda index: np.concatenate([index, index[:1]]), "lists 151 samples"),
        (lambda index: index[::-1].copy(), "not the index that was packed with these shards"),
    ],
)
def test_an_index_that_does_not_fit_the_shards_is_named(breakable, change, reason):
    path = breakable / "train" / "index.npy"
    np.save(path, change(np.load(path)))
    (damage,) = verify(breakable)
    assert damage.shard == str(path)
    assert reason in damage.reason


def test_an_index_older_than_the_shards_is_found(breakable, tmp_path):
    pack(Digits100(train=150, test=60, seed=4), tmp_path / "newer", samples_per_shard=40)
    for shard in (tmp_path / "newer" / "train").glob("*.tar"):
        shutil.copy(shard, breakable / "train")
    damages = verify(breakable)
    assert {damage.shard.rsplit("/", 1)[1] for damage in damages} == {f"train-{n:06d}.tar" for n in range(4)}
    assert of_sample(damages, 0)


def test_labels_beyond_the_classes_are_named_with_the_first_sample(breakable):
    """As a faulty packer would have written them: index and manifest fit, and there are fewer classes than labels."""
    manifest = read_manifest(breakable)
    manifest.model_copy(update={"classes": manifest.classes[:90]}).write(breakable)
    labels = np.load(breakable / "train" / "index.npy")["label"]
    first, path = int(np.flatnonzero(labels >= 90)[0]), breakable / "train" / "index.npy"
    told = rf"the label {labels[first]} is not one of 0 … 89 \({(labels >= 90).sum()} such samples\)"
    with pytest.raises(ShardDamage, match=told) as caught:
        open_split(breakable, "train")
    assert (caught.value.shard, caught.value.key) == (str(path), f"{first:09d}")
    row = np.frombuffer(path.read_bytes()[caught.value.offset :][:32], INDEX_DTYPE)
    assert row["label"] == labels[first], "the offset is that of the sample's row"
    damages = verify(breakable)
    assert [damage.key for damage in damages if damage.shard == str(path)] == [f"{first:09d}"]
    named = {damage.key for damage in damages if damage.shard.endswith(".tar") and "/train/" in damage.shard}
    assert named == {f"{sample:09d}" for sample in np.flatnonzero(labels >= 90)}


@pytest.mark.parametrize(
    "edit", [('"00"', '"0O"'), ('"samples": 40', '"samples": 41'), ("{\n", "{ \n"), ("\n}", "\n} ")]
)
def test_an_edited_manifest_is_named(breakable, edit):
    path = breakable / "manifest.json"
    assert edit[0] in path.read_text()
    path.write_text(path.read_text().replace(*edit))
    with pytest.raises(ShardDamage, match=r"manifest\.json: is not the manifest that was packed"):
        verify(breakable)


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_shard_that_cannot_be_opened_is_named_with_its_samples(breaker, monkeypatch, number):
    def refuse(path):
        if path == breaker.path:
            raise OSError(number, os.strerror(number), str(path))
        return open_regular(path)

    monkeypatch.setattr("data_shards.store.tar_walk.open_regular", refuse)
    (damage,) = verify(breaker.root)
    assert str(damage) == (
        f"{breaker.path}: sample 000000040: cannot be read: {os.strerror(number)} (40 samples from this one on)"
    )


def test_a_disk_that_fails_in_mid_shard_costs_what_lies_behind(breaker, monkeypatch):
    class Failing(io.FileIO):
        def read(self, size=-1):
            if self.name == str(breaker.path) and self.tell() >= breaker.offset:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(size)

    monkeypatch.setattr("data_shards.store.tar_walk.open_regular", lambda path: path)
    monkeypatch.setattr("data_shards.store.tar_walk.open", lambda path, mode: Failing(str(path)), raising=False)
    torn, lost, place = verify(breaker.root)
    assert str(torn).endswith(f".jpg is cut: cannot be read: {os.strerror(errno.EIO)}")
    assert (torn.key, torn.offset) == (f"{VICTIM:09d}", breaker.offset)
    assert (lost.key, lost.samples) == (f"{VICTIM + 1:09d}", 79 - VICTIM)
    assert (place.key, place.offset, place.reason) == (
        None, breaker.offset, "cannot be read: Input/output error from here on",
    )  # fmt: skip


def test_damage_behind_a_damaged_index_is_still_found(breaker):
    path = breaker.root / "train" / "index.npy"
    np.save(path, np.load(path)[:100])
    breaker.cut(breaker.offset + 100)
    damages = verify(breaker.root)
    assert of_sample(damages, VICTIM)
    assert of_sample(damages, VICTIM + 1)[0].samples == 79 - VICTIM


@pytest.mark.parametrize(
    ("height", "width", "reason"),
    [(2**15, 2**15, "claims to be 32768×32768"), (1, 2**21, "claims to be 2097152×1")],
)
def test_a_png_that_claims_to_be_huge_is_not_decoded(breaker, height, width, reason):
    (breaker.root / "train" / "index.npy").write_bytes(b"")  # which would tell the size
    png = bytearray(encode_png(np.zeros((8, 8, 3), np.uint8)))
    png[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    breaker.replace(f"{VICTIM:09d}.jpg", bytes(png))
    assert reason in of_sample(verify(breaker.root), VICTIM)[0].reason


def test_no_data_set_and_no_manifest_are_told_apart(tmp_path, breakable):
    with pytest.raises(ShardUsageError, match="deps shards pack"):
        verify(tmp_path / "nowhere")
    (breakable / "manifest.json").write_bytes(b"\xff")
    with pytest.raises(ShardDamage, match=r"manifest\.json"):
        verify(breakable)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny") / "digits100"
    pack(Digits100(train=4, test=1, seed=0), root)
    return root


@pytest.mark.parametrize("file", ["train-000000.tar", "index.npy"])
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_byte_goes_unnoticed(tiny, file, data):
    path = tiny / "train" / file
    whole = path.read_bytes()
    offset = data.draw(st.integers(0, len(whole) - 1), "offset")
    bits = data.draw(st.integers(1, 255), "bits")
    try:
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ bits]) + whole[offset + 1 :])
        damages = verify(tiny, threads=1)
    finally:
        path.write_bytes(whole)
    assert damages
    assert all(damage.shard == str(path) for damage in damages)
    index = open_split(tiny, "train").index
    hit = (index["offset"] <= offset) & (offset < index["offset"] + index["size"])
    if file.endswith(".tar") and hit.any():
        assert of_sample(damages, int(hit.argmax())), "a byte of an image: its sample is named"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_cut_goes_unnoticed(tiny, data):
    path = tiny / "train" / "train-000000.tar"
    whole = path.read_bytes()
    size = data.draw(st.integers(0, len(whole) - 1), "size")
    index = open_split(tiny, "train").index
    try:
        path.write_bytes(whole[:size])
        damages = verify(tiny, threads=1)
    finally:
        path.write_bytes(whole)
    assert damages
    lost = {int(damage.key) + more for damage in damages if damage.key for more in range(damage.samples)}
    assert lost >= set(np.flatnonzero(index["offset"] + index["size"] > size).tolist())
