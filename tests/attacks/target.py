"""The plane under attack: a whole one in a folder of its own, its people, its tokens, and a clock on /healthz."""

from __future__ import annotations

import hashlib
import io
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from controlplane.rest_client import ApiError, PlaneClient
from tests.faults.homes import FirstAccounts
from tests.faults.running import Running, manage

PROJECT = "/api/v1/projects/demo"
MLFLOW = "/api/2.0/mlflow"
PASSWORD = "A lathe and a quiet river 9"
PROBE_PAUSE = 0.25


@dataclass(frozen=True)
class Outcome:
    """What one attack came to. `repelled` is what the plane promises; `seen` is what was measured or answered."""

    repelled: bool
    seen: str


@dataclass
class HealthClock:
    """Asks /healthz every quarter of a second from a thread of its own; `slowest` is in seconds."""

    address: str
    slowest: float = 0.0
    failures: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        while not self.ended.is_set():
            began = time.monotonic()
            try:
                httpx.get(f"{self.address}/healthz", timeout=20).raise_for_status()
            except httpx.HTTPError:
                self.failures += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.ended.wait(PROBE_PAUSE)


class Target:
    """What an attack gets: addresses, tokens by scope, sessions of people, and the folder of the plane."""

    def __init__(self, running: Running, accounts: FirstAccounts) -> None:
        self.running = running
        self.home: Path = running.home
        self.passwords = dict(accounts.passwords)
        self.tokens: dict[tuple[str, str], str] = {}

    @property
    def address(self) -> str:
        return str(self.running.facts()["address"])

    @property
    def port(self) -> int:
        return int(self.running.facts()["port"])

    def command(self, *words: str) -> str:
        done = manage(self.home, self.running.environment, *words)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def token(self, scopes: str, user: str = "engineer") -> str:
        """A token of this person, made once for each set of scopes."""
        if (user, scopes) not in self.tokens:
            self.tokens[user, scopes] = self.command("create_token", user, "--project", "demo", "--scopes", scopes)
        return self.tokens[user, scopes]

    def plane(
        self, scopes: str = "read,data:write,jobs:write,runs:write,models:write", user: str = "engineer"
    ) -> PlaneClient:
        return PlaneClient(self.address, self.token(scopes, user), "demo", patience=10)

    def send(
        self, method: str, path: str, *, scopes: str = "read", timeout: float = 60.0, **rest: Any
    ) -> httpx.Response:
        """A request with a token of the engineer; `path` from the root of the plane."""
        headers = {"Authorization": f"Bearer {self.token(scopes)}", **rest.pop("headers", {})}
        return httpx.request(method, f"{self.address}{path}", headers=headers, timeout=timeout, **rest)

    @contextmanager
    def health(self) -> Iterator[HealthClock]:
        """A clock that runs during the block."""
        clock = HealthClock(self.address)
        thread = threading.Thread(target=clock.watch, daemon=True)
        thread.start()
        try:
            yield clock
        finally:
            clock.ended.set()
            thread.join(timeout=30)

    # -- people ---------------------------------------------------------------------------------------------------
    def session(self, user: str, *, password: str = "") -> httpx.Client:
        """A browser's session of this person, past the one-time password."""
        browser = httpx.Client(base_url=self.address, follow_redirects=True, timeout=60)
        given = password or self.passwords.get(user, PASSWORD)
        self.post_form(browser, "/accounts/login/", login=user, password=given)
        if "/password/change" in str(browser.get("/").url):
            self.post_form(
                browser, "/accounts/password/change/", oldpassword=given, password1=PASSWORD, password2=PASSWORD
            )
            given = PASSWORD
            if "/login" in str(browser.get("/").url):
                self.post_form(browser, "/accounts/login/", login=user, password=given)
        self.passwords[user] = given
        if "/login" in str(browser.get("/account").url):
            raise RuntimeError(f"{user} could not log in")
        return browser

    def post_form(self, browser: httpx.Client, path: str, **fields: str) -> httpx.Response:
        page = browser.get(path)
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        token = found[1] if found else browser.cookies.get("csrftoken", "")
        return browser.post(path, data={**fields, "csrfmiddlewaretoken": token}, headers={"Referer": str(page.url)})

    def call_as(self, browser: httpx.Client, method: str, path: str, body: Any = None) -> httpx.Response:
        """A REST call by session, with its CSRF token."""
        token = next((value for name, value in browser.cookies.items() if "csrf" in name), "")
        headers = {"X-CSRFToken": token, "Referer": f"{self.address}/"}
        return browser.request(method, path, json=body, headers=headers)

    # -- things to attack -----------------------------------------------------------------------------------------
    def put_bytes(self, data: bytes) -> str:
        """Store an artifact; returns its digest."""
        digest = hashlib.sha256(data).hexdigest()
        answer = self.send(
            "PUT",
            f"{PROJECT}/artifacts/{digest}",
            scopes="data:write",
            content=data,
            headers={"Content-Type": "application/octet-stream"},
        )
        answer.raise_for_status()
        return digest

    def stored_file(self, digest: str) -> Path:
        return self.home / "artifacts" / "sha256" / digest[:2] / digest[2:]

    def run_job(self, kind: str, spec: dict[str, Any], *, seconds: float = 120, **rest: Any) -> dict[str, Any]:
        plane = self.plane()
        job = plane.post("/jobs", {"kind": kind, "spec": spec, **rest})["id"]
        return plane.wait(job, seconds=seconds)

    def upload_table(self, name: str, content: bytes, media_type: str, *, timeout: float = 150) -> httpx.Response:
        return self.send(
            "POST",
            f"{PROJECT}/datasets/{name}/versions",
            scopes="data:write,jobs:write,read",
            content=content,
            headers={"Content-Type": media_type},
            timeout=timeout,
        )

    def model(self) -> str:
        """A registered model with a version `1` for which nobody has asked promotion; trained once for all attacks."""
        plane = self.plane()
        try:
            plane.get("/models/target-model")
            return "target-model"
        except ApiError:
            pass
        rows = "\n".join(f"{day},{100 + day % 7 + day % 11 / 10}" for day in range(400))
        made = self.upload_table("target-table", f"day,price\n{rows}\n".encode(), "text/csv")
        made.raise_for_status()
        table = {"table": {"digest": made.json()["files"][0]["digest"]}}
        spec = {"task": "forecast", "target": "price", "lags": 5, "epochs": 1}
        trained = outputs_of(self.run_job("train", spec, inputs=table))
        forms = {"fp32": trained["model"], "fp32_manifest": trained["manifest"], "fp32_figures": trained["figures"]}
        inputs = {slot: {"digest": digest} for slot, digest in forms.items()}
        ended = self.run_job("register", {}, inputs=inputs, register={"model": "target-model"})
        if ended["state"] != "succeeded":
            raise RuntimeError(str(ended["error"]))
        return "target-model"

    def request_promotion(self, scopes_token: str) -> dict[str, Any]:
        """Ask for version 1 of the model to go to production, with this token; returns the approval."""
        plane = PlaneClient(self.address, scopes_token, "demo", patience=10)
        approval: dict[str, Any] = plane.post(f"/models/{self.model()}/versions/1/promote", {"comment": "attack"})
        return approval

    def open_database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.home / "plane.sqlite3", timeout=20)


def build_parquet_bomb(rows: int = 3000, text_bytes: int = 1_000_000) -> bytes:
    """A Parquet file of some 300 bytes: one dictionary text that every row points to."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array(["x" * text_bytes]))
    out = io.BytesIO()
    pq.write_table(pa.table({"a": column}), out, store_schema=False, compression="zstd")
    return out.getvalue()


def outputs_of(job: dict[str, Any]) -> dict[str, str]:
    """Slot -> digest of what a job made."""
    if job["state"] != "succeeded":
        raise RuntimeError(str(job["error"]))
    return {output["slot"]: output["digest"] for output in job["outputs"]}
