"""Gates, pages, REST and the card of a version that was measured by predictions that somebody gave."""

import html
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.errors import Conflict, Unavailable
from apps.ml.registry.evaluations import views
from apps.ml.registry.gates.verdicts import evaluate_gates
from apps.ml.registry.services import request_promotion
from apps.platform.approvals.models import Approval
from apps.platform.artifacts.models import Artifact
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling import doorbell

pytestmark = pytest.mark.django_db
M, API = "/p/demo/models/wti-forecast", "/api/v1/projects/demo/models/wti-forecast"
GAVE = "By predictions that engineer gave; the plane did not run the model."


@pytest.fixture(autouse=True)
def _silent(monkeypatch):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)


@pytest.fixture
def on(a_set):
    return a_set(spec={"slices": [{"column": "region"}]})


@pytest.fixture
def candidate(registered, approved, by_client, on, gate, measure):
    """v1, trained here, in production and measured; v2 of a client; a gate that lets 0.05 through."""
    first = registered()
    approved(first)
    measure(first, on, 1.0, 0.0)
    gate(first.model, on, margin=0.05)
    return by_client()


@pytest.mark.parametrize(
    ("rmse", "width", "state"), [(1.2, 0.1, "fail"), (1.1, 0.1, "not_significant"), (0.9, 0.1, "pass")]
)
def test_it_is_compared_row_by_row_with_what_the_plane_measured(
    candidate, on, measure_predictions, actor_for, engineer, rmse, width, state
):
    measure_predictions(candidate, on, rmse, width)
    assert [one.state for one in evaluate_gates(candidate)] == [state]
    if state == "fail":
        with pytest.raises(Conflict) as caught:
            request_promotion(actor=actor_for(engineer), version=candidate)
        assert caught.value.code == "gate_failed"
        assert not Approval.objects.filter(subject_id=str(candidate.pk)).exists()
    else:
        asked = request_promotion(actor=actor_for(engineer), version=candidate)
        told = json.loads(asked.facts)["gates"]["later-r1 rmse"]
        given = told["candidate_predictions"]
        assert (told["state"], given["by"], given["rows"]) == (state, "engineer", candidate.evaluations.get().rows)
        assert "baseline_predictions" not in told


def test_the_newest_predictions_count(candidate, on, measure_predictions):
    measure_predictions(candidate, on, 1.2, 0.1)
    measure_predictions(candidate, on, 0.9, 0.1, job=2)
    assert evaluate_gates(candidate)[0].state == "pass"


def test_without_predictions_the_way_out_is_told(candidate, actor_for, engineer):
    with pytest.raises(Conflict) as caught:
        request_promotion(actor=actor_for(engineer), version=candidate)
    assert caught.value.code == "gate_not_evaluated"
    assert f'POST {API}/versions/2/evaluations {{"set": "later-r1", "predictions":' in caught.value.hint


def test_other_rows_are_not_compared(candidate, on, measure_predictions, actor_for, engineer):
    measure_predictions(candidate, on, 0.9, 0.1, pairing="q" * 64)
    with pytest.raises(Conflict) as caught:
        request_promotion(actor=actor_for(engineer), version=candidate)
    assert caught.value.code == "gate_not_comparable"
    assert "Predict the rows that the other was measured on" in caught.value.hint


def test_a_gate_on_a_form_asks_for_that_form(candidate, on, gate, measure_predictions):
    gate(candidate.model, on, metric="mae", variant="int8")
    gate(candidate.model, on, metric="r2", variant="predictions")
    measure_predictions(candidate, on, 0.9, 0.1)
    states = {one.gate.metric: one.state for one in evaluate_gates(candidate)}
    assert states == {"rmse": "pass", "mae": "no_variant", "r2": "baseline_not_evaluated"}


def test_one_in_production_is_a_baseline(
    by_client, registered, approved, on, gate, measure, measure_predictions, web, engineer
):
    first = by_client()
    approved(first)
    gate(first.model, on, margin=0.05)
    second = registered()
    measure(second, on, 1.2, 0.1)
    judged = evaluate_gates(second)[0]
    assert (judged.state, judged.may_evaluate_baseline) == ("baseline_not_evaluated", True)
    measure_predictions(first, on, 1.0, 0.0)
    assert evaluate_gates(second)[0].state == "fail"
    text = text_of(web(engineer).get(f"{M}/2/evaluations"))
    assert f"v1: {GAVE}" in text


# -- pages ----------------------------------------------------------------------------------------------------------
def text_of(answer):
    return html.unescape(" ".join(answer.content.decode().split()))


def test_every_page_says_that_the_plane_did_not_run_it(
    candidate, on, measure_predictions, web, api, engineer, approver, actor_for
):
    measure_predictions(candidate, on, 0.9, 0.1)
    client = web(engineer)
    for tab in ("", "/evaluations"):
        assert GAVE in text_of(client.get(f"{M}/2{tab}")), tab
    text = text_of(client.get(f"{M}/2/evaluations"))
    assert "Not measured: the plane did not run it." in text
    assert "The plane does not run it: a client registered its files." in text
    assert "v2 predictions" in text_of(client.get(f"{M}/baselines"))
    asked = request_promotion(actor=actor_for(engineer), version=candidate)
    page = text_of(web(approver).get(f"/p/demo/approvals/{asked.pk}"))
    assert GAVE in page
    assert "Whether the predictions come from this model: engineer supplied them." in page
    for ending in ("md", "html"):
        card = html.unescape(api(engineer).get(f"{API}/versions/2/card.{ending}").content.decode())
        assert f"later-r1: {GAVE}" in card
        assert "Latency, throughput and memory" not in card


def test_the_form_stores_the_file_and_queues_the_job(candidate, on, web, engineer):
    client = web(engineer)
    text = text_of(client.get(f"{M}/2/evaluations"))
    assert f'href="/api/v1/projects/demo/artifacts/{on.table_id}" download' in text
    assert "row,prediction" in text
    file = SimpleUploadedFile("said.csv", b"prediction\n1.5\n")
    answer = client.post(f"{M}/2/evaluate", {"set": "later-r1", "horizon": "1", "predictions": file})
    job = Job.objects.get(kind="evaluate_predictions")
    assert (answer.status_code, answer["Location"]) == (302, f"/p/demo/jobs/{job.pk}")
    stored = Artifact.objects.get(pk=job.inputs.get(slot="predictions").artifact_id)
    assert stored.size == len(b"prediction\n1.5\n")


WRONG_FORMS = [
    ({"horizon": "1"}, "e-file", "Choose the file of predictions."),
    ({"horizon": "soon"}, "e-horizon", "A horizon is a whole number of rows."),
    ({}, "e-horizon", "predictions do not say how far they look ahead"),
    ({"horizon": "4097"}, "e-horizon", "horizon is 4097."),
    ({"set": "nowhere"}, "e-set", "no evaluation set 'nowhere'"),
    ({"horizon": "1", "predictions": b""}, "e-file", "empty"),
]


def test_what_is_wrong_stands_beside_its_field(candidate, web, engineer):
    client, wrong = web(engineer), []
    for sent, field, why in WRONG_FORMS:
        if "predictions" in sent:
            sent = sent | {"predictions": SimpleUploadedFile("said.csv", sent["predictions"])}
        answer = client.post(f"{M}/2/evaluate", {"set": "later-r1"} | sent)
        beside = text_of(answer).partition(f'id="{field}-e" role="alert"')[2].partition("</p>")[0]
        if answer.status_code not in (404, 422) or why not in beside:
            wrong.append((sent, answer.status_code, beside))
    assert wrong == []
    assert not Job.objects.filter(kind="evaluate_predictions").exists()


def test_a_store_that_is_away_is_no_fault_of_the_file(candidate, web, engineer, monkeypatch):
    def away(**_):
        raise Unavailable("The object store does not answer.")

    monkeypatch.setattr(views, "publish_upload", away)
    sent = {"set": "later-r1", "horizon": "1", "predictions": SimpleUploadedFile("said.csv", b"prediction\n1\n")}
    assert web(engineer).post(f"{M}/2/evaluate", sent).status_code == 503


def test_a_viewer_gives_no_predictions(candidate, web, viewer):
    client = web(viewer)
    assert "New evaluation, by predictions" not in text_of(client.get(f"{M}/2/evaluations"))
    file = SimpleUploadedFile("said.csv", b"prediction\n1.5\n")
    sent = {"set": "later-r1", "horizon": "1", "predictions": file}
    assert client.post(f"{M}/2/evaluate", sent).status_code == 403
    assert not Artifact.objects.filter(size=15).exists()


def test_pages_cost_as_much_for_one_evaluation_as_for_many(candidate, on, web, engineer, a_set, measure_predictions):
    client = web(engineer)

    def counted():
        found = {}
        for page in ("2", "2/evaluations", "baselines"):
            client.get(f"{M}/{page}")
            with CaptureQueriesContext(connection) as seen:
                client.get(f"{M}/{page}")
            found[page] = len(seen)
        return found

    measure_predictions(candidate, on, 0.9, 0.1)
    few = counted()
    for name in ("sooner", "other"):
        measure_predictions(candidate, a_set(name=name), 0.9, 0.1)
    assert counted() == few


# -- REST -----------------------------------------------------------------------------------------------------------
def test_rest_queues_the_job_and_shows_what_was_given(candidate, on, api, engineer, held, measure_predictions):
    client, digest = api(engineer), held(b"prediction\n1\n").digest
    body = {"set": "later", "predictions": digest, "horizon": 1}
    first = client.post(f"{API}/versions/2/evaluations", body, format="json")
    assert (first.status_code, first.json()["kind"]) == (201, "evaluate_predictions")
    again = client.post(f"{API}/versions/2/evaluations", body, format="json")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    made = measure_predictions(candidate, on, 0.9, 0.1)
    told = client.get(f"{API}/versions/2/evaluations").json()["items"][0]
    assert (told["variant"], told["predictions"], told["created_by"]) == (
        "predictions",
        made.predictions_id,
        "engineer",
    )
    whole = client.get(f"/api/v1/projects/demo/evaluations/{made.pk}").json()
    assert (whole["version"], whole["document"]["memory"]) == (2, None)
    lines = client.get(f"{API}/baselines?set=later").json()["lines"]
    assert {line["variant"]: line["points"][0]["version"] for line in lines} == {"fp32": 1, "predictions": 2}


WRONG_BODIES = [
    (2, {}, "no_variant", "variant"),
    (2, {"predictions": "0" * 64, "horizon": 1}, "artifact_not_found", "predictions"),
    (2, {"predictions": "0" * 64}, "horizon_unknown", "horizon"),
    (2, {"predictions": "0" * 64, "horizon": 1, "runs": 20}, "predictions_alone", "runs"),
    (2, {"predictions": "0" * 64, "horizon": 1, "variant": "fp32"}, "predictions_alone", "variant"),
    (1, {"predictions": "0" * 64, "horizon": 1}, "predictions_not_taken", "predictions"),
    (1, {"horizon": 1}, "horizon_not_taken", "horizon"),
]


def test_rest_names_what_is_wrong(candidate, api, engineer):
    client, wrong = api(engineer), []
    for version, body, code, field in WRONG_BODIES:
        answer = client.post(f"{API}/versions/{version}/evaluations", {"set": "later", **body}, format="json")
        error = answer.json()["error"]
        if (answer.status_code, error["code"], error["field"], bool(error["hint"])) != (422, code, field, True):
            wrong.append((version, body, answer.status_code, error))
    assert wrong == []
