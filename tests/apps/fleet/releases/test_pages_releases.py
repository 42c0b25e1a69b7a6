import html
import json
import re

import pytest

from apps.fleet.releases.models import Release
from apps.fleet.releases.provenance_status import check_provenance
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


def test_provenance_is_shown_with_its_signer_and_downloaded(page, web, engineer, stranger, variant):
    client = web(engineer)
    client.post(page(), {"op": "submit", "variant": variant.pk})
    release = Release.objects.select_related("key").get()
    text = read(client.get(page()))
    assert "Verified" in text
    assert release.key.key_id in text
    answer = client.get(page(f"/{release.pk}/provenance"))
    assert (answer.content.decode(), "attachment" in answer.headers["Content-Disposition"]) == (
        release.provenance,
        True,
    )
    assert web(stranger).get(page(f"/{release.pk}/provenance")).status_code == 404
    envelope = json.loads(release.provenance)
    wrong = json.dumps(envelope | {"payload": json.loads(release.envelope)["payload"]})
    key = type(release.key).objects
    verdicts = []
    for provenance, state in ((release.provenance, "revoked"), (wrong, "active"), ("{", "active"), ("", "active")):
        key.update(state=state)
        Release.objects.update(provenance=provenance)
        verdicts.append(check_provenance(Release.objects.select_related("key").get()).verdict)
    assert verdicts == ["key_unknown", "signature_wrong", "document_malformed", "absent"]
    assert client.get(page(f"/{release.pk}/provenance")).status_code == 404


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
