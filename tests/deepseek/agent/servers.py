"""Servers of tests: they answer in this process, by what the model's file says."""

from __future__ import annotations

import json

from deepseek.agent.errors import AgentFailure


class FakeServer:
    def __init__(self, version, recording=None, *, is_candidate=False):
        self.version, self.recording, self.is_candidate = version, recording, is_candidate
        self.started_at = "2026-11-29T15:44:48+00:00"
        self.model = json.loads((version.folder / "model.onnx").read_bytes())
        self.behaviour = self.model["behaviour"]
        self.ended = self.behaviour == "dies" or (self.behaviour == "dies at its address" and not is_candidate)
        self.is_silent = False

    def is_ready(self):
        return not self.ended and self.behaviour != "never ready"

    def has_ended(self):
        return self.ended

    def is_alive(self):
        return not self.ended and not self.is_silent

    def predict(self, rows):
        if self.ended:
            raise AgentFailure("server_failed", "The server does not answer.")
        wrong = self.behaviour == "wrong" or (self.behaviour == "wrong at its address" and not self.is_candidate)
        return [sum(row) * self.model["scale"] + (1.0 if wrong else 0.0) for row in rows]

    def read_metrics(self):
        return {"rows_total": 5.0}

    def describe_end(self):
        return "deepseek: it died"

    def stop(self):
        self.ended = True


class FakeFactory:
    """`started`: every server, in order."""

    def __init__(self):
        self.started = []

    def start_candidate(self, version):
        self.started.append(FakeServer(version, is_candidate=True))
        return self.started[-1]

    def start(self, version, recording):
        self.started.append(FakeServer(version, recording))
        return self.started[-1]

    def close(self):
        pass

    @property
    def public(self):
        return [server for server in self.started if not server.is_candidate]

    @property
    def answering(self):
        """Releases that answer at the device's address."""
        return [server.version.release for server in self.public if not server.ended]
