"""Pickles that pretend to be CIFAR's are refused in a line: in bounded memory and time, and no process ends by them."""

import pickle
import pickletools
import random
import struct

import numpy as np
import pytest

from data_shards.errors import ShardDamage
from data_shards.sources import restricted_pickle
from data_shards.sources.cifar import Cifar
from data_shards.sources.restricted_pickle import load_arrays
from tests.data_shards.sources.test_cifar import FOLDERS, Content, pickled

PIXELS = np.random.default_rng(1).integers(0, 256, (4, 3072), np.uint8)
BATCH = {b"batch_label": b"", b"labels": [3, 0, 255, 70_000], b"data": PIXELS, b"filenames": [b"a.png", b"b\xff.png"]}

NUMPY = b"cnumpy.core.multiarray\n_reconstruct\n"
ARRAY = b"(cnumpy\nndarray\nK\x00\x85U\x01btR"  # the arguments of _reconstruct, and its call
UINT8 = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def with_data(data):
    """A pickle of {b"data": …}, of the instructions that push it."""
    return b"\x80\x02}U\x04data" + data + b"s."


def array(shape, dtype, content):
    return with_data(NUMPY + ARRAY + b"(K\x01" + shape + dtype + b"\x89" + content + b"tb")


def dtype(name, state):
    return b"cnumpy\ndtype\nU" + bytes([len(name)]) + name + b"K\x00K\x01\x87R(" + state + b"tb"


OBJECT = dtype(b"O8", b"K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3f")
OBJECTS = b"K\x03X\1\0\0\0|NX\1\0\0\0f\x85"  # the state of a dtype with the field f


def refusal(pickled):
    with pytest.raises(ValueError) as raised:
        load_arrays(pickled)
    message = str(raised.value)
    assert 0 < len(message) <= 200
    assert message.isprintable()
    return message


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_batches_written_anew_by_python_3_are_read(protocol, order):
    loaded = load_arrays(pickle.dumps({**BATCH, b"data": np.asarray(PIXELS, order=order)}, protocol=protocol))
    np.testing.assert_array_equal(loaded.pop(b"data"), PIXELS)
    assert loaded == {name: value for name, value in BATCH.items() if name != b"data"}


def test_an_array_as_numpy_of_python_2_wrote_it_is_read():
    whole = array(b"K\x02K\x03\x86", UINT8, b"U\x06abcdef")
    np.testing.assert_array_equal(load_arrays(whole)[b"data"], np.frombuffer(b"abcdef", np.uint8).reshape(2, 3))


STRANGE = {
    "objects that the dtype denies": array(
        b"K\x02\x85",
        dtype(b"V8", OBJECTS + b"}X\1\0\0\0f" + OBJECT + b"K\x00\x86sK\x08K\x01K\x00"),
        b"U\x10" + b"A" * 16,
    ),
    "objects": array(b"K\x02\x85", dtype(b"O8", b"K\x03U\x01|NNNJ\0\0\0\0J\0\0\0\0K\x3f"), b"U\x10" + b"A" * 16),
    "fields": array(b"K\x02\x85", dtype(b"u1", b"K\x03U\x01|NU\x01fJ\0\0\0\0J\0\0\0\0K\x00"), b"U\x02AA"),
    "subarray larger than the item": array(
        b"K\x02\x85", dtype(b"u1", b"K\x03U\x01|(" + UINT8 + b"K\xfftNNJ\xff\0\0\0J\1\0\0\0K\x00"), b"U\x02AA"
    ),
    "text of 3 bytes": array(b"K\x02\x85", dtype(b"S3", b"K\x03U\x01|NNNJ\3\0\0\0J\1\0\0\0K\x00"), b"U\x06AAAAAA"),
    "larger than its bytes": array(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", UINT8, b"U\x02AA"),
    "negative shape": array(b"J\xff\xff\xff\xffJ\xfe\xff\xff\xff\x86", UINT8, b"U\x02AA"),
    "list of objects": array(b"K\x02\x85", UINT8, b"]"),
    "array that is a dtype": with_data(NUMPY + ARRAY.replace(b"cnumpy\nndarray\n", b"cnumpy\ndtype\n")),
    "eval": with_data(b"c__builtin__\neval\nU\x031+1\x85R"),
    "load": with_data(b"cnumpy\nload\n"),
    "text by line": with_data(b"V" + b"x" * 3000 + b"\n"),
    "integer of 5000 digits": with_data(b"I" + b"9" * 5000 + b"\n"),
    "long of 2 GB": with_data(b"\x8b\xff\xff\xff\x7f"),
    "string of 2 GB": with_data(b"T\xff\xff\xff\x7f"),
    "bytes of 2^64": with_data(b"\x8e" + b"\xff" * 8),
    "memo that lacks it": with_data(b"Nr\xff\xff\xff\xffj\xfe\xff\xff\xff"),
    "persistent object": with_data(b"P1\n"),
    "name of 100 kB": with_data(b"cnumpy\n" + b"x" * 100_000 + b"\n"),
    "name of control characters": with_data(b"c\x1b[31m\n\xe2\x80\xae\n"),
    "key that is 2^60 tuples": b"\x80\x02Nq\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"}h\x00Ns.",
    "one text encoded again and again": b"\x80\x02c_codecs\nencode\nq\x00X" + struct.pack("<I", 10_000) + b"x" * 10_000
    + b"X\6\0\0\0latin1\x86q\x01" + b"h\x00h\x01R" * 10_000 + b"}.",
    "number": b"\x80\x02K\x01.",
    "nothing": b"",
    "more behind its end": b"\x80\x02}.and more",
}  # fmt: skip


@pytest.mark.parametrize("kind", STRANGE)
def test_a_pickle_of_something_else_is_refused(kind):
    assert refusal(STRANGE[kind])


@pytest.mark.parametrize("endless", [b"(", b"N\x85", b"]h\x00", b"}q\x00"])
def test_a_pickle_of_more_instructions_than_the_published_ones_is_refused(endless, monkeypatch):
    monkeypatch.setattr(restricted_pickle, "_MOST_INSTRUCTIONS", 20_000)
    assert "more than 20,000 instructions" in refusal(b"\x80\x02]q\x00" + endless * 20_000)


def test_a_hostile_batch_is_told_with_its_file(tmp_path, write_tree):
    for hostile in (
        pickled({b"data": PIXELS, b"labels": [1, [2], 3, 4]}),
        pickled({b"data": PIXELS, b"labels": PIXELS}),
        pickled({b"data": [1, 2], b"labels": [1, 2]}),
        pickled({b"labels": [1, 2]}),
        pickled([1, 2]),
        b"\x80\x02]q\x00" + b"](h\x00h\x00eq\x00" * 60 + b"}(U\x04dataNU\x06labelsh\x00u.",  # 2^60 in lists of lists
    ):
        files = {**Content("cifar10").files("python"), "test_batch": hostile}
        with pytest.raises(ShardDamage, match=r"test_batch: (is not a batch|its data is not)") as raised:
            Cifar("cifar10", write_tree(tmp_path / FOLDERS["cifar10", "python"], files))
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("form", "meta", "says"),
    [
        ("python", pickle.dumps({b"label_names": b"ten names"}, 2), "something else than names"),
        ("python", pickle.dumps({b"label_names": [b"cat"] * 9}, 2), "it lists 9 of 10"),
        ("python", pickle.dumps({b"label_names": [b"cat"] * 9 + [b"\x1b[31m"]}, 2), "printable"),
        ("python", pickle.dumps({b"label_names": [b"cat"] * 9 + [b"\xff"]}, 2), "utf-8"),
        ("binary", b"cat " * 10, "two names are the same"),
        ("python", pickle.dumps({b"names": []}, 2), "it lacks b'label_names'"),
        ("binary", b"cat " * 1_000_000, "it lists 11 of 10"),
    ],
)
def test_what_does_not_name_the_classes_is_told(form, meta, says, tmp_path, write_tree):
    name = "batches.meta" if form == "python" else "batches.meta.txt"
    src = write_tree(tmp_path / FOLDERS["cifar10", form], {**Content("cifar10").files(form), name: meta})
    with pytest.raises(ShardDamage, match="does not name the classes") as raised:
        Cifar("cifar10", src)
    assert says in str(raised.value)
    assert str(raised.value).isprintable()


def read_or_refused(pickled):
    """Why it is refused; nothing where it is read."""
    try:
        load_arrays(pickled)
    except ValueError as error:
        return str(error) or "refused without a reason\n"
    return ""


def test_a_damaged_pickle_is_read_or_refused_whatever_the_damage():
    draw = random.Random(16)
    small = {**BATCH, b"data": PIXELS[:2, :20], b"labels": [1, 2]}
    sound = [pickle.dumps(small, protocol=protocol) for protocol in (2, 3, 4, 5)]
    sound.append(array(b"K\x02K\x03\x86", UINT8, b"U\x06abcdef"))
    opcodes = [ord(each.code) for each in pickletools.opcodes]
    refused = 0
    for _ in range(1500):
        damaged = bytearray(draw.choice(sound))
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(damaged))
            kind = draw.randrange(4)
            if kind == 0:
                damaged[place] ^= 1 << draw.randrange(8)
            elif kind == 1:
                damaged[place] = draw.choice(opcodes)
            elif kind == 2:
                del damaged[place : place + draw.randint(1, 9)]
            else:
                damaged[place:place] = damaged[: draw.randint(1, 30)]
            damaged = damaged or bytearray(b".")
        message = read_or_refused(bytes(damaged))
        assert len(message) <= 200
        assert message.isprintable()
        refused += message != ""
    assert refused > 500
