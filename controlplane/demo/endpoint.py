"""The endpoint of a story: servers that answer with whatever is in production, started while the next story runs."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from controlplane.demo.steps import Story
from controlplane.rest_client import ApiError, PlaneClient

SERVING_SECONDS = 120.0


class EndpointSteps:
    """The engineer creates the endpoint and waits until it answers; an earlier run's is found again."""

    def __init__(self, engineer: PlaneClient, console: Console) -> None:
        self.engineer, self.console = engineer, console

    def create(self, story: Story) -> str:
        """The endpoint's name; empty where no node of this plane serves models."""
        nodes = [node["name"] for node in self.engineer.get("/api/v1/nodes")["items"] if "serving" in node["extras"]]
        if not nodes:
            self.console.print("No node serves models: there is no endpoint (docs/endpoints.md).")
            return ""
        try:
            self.engineer.get(f"/endpoints/{story.model}")
        except ApiError as answer:
            if answer.status != 404:
                raise
            self.engineer.post("/endpoints", {"name": story.model, "model": story.model, "nodes": nodes[:1]})
        return story.model

    def wait(self, name: str) -> dict[str, Any]:
        """Name, url, version and state of the endpoint once it serves, and one request to it."""
        deadline = time.monotonic() + SERVING_SECONDS
        while True:
            endpoint: dict[str, Any] = self.engineer.get(f"/endpoints/{name}")
            replica = endpoint["replicas"][0]
            if endpoint["state"] == "serving" and replica["version"] == endpoint["version"]:
                break
            if time.monotonic() > deadline:
                raise TimeoutError(f"The endpoint {name} is {endpoint['state']}: {endpoint['reason']}")
            time.sleep(0.2)
        facts = {"name": name, "url": replica["url"], "version": endpoint["version"], "state": endpoint["state"]}
        version = self.engineer.get(f"/models/{endpoint['model']}/versions/{endpoint['version']}")
        body = {"features": [0.0] * len(version["features"])}
        answer = self.engineer.post(f"/endpoints/{name}/predict", body)
        self.console.print(
            f"Endpoint [b]{name}[/b] answers with version {facts['version']} at [b]{facts['url']}/predict[/b]: "
            f"{answer['body']}"
        )
        return facts
