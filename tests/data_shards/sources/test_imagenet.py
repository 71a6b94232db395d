"""ImageNet in the forms in which it is published, with three classes of few, small images."""

import io
import tarfile

import numpy as np
import pytest
import webdataset
from PIL import Image
from scipy.io import savemat

from data_shards.augmentation.crops import evaluation_crops
from data_shards.decoding.python import read_batch
from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.packing.pack import pack
from data_shards.sources.image_file import Preparation
from data_shards.sources.imagenet import imagenet
from data_shards.store.image_format import decode_whole
from data_shards.store.index import open_split
from data_shards.store.manifest import read_manifest
from data_shards.store.verify import verify

SYNSETS = ["n01440764", "n01443537", "n02119789"]
IDS = {"n01440764": 449, "n01443537": 442, "n02119789": 1}  # the devkit does not count alphabetically
PER_CLASS = 12
KEEP = Preparation()


@pytest.fixture(scope="session")
def content(photo_file):
    """Files by (split, synset, name). Names of validation images say nothing of their class."""
    files = {}
    for label, synset in enumerate(SYNSETS):
        for number in range(PER_CLASS):
            files["train", synset, f"{synset}_{number * 7}.JPEG"] = photo_file(100 * label + number, 20 + number, 40)
    for number in range(1, 10):
        synset = SYNSETS[number * 5 % 3]
        files["val", synset, f"ILSVRC2012_val_{number:08d}.JPEG"] = photo_file(1000 + number)
    return files


@pytest.fixture
def layouts(content, tmp_path, write_tree, write_tar):
    """Writes a published layout into a folder: layouts(train=tar|folder, val=tar|flat|folder, labels=…)."""
    count = iter(range(100))

    def write(train="tar", val="tar", labels="synsets"):
        src = tmp_path / f"src{next(count)}"
        src.mkdir()
        of = {split: {key[1:]: file for key, file in content.items() if key[0] == split} for split in ("train", "val")}
        if train == "folder":
            write_tree(src / "train", {f"{synset}/{name}": file for (synset, name), file in of["train"].items()})
        else:
            inner = [
                (
                    f"{synset}.tar",
                    write_tar(
                        None, [(name, file) for (of_synset, name), file in of["train"].items() if of_synset == synset]
                    ),
                )
                for synset in reversed(SYNSETS)
            ]
            write_tar(src / "ILSVRC2012_img_train.tar", inner)
        if val == "folder":
            write_tree(src / "val", {f"{synset}/{name}": file for (synset, name), file in of["val"].items()})
        elif val == "flat":
            write_tree(src / "val", {name: file for (_, name), file in of["val"].items()})
        else:
            write_tar(src / "ILSVRC2012_img_val.tar", [(name, file) for (_, name), file in reversed(of["val"].items())])
        write_labels(src, labels, sorted((name, synset) for synset, name in of["val"]), write_tar)
        return src

    return write


def meta():
    """The devkit's table of synsets: a MATLAB struct array, with more synsets than those with images."""
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(float(IDS[synset]), synset, "words, and more", 0.0) for synset in SYNSETS] + [
        (1001.0, "n00001740", "", 3.0)
    ]
    file = io.BytesIO()
    savemat(file, {"synsets": np.array([[row] for row in rows], dtype=kind)})
    return file.getvalue()


def write_labels(src, form, names, write_tar):
    ids = "".join(f"{IDS[synset]}\n" for _, synset in names)
    devkit = "ILSVRC2012_devkit_t12/data"
    if form == "synsets":
        (src / "imagenet_2012_validation_synset_labels.txt").write_text("".join(f"{synset}\n" for _, synset in names))
    elif form == "pairs":
        (src / "val_labels.txt").write_text("".join(f"{name} {synset}\n" for name, synset in reversed(names)))
    elif form == "ids":
        (src / "ILSVRC2012_validation_ground_truth.txt").write_text(ids)
        (src / "meta.mat").write_bytes(meta())
    elif form == "devkit":
        members = [(f"{devkit}/ILSVRC2012_validation_ground_truth.txt", ids.encode()), (f"{devkit}/meta.mat", meta())]
        write_tar(src / "ILSVRC2012_devkit_t12.tar.gz", members, mode="w:gz")


LAYOUTS = [
    {"train": "tar", "val": "tar", "labels": "devkit"},
    {"train": "folder", "val": "folder", "labels": None},
    {"train": "folder", "val": "flat", "labels": "synsets"},
    {"train": "tar", "val": "flat", "labels": "pairs"},
    {"train": "folder", "val": "tar", "labels": "ids"},
]


def of_split(content, split):
    return sorted((SYNSETS.index(synset), file) for (of, synset, _), file in content.items() if of == split)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "-".join(map(str, layout.values())))
def test_what_is_read_back_is_what_the_layout_holds(layout, layouts, content, tmp_path):
    assert pack(imagenet(layouts(**layout), KEEP), tmp_path / "out", samples_per_shard=10)
    manifest = read_manifest(tmp_path / "out")
    assert manifest.classes == tuple(SYNSETS)
    assert manifest.notes is None
    assert verify(tmp_path / "out") == []
    for split, published in (("train", "train"), ("test", "val")):
        ours = open_split(tmp_path / "out", split)
        read = [(int(label), ours.read(sample)) for sample, label in enumerate(ours.labels)]
        assert sorted(read) == of_split(content, published), "JPEGs are kept to the byte"
        tars = [str(path) for path in sorted(ours.folder.glob("*.tar"))]
        theirs = [(int(each["cls"]), each["jpg"]) for each in webdataset.WebDataset(tars, shardshuffle=False)]
        assert theirs == read
        squares = evaluation_crops(ours.index["height"], ours.index["width"], 20)
        images = read_batch(ours, np.arange(len(ours)), squares)
        for image, (_, file), window in zip(images, read, squares.windows, strict=True):
            left, top, width, height = window.tolist()
            box = (left, top, left + width, top + height)
            reference = Image.open(io.BytesIO(file)).resize((20, 20), Image.Resampling.BOX, box=box)
            assert np.abs(image.astype(int) - np.asarray(reference)).mean() < 6


def test_every_layout_gives_the_same_shards(layouts, tmp_path, files_of):
    for number, layout in enumerate(LAYOUTS):
        assert pack(imagenet(layouts(**layout), KEEP), tmp_path / "out" / str(number), samples_per_shard=10)
    first, *others = (files_of(tmp_path / "out" / str(number)) for number in range(len(LAYOUTS)))
    assert all(other == first for other in others)


def test_classes_are_mixed_in_every_shard(layouts, tmp_path):
    assert pack(imagenet(layouts(), KEEP), tmp_path / "out", samples_per_shard=9)
    labels = open_split(tmp_path / "out", "train").labels
    assert all(len(set(labels[start : start + 9].tolist())) == 3 for start in range(0, 36, 9))
    assert pack(imagenet(layouts(), KEEP, seed=1), tmp_path / "other", samples_per_shard=9)
    assert (open_split(tmp_path / "other", "train").labels != labels).any()


@pytest.mark.parametrize("layout", LAYOUTS[:3], ids=["tar", "folder", "flat"])
def test_a_class_list_takes_these_classes_only(layout, layouts, content, tmp_path):
    (tmp_path / "list.txt").write_text("# a comment\nn02119789 kit fox\nn01440764\n\n")
    source = imagenet(layouts(**layout), KEEP, classes_file=tmp_path / "list.txt")
    assert source.classes == ("n01440764", "n02119789")
    assert source.splits["train"] == 2 * PER_CLASS
    samples = [(source.classes[sample.label], sample.encoded) for sample in source.samples("test", np.arange(6))]
    assert sorted(samples) == sorted(
        (synset, file) for (split, synset, _), file in content.items() if split == "val" and synset in source.classes
    )


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("n01440764\nn09999999\n", "line 2: 'n09999999' is no synset of"),
        ("n01440764\n\nn01440764\n", "line 3: n01440764 occurs twice, first in line 1"),
        ("# none\n", "lists no synset"),
    ],
)
def test_a_wrong_class_list_is_told_with_its_line(lines, message, layouts, tmp_path):
    (tmp_path / "list.txt").write_text(lines)
    with pytest.raises(ShardUsageError, match=message):
        imagenet(layouts(), KEEP, classes_file=tmp_path / "list.txt")
    with pytest.raises(ShardUsageError, match=r"nolist\.txt: cannot be read: No such file"):
        imagenet(layouts(), KEEP, classes_file=tmp_path / "nolist.txt")


LABELS = "imagenet_2012_validation_synset_labels.txt"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n01440764\n" * 8, "8 labels for 9 validation images"),
        ("n01440764\n" * 8 + "n09999999\n", "line 9: n09999999 is not among the synsets"),
        ("fish\n" * 9, "line 1: 'fish' is not a synset"),
        ("a b c\n" * 9, "is not a label file of a known form"),
        ("449\n" * 9, "holds the devkit's ids: its meta.mat is needed"),
        ("ILSVRC2012_val_00000001.JPEG n01440764\n" * 2, "line 2: ILSVRC2012_val_00000001.JPEG occurs twice"),
        ("ILSVRC2012_val_00000010.JPEG n01440764\n", "line 1: there is no validation image ILSVRC2012_val_00000010"),
        ("ILSVRC2012_val_00000001.JPEG n01440764\n", "no label for the validation image ILSVRC2012_val_00000002"),
        ("ILSVRC2012_val_00000001.JPEG 65\n", "line 1: '65' is not a synset"),
        ("n01440764\n" * 9, "no test image of class 'n01443537' (and 1 more classes)"),
    ],
)
def test_a_wrong_label_file_is_told_with_its_line(text, message, layouts):
    src = layouts(labels="synsets")
    (src / LABELS).write_text(text)
    with pytest.raises(ShardUsageError) as raised:
        imagenet(src, KEEP)
    assert message in str(raised.value)


def test_what_is_missing_is_named(layouts, tmp_path):
    with pytest.raises(ShardUsageError, match=r"no label file for the validation images .* --val-labels"):
        imagenet(layouts(labels=None), KEEP)
    src = layouts()
    (src / "ILSVRC2012_img_val.tar").unlink()
    with pytest.raises(ShardUsageError, match=r"neither a folder val nor ILSVRC2012_img_val\.tar"):
        imagenet(src, KEEP)
    with pytest.raises(ShardUsageError, match="neither a folder train nor"):
        imagenet(tmp_path / "nowhere", KEEP)


def test_labels_may_lie_elsewhere(layouts, content, tmp_path):
    src = layouts()
    (src / LABELS).rename(tmp_path / "elsewhere.txt")
    assert imagenet(src, KEEP, labels_file=tmp_path / "elsewhere.txt").splits["test"] == 9


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (lambda size: size // 2, "cut"),  # in a member
        (lambda size: size - 10240 * 2, "cut"),
        (lambda size: 300, "not a whole, uncompressed tar"),
        (lambda size: 0, "not a whole, uncompressed tar"),
    ],
)
def test_a_cut_tar_is_never_taken_for_a_short_one(keep, message, layouts):
    src = layouts()
    path = src / "ILSVRC2012_img_train.tar"
    path.write_bytes(path.read_bytes()[: keep(path.stat().st_size)])
    with pytest.raises(ShardDamage, match=message):
        imagenet(src, KEEP)


def test_a_tar_cut_at_the_border_of_a_member_is_found(layouts, write_tar, photo_file):
    src = layouts()
    whole = write_tar(None, [(f"n01440764_{number}.JPEG", photo_file(number)) for number in range(4)])
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        end = max(member.offset_data + member.size for member in tar)
    for border in range(0, end + 512, 512):  # in payloads, in headers, between members, and before the end mark
        write_tar(src / "ILSVRC2012_img_train.tar", [("n01440764.tar", whole[:border])])
        with pytest.raises(ShardDamage, match=r"train\.tar: n01440764\.tar"):
            imagenet(src, KEEP)


@pytest.mark.parametrize("number", [1, 2], ids=["extended", "plain"])
def test_a_damaged_header_within_a_tar_is_found(number, layouts):
    src = layouts()
    path = src / "ILSVRC2012_img_train.tar"
    file = bytearray(path.read_bytes())
    file[file.index(f"n02119789_{7 * number}.JPEG".encode()) + 3] ^= 1
    path.write_bytes(file)
    with pytest.raises(ShardDamage, match=r"n02119789\.tar.*(no tar header where one should be|bad checksum)"):
        imagenet(src, KEEP)


def test_a_name_that_occurs_twice_is_refused(layouts, write_tar, photo_file):
    src = layouts()
    twice = [(f"n01440764_{number}.JPEG", photo_file(number)) for number in (1, 2, 1)]
    write_tar(src / "ILSVRC2012_img_train.tar", [("n01440764.tar", write_tar(None, twice))])
    (src / LABELS).write_text("n01440764\n" * 9)
    with pytest.raises(ShardUsageError, match=r"n01440764_1\.JPEG occurs twice"):
        imagenet(src, KEEP)


@pytest.mark.parametrize("form", ["tar", "folder"])
def test_an_empty_class_is_refused(form, layouts, write_tar, content):
    src = layouts(train=form)
    if form == "folder":
        for file in (src / "train" / "n01443537").iterdir():
            file.unlink()
    else:
        members = [("n01440764_1.JPEG", next(iter(content.values())))]
        tars = [(f"{synset}.tar", write_tar(None, members[: synset != "n01443537"])) for synset in SYNSETS]
        write_tar(src / "ILSVRC2012_img_train.tar", tars)
    with pytest.raises(ShardUsageError, match="no train image of class 'n01443537'"):
        imagenet(src, KEEP)


def test_png_and_cmyk_files_named_jpeg_are_encoded_anew_and_counted(layouts, photo, tmp_path):
    src = layouts(train="folder")
    expected = {}
    for name, form, mode in (("n01440764_0.JPEG", "PNG", "RGB"), ("n01440764_7.JPEG", "JPEG", "CMYK")):
        path = src / "train" / "n01440764" / name
        Image.fromarray(photo(77, 30, 50)).convert(mode).save(path, form)
        expected[form] = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert pack(imagenet(src, KEEP), tmp_path / "out")
    notes = read_manifest(tmp_path / "out").notes
    assert notes.changed == {"CMYK JPEG re-encoded": 1, "PNG re-encoded": 1}
    assert notes.left_out == ()
    split = open_split(tmp_path / "out", "train")
    new = [decode_whole(split.read(sample)) for sample in np.flatnonzero(split.index["width"] == 50)]
    assert len(new) == 2
    for picture in expected.values():
        assert min(np.abs(image - picture).mean() for image in new) < 4
