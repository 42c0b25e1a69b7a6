import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.ml.sweeps.models import Sweep, SweepTrial
from apps.platform.jobs.models import Job
from apps.platform.jobs.services import submit_job
from apps.platform.jobs.submission import Submission

pytestmark = pytest.mark.django_db

FORM = {
    "op": "submit",
    "name": "tuned",
    "/seconds": "0",
    "/steps": "3",
    "/log_lines": "0",
    "/fail": "",
    "/memory_mib": "10",
    "/children": "0",
    "/echo": "",
    "/sweep/space/0/type": "float",
    "/sweep/space/0/name": "/value",
    "/sweep/space/0/low": "0.1",
    "/sweep/space/0/high": "0.9",
    "/sweep/space/1/type": "choice",
    "/sweep/space/1/name": "/steps",
    "/sweep/space/1/choices": "2, 4",
    "/sweep/metric": "value",
    "/sweep/direction": "maximize",
    "/sweep/value": "last",
    "/sweep/trials": "6",
    "/sweep/parallel": "2",
    "/sweep/sampler": "tpe",
    "/sweep/startup_trials": "3",
    "/sweep/pruner": "none",
    "/sweep/pruning_trials": "5",
    "/sweep/pruning_steps": "1",
    "/sweep/reduction_factor": "4",
    "/sweep/seed": "7",
    "/sweep/timeout_seconds": "",
    "priority": "0",
}


@pytest.fixture
def filled(start):
    """A sweep with a trial in each state."""
    sweep = start()
    reason = {"message": "At step 3.", "msgid": "At step {step}.", "params": {"step": 3}}
    for number, state in enumerate(("succeeded", "succeeded", "pruned", "failed", "running", "planned")):
        ended = state in ("succeeded", "pruned")
        SweepTrial.objects.create(
            sweep=sweep,
            number=number,
            values=[number / 10],
            state=state,
            objective=number / 10 if ended else None,
            step=3 if ended else None,
            end_reason=reason if state == "pruned" else {},
        )
    Sweep.objects.filter(pk=sweep.pk).update(importance={"/value": 1.0})
    return sweep


def test_the_page_shows_best_charts_and_why(filled, web, engineer, page):
    answer = web(engineer).get(page(f"/{filled.pk}"))
    text = answer.content.decode()
    assert (answer.status_code, answer.context["best"].number) == (200, 0)
    assert all(f'id="{chart}"' in text for chart in ("history", "parallel", "importance"))
    assert "At step 3." in text
    assert text.count("data-trial") == 6


def test_the_pages_cost_the_same_for_more_trials(filled, web, engineer, page, start):
    client = web(engineer)

    def count(tail: str) -> int:
        client.get(page(tail))
        with CaptureQueriesContext(connection) as seen:
            assert client.get(page(tail)).status_code == 200
        return len(seen)

    few = count(f"/{filled.pk}"), count("")
    for number in range(6, 20):
        SweepTrial.objects.create(sweep=filled, number=number, values=[0.5], state="succeeded", objective=0.5)
    start()
    assert (count(f"/{filled.pk}"), count("")) == few


def test_a_sweep_is_begun_by_the_form(web, engineer, page):
    client = web(engineer)
    assert client.get(page("/new")).status_code == 200
    assert client.get(page("/new/noop")).status_code == 200
    answer = client.post(page("/new/noop"), FORM)
    sweep = Sweep.objects.get()
    assert answer["Location"] == page(f"/{sweep.pk}")
    assert '"choices":[2,4]' in sweep.document
    assert client.get(page("?state=running")).content.decode().count("tuned") >= 1


def test_errors_stand_beside_their_fields(web, engineer, page):
    changes = {"/sweep/space/0/low": "2", "/sweep/trials": "x", "/sweep/metric": ""}
    answer = web(engineer).post(page("/new/noop"), {**FORM, **changes})
    pointers = {item.pointer for item in answer.context["form"].problems}
    assert answer.status_code == 422
    assert {"/sweep/trials", "/sweep/metric", "/sweep/space/0"} <= pointers
    answer = web(engineer).post(page("/new/noop"), {**FORM, "/sweep/space/0/name": "/odd", "/steps": "0"})
    assert {item.pointer for item in answer.context["form"].problems} == {"/sweep/space/0/name"}
    assert not Sweep.objects.exists()


def test_parameters_are_added_and_removed(web, engineer, page):
    client = web(engineer)
    added = client.post(page("/new/noop"), {**FORM, "op": "add:/sweep/space", "new:/sweep/space": "int"})
    assert b"/sweep/space/2/low" in added.content
    removed = client.post(page("/new/noop"), {**FORM, "op": "del:/sweep/space/1"})
    assert b"/sweep/space/1/" not in removed.content


def test_a_job_is_tuned_from_its_page(web, engineer, actor_for, project, page):
    submission = Submission(kind="noop", spec={"steps": 17})
    job = submit_job(actor=actor_for(engineer), project=project, submission=submission)[0]
    client = web(engineer)
    assert f"{page('/new/noop')}?from={job.pk}" in client.get(f"/p/{project.slug}/jobs/{job.pk}").content.decode()
    form = client.get(page(f"/new/noop?from={job.pk}")).context["form"]
    assert form.spec_form.spec()["steps"] == 17
    assert Job.objects.count() == 1


def test_cancel_by_the_page(filled, web, engineer, viewer, page):
    assert web(viewer).post(page(f"/{filled.pk}/cancel"), {"reason": "x"}).status_code == 403
    web(engineer).post(page(f"/{filled.pk}/cancel"), {"reason": "enough"})
    filled.refresh_from_db()
    assert (filled.state, filled.end_reason["message"]) == ("cancelled", "enough")


def test_others_see_nothing(filled, web, viewer, stranger, page):
    assert web(viewer).get(page("/new/noop")).status_code == 403
    assert web(viewer).get(page(f"/{filled.pk}")).status_code == 200
    assert web(stranger).get(page(f"/{filled.pk}")).status_code == 404
