import html
import re

import pytest

from apps.fleet.releases.models import Release
from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(project):
    return lambda tail="": f"/p/{project.slug}/releases{tail}"


def read(answer) -> str:
    return re.sub(r"\s+", " ", html.unescape(answer.content.decode()))


def test_issue_look_and_revoke(page, web, engineer, variant):
    client = web(engineer)
    assert "No releases yet" in read(client.get(page()))
    assert client.post(page(), {"op": "submit", "variant": variant.pk}).url == page()
    release = Release.objects.get()
    assert f"{release.model_name} #{release.sequence}" in read(client.get(page()))
    client.post(page(f"/{release.pk}/revoke"), {"reason": "wrong units"})
    assert "Revoked" in read(client.get(page("?state=revoked")))


def test_make_samples(page, web, engineer, make_variant, approved):
    made = make_variant()
    approved(made.version)
    client = web(engineer)
    refused = read(client.post(page(), {"op": "submit", "variant": made.pk}))
    assert 'class="field bad" data-pointer="without_samples"' in refused
    answer = client.post(page("/samples"), {"op": "submit", "samples_of": made.pk})
    assert answer.url.endswith(f"/jobs/{Job.objects.latest('pk').pk}")


def test_only_what_was_approved(page, web, engineer, viewer, make_variant):
    made = make_variant()
    answer = web(engineer).post(page(), {"op": "submit", "variant": made.pk})
    assert answer.status_code == 422
    assert 'class="field bad" data-pointer="variant"' in read(answer)
    assert web(viewer).post(page(), {"variant": made.pk}).status_code == 403
    assert not Release.objects.exists()
