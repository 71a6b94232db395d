"""A web server on loopback that serves a folder, with ranges or without, and fails where a test wants it to."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class ShardServer:
    """Serves `root` at `url`.

    Attributes:
        requests: (file name, first byte sent) of each request.
        ranges: whether it knows ranges.
        trouble: of (file name, number of the request for it, from 0): a status to answer with; or, as a negative
            number, the place in the file at which to break off; or None.
    """

    def __init__(self, root: Path):
        self.root, self.ranges = root, True
        self.requests: list[tuple[str, int]] = []
        self.trouble: Callable[[str, int], int | None] = lambda name, number: None
        self.url = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = self.root / handler.path.lstrip("/")
        wanted = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        begin = int(wanted[1]) if wanted and self.ranges else 0
        number = sum(name == path.name for name, _ in self.requests)
        self.requests.append((path.name, begin))
        trouble = self.trouble(path.name, number)
        if trouble is None and not path.is_file():
            trouble = 404
        if trouble is not None and trouble > 0:
            handler.send_error(trouble)
            return
        content = path.read_bytes()
        if begin >= len(content):
            handler.send_error(416)
            return
        handler.send_response(206 if begin else 200)
        handler.send_header("Content-Length", str(len(content) - begin))
        handler.end_headers()
        handler.wfile.write(content[begin : len(content) if trouble is None else -trouble])


@contextmanager
def shard_server(root: Path) -> Iterator[ShardServer]:
    """A running `ShardServer`."""
    shards = ShardServer(root)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            shards.answer(self)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    shards.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield shards
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
