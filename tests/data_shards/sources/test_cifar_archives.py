"""Archives that pretend to be CIFAR's, or that are damaged, are refused in a line: in bounded memory and time."""

import gzip
import io
import os
import tarfile

import numpy as np
import pytest

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.sources import cifar_files
from data_shards.sources.cifar_files import archive_files, folder_files


def tar_of(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, size in members:
            member = tarfile.TarInfo(name)
            member.size = size
            tar.addfile(member, io.BytesIO(bytes(size)))
    return buffer.getvalue()


def header(name, size, kind=tarfile.REGTYPE):
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.GNU_FORMAT)


TOO_MUCH = "less than 1 MiB"
STRANGE = {
    "large member": (tar_of([("test_batch", 3_000_000)]), TOO_MUCH),
    "large member passed over": (tar_of([("other", 3_000_000), ("test_batch", 1)]), TOO_MUCH),
    "large members together": (tar_of([("data_batch_1", 600_000), ("test_batch", 600_000)]), TOO_MUCH),
    "many members": (tar_of([(f"empty_{number}", 0) for number in range(200)]), "more than 100 members"),
    "zeros behind": (tar_of([("test_batch", 1000)]) + bytes(3_000_000), TOO_MUCH),
    "large header": (header("x", 500_000, tarfile.XHDTYPE) + bytes(600_000), "header of 500224 bytes"),
    "headers of headers": (header("x", 5, tarfile.GNUTYPE_LONGNAME) * 2000, ""),
    "negative size": (header("test_batch", -10240) + bytes(20_000), "bytes"),
    "a terabyte claimed": (header("test_batch", 2**40) + bytes(2000), TOO_MUCH),
    "cut": (header("test_batch", 50_000) + bytes(2000), "ends within test_batch"),
    "empty": (b"", ""),
    "zip": (b"PK\3\4" + bytes(2000), ""),
}


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_archive_that_is_none_or_takes_much_is_refused(kind, pack, tmp_path, monkeypatch):
    content, says = STRANGE[kind]
    monkeypatch.setattr(cifar_files, "_MOST_BYTES", 1 << 20)
    path = tmp_path / "cifar.tar.gz"
    path.write_bytes(pack(content))
    with pytest.raises(ShardDamage, match=r"cannot be read as a tar, or a gzipped one: \w") as raised:
        archive_files(path, ["data_batch_1", "test_batch"])
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_bit_that_flipped_in_a_gzipped_archive_is_told(tmp_path):
    pixels = np.random.default_rng(1).bytes(4 * 3072)
    with tarfile.open(tmp_path / "sound.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("test_batch")
        member.size = len(pixels)
        tar.addfile(member, io.BytesIO(pixels))
    packed = bytearray((tmp_path / "sound.tar.gz").read_bytes())
    assert archive_files(tmp_path / "sound.tar.gz", ["test_batch"]) == {"test_batch": pixels}
    packed[len(packed) // 2] ^= 1  # random pixels are stored as they are: it unpacks, to others
    (tmp_path / "flipped.tar.gz").write_bytes(packed)
    with pytest.raises(ShardDamage, match="CRC"):
        archive_files(tmp_path / "flipped.tar.gz", ["test_batch"])


def test_files_of_a_folder_are_read_up_to_a_size_and_no_fifo_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar_files, "_MOST_BYTES", 1 << 20)
    for name in ("data_batch_1", "data_batch_2"):
        (tmp_path / name).write_bytes(bytes(600_000))
    with pytest.raises(ShardDamage, match="data_batch_2: is too large: the files of CIFAR have less than 1 MiB"):
        folder_files(tmp_path, ["data_batch_1", "data_batch_2"])
    os.mkfifo(tmp_path / "fifo")
    for read in (lambda: folder_files(tmp_path, ["fifo"]), lambda: archive_files(tmp_path / "fifo", [])):
        with pytest.raises(ShardUsageError, match="fifo: cannot be read: is not a regular file"):
            read()
