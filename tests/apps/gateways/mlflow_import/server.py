"""A server that answers as MLflow's does, from a dictionary, and fails when it is told to."""

from __future__ import annotations

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

API = "/api/2.0/mlflow"
PROXY = "/api/2.0/mlflow-artifacts/artifacts"


class FakeServer:
    """`faults`: (path, what) of the next requests; what is a status with headers, "cut", "html" or "redirect"."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], dict] = {}  # (path, page token) -> answer
        self.listings: dict[str, list] = {}
        self.bytes: dict[str, bytes] = {}
        self.faults: dict[str, deque] = {}
        self.seen: list[tuple[str, str]] = []  # (path, authorization)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_GET(self):
                outer.answer(self, {name: value[0] for name, value in parse_qs(urlsplit(self.path).query).items()})

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.answer(self, json.loads(body))

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def fail(self, path: str, *what) -> None:
        self.faults.setdefault(path, deque()).extend(what)

    def answer(self, request, asked: dict) -> None:
        path = unquote(urlsplit(request.path).path)
        self.seen.append((path, request.headers.get("Authorization", "")))
        if self.faults.get(path):
            fault = self.faults[path].popleft()
            if fault == "cut":
                self.cut(request)
                return
            if fault is not None:
                status, headers, text = fault
                self.send(request, status, text, headers)
                return
        if path == PROXY:
            self.send(request, 200, json.dumps({"files": self.listings.get(asked.get("path", ""), [])}))
        elif path == f"{API}/runs/get":
            rows = [
                row for (of, _), found in self.answers.items() if of == f"{API}/runs/search" for row in found["runs"]
            ]
            row = next(row for row in rows if row["info"]["run_id"] == asked["run_id"])
            self.send(request, 200, json.dumps({"run": row}))
        elif path in self.bytes:
            self.send(request, 200, self.bytes[path])
        else:
            key = asked.get("metric_key") or asked.get("name") or ",".join(asked.get("experiment_ids", []))
            found = self.answers.get((path, f"{key}|{asked.get('page_token', '')}"))
            if found is None and not asked.get("page_token"):
                found = self.answers.get((path, ""))
            if found is None:
                text = json.dumps({"error_code": "ENDPOINT_NOT_FOUND", "message": "no such thing"})
                self.send(request, 404, text)
            else:
                self.send(request, 200, json.dumps(found))

    @staticmethod
    def send(request, status, body, headers=()) -> None:
        data = body if isinstance(body, bytes) else body.encode()
        request.send_response(status)
        for name, value in dict(headers).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    @staticmethod
    def cut(request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b"only a part")
        request.close_connection = True
