"""Reads a shard from a sample on, in stored order, through the webdataset library.

Where a tar is cut or a header is broken, the library ends the stream and says nothing. The caller knows from the index
which samples have to come, and looks for them.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, Protocol

from data_shards.store.image_format import IMAGE_EXTENSIONS
from data_shards.store.index import Split
from data_shards.store.regular_file import open_regular
from data_shards.store.tar_walk import BLOCK
from data_shards.streaming.failure import StreamFailure
from data_shards.streaming.sequential import Stream

_SECONDS = 60  # without a byte from a server, after which the connection counts as broken


class _File(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


def stream_shard(split: Split, shard: int, first: int) -> Stream:
    """The samples of a shard from one of them on, out of a file, from a web server or out of a command.

    A command, and a server that knows no ranges, give the shard from its beginning.

    Args:
        shard: number of the shard.
        first: id of the sample to begin with.

    Yields:
        Key and encoded image of each sample.

    Raises:
        StreamFailure: after the last sample that came whole, whether the shard ends there or not.
    """
    from webdataset.tariterators import group_by_keys, tar_file_expander

    place, offset = split.place(shard), int(split.index["offset"][first]) - BLOCK
    with closing(_Counted(_open(place, offset), split.entry.shards[shard].bytes)) as file:
        broken: list[Exception] = []

        def stop(error: Exception) -> bool:
            broken.append(error)
            return False  # ends the stream, but gives out the sample before

        members = tar_file_expander([{"url": str(place), "stream": file}], handler=stop)
        for sample in group_by_keys(members, handler=stop):
            image = next((sample[extension] for extension in IMAGE_EXTENSIONS if extension in sample), None)
            if image is not None:
                yield sample["__key__"], image
        raise StreamFailure(file.ending(broken))


def _open(place: str | Path, offset: int) -> _File:
    if isinstance(place, Path):
        return _open_file(place, offset)
    return _open_command(place) if place.startswith("pipe:") else _open_url(place, offset)


def _open_file(path: Path, offset: int) -> _File:
    try:
        file = open(open_regular(path), "rb")  # noqa: SIM115 (the caller closes it)
    except OSError as error:
        raise StreamFailure(f"cannot be opened: {error.strerror}", final=True) from None
    file.seek(offset)
    return file


def _open_url(url: str, offset: int) -> _File:
    request = urllib.request.Request(url, headers={"Range": f"bytes={offset}-"} if offset else {})
    try:
        return urllib.request.urlopen(request, timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        # 408 and 429 ask to come again; the rest of 4xx is about what was asked for.
        final = 400 <= error.code < 500 and error.code not in (408, 429)
        raise StreamFailure(f"the server answers {error.code} {error.reason}", final) from None
    except (OSError, HTTPException) as error:  # URLError is an OSError
        raise StreamFailure(f"the server cannot be reached: {getattr(error, 'reason', None) or error}") from None


def _open_command(place: str) -> _File:
    from webdataset.gopen import gopen

    return _Command(gopen(place, "rb"))


class _Command:
    """What a command writes. A command that fails raises OSError, one that ends does not."""

    def __init__(self, pipe: Any):
        self._pipe = pipe

    def read(self, size: int, /) -> bytes:
        data = self._pipe.stream.read(size)
        if not data and (status := self._pipe.proc.wait()):
            raise OSError(f"the command ends with exit status {status}")
        return data

    def close(self) -> None:
        self._pipe.proc.kill()  # with more to write, it would wait for a reader for ever
        with suppress(OSError):  # raised for its exit status, which does not matter any more
            self._pipe.close()


class _Counted:
    """A file that counts the bytes read from it, and keeps the error that ended it.

    It gives no more than `most` bytes, and nothing that does not begin as a tar of samples does: the library would
    decompress a compressed stream, however long that gets.
    """

    def __init__(self, file: _File, most: int):
        self._file, self._most, self._bytes = file, most, 0
        self._error: Exception | None = None

    def read(self, size: int, /) -> bytes:
        try:
            data = self._file.read(min(size, self._most - self._bytes))
            if data and not self._bytes and not data[:1].isdigit():
                raise OSError("it does not begin with a sample")
        except (OSError, HTTPException) as error:
            self._error = error
            raise
        self._bytes += len(data)
        return data

    def close(self) -> None:
        self._file.close()

    def ending(self, broken: list[Exception]) -> str:
        """Why the stream has ended, in words."""
        end = f"the stream ends after {self._bytes} bytes"
        if self._error is not None:
            return f"{end}: {getattr(self._error, 'strerror', None) or self._error}"
        return f"{end}: {broken[0].args[0]}" if broken and broken[0].args else end
