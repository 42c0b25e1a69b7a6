import html
import re

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.utils.translation import override

from apps.ml.registry.models import EvaluationSet, Gate
from apps.platform.jobs.models import Job
from apps.platform.jobs.scheduling import doorbell

pytestmark = pytest.mark.django_db
M = "/p/demo/models/wti-forecast"


@pytest.fixture(autouse=True)
def _silent(monkeypatch):
    monkeypatch.setattr(doorbell, "ring", lambda queue: None)


@pytest.fixture
def filled(registered, approved, a_set, gate, measure):
    first = registered()
    approved(first)
    second, on = registered(), a_set(spec={"slices": [{"column": "region"}]})
    gate(first.model, on, margin=0.05)
    measure(first, on, 1.0, 0.0, parts=[("region", "south", 1.0)])
    measure(second, on, 1.2, 0.1, parts=[("region", "south", 1.4)])
    return second


def text_of(answer):
    return html.unescape(answer.content.decode())


def test_a_metric_over_versions_with_gates_and_sets(web, engineer, filled):
    text = text_of(web(engineer).get(f"{M}/baselines"))
    assert "rmse over versions" in text
    for part in ("v1 fp32", "v2 fp32", "later-r1", "Gates are set by an approver", "Create evaluation set"):
        assert part in text
    assert "Set a gate" not in text


def test_what_is_in_production_is_drawn_beside_the_newest(web, engineer, filled, monkeypatch):
    monkeypatch.setattr("apps.ml.registry.evaluations.queries.MAX_VERSIONS_PLOTTED", 1)
    monkeypatch.setattr("apps.ml.registry.evaluations.presenters.MAX_BARS", 1)
    assert "v1 fp32" in text_of(web(engineer).get(f"{M}/baselines"))


def test_a_model_without_sets_says_how_to_begin(web, engineer, registered):
    registered()
    text = text_of(web(engineer).get(f"{M}/baselines"))
    assert "No evaluation set matches this model" in text
    assert "No gates: promotion of any version can be requested" in text


def test_a_version_tells_its_gates_slices_and_pace(web, viewer, filled):
    text = text_of(web(viewer).get(f"{M}/2/evaluations"))
    for part in ("Failed: worse by more than the margin", "region: south", "95th percentile", "Model card, HTML"):
        assert part in text
    assert "<b>Not ready</b>: " in text
    assert 'data-l="Batch">1</th>' in text
    assert "Train a better version" in text
    assert f'action="{M}/2/evaluate"' not in text


def test_a_version_that_was_not_evaluated(web, engineer, registered, a_set):
    registered(), a_set()
    text = text_of(web(engineer).get(f"{M}/1/evaluations"))
    assert "Not evaluated yet" in text
    assert f'action="{M}/1/evaluate"' in text


def test_the_overview_says_that_it_may_not_go_out(web, engineer, filled):
    assert "Not ready: rmse (later-r1): Failed" in text_of(web(engineer).get(f"{M}/2"))


def test_a_refused_request_keeps_what_was_typed(web, engineer, filled):
    answer = web(engineer).post(f"{M}/2/promote", {"comment": "please"})
    assert answer.status_code == 409
    text = text_of(answer)
    assert "is worse than v1. The difference is 0.2" in text
    assert ">please</textarea>" in text


def test_evaluate_by_form(web, engineer, registered, a_set):
    registered(), a_set()
    answer = web(engineer).post(f"{M}/1/evaluate", {"set": "later-r1", "variant": "int8"})
    job = Job.objects.get(kind="evaluate")
    assert answer["Location"] == f"/p/demo/jobs/{job.pk}"
    answer = web(engineer).post(f"{M}/1/evaluate", {"set": "none-r1", "variant": "int8"})
    assert answer.status_code == 404
    assert "no evaluation set 'none-r1'" in text_of(answer)


def test_make_a_set_by_form(web, engineer, registered, dataset_version):
    registered()
    filled_in = {"name": "fresh", "data": str(dataset_version.pk), "task": "forecast", "target": "close"}
    answer = web(engineer).post(f"{M}/evaluation-sets", filled_in | {"slices": "planet"})
    assert answer.status_code == 422
    text = text_of(answer)
    assert re.search(r'id="fslices-e"[^>]*>\s*<svg.*?has no column \'planet\'', text, re.DOTALL)
    assert 'value="fresh"' in text
    folded = text_of(web(engineer).post(f"{M}/evaluation-sets", filled_in | {"primary_metric": "luck"}))
    assert re.search(r'id="frare-g" open>.*?id="fprimary_metric-e" aria-live="polite">', folded, re.DOTALL)
    checked = text_of(web(engineer).post(f"{M}/evaluation-sets", filled_in | {"op": "check", "slices": "region"}))
    assert '<option value="close" selected>' in " ".join(checked.split())
    assert re.search(r'name="slices" value="region"\s+checked', checked)
    ticked = filled_in | {"op": "check", "data": "", "slices": ["region", '"a, b"']}  # and then another table is chosen
    unticked = text_of(web(engineer).post(f"{M}/evaluation-sets", ticked))
    assert re.search(r'<textarea[^>]*name="slices"[^>]*>region\n"a, b"</textarea>', unticked)
    assert not EvaluationSet.objects.exists()
    answer = web(engineer).post(f"{M}/evaluation-sets", filled_in | {"slices": "region, close", "first_row": "20"})
    assert answer.status_code == 302
    made = EvaluationSet.objects.get()
    assert [one["column"] for one in made.spec["slices"]] == ["region", "close"]
    assert made.spec["first_row"] == 20


def test_every_error_of_the_form_of_a_set_is_shown_beside_its_field(web, engineer, registered, dataset_version):
    registered()
    right = {"name": "fresh", "data": str(dataset_version.pk), "task": "forecast", "target": "close"}
    wrong = {"first_row": "ten", "slices": "planet", "group": "region", "primary_metric": "luck", "name": "No Name"}
    for data, errors in (
        (right | wrong, {"first_row", "slices", "group", "primary_metric", "name"}),
        (right | {"first_row": "ten", "data": "", "target": ""}, {"first_row", "data", "target"}),
    ):
        answer = web(engineer).post(f"{M}/evaluation-sets", data)
        assert answer.status_code == 422
        shown = re.findall(r'<p class="err" id="f(\w+)-e" aria-live="polite">', text_of(answer))
        assert set(shown) == errors
    assert not EvaluationSet.objects.exists()


def test_an_unknown_table_is_refused(web, engineer, registered):
    registered()
    client = web(engineer)
    for data in ("", "x", "9" * 30, "999"):
        answer = client.post(f"{M}/evaluation-sets", {"name": "fresh", "data": data})
        assert answer.status_code == 422, data
        assert "Choose the table to measure on." in text_of(answer), data


def test_the_form_of_a_gate_has_the_sections_of_other_forms(web, approver, registered, a_set):
    registered(), a_set()
    text = text_of(web(approver).get(f"{M}/baselines"))
    form = text[text.index(f'action="{M}/gates"') :].partition("</form>")[0]
    assert re.search(r"<legend>Comparison</legend>.*<summary>Advanced</summary>", form, re.DOTALL)
    assert 'id="fgate-rare-g">' in form
    refused = text_of(
        web(approver).post(f"{M}/gates", {"set": "later-r1", "variant": "v" * 61, "baseline": "production"})
    )
    assert re.search(r'id="fgate-rare-g" open>.*?id="fvariant-e" aria-live="polite">', refused, re.DOTALL)


def test_gates_by_form(web, approver, engineer, registered, a_set):
    registered(), a_set()
    sent = {"set": "later-r1", "metric": "mae", "margin": "much", "baseline": "production"}
    answer = web(approver).post(f"{M}/gates", sent)
    assert answer.status_code == 422
    assert "much is no number." in text_of(answer)
    assert web(approver).post(f"{M}/gates", sent | {"margin": "0.5", "confidence": "90"}).status_code == 302
    gate = Gate.objects.get()
    assert (gate.metric, gate.margin, gate.confidence) == ("mae", 0.5, 0.9)
    assert web(engineer).post(f"{M}/gates", sent).status_code == 403
    assert web(approver).post(f"{M}/gates/{gate.pk}/remove", {"reason": ""}).status_code == 422
    assert web(approver).post(f"{M}/gates/{gate.pk}/remove", {"reason": "old"}).status_code == 302
    assert not Gate.objects.filter(removed_at=None).exists()


@pytest.fixture
def against_first(registered, a_set, gate):
    """A gate against v1, as REST sets one; another stands before it."""
    first, on = registered(), a_set()
    registered()
    gate(first.model, on, metric="rmse")
    return gate(first.model, on, metric="mae", baseline=first, margin=0.05, confidence=0.975, guard_slices=True)


def form_of(text):
    """{name: value} of what the form of a gate is filled with."""
    form = text[text.index(f'action="{M}/gates"') :].partition("</form>")[0]
    found = dict(re.findall(r'<input[^>]* name="(\w+)"[^>]* value="([^"]*)"', form))
    for name, options in re.findall(r'<select[^>]* name="(\w+)"[^>]*>(.*?)</select>', form):
        every = re.findall(r"<option([^>]*)>([^<]*)", options)
        attributes, word = next((one for one in every if " selected" in one[0]), every[0])
        value = re.search(r'value="([^"]*)"', attributes)
        found[name] = value[1] if value else word
    return {name: value for name, value in found.items() if name != "csrfmiddlewaretoken"}


def test_a_gate_that_is_edited_keeps_its_baseline(web, approver, against_first):
    client = web(approver)
    text = text_of(client.get(f"{M}/baselines"))
    assert f'href="?gate={against_first.pk}#gf"' in text
    filled_in = form_of(text_of(client.get(f"{M}/baselines?gate={against_first.pk}")))
    assert (filled_in["metric"], filled_in["baseline"], filled_in["confidence"]) == ("mae", "1", "97.5")
    assert client.post(f"{M}/gates", filled_in | {"margin": "0.5", "guard_slices": "true"}).status_code == 302
    now = Gate.objects.get(metric="mae", removed_at=None)
    assert (now.baseline, now.margin, now.confidence) == (against_first.baseline, 0.5, 0.975)


def test_the_set_and_the_metric_that_are_shown_fill_the_form_from_their_gate(web, approver, against_first):
    text = text_of(web(approver).get(f"{M}/baselines?set=later-r1&metric=mae"))
    assert (form_of(text)["baseline"], form_of(text)["margin"]) == ("1", "0.05")


def test_a_gate_that_was_not_looked_at_is_not_replaced(web, approver, against_first):
    sent = {"set": "later-r1", "metric": "mae", "margin": "1", "baseline": "production"}
    answer = web(approver).post(f"{M}/gates", sent)
    assert answer.status_code == 409
    assert "A gate on later-r1, mae stands already, against v1." in text_of(answer)
    assert Gate.objects.get(metric="mae").removed_at is None


def test_an_unknown_baseline_is_refused_beside_its_field(web, approver, against_first):
    client = web(approver)
    for baseline in ("", "planet", "0", "9", "9" * 12, "²"):
        sent = {"set": "later-r1", "metric": "mae", "gate": str(against_first.pk), "baseline": baseline}
        answer = client.post(f"{M}/gates", sent)
        assert answer.status_code == 422, baseline
        assert 'id="fbaseline-e" aria-live="polite">' in answer.content.decode(), baseline
        assert form_of(text_of(answer))["baseline"] == "", baseline
    assert Gate.objects.filter(removed_at=None, metric="mae").get() == against_first


def test_an_old_baseline_is_offered_behind_the_newest(web, approver, against_first, monkeypatch):
    monkeypatch.setattr("apps.ml.registry.evaluations.presenters.MAX_VERSION_CHOICES", 1)
    client = web(approver)
    new = text_of(client.get(f"{M}/baselines"))
    assert '<option value="2">v2' in new
    assert '<option value="1">v1' not in new
    assert "The newest 1 versions" in new
    assert form_of(text_of(client.get(f"{M}/baselines?gate={against_first.pk}")))["baseline"] == "1"
    sent = {"set": "later-r1", "metric": "mae", "gate": str(against_first.pk), "baseline": "1", "margin": "much"}
    assert form_of(text_of(client.post(f"{M}/gates", sent)))["baseline"] == "1"


def test_the_approval_shows_the_gate(web, approver, actor_for, engineer, registered, approved, a_set, gate, measure):
    first = registered()
    approved(first)
    second, on = registered(), a_set()
    gate(first.model, on)
    measure(first, on, 1.0, 0.0)
    measure(second, on, 1.0, 0.1)
    asked = web(engineer).post(f"{M}/2/promote", {})
    text = text_of(web(approver).get(asked["Location"]))
    assert "Not significant: the interval includes the margin" in text
    assert "Whether it is worse than the gate tolerates: later-r1 rmse." in text


def test_gates_cost_no_more_queries_the_more_there_are(web, engineer, filled, a_set, gate, measure):
    first = filled.model.versions.get(number=1)
    client = web(engineer)

    def counted():
        found = {}
        for tab in ("", "/evaluations"):
            client.get(f"{M}/2{tab}")  # what the gates say is remembered from here on
            with CaptureQueriesContext(connection) as seen:
                client.get(f"{M}/2{tab}")
            found[tab] = len(seen)
        return found

    few = counted()
    for name in ("sooner", "other"):
        on = a_set(name=name)
        gate(filled.model, on, margin=0.05)
        measure(first, on, 1.0, 0.0)
        measure(filled, on, 1.2, 0.1)
    assert counted() == few
    assert max(few.values()) < 20


def test_values_of_slices_are_not_translated(web, viewer, registered, a_set, gate, measure):
    first, on = registered(), a_set(spec={"slices": [{"column": "region"}]})
    measure(first, on, 1.0, 0.0, parts=[("region", "mean", 1.0)])
    client = web(viewer)
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "zh-hans"
    assert "region: mean<" in text_of(client.get(f"{M}/1/evaluations"))


def test_the_value_of_the_worst_slice_is_not_translated():
    worst = {"column": "region", "value": "mean", "difference": 0.1}
    with override("zh-hans"):
        text = render_to_string("registry/judged.html", {"judged": [{"said": {"worst": worst}}]})
    assert "region: mean<" in text
