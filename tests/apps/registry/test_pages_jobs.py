"""A job's page names the version that came of it."""

import pytest

from apps.jobs.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(web, viewer):
    return lambda pk: " ".join(web(viewer).get(f"/p/demo/jobs/{pk}").content.decode().split())


def test_what_a_register_job_made(registered, page):
    version = registered()
    job = Job.objects.get(pk=version.job_id)
    job.register = {"model": "wti-forecast"}
    job.save()
    job.outputs.create(slot="version", artifact_id=version.digest, name="version.json", media_type="x/y")
    text = page(job.pk)
    assert '<a href="/p/demo/models/wti-forecast/1">wti-forecast v1</a>' in text
    assert "It registered a version of the model wti-forecast." in text


def test_a_job_that_registers_nothing_names_nothing(registered, page, job_of):
    version = registered()
    job = job_of("register", outputs={"version": version.variants.first().artifact})
    assert "wti-forecast" not in page(job.pk)
