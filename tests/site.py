"""A site to collect from, served by the test itself, and a canary at another address that must never be asked."""

from __future__ import annotations

import http.server
import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Answer = tuple[int, dict[str, str], bytes]
HTML = {"Content-Type": "text/html; charset=utf-8"}
HAS_BROWSER = bool(
    shutil.which("chromedriver") and (Path("/usr/lib/chromium/chromium").exists() or shutil.which("chromium"))
)
NO_BROWSER = "chromium or chromedriver is not installed: .ci/run installs both"


class Site:
    """Paths and what they answer: text, or a function of nothing. `asked` counts the requests of each path."""

    def __init__(self, port: int) -> None:
        self.port, self.pages = port, {}
        self.asked: Counter[str] = Counter()
        self.headers: dict[str, dict[str, str]] = {}

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def page(
        self, path: str, body: str | bytes = "", *, status: int = 200, headers: dict[str, str] | None = None
    ) -> str:
        """Serve this and return its address."""
        data = body.encode() if isinstance(body, str) else body
        self.pages[path] = lambda: (status, HTML if headers is None else headers, data)
        return self.base + path

    def redirect(self, path: str, to: str) -> str:
        return self.page(path, status=302, headers={"Location": to})

    def slow(self, path: str, seconds: float, body: str = "<p>late</p>") -> str:
        def answer() -> Answer:
            time.sleep(seconds)
            return 200, HTML, body.encode()

        self.pages[path] = answer
        return self.base + path

    def answer(self, path: str) -> Answer:
        self.asked[path] += 1
        made: Callable[[], Answer] | None = self.pages.get(path)
        return made() if made else (404, HTML, b"<p>nothing here</p>")


@contextmanager
def serving() -> Iterator[Site]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.headers[self.path] = dict(self.headers)
            status, headers, body = site.answer(self.path)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Site(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Canary:
    """Listens at 127.0.0.2; `callers` has every connection that anybody has opened."""

    def __init__(self, listener: socket.socket) -> None:
        self.port = int(listener.getsockname()[1])
        self.base = f"http://127.0.0.2:{self.port}"
        self.callers: list[object] = []


@contextmanager
def watching() -> Iterator[Canary]:
    with socket.socket() as listener, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        listener.bind(("127.0.0.2", 0))
        listener.listen()
        datagrams.bind(listener.getsockname())
        datagrams.setblocking(False)
        canary, ended = Canary(listener), threading.Event()

        listener.settimeout(0.2)

        def listen() -> None:
            while not ended.is_set():
                with suppress(TimeoutError):
                    caller, address = listener.accept()
                    canary.callers.append(address)
                    caller.close()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield canary
        finally:
            ended.set()
            thread.join()
            with suppress(BlockingIOError):
                canary.callers.append(datagrams.recvfrom(2000))
