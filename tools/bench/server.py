"""A range server on the loopback address that is as slow as an object store.

``python -m tools.bench.server PATH DELAY RATE`` serves one file, prints its port, and ends when
its standard input does.
"""

import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_PIECE = 64 * 1024


class SlowServer(ThreadingHTTPServer):
    """Serves ranges of one file.

    Parameters
    ----------
    path : Path
    delay : float
        Seconds until a response begins.
    rate : float
        Bytes a second of one connection after that.
    """

    daemon_threads = True

    def __init__(self, path: Path, delay: float, rate: float) -> None:
        self.file = os.open(path, os.O_RDONLY)
        self.size, self.delay, self.rate = path.stat().st_size, delay, rate
        super().__init__(("127.0.0.1", 0), _Handler)

    def server_close(self) -> None:
        super().server_close()
        os.close(self.file)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: SlowServer

    def do_GET(self) -> None:
        found = _RANGE.fullmatch(self.headers.get("Range", ""))
        if found is None or not int(found[1]) <= int(found[2]) < self.server.size:
            self.send_error(416)
            return
        first, last = int(found[1]), int(found[2])
        time.sleep(self.server.delay)
        self.send_response(206)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Content-Range", f"bytes {first}-{last}/{self.server.size}")
        self.end_headers()
        self._send(first, last + 1)

    def _send(self, at: int, end: int) -> None:
        """Send no byte before its time."""
        began, start = time.perf_counter(), at
        while at < end:
            data = os.pread(self.server.file, min(_PIECE, end - at), at)
            due = began + (at + len(data) - start) / self.server.rate
            time.sleep(max(0.0, due - time.perf_counter()))
            self.wfile.write(data)
            at += len(data)

    def log_message(self, *_: Any) -> None:
        """Do not log."""


def main() -> None:
    path, delay, rate = sys.argv[1:]
    with SlowServer(Path(path), float(delay), float(rate)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
