"""What home shows beside open work: finished jobs, runs, production, requests, alarms, and where to begin."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from apps.data.datasets.models import Dataset
from apps.fleet.rollouts.facts import START, SUBJECT
from apps.ml.endpoints.models import Endpoint
from apps.ml.experiments.models import Experiment, Run
from apps.ml.registry.models import Alias, Model, ModelVersion
from apps.platform.accounts.models import Membership
from apps.platform.approvals.models import Approval
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job
from apps.site.security_alarms.models import SecurityAlarm
from apps.web.home_overview import select_newest
from tests.walking import job_of, version_of

pytestmark = pytest.mark.services


def get_text(client, address="/") -> str:
    return client.get(address).content.decode()


def create_job(project, **more) -> Job:
    job = job_of(project, more.get("state", "succeeded"), 1)
    job.name = more["name"]
    job.save()
    return job


def create_run(project, **more) -> Run:
    experiment, _ = Experiment.objects.get_or_create(project=project, number=0, defaults={"name": "Default"})
    return Run.objects.create(project=project, experiment=experiment, created_by="engineer", **more)


@pytest.fixture
def version(project) -> ModelVersion:
    model = Model.objects.create(project=project, name="load", versions_count=1, created_by="engineer")
    metrics = [{"name": "rmse", "value": 1.178, "low": 1.1, "high": 1.3}]
    return ModelVersion.objects.create(
        model=model, number=1, digest="1" * 64, document="{}", metrics=metrics, created_by="engineer"
    )


def test_finished_jobs_and_runs_of_every_project(engineer, web, project, other_project):
    Membership.objects.create(project=other_project, user=engineer, role="viewer")
    create_job(project, name="mine"), create_job(other_project, name="ours", state="cancelled")
    create_run(project, name="first run", figures={"metrics": [{"name": "mae", "value": 0.25}]})
    create_run(other_project, name="second run")
    text = get_text(web(engineer))
    assert [word for word in ("clean mine", "clean ours", "first run", "second run", "0.25") if word not in text] == []
    assert "clean ours" not in get_text(web(engineer), "/p/demo/")


def test_newest_rows_are_chosen_over_the_projects(project, other_project):
    for number in range(3):
        create_job(project, name=f"a{number}"), create_job(other_project, name=f"b{number}")
    keys = select_newest(Job.objects.all(), [project.pk, other_project.pk], ("-ended_at", "-id"), 3)
    names = set(Job.objects.filter(pk__in=keys).values_list("name", flat=True))
    assert names == {"a2", "b2", "b1"}
    assert list(select_newest(Job.objects.all(), [], ("-id",), 3)) == []


def test_a_model_in_production_has_its_metric_and_endpoint(engineer, web, version):
    assert "In production" not in get_text(web(engineer))
    Alias.objects.create(model=version.model, name="production", version=version)
    Endpoint.objects.create(
        project=version.model.project, name="answers", model=version.model, alias="production", state="serving"
    )
    text = get_text(web(engineer))
    assert [word for word in ("In production", "load v1", "1.178", "answers", "0 devices") if word not in text] == []


def test_own_requests_are_listed_until_decided(engineer, web, project, approver):
    request = Approval.objects.create(
        project=project,
        subject_type="promotion",
        subject_id="1",
        title="Promote load v1",
        facts="{}",
        requester="engineer",
        requester_user=engineer,
        needed=1,
        eligible=1,
        deadline_at=timezone.now() + timedelta(hours=1),
    )
    assert "Your open requests" in get_text(web(engineer))
    assert "Your open requests" not in get_text(web(approver))
    Approval.objects.filter(pk=request.pk).update(state="withdrawn")
    assert "Your open requests" not in get_text(web(engineer))


def test_names_in_what_waits_are_escaped(engineer, approver, web, project):
    """A client may name a model as it likes."""
    facts = {"model": "<img src=x>", "candidate": {"version": 1}, "blast_radius": {"devices": 3}, "stage": START}
    Approval.objects.create(
        project=project,
        subject_type=SUBJECT,
        subject_id="1",
        title="Roll out",
        facts=json.dumps(facts),
        requester="engineer",
        requester_user=engineer,
        needed=1,
        eligible=1,
        deadline_at=timezone.now() + timedelta(hours=1),
    )
    text = get_text(web(approver))
    assert ("&lt;img src=x&gt; v1 for 3 devices" in text, "<img src=x>" in text) == (True, False)


def test_an_open_page_is_told_of_a_security_alarm(auditor, web, db):
    client = web(auditor)
    polled = {"X-Plane-Poll": "1", "If-None-Match": client.get("/").context["mark"]}
    assert client.get("/", headers=polled).status_code == 304
    now = timezone.now()
    SecurityAlarm.objects.create(rule="x", count=1, first_seq=1, last_seq=1, first_at=now, last_at=now)
    assert client.get("/", headers=polled).status_code == 200


def test_new_work_begins_in_one_of_the_projects(engineer, viewer, web, other_project):
    text = get_text(web(engineer))
    assert 'class="btn primary" href="/p/demo/jobs/new"' in text
    Membership.objects.create(project=other_project, user=engineer, role="engineer")
    text = get_text(web(engineer))
    assert "In which project?" in text
    assert f'href="/p/{other_project.slug}/jobs/new"' in text
    assert "/jobs/new" not in get_text(web(viewer))


def test_first_steps_tick_what_is_done_and_can_be_hidden(engineer, web, project, version):
    dataset = Dataset.objects.create(project=project, name="load", created_by="engineer")
    version_of(dataset, 1).save()
    client = web(engineer)
    text = get_text(client)
    assert text.count('<span class="quiet sm">done</span>') == 3  # all but the deployment
    answer = client.post("/first-steps/hide", {"back": "/p/demo/"})
    assert answer["Location"] == "/p/demo/"
    assert AuditRecord.objects.filter(action="user.set_preferences").count() == 1
    assert "First steps" not in get_text(client)
    assert "First steps" in get_text(client, "/?steps=show")
    assert client.get("/first-steps/hide").status_code == 405
