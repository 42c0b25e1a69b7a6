"""The auditor holds and releases; what is held is not deleted and not collected."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.ml.experiments.models import Experiment, Run
from apps.platform.artifacts.garbage import collect_garbage
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.services import publish_upload
from apps.platform.artifacts.stores import get_store
from apps.platform.audit.models import AuditRecord
from apps.platform.holds.models import Hold
from apps.platform.holds.queries import refuse_held
from apps.platform.holds.services import place_hold, release_hold

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def officer(actor_for, auditor):
    return actor_for(auditor)


@pytest.fixture
def run(project):
    experiment = Experiment.objects.create(project=project, number=1, name="e", created_by="x")
    return Run.objects.create(id="a" * 32, project=project, experiment=experiment, name="r", created_by="x")


@pytest.fixture
def url(project):
    return lambda tail="": f"/api/v1/projects/{project.slug}/holds{tail}"


def test_a_hold_is_placed_and_released_on_the_record(officer, project, run):
    hold = place_hold(actor=officer, project=project, object_type="run", object_id=run.pk, reason=" case 12 ")
    with pytest.raises(Conflict, match=f"on run {run.pk}: case 12"):
        refuse_held(project.pk, ("run", run.pk))
    release_hold(actor=officer, hold=hold, reason="case closed")
    refuse_held(project.pk, ("run", run.pk))
    hold.refresh_from_db()
    assert (hold.reason, hold.released_by, hold.release_reason) == ("case 12", "auditor", "case closed")
    actions = AuditRecord.objects.filter(object_type="hold").order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["hold.place", "hold.release"]


def test_only_the_auditor_decides(engineer, approver, viewer, sysadmin, secadmin, actor_for, officer, project, run):
    hold = place_hold(actor=officer, project=project, object_type="run", object_id=run.pk, reason="x")
    for who in (engineer, approver, viewer, sysadmin, secadmin):
        actor = actor_for(who)
        with pytest.raises(Refused):
            place_hold(actor=actor, project=project, object_type="run", object_id=run.pk, reason="x")
        with pytest.raises(Refused):
            release_hold(actor=actor, hold=hold, reason="x")


def test_a_stranger_sees_no_project(actor_for, stranger, project):
    with pytest.raises(NotFound):
        place_hold(actor=actor_for(stranger), project=project, object_type="project", reason="x")


INVALID_HOLDS = [
    ("run", "a" * 32, "", Invalid),
    ("run", "a" * 32, "x" * 2001, Invalid),
    ("cat", "1", "x", Invalid),
    ("run", "b" * 32, "x", NotFound),
    ("run", "a\x00", "x", NotFound),
    ("modelversion", "no number", "x", NotFound),
    ("modelversion", "9" * 40, "x", NotFound),
    ("project", "1", "x", Invalid),
]


def test_invalid_holds_are_refused(officer, project, run):
    for kind, object_id, reason, error in INVALID_HOLDS:
        with pytest.raises(error):
            place_hold(actor=officer, project=project, object_type=kind, object_id=object_id, reason=reason)
    assert not Hold.objects.exists()


def test_an_object_of_another_project_is_not_found(officer, other_project, run):
    with pytest.raises(NotFound):
        place_hold(actor=officer, project=other_project, object_type="run", object_id=run.pk, reason="x")


def test_held_and_released_once(officer, project, run):
    told = {"actor": officer, "project": project, "object_type": "run", "object_id": run.pk}
    hold = place_hold(**told, reason="x")
    with pytest.raises(Conflict, match="held already"):
        place_hold(**told, reason="y")
    release_hold(actor=officer, hold=hold, reason="x")
    with pytest.raises(Conflict, match="has been released"):
        release_hold(actor=officer, hold=hold, reason="x")
    assert place_hold(**told, reason="again").pk != hold.pk


# -- what it keeps --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["artifact", "project"])
def test_what_is_held_is_no_garbage(settings, tmp_path, officer, operator, actor_for, engineer, project, kind):
    settings.PLANE_HOME = tmp_path
    who = actor_for(engineer)
    digest = publish_upload(actor=who, project=project, stream=[b"evidence"], name="it").artifact.digest
    object_id = digest if kind == "artifact" else ""
    hold = place_hold(actor=officer, project=project, object_type=kind, object_id=object_id, reason="case 12")
    now = timedelta(0)
    assert collect_garbage(actor=operator, older_than=now).gone == []
    assert get_store().exists(digest)
    release_hold(actor=officer, hold=hold, reason="closed")
    assert [one.digest for one in collect_garbage(actor=operator, older_than=now).gone] == [digest]
    assert not Artifact.objects.exists()


def test_a_dataset_version_that_is_held_is_not_deleted(officer, actor_for, engineer, project):
    from apps.data.datasets.versions.deletion import delete_version

    dataset = Dataset.objects.create(project=project, name="d", created_by="x")
    version = DatasetVersion.objects.create(
        dataset=dataset, number=1, digest="d" * 64, manifest="{}", size=0, created_by="x"
    )
    told = {"object_type": "datasetversion", "object_id": str(version.pk)}
    place_hold(actor=officer, project=project, **told, reason="case 12")
    with pytest.raises(Conflict, match="case 12") as error:
        delete_version(actor=actor_for(engineer), version=version, reason="old")
    assert error.value.code == "held"


# -- REST -----------------------------------------------------------------------------------------------------------
def test_members_list_what_is_in_force(api, viewer, officer, project, run, url):
    hold = place_hold(actor=officer, project=project, object_type="run", object_id=run.pk, reason="case 12")
    answer = api(viewer).get(url())
    assert [(row["id"], row["object_type"], row["reason"]) for row in answer.json()["items"]] == [
        (hold.pk, "run", "case 12")
    ]
    Hold.objects.update(released_at=timezone.now())
    assert api(viewer).get(url()).json()["items"] == []
    assert len(api(viewer).get(url("?released=1")).json()["items"]) == 1
    assert api(viewer).get(url(f"/{hold.pk}")).json()["reason"] == "case 12"


def test_the_auditor_places_and_releases_at_a_browser(web, auditor, run, url):
    client = web(auditor)
    body = {"object_type": "run", "object_id": run.pk, "reason": "case 12"}
    answer = client.post(url(), body, content_type="application/json")
    assert answer.status_code == 201
    pk = answer.json()["id"]
    answer = client.delete(url(f"/{pk}"), {"reason": "closed"}, content_type="application/json")
    assert (answer.status_code, answer.json()["release_reason"]) == (200, "closed")
    assert client.delete(url(f"/{pk}"), {"reason": "x"}, content_type="application/json").status_code == 409
    assert client.delete(url("/999"), {"reason": "x"}, content_type="application/json").status_code == 404


def test_an_engineer_and_a_stranger_may_not(api, web, engineer, stranger, url, run):
    body = {"object_type": "run", "object_id": run.pk, "reason": "x"}
    assert api(engineer).post(url(), body).status_code == 403
    assert web(engineer).post(url(), body, content_type="application/json").status_code == 403
    assert api(stranger).get(url()).status_code == 404


@pytest.mark.parametrize(
    ("who", "page"),
    [
        ("auditor", "/p/demo/"),
        ("auditor", "/p/demo/members"),
        ("viewer", "/p/demo/members"),
        ("engineer", "/p/demo/runs?deleted=only"),
        ("viewer", f"/p/demo/runs/{'a' * 32}"),
    ],
)
def test_pages_lead_to_them(who, page, request, web, project, run):
    Run.objects.update(deleted_at=timezone.now())
    assert f'href="/p/{project.slug}/holds"' in web(request.getfixturevalue(who)).get(page).content.decode()


def test_nobody_is_led_to_a_refusal(secadmin, web, project):
    text = web(secadmin).get("/p/demo/members").content.decode()
    assert "/p/demo/holds" not in text
