"""What a label hides: an engineer who is cleared for less, and one who is, on a plane with one of everything."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.canonical import sha256_hex
from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.data.datasets.labels.services import set_dataset_label
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.data.datasets.services import add_files
from apps.platform.accounts.actors import build_actor_for_service_account, build_actor_for_user
from apps.platform.accounts.models import ApiToken, Membership, Project, ServiceAccount, User
from apps.platform.accounts.services import set_clearance, set_project_label, set_service_account_clearance
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.queries import get_artifact
from apps.platform.audit.models import AuditRecord
from apps.platform.lineage.models import Edge
from tests import walking

pytestmark = pytest.mark.django_db
NAME = "zephyr"  # of the dataset: it is in no other text of a page


@pytest.fixture
def plane(db):
    """A plane of one of everything, whose dataset is called NAME; the secadmin's actor is `plane.officer`."""
    seeded = walking.first_rows()
    Dataset.objects.filter(name="wti").update(name=NAME)
    seeded.dataset = NAME
    seeded.officer = build_actor_for_user(User.objects.get(username="secadmin"))
    seeded.project = Project.objects.get(slug="demo")
    cleared = User.objects.create(username="cleared", must_change_password=False, clearance=3)
    for role in ("engineer", "approver"):
        Membership.objects.create(project=seeded.project, user=cleared, role=role)
    return seeded


def log_in(username: str) -> walking.Visitor:
    client = Client(SERVER_NAME="127.0.0.1", raise_request_exception=True)
    client.force_login(User.objects.get(username=username), backend=walking.BACKEND)
    return walking.Visitor(username, client)


def create_token(person: User, project: Project) -> str:
    secret = f"dso_{person.username}"
    ApiToken.objects.create(
        project=project, user=person, created_by=person, name="t", prefix=secret[:12], digest=sha256_hex(secret),
        scopes=["read"], expires_at=timezone.now() + timedelta(days=1),
    )  # fmt: skip
    return secret


def list_routes(*parts: str) -> list[str]:
    """Routes of pages and of REST in a project whose address has all of these parts."""
    return [
        route
        for route in walking.routes()
        if "<slug:project>" in route and all(part in route for part in parts) and not walking.left_out(route)
    ]


def test_a_project_above_the_clearance_is_not_there(plane):
    people = {name: log_in(name) for name in ("engineer", "cleared")}
    set_project_label(actor=plane.officer, project=plane.project, label="secret")
    routes = list_routes()
    assert len(routes) > 150
    seen = {
        route: status
        for route in routes
        if (status := people["engineer"].get(walking.address(route, plane))[0])
        not in (302, 404, 405)  # 302: to a page of these
    }
    assert seen == {}
    assert people["cleared"].get("/p/demo/")[0] == 200
    for address in ("/", "/search?q=demo", "/api/v1/projects", "/api/v1/me"):
        assert b'"slug":"demo"' not in people["engineer"].get(address)[1], address
        assert b'"demo":' not in people["engineer"].get(address)[1], address
        assert b"/p/demo/" not in people["engineer"].get(address)[1], address


def test_a_dataset_above_the_clearance_is_not_there(plane):
    people = {name: log_in(name) for name in ("engineer", "cleared")}
    dataset = Dataset.objects.get(name=NAME)
    pages = (
        "/", "/p/demo/", "/p/demo/data", f"/p/demo/jobs/{plane.job}", f"/search?q={NAME}", f"/search?q={plane.digest}",
        f"/api/v1/search?q={NAME}", "/api/v1/projects/demo/datasets", "/api/v1/projects/demo/artifacts", "/audit",
        f"/api/v1/projects/demo/lineage?type=job&id={plane.job}",
    )  # fmt: skip
    assert any(NAME.encode() in people["engineer"].get(page)[1] for page in pages)
    walking.labellings_of(plane, plane.project, DatasetVersion.objects.get(pk=plane.version), range(1))
    labelling = [walking.address(route, plane) for route in list_routes("labelling")]
    texts = [address for address in labelling if b"Ada Lovelace" in people["engineer"].get(address)[1]]
    assert texts
    set_dataset_label(actor=plane.officer, dataset=dataset, label="confidential")
    assert [address for address in labelling if b"Ada Lovelace" in people["engineer"].get(address)[1]] == []
    assert all(b"Ada Lovelace" in people["cleared"].get(address)[1] for address in texts)
    for page in pages:
        status, content = people["engineer"].get(page)
        assert status == 200, page
        for echoed in (f"q={NAME}", f'value="{NAME}"', f'"q":"{NAME}"'):
            content = content.replace(echoed.encode(), b"")
        assert f"data/{NAME}".encode() not in content, page
        assert f"{NAME} v1".encode() not in content, page
        assert f'"{NAME}"'.encode() not in content, page
    routes = [*list_routes("data/<slug:name>"), *list_routes("datasets/<str:name>")]
    answers = {}
    for route in routes:
        status = people["engineer"].get(walking.address(route, plane))[0]
        if status not in (404, 405):
            answers[route] = status
    assert (answers, len(routes) > 15) == ({}, True)
    address = f"/api/v1/projects/demo/artifacts/{plane.digest}"
    assert [people[name].get(address)[0] for name in ("engineer", "cleared")] == [404, 200]
    assert people["cleared"].get(f"/p/demo/data/{NAME}")[0] == 200
    address = f"/api/v1/projects/demo/recalls/preview?type=dataset_version&id={plane.version}"
    assert [people[name].get(address)[0] for name in ("engineer", "cleared")] == [404, 200]


def test_bytes_edges_and_records_follow_the_label(plane):
    engineer, cleared = (User.objects.get(username=name) for name in ("engineer", "cleared"))
    dataset = Dataset.objects.get(name=NAME)
    Edge.objects.create(
        project=plane.project, source_type="dataset_version", source_id=str(plane.version),
        target_type="job", target_id="77", role="table",
    )  # fmt: skip
    set_dataset_label(actor=plane.officer, dataset=dataset, label="internal")
    low, high = build_actor_for_user(engineer), build_actor_for_user(cleared)
    with pytest.raises(NotFound):
        get_artifact(actor=low, project=plane.project, digest=plane.digest)
    assert get_artifact(actor=high, project=plane.project, digest=plane.digest).pk == plane.digest
    with pytest.raises(Invalid) as unheld:  # or the bytes would stand in a dataset without a label
        add_files(actor=low, project=plane.project, dataset_name="copy", files=[("t.csv", plane.digest, "")])
    assert unheld.value.code == "artifact_unknown"
    counts = {
        name: [
            Artifact.objects.visible_to(actor).filter(pk=plane.digest).count(),
            Edge.objects.visible_to(actor).filter(target_id="77").count(),
            AuditRecord.objects.visible_to(actor).filter(action="dataset.set_label").count(),
            DatasetVersion.objects.visible_to(actor).count(),
        ]
        for name, actor in (("low", low), ("high", high))
    }
    assert counts == {"low": [0, 0, 0, 0], "high": [1, 1, 1, 1]}
    worker = build_plane_actor(PlaneRole.WORKER)
    assert DatasetVersion.objects.visible_to(worker).count() == 1
    # git and git-lfs, by token
    batch = {"operation": "download", "objects": [{"oid": plane.digest, "size": len(walking.TABLE)}]}
    statuses = {}
    for person in (engineer, cleared):
        client = APIClient(HTTP_AUTHORIZATION=f"Bearer {create_token(person, plane.project)}")
        statuses[person.username] = [
            client.get(f"/git/demo/{NAME}.git/info/lfs/locks").status_code,
            client.post(
                f"/git/demo/{NAME}.git/info/lfs/objects/batch",
                json.dumps(batch),
                content_type="application/vnd.git-lfs+json",
            ).status_code,
            client.get(f"/api/v1/projects/demo/datasets/{NAME}").status_code,
        ]
    assert statuses == {"engineer": [404, 404, 404], "cleared": [200, 200, 200]}


def test_what_a_job_makes_of_labelled_data_has_its_label(plane):
    from apps.data.datasets.labels.inheritance import raise_label_to_inputs
    from apps.platform.jobs.models import JobInput

    dataset = Dataset.objects.get(name=NAME)
    made = Dataset.objects.create(project=plane.project, name="made", created_by="engineer")
    JobInput.objects.create(job_id=plane.job, slot="table", artifact_id=plane.digest)
    worker = build_plane_actor(PlaneRole.WORKER)
    raise_label_to_inputs(worker, made, plane.job)
    made.refresh_from_db()
    assert made.security_label == 0
    set_dataset_label(actor=plane.officer, dataset=dataset, label="confidential")
    raise_label_to_inputs(worker, made, plane.job)
    made.refresh_from_db()
    assert made.security_label == 2


def test_what_a_model_of_labelled_data_predicts_has_its_label(plane):
    """Through the jobs between, of registered models and of others; not past a dataset whose label was lowered."""
    from apps.data.datasets.labels.inheritance import raise_label_to_inputs
    from apps.platform.jobs.models import Job, JobInput, JobOutput

    def make_job():
        job = Job.objects.get(pk=plane.job)
        job.pk = None
        job.save(force_insert=True)
        return job

    train, quantize, predict = make_job(), make_job(), make_job()
    model, int8 = (Artifact.objects.create(digest=letter * 64, size=3) for letter in "ab")
    JobInput.objects.create(job=train, slot="table", artifact_id=plane.digest)
    JobOutput.objects.create(job=train, slot="model", artifact=model, name="model")
    JobInput.objects.create(job=quantize, slot="model", artifact=model)
    JobOutput.objects.create(job=quantize, slot="model", artifact=int8, name="model")
    JobInput.objects.create(job=predict, slot="model", artifact=int8)
    dataset = Dataset.objects.get(name=NAME)
    set_dataset_label(actor=plane.officer, dataset=dataset, label="confidential")
    made = Dataset.objects.create(project=plane.project, name="made", created_by="engineer")
    worker = build_plane_actor(PlaneRole.WORKER)
    raise_label_to_inputs(worker, made, predict.pk)
    made.refresh_from_db()
    assert made.security_label == 2

    lowered = Dataset.objects.create(project=plane.project, name="lowered", created_by="engineer")
    version = lowered.versions.create(number=1, digest="c" * 64, manifest="", media_type="text/csv", size=3)
    version.files.create(path="model", artifact=model, media_type="text/csv")
    other = Dataset.objects.create(project=plane.project, name="other", created_by="engineer")
    raise_label_to_inputs(worker, other, predict.pk)
    other.refresh_from_db()
    assert other.security_label == 0


def test_the_security_administrator_alone_sets_labels_and_widens_with_a_reason(plane):
    dataset, project = Dataset.objects.select_related("project").get(name=NAME), plane.project
    engineer = User.objects.get(username="engineer")
    account = ServiceAccount.objects.create(project=project, name="loader")
    Membership.objects.create(project=project, service_account=account, role="engineer")
    calls = {
        "dataset": lambda actor, label, reason="": set_dataset_label(
            actor=actor, dataset=dataset, label=label, reason=reason
        ),
        "project": lambda actor, label, reason="": set_project_label(
            actor=actor, project=project, label=label, reason=reason
        ),
    }
    for name, call in calls.items():
        for person in ("engineer", "sysadmin", "auditor"):
            with pytest.raises(Refused):
                call(build_actor_for_user(User.objects.get(username=person)), "secret")
        with pytest.raises(Invalid) as unknown:
            call(plane.officer, "top")
        call(plane.officer, "secret")
        with pytest.raises(Conflict):
            call(plane.officer, "secret")
        with pytest.raises(Invalid) as lowered:
            call(plane.officer, "public", " ")
        assert (unknown.value.field, lowered.value.code) == ("/label", "reason_required"), name
    assert build_actor_for_service_account(account).project_roles == {}
    for change in (
        lambda reason: set_clearance(actor=plane.officer, user=engineer, clearance="secret", reason=reason),
        lambda reason: set_service_account_clearance(
            actor=plane.officer, account=account, clearance="secret", reason=reason
        ),
    ):
        with pytest.raises(Invalid):
            change("")
        change("works on it")
    engineer.refresh_from_db()
    account.refresh_from_db()
    for actor in (build_actor_for_user(engineer), build_actor_for_service_account(account)):
        assert (project.pk in actor.project_roles, actor.clearance) == (True, 3)
    with pytest.raises(Refused):
        set_clearance(actor=plane.officer, user=User.objects.get(username="secadmin"), clearance="secret", reason="x")
    bodies = [json.loads(row.body) for row in AuditRecord.objects.filter(action="user.set_clearance", result="done")]
    assert [(body["before"], body["reason"]) for body in bodies] == [({"clearance": "public"}, "works on it")]


def test_pages_and_rest_set_labels_by_session(plane):
    officer = log_in("secadmin")
    assert officer.get("/labels")[0] == 200
    sent = {"dataset": NAME, "label": "internal", "reason": ""}
    assert officer.client.post("/labels/demo", sent).status_code == 302
    assert b"internal" in officer.get("/labels/demo")[1]
    lowered = officer.client.post("/labels/demo", {**sent, "label": "public"})
    assert (lowered.status_code, b"Say why more people may see it." in lowered.content) == (422, True)
    assert officer.client.post("/people/engineer/clearance", {"clearance-clearance": "internal"}).status_code == 422
    sent = {"clearance-clearance": "internal", "clearance-reason": "works on it"}
    assert officer.client.post("/people/engineer/clearance", sent).status_code == 302
    for address, label in (
        ("projects/demo/label", "secret"),
        (f"projects/demo/dataset-labels/{NAME}", "secret"),
        ("users/engineer/clearance", "secret"),
    ):
        body = json.dumps({"label": label, "reason": "as agreed"})
        answer = officer.client.put(f"/api/v1/{address}", body, content_type="application/json")
        assert (answer.status_code, answer.json().get("label")) == (200, label), address
    assert [log_in(name).get("/labels")[0] for name in ("auditor", "sysadmin", "engineer")] == [200, 403, 403]
    assert log_in("auditor").client.post("/labels/demo", sent).status_code in (403, 422)
