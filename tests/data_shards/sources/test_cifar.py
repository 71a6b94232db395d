"""CIFAR: archives in exactly the published form, with few images."""

import io
import pickle
import tarfile

import cv2
import numpy as np
import pytest
import webdataset

from data_shards.augmentation.crops import evaluation_crops
from data_shards.decoding.python import read_batch
from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.packing.pack import pack
from data_shards.sources.cifar import Cifar
from data_shards.store.index import open_split
from data_shards.store.manifest import read_manifest
from data_shards.store.verify import verify

NAMES = {
    "cifar10": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    "cifar100": [f"fine_{label}" for label in range(100)],
}
FOLDERS = {
    ("cifar10", "python"): "cifar-10-batches-py",
    ("cifar10", "binary"): "cifar-10-batches-bin",
    ("cifar100", "python"): "cifar-100-python",
    ("cifar100", "binary"): "cifar-100-binary",
}


class Python2Pickler(pickle._Pickler):
    """Writes pickles as the versions of Python and NumPy did with which the archives were made."""

    def save_str(self, what):
        what = what.encode() if isinstance(what, str) else what
        self.write(pickle.BINSTRING + len(what).to_bytes(4, "little") + what)
        self.memoize(what)

    def save_global(self, what, name=None):
        if getattr(what, "__module__", "") == "numpy._core.multiarray":
            self.write(b"cnumpy.core.multiarray\n" + what.__name__.encode() + b"\n")
            self.memoize(what)
        else:
            super().save_global(what, name)

    dispatch = {**pickle._Pickler.dispatch}  # noqa: RUF012
    dispatch[type(len)] = save_global
    dispatch[bytes] = dispatch[str] = save_str


def pickled(value):
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue()


class Content:
    """Made-up images: pixels uint8 [B, 3, 32, 32] and labels, in the published batches."""

    def __init__(self, name, per_batch=40):
        generator = np.random.default_rng(5)
        self.name, self.classes = name, NAMES[name]
        batches = {"train": 5 if name == "cifar10" else 1, "test": 1}
        per_batch = per_batch if name == "cifar10" else 200
        self.batches = {
            split: [
                (
                    generator.integers(0, 256, (per_batch, 3 * 32 * 32), np.uint8),
                    generator.permutation(np.arange(per_batch) % len(self.classes)),
                )
                for _ in range(count)
            ]
            for split, count in batches.items()
        }

    def files(self, form):
        """Names and bytes of the files in the published folder."""
        files = {}
        for split, batches in self.batches.items():
            for number, (pixels, labels) in enumerate(batches, start=1):
                if self.name == "cifar100":
                    file = split
                else:
                    file = f"data_batch_{number}" if split == "train" else "test_batch"
                if form == "python":
                    key = b"labels" if self.name == "cifar10" else b"fine_labels"
                    coarse = {} if self.name == "cifar10" else {b"coarse_labels": (labels // 5).tolist()}
                    names = [f"{split}_{number}_{image}.png".encode() for image in range(len(labels))]
                    batch = {b"batch_label": b"", b"filenames": names, b"data": pixels, key: labels.tolist(), **coarse}
                    files[file] = pickled(batch)
                else:
                    columns = [labels] if self.name == "cifar10" else [labels // 5, labels]
                    records = np.concatenate([*(column[:, None].astype(np.uint8) for column in columns), pixels], 1)
                    files[f"{file}.bin"] = records.tobytes()
        text = [name.encode() for name in self.classes]
        if form == "binary":
            files["batches.meta.txt" if self.name == "cifar10" else "fine_label_names.txt"] = b"\n".join(text) + b"\n\n"
        elif self.name == "cifar10":
            files["batches.meta"] = pickled({b"num_cases_per_batch": 40, b"label_names": text, b"num_vis": 3072})
        else:
            files["meta"] = pickled({b"fine_label_names": text, b"coarse_label_names": [b"coarse"] * 20})
        return files

    def images(self, split):
        """All images of a split as a multiset: (label, pixels [32, 32, 3] as bytes), sorted."""
        return sorted(
            (int(label), pixels.reshape(3, 32, 32).transpose(1, 2, 0).tobytes())
            for batch in self.batches[split]
            for pixels, label in zip(*batch, strict=True)
        )


@pytest.fixture
def archive(tmp_path, write_tar):
    """archive(content, form): the published archive's path."""

    def write(content, form):
        folder = FOLDERS[content.name, form]
        path = tmp_path / f"{content.name.replace('cifar', 'cifar-')}-{form}.tar.gz"
        members = [(f"{folder}/{name}", file) for name, file in content.files(form).items()]
        write_tar(path, [*members, (f"{folder}/readme.html", b"<html>")], mode="w:gz")
        return path

    return write


@pytest.mark.parametrize(("name", "form"), list(FOLDERS))
def test_what_is_read_back_is_what_the_archive_holds(name, form, archive, tmp_path):
    content = Content(name)
    assert pack(Cifar(name, archive(content, form)), tmp_path / "out", samples_per_shard=70)
    assert list(read_manifest(tmp_path / "out").classes) == content.classes
    assert verify(tmp_path / "out") == []
    for split in ("train", "test"):
        ours = open_split(tmp_path / "out", split)
        whole = evaluation_crops(ours.index["height"], ours.index["width"], 32)
        images = read_batch(ours, np.arange(len(ours)), whole)
        read = [(int(label), image.tobytes()) for label, image in zip(ours.labels, images, strict=True)]
        assert sorted(read) == content.images(split), "to the last bit: the images are kept without loss"
        tars = [str(path) for path in sorted(ours.folder.glob("*.tar"))]
        theirs = [
            (int(sample["cls"]), cv2.imdecode(np.frombuffer(sample["png"], np.uint8), 1)[:, :, ::-1].tobytes())
            for sample in webdataset.WebDataset(tars, shardshuffle=False)
        ]
        assert theirs == read


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_archive_folder_and_other_form_give_the_same_shards(name, archive, tmp_path, files_of):
    content = Content(name)
    python, binary = archive(content, "python"), archive(content, "binary")
    with tarfile.open(binary) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    (tmp_path / "archives").mkdir()
    python.rename(tmp_path / "archives" / python.name)
    places = {
        "archive": binary,
        "beside": tmp_path / "archives",
        "unpacked": tmp_path / "unpacked" / FOLDERS[name, "binary"],
        "above": tmp_path / "unpacked",
    }
    for out, src in places.items():
        assert pack(Cifar(name, src), tmp_path / "out" / out)
    first, *others = (files_of(tmp_path / "out" / out) for out in places)
    assert all(other == first for other in others)


def test_the_order_mixes_batches_and_follows_the_seed(archive, tmp_path):
    content = Content("cifar10")
    src = archive(content, "python")
    orders = []
    for seed in (0, 1):
        samples = list(Cifar("cifar10", src, seed).samples("train", np.arange(200)))
        orders.append([sample.encoded for sample in samples])
        assert len({sample.label for sample in samples[:40]}) == 10
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def broken(name, form, file, change):
    """A test case: the files of a form, with one of them changed; None as the result drops it."""
    files = Content(name).files(form)
    changed = change(files[file])
    return {
        **{key: value for key, value in files.items() if key != file},
        **({} if changed is None else {file: changed}),
    }


class Attack:
    def __reduce__(self):
        return eval, ("1 + 1",)


@pytest.mark.parametrize(
    ("name", "form", "file", "change", "error", "message"),
    [
        ("cifar10", "python", "data_batch_3", lambda file: None, ShardUsageError, "no data_batch_3, which cifar-10-py"),
        ("cifar10", "python", "data_batch_3", lambda file: file[:-9], ShardDamage, "data_batch_3: is not a batch"),
        ("cifar10", "python", "data_batch_3", lambda file: b"", ShardDamage, "data_batch_3: is not a batch"),
        ("cifar10", "python", "test_batch", lambda file: pickle.dumps(Attack()), ShardDamage, "wants builtins.eval"),
        (
            "cifar10",
            "python",
            "test_batch",
            lambda file: pickled({b"data": 1}),
            ShardDamage,
            "test_batch: is not a bat",
        ),
        (
            "cifar10",
            "python",
            "test_batch",
            lambda file: pickled({b"data": np.zeros((4, 3072), np.uint8), b"labels": [1, 2, 3]}),
            ShardDamage,
            "has 4 images and 3 labels",
        ),
        (
            "cifar10",
            "python",
            "test_batch",
            lambda file: pickled({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 10]}),
            ShardDamage,
            "the label 10 of image 1 is not one of 0 … 9",
        ),
        (
            "cifar10",
            "python",
            "test_batch",
            lambda file: pickled({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1, 9]}),
            ShardUsageError,
            "no test image of class 'airplane'",
        ),
        ("cifar10", "python", "batches.meta", lambda file: pickled({}), ShardDamage, "does not name the classes"),
        ("cifar100", "binary", "train.bin", lambda file: file[:-1], ShardDamage, "no multiple of a record's 3074"),
        (
            "cifar10",
            "binary",
            "data_batch_2.bin",
            lambda file: file[:-3073],
            ShardDamage,
            "has 39 images; data_batch_1",
        ),
    ],
)
def test_a_broken_archive_is_told_in_one_line(name, form, file, change, error, message, tmp_path, write_tree):
    src = write_tree(tmp_path / FOLDERS[name, form], broken(name, form, file, change))
    with pytest.raises(error) as raised:
        Cifar(name, src)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_cut_archive_and_a_folder_without_one_are_named(archive, tmp_path):
    path = archive(Content("cifar10"), "binary")
    with pytest.raises(ShardUsageError, match=r"is not cifar-100-python\.tar\.gz or cifar-100-binary\.tar\.gz"):
        Cifar("cifar100", path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ShardDamage, match="cannot be"):
        Cifar("cifar10", path)
    with pytest.raises(ShardUsageError, match="nor a folder with one"):
        Cifar("cifar10", tmp_path / "nowhere")


def test_damage_to_a_stored_png_is_named(archive, tmp_path):
    out = tmp_path / "out"
    pack(Cifar("cifar10", archive(Content("cifar10"), "binary")), out, samples_per_shard=50)
    split = open_split(out, "train")
    row = split.index[60]
    shard = out / "train" / "train-000001.tar"
    file = bytearray(shard.read_bytes())
    file[int(row["offset"]) + 200] ^= 0x10
    shard.write_bytes(file)
    damages = verify(out)
    assert [damage.key for damage in damages if damage.key] == ["000000060"]
    assert "CRC-32 differs" in damages[0].reason
    assert "not a whole PNG" in damages[0].reason
    with pytest.raises(ShardDamage, match=r"train-000001\.tar: sample 000000060"):
        read_batch(split, np.array([60]), evaluation_crops(row["height"][None], row["width"][None], 32))
