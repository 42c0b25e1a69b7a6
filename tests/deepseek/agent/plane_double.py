"""A plane as an agent sees it, in a thread: the protocol of docs/agent.md, and ways to let it fail."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from deepseek.signing.dsse import Envelope
from deepseek.signing.keys import decode_public_key
from deepseek.signing.statements import verify_enrolment, verify_receipt

ENROLMENT_TOKEN = "dse_0123456789abcdef"
BASE = "/api/v1/agent"


class PlaneDouble:
    """What it holds may be changed at any time. `requests` counts what came, by method and path."""

    def __init__(self, key_lists):
        self.key_lists = key_lists  # documents of envelopes, of version 1 on
        self.keys_per_answer = None  # all at once
        self.devices = {}  # token -> {"id", "name", "key"}
        self.assignment = self.observations = None
        self.state, self.poll_seconds = "active", 60
        self.files = {}  # digest -> bytes
        self.statuses, self.receipts, self.heartbeats, self.rows = [], [], [], []
        self.labels, self.refused_labels = [], set()
        self.closed = {}  # assignment -> the step that ended it, or "succeeded" by a receipt
        self.ended = {}  # (device, assignment) -> likewise, where devices share an assignment
        self.releases = {}  # assignment -> digest
        self.requests = Counter()
        self.lock = threading.Lock()
        self.etag = 0
        self.away = 0  # so many requests are answered by `away_status`, or by nothing if that is 0
        self.away_status, self.retry_after = 503, ""
        self.cut_after = []  # of the next files: bytes after which the connection ends
        self.does_ranges = True
        self.now = "2026-11-29T15:44:48+00:00"
        self.ranges = []
        double = self

        class Handler(PlaneHandler):
            plane = double

        self.server = PlaneServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def assign(self, release, assignment="1"):
        """Assign a release (releases.py) to every device."""
        self.files |= {file.sha256: release.contents[file.name] for file in release.statement.files}
        files = [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in release.statement.files]
        document = {"id": assignment, "action": "install", "release": release.document, "files": files}
        if release.provenance is not None:  # planes from before do not have the member
            document["provenance"] = release.provenance
        self.assignment = {**document, "deadline": None}
        self.releases[assignment] = release.digest
        self.etag += 1

    def set_poll(self, **values):
        for name, value in values.items():
            setattr(self, name, value)
        self.etag += 1

    @property
    def steps(self):
        """The steps of all statuses that came, without repeats of one."""
        steps = [status["step"] for status in self.statuses]
        return [step for place, step in enumerate(steps) if place == 0 or steps[place - 1] != step]


class PlaneServer(ThreadingHTTPServer):
    request_queue_size = 128  # of simulated devices that come at once


class PlaneHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet
    plane: PlaneDouble

    def log_message(self, *words):
        pass

    def do_GET(self):
        self.answer_in_turn("GET")

    def do_POST(self):
        self.answer_in_turn("POST")

    def answer_in_turn(self, method):
        """One request at a time: simulated devices come together."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.plane.lock:
            self.answer_request(method, body)

    def answer_request(self, method, body):
        path, _, query = self.path.removeprefix(BASE).partition("?")
        plane = self.plane
        plane.requests[f"{method} {path if not path.startswith('/files/') else '/files'}"] += 1
        if plane.away:
            plane.away -= 1
            if not plane.away_status:
                self.close_connection = True
                return None
            headers = {"Retry-After": plane.retry_after} if plane.retry_after else {}
            return self.send(plane.away_status, {"error": {"code": "busy", "message": "Busy."}}, headers)
        document = json.loads(body) if body else {}
        if path == "/enrol":
            return self.enrol(document)
        device = plane.devices.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
        if device is None or plane.state == "revoked":
            return self.refuse(401, "device_revoked" if device else "token_unknown")
        if path == "/poll":
            return self.poll()
        if path == "/keys":
            return self.send(200, self.list_keys(int(query.removeprefix("from=") or 0)))
        if path.startswith("/files/"):
            return self.send_file(path.removeprefix("/files/"))
        if found := re.fullmatch(r"/assignments/([^/]+)/status", path):
            return self.take_status(device, found[1], document)
        if path == "/receipts":
            return self.take_receipt(device, document)
        if path == "/heartbeat":
            plane.heartbeats.append(document)
            return self.send(200, {"now": plane.now})
        if path == "/observations/labels":
            if any(row["id"] in plane.refused_labels for row in document["rows"]):
                return self.refuse(422, "invalid")
            plane.labels += document["rows"]
            return self.send(200, {"accepted": len(document["rows"])})
        if path == "/observations/predictions":
            plane.rows += document["rows"]
            return self.send(200, {"accepted": len(document["rows"])})
        return self.refuse(404, "not_found")

    def enrol(self, document):
        plane = self.plane
        if document["token"] != ENROLMENT_TOKEN:
            return self.refuse(401, "enrolment_refused")
        key = decode_public_key(document["public_key"])
        verify_enrolment(document["proof"], name=document["name"], token=document["token"], public_key=key)
        known = [each for each in plane.devices.values() if each["name"] == document["name"]]
        if known and known[0]["public_key"] != document["public_key"]:
            return self.refuse(409, "device_exists")
        number = len({each["name"] for each in plane.devices.values()}) + (0 if known else 1)
        token = f"dsd_{number}_{plane.requests['POST /enrol']}"
        plane.devices[token] = {"id": known[0]["id"] if known else str(number), "key": key, **document}
        answer = {"device": plane.devices[token]["id"], "project": "wti", "token": token}
        return self.send(201, {**answer, "poll_seconds": plane.poll_seconds, "release_keys": self.list_keys(0)})

    def list_keys(self, since):
        """The next lists above a version, so many as the plane gives in one answer."""
        lists = self.plane.key_lists[since:][: self.plane.keys_per_answer]
        return {"version": len(self.plane.key_lists), "lists": lists}

    def poll(self):
        plane = self.plane
        etag = f'"{plane.etag}"'
        if self.headers.get("If-None-Match") == etag:
            return self.send(304, None, {"ETag": etag})
        document = {"state": plane.state, "poll_seconds": plane.poll_seconds, "keys_version": len(plane.key_lists)}
        document |= {"assignment": plane.assignment, "observations": plane.observations}
        return self.send(200, document, {"ETag": etag})

    def send_file(self, digest):
        plane = self.plane
        if digest not in plane.files:
            return self.refuse(404, "not_found")
        content, begin = plane.files[digest], 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        plane.ranges.append(self.headers.get("Range", ""))
        if asked and plane.does_ranges:
            begin = int(asked[1])
            if begin >= len(content):
                return self.send(416, {})
        rest = content[begin:]
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if plane.cut_after:
            rest = rest[: plane.cut_after.pop(0)]
            self.close_connection = True
        self.wfile.write(rest)
        return None

    def take_status(self, device, assignment, document):
        plane, step = self.plane, document["step"]
        state = plane.ended.get((device["id"], assignment), step)
        is_reverted = (state, step) == ("succeeded", "rolled_back") and assignment == list(plane.releases)[-1]
        if state != step and not is_reverted:
            return self.refuse(409, "assignment_closed")
        plane.statuses.append({"assignment": assignment, **document})
        if step in ("failed", "rolled_back", "cancelled"):
            self.end(device, assignment, step)
        return self.send(200, {})

    def take_receipt(self, device, document):
        plane = self.plane
        receipt = verify_receipt(Envelope.from_document(document["envelope"]), device["key"])
        if any(each.device == receipt.device and each.counter >= receipt.counter for each in plane.receipts):
            return self.refuse(409, "receipt_replayed")
        plane.receipts.append(receipt)
        if receipt.release == plane.releases.get(receipt.assignment):
            self.end(device, receipt.assignment, "succeeded")
        return self.send(200, {})

    def end(self, device, assignment, state):
        self.plane.closed[assignment] = self.plane.ended[device["id"], assignment] = state

    def refuse(self, status, code):
        return self.send(status, {"error": {"code": code, "message": f"Refused: {code}.", "errors": []}})

    def send(self, status, document, headers=()):
        content = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
