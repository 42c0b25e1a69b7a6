"""A job's page names the version that came of it, a run's page those that it trained."""

import pytest

from apps.ml.registry.models import ModelVersion
from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def job_page(web, viewer):
    return lambda pk: " ".join(web(viewer).get(f"/p/demo/jobs/{pk}").content.decode().split())


def test_what_a_register_job_made(registered, job_page):
    version = registered()
    job = Job.objects.get(pk=version.job_id)
    job.register = {"model": "wti-forecast"}
    job.save()
    job.outputs.create(slot="version", artifact_id=version.digest, name="version.json", media_type="x/y")
    text = job_page(job.pk)
    assert '<a href="/p/demo/models/wti-forecast/1">wti-forecast v1</a>' in text
    assert "It registered a version of the model wti-forecast." in text


def test_a_job_that_registers_nothing_names_nothing(registered, job_page, job_of):
    version = registered()
    job = job_of("register", outputs={"version": version.variants.first().artifact})
    assert "wti-forecast" not in job_page(job.pk)


def test_a_run_names_what_is_in_production_then_the_newest_and_how_many_more(registered, approved, web, viewer):
    versions = [registered(note=f"{number}") for number in range(5)]
    approved(versions[0])
    run = versions[0].run
    ModelVersion.objects.update(run=run)
    answer = web(viewer).get(f"/p/demo/runs/{run.pk}")
    told = answer.content.decode().partition("<dt>Registered as</dt>")[2].partition("</dd>")[0]
    names = ["wti-forecast v1", "wti-forecast v5", "wti-forecast v4", "2 more"]
    places = [told.find(f">{name}</a>") for name in names]
    assert -1 not in places
    assert places == sorted(places)
    assert told.count("in production") == 1
    assert '<a href="/p/demo/models/wti-forecast">2 more</a>' in told
