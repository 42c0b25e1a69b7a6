"""What people decide about retraining: to plan it, to plan none, to cancel one; by service, REST and browser."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.urls import reverse

from apps.core.errors import Conflict, Invalid, Refused
from apps.fleet.monitoring.models import Retraining, RetrainingPlan
from apps.fleet.monitoring.retraining.recipe import collect_steps, find_recipe
from apps.fleet.monitoring.services import cancel_retraining, remove_retraining_plan, set_retraining_plan
from apps.ml.pipelines.models import Pipeline, PipelineStep
from apps.ml.pipelines.schemas import list_stored_steps
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job
from tests.apps.fleet.monitoring.conftest import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def url(project):
    return lambda tail: f"/api/v1/projects/{project.slug}/{tail}"


@pytest.fixture
def page(project):
    return lambda name, *args: reverse(f"monitoring:{name}", args=[project.slug, *args])


# -- plans ----------------------------------------------------------------------------------------------------------
def test_a_plan_is_changed_in_part_and_recorded(plan, monitor, actor_for, engineer):
    set_retraining_plan(actor=actor_for(engineer), monitor=monitor, weekly_budget=3)
    kept = RetrainingPlan.objects.get()
    assert (kept.weekly_budget, kept.min_rows, kept.causes[0], kept.set_by) == (3, 50, "drop", "engineer")
    assert AuditRecord.objects.filter(action="monitor.set_retraining").count() == 2


BAD = [
    {"causes": []},
    {"causes": ["silence"]},
    {"mode": "merge"},
    {"weekly_budget": 0},
    {"weekly_budget": 51},
    {"min_rows": 9},
    {"wait_hours": -1},
    {"fresh_share": 0.6},
    {"fresh_share": float("nan")},
]


def test_bad_values_name_their_field(monitor, actor_for, engineer):
    wrong = {}
    for values in BAD:
        try:
            set_retraining_plan(actor=actor_for(engineer), monitor=monitor, **values)
        except Invalid as refusal:
            if refusal.errors[0]["field"].strip("/") == next(iter(values)):
                continue
        wrong[str(values)] = "accepted, or another field"
    assert wrong == {}
    assert not RetrainingPlan.objects.exists()


def test_only_engineers_plan(monitor, actor_for, viewer, approver, stranger):
    for person in (viewer, approver, stranger):
        with pytest.raises(Exception) as refusal:
            set_retraining_plan(actor=actor_for(person), monitor=monitor)
        assert refusal.value.status in (403, 404)


def test_a_model_without_a_pipeline_has_no_recipe(monitor, actor_for, engineer):
    PipelineStep.objects.all().delete()
    with pytest.raises(Invalid) as refusal:
        set_retraining_plan(actor=actor_for(engineer), monitor=monitor)
    assert refusal.value.errors[0]["code"] == "no_recipe"


def test_a_plan_is_taken_away_once(plan, monitor, actor_for, engineer):
    for _ in range(2):
        remove_retraining_plan(actor=actor_for(engineer), monitor=monitor)
    assert not RetrainingPlan.objects.exists()
    assert AuditRecord.objects.filter(action="monitor.remove_retraining").count() == 1


def test_a_part_that_ran_again_counts_with_all_its_steps(former, actor_for, engineer):
    whole = Pipeline.objects.get()
    step = list_stored_steps(whole)[1]
    changed = step.model_copy(update={"spec": {"note": "again"}, "inputs": {}})
    rerun = Pipeline(rerun_of=whole, document=json.dumps({"name": "wti", "steps": [changed.document()]}))
    steps = collect_steps(rerun)
    assert (steps["register"].spec, steps["register"].inputs) == ({"note": "again"}, step.inputs)
    assert find_recipe(actor_for(engineer), former).context == 3


# -- cancel ---------------------------------------------------------------------------------------------------------
def test_one_is_cancelled_with_its_job(advance, actor_for, engineer, step):
    found = advance("collecting")
    cancel_retraining(actor=actor_for(engineer), retraining=found, reason="a lens was dirty")
    assert (Job.objects.get(kind="retraining_data").state, Retraining.objects.get().state) == ("cancelled",) * 2
    assert step().state == "cancelled"


def test_one_is_cancelled_with_its_pipeline_and_only_once(advance, actor_for, engineer, viewer):
    found = advance("training")
    with pytest.raises(Refused):
        cancel_retraining(actor=actor_for(viewer), retraining=found)
    cancel_retraining(actor=actor_for(engineer), retraining=found)
    jobs = Job.objects.filter(pipeline_step__pipeline=found.pipeline)
    assert set(jobs.values_list("state", flat=True)) == {"cancelled"}
    with pytest.raises(Conflict) as refusal:
        cancel_retraining(actor=actor_for(engineer), retraining=found)
    assert refusal.value.code == "retraining_state"


# -- REST -----------------------------------------------------------------------------------------------------------
def test_a_plan_and_its_retraining_over_rest(api, engineer, stranger, url, monitor, err, evaluate, step):
    client, path = api(engineer), url(f"monitors/{monitor.pk}")
    assert client.get(path).json()["retraining"] is None
    answer = client.put(f"{path}/retraining", {"min_rows": 60}, format="json")
    assert (answer.status_code, answer.json()["min_rows"], answer.json()["mode"]) == (200, 60, "append")
    assert client.put(f"{path}/retraining", {"min_rows": 1}, format="json").status_code == 422
    assert api(stranger).put(f"{path}/retraining", {}, format="json").status_code == 404
    err(NOON - timedelta(hours=1))
    evaluate()
    step()
    [row] = client.get(f"{path}/retrainings").json()["items"]
    assert (row["state"], row["former"], row["reason"]) == ("collecting", 1, "")
    alarm = client.get(url(f"alarms/{row['alarm']}")).json()
    assert (alarm["retraining"]["id"], alarm["retraining_state"]) == (row["id"], "collecting")
    answer = client.post(url(f"retrainings/{row['id']}/cancel"), {"reason": "no"}, format="json")
    assert answer.json()["state"] == "cancelled"
    assert client.post(url(f"retrainings/{row['id']}/cancel"), {}, format="json").status_code == 409
    assert client.post(url(f"retrainings/{row['id'] + 1}/cancel"), {}, format="json").status_code == 404
    assert client.delete(f"{path}/retraining").status_code == 204
    assert client.get(path).json()["retraining"] is None


# -- pages ----------------------------------------------------------------------------------------------------------
def test_it_is_turned_on_and_off_in_the_browser(browser, engineer, viewer, page, monitor):
    visitor, here = browser(engineer), page("monitor", monitor.pk)
    form = {
        "causes": "drop",
        "weekly_budget": "2",
        "min_rows": "60",
        "wait_hours": "6",
        "mode": "replace",
        "fresh_share": "0.2",
    }
    assert browser(viewer).post(page("set_retraining", monitor.pk), form).status_code == 403
    refused = visitor.post(page("set_retraining", monitor.pk), {**form, "min_rows": "2"})
    assert refused.status_code == 422
    assert visitor.post(page("set_retraining", monitor.pk), form).url == here
    assert RetrainingPlan.objects.get().mode == "replace"
    assert "at most 2 in seven days, by engineer" in visitor.get(here).text
    assert page("set_retraining", monitor.pk) not in browser(viewer).get(here).text
    visitor.post(page("remove_retraining", monitor.pk), {"reason": "enough"})
    assert not RetrainingPlan.objects.exists()


def test_the_alarm_shows_every_step_and_the_approval_shows_the_alarm(browser, viewer, engineer, page, advance, project):
    found = advance("awaiting_approval")
    text = browser(viewer).get(page("alarm", found.alarm_id)).text
    links = [
        reverse("datasets:version", args=[project.slug, "later-retraining", 1]),
        reverse("pipelines:detail", args=[project.slug, found.pipeline_id]),
        reverse("registry:version", args=[project.slug, found.model.name, found.version.number]),
        reverse("approvals:detail", args=[project.slug, found.approval_id]),
    ]
    assert [link for link in links if link not in text] == []
    assert all(word in text for word in ('data-retraining="awaiting_approval"', "later-fresh-r1"))
    assert page("cancel_retraining", found.pk) not in browser(engineer).get(page("alarm", found.alarm_id)).text
    assert f"v{found.version.number}" in browser(viewer).get(page("monitor", found.monitor_id)).text
    approval = browser(engineer).get(links[-1]).text
    assert f'data-alarm="{found.alarm_id}"' in approval
    assert page("alarm", found.alarm_id) in approval


def test_a_refusal_by_the_budget_and_a_cancel_are_on_the_alarm(browser, engineer, page, retraining):
    visitor, here = browser(engineer), page("alarm", retraining.alarm_id)
    assert visitor.post(page("cancel_retraining", retraining.pk), {"reason": "no"}).url == here
    assert 'data-retraining="cancelled"' in visitor.get(here).text
    reason = {"message": "1 retrainings began", "msgid": "", "params": {}}
    Retraining.objects.update(state="refused", state_reason=reason)
    assert "1 retrainings began" in visitor.get(here).text
