"""A study over planes of their own: what people do on each, over REST, and the files that they carry between them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deepseek.federated.spec import StudySpec
from tests.planes_in_namespaces import PATIENCE, NamespacePlane, await_that

PORT = 8102
LEFT_OUT = {"name", "code_digest"}  # of a document: the study's own, and the installed engine's


class StudyOnPlanes:
    """One study. The plane `host` coordinates it, and may be a site too."""

    def __init__(self, name: str, study: StudySpec, host: NamespacePlane, *, port: int = PORT) -> None:
        self.name, self.host = name, host
        document = {key: value for key, value in study.to_document().items() if key not in LEFT_OUT}
        body = {"name": name, "host": host.address, "port": port, "document": document}
        created = host.plane.post("/studies", body)
        self.path, self.digest = f"/studies/{created['id']}", created["digest"]
        self.sites: dict[str, NamespacePlane] = {}
        self.paths: dict[str, str] = {}
        self.facts: dict[str, dict[str, Any]] = {}

    def enrol(self, site: str, plane: NamespacePlane, table: Path) -> None:
        """Invite the site; on its plane its engineer imports and binds, its approver decides; certify it."""
        self.sites[site], rest, host = plane, plane.plane, self.host.plane
        host.post(f"{self.path}/sites", {"name": site})
        invitation = host.get(f"{self.path}/sites/{site}/invitation")
        row = rest.post("/site-studies", invitation)
        path = self.paths[site] = f"/site-studies/{row['id']}"
        headers = {"Content-Type": "text/csv"}
        version = rest.call("POST", f"/datasets/{site}/versions", table.read_bytes(), headers=headers)
        rest.post(f"{path}/data", {"data": f"{site}:v{version['number']}"})
        self.facts[site] = self.approve(plane, rest.post(f"{path}/approval", {})["approval"])
        host.post(f"{self.path}/sites/{site}/enrol", rest.get(f"{path}/request"))
        rest.post(f"{path}/certificate", host.get(f"{self.path}/sites/{site}/certificate"))

    def approve(self, plane: NamespacePlane, number: int) -> dict[str, Any]:
        """A person of the site votes for what is shown; returns that."""
        approval = plane.approver.get(f"/approvals/{number}")
        body = {"facts_digest": approval["facts_digest"], "reason": "It fits our agreement."}
        assert plane.approver.post(f"/approvals/{number}/approve", body)["state"] == "approved"
        return approval["facts"]

    def start(self, **options: float) -> None:
        self.host.plane.post(f"{self.path}/start", options)

    def join(self, site: str, *, proxy: str = "") -> None:
        self.sites[site].plane.post(f"{self.paths[site]}/join", {"proxy": proxy})

    # -- where it stands --------------------------------------------------------------------------------------------
    def read(self) -> dict[str, Any]:
        return self.host.plane.get(self.path)

    def read_site(self, site: str) -> dict[str, Any]:
        return self.sites[site].plane.get(self.paths[site])

    def read_rounds(self) -> list[dict[str, Any]]:
        return self.host.plane.get(f"{self.path}/rounds", limit=200)["items"]

    def count_rounds(self) -> int:
        """Rounds that the server has finished, by its own folder: a moment before the plane has them."""
        paths = list(self.host.home.glob(f"federation/*/{self.digest}/server/rounds.json"))
        return len(json.loads(paths[0].read_text())) if paths else 0

    def read_ledger(self, site: str) -> list[dict[str, Any]]:
        """What left the site, as its plane has it, in order."""
        number = int(self.paths[site].rpartition("/")[2])
        data = self.sites[site].plane.fetch(f"/egress-ledger/{number}/file")
        return [json.loads(line) for line in data.splitlines()]

    def find_server_job(self) -> int:
        return self.read()["job"]

    def find_job(self, site: str) -> int:
        return self.read_site(site)["job"]

    def read_server_job(self) -> dict[str, Any]:
        return self.host.plane.get(f"/jobs/{self.find_server_job()}")

    def read_job(self, site: str) -> dict[str, Any]:
        return self.sites[site].plane.get(f"/jobs/{self.find_job(site)}")

    def await_end(self, *, seconds: float = PATIENCE) -> None:
        """Wait until the jobs of server and sites have succeeded. AssertionError with the error of one that failed."""

        def has_ended(read: Any) -> bool:
            job = read()
            assert job["state"] in ("queued", "running", "succeeded"), job
            return job["state"] == "succeeded"

        for read in (self.read_server_job, *(lambda site=site: self.read_job(site) for site in self.sites)):
            await_that(lambda read=read: has_ended(read), seconds=seconds)
