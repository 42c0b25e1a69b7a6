"""The demo, started again after a pipeline that failed: what it queues again, over the real API."""

import io

import pytest
from rich.console import Console

from controlplane.demo.steps import FORECASTER, DemoSteps
from controlplane.rest_client import PlaneClient
from tests.apps.ml.pipelines.conftest import DIAMOND

pytestmark = pytest.mark.django_db


class Inside(PlaneClient):
    """The REST client without a network; POST pipelines answers with the one that is there."""

    def __init__(self, client, root: str, pipeline: int) -> None:
        super().__init__("", "", "demo")
        self.client, self.root, self.pipeline = client, root, pipeline

    def call(self, method, path, body=None, **more):
        if (method, path) == ("POST", "/pipelines"):
            method, path = "GET", f"/pipelines/{self.pipeline}"
        answer = self.client.generic(method, self.root + path, b"" if method == "GET" else b"{}", "application/json")
        assert answer.status_code < 400, answer.json()
        return answer.json()

    def wait_for(self, path, **more):
        return self.get(path) | {"state": "succeeded"}


@pytest.mark.parametrize("end", ["fail", "cancel"])
def test_what_an_earlier_run_left_is_queued_again(end, api, engineer, start, claim, fail, states):
    pipeline = start(DIAMOND)
    if end == "fail":
        fail(claim())
    else:
        api(engineer).post(f"/api/v1/projects/demo/pipelines/{pipeline.pk}/cancel", {"reason": "x"}, format="json")
    assert set(states(pipeline).values()) <= {"failed", "cancelled"}
    plane = Inside(api(engineer), "/api/v1/projects/demo", pipeline.pk)
    DemoSteps(plane, plane, Console(file=io.StringIO())).queue(FORECASTER, 1)
    assert states(pipeline) == {"a": "queued", "b": "waiting", "c": "waiting", "d": "waiting"}
