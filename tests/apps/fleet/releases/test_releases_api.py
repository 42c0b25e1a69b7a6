from __future__ import annotations

import pytest

from apps.fleet.releases import queries
from apps.fleet.releases.services import create_key
from apps.platform.jobs.models import Job

pytestmark = pytest.mark.django_db
KEYS = "/api/v1/release-keys"


@pytest.fixture
def body(variant):
    return {"model": "wti-forecast", "version": variant.version.number}


def test_issue_look_revoke(body, engineer, viewer, url, api):
    client = api(engineer)
    created = client.post(url(), body, format="json")
    assert created.status_code == 201, created.json()
    document = created.json()
    assert created["Location"] == url(f"/{document['id']}")
    assert (document["variant"], document["sequence"], document["has_samples"]) == ("tvm-x86_64", 1, True)
    assert [file["name"] for file in document["files"]] == ["model.json", "model.tvm-x86_64", "samples.json"]
    assert document["envelope"]["payloadType"] == "application/vnd.in-toto+json"
    assert [row["digest"] for row in api(viewer).get(url()).json()["items"]] == [document["digest"]]
    assert api(viewer).get(url() + "?model=other").json()["items"] == []
    assert client.get(url() + "?state=odd").status_code == 422
    revoked = client.post(document["links"]["revoke"], {"reason": "wrong units"}, format="json")
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    again = client.post(document["links"]["revoke"], {"reason": "x"}, format="json")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "illegal_move")


def test_errors_name_their_fields(body, engineer, url, api):
    client = api(engineer)
    cells = [
        ({**body, "version": 0, "odd": 1}, 422, {"/version", "/odd"}),
        ({**body, "variant": "none"}, 404, {"variant"}),
        ({**body, "version": 99}, 404, {"version"}),
        ({**body, "variant": "int8"}, 409, {"without_samples"}),
    ]
    answers = [client.post(url(), sent, format="json") for sent, *_ in cells]
    found = [(one.status_code, {error["field"] for error in one.json()["error"]["errors"]}) for one in answers]
    assert found == [(status, fields) for _, status, fields in cells]


def test_who_may_not(body, viewer, stranger, engineer, url, api):
    assert api(viewer).post(url(), body, format="json").status_code == 403
    assert api(viewer).post(url("/samples"), body, format="json").status_code == 403
    assert api(stranger).get(url()).status_code == 404
    made = api(engineer).post(url(), body, format="json").json()
    assert api(stranger).get(made["links"]["self"]).status_code == 404
    assert api(viewer).post(made["links"]["revoke"], {"reason": "x"}, format="json").status_code == 403
    assert api(engineer).get(url("/99999")).status_code == 404


def test_samples_are_made_once(body, engineer, url, api):
    client, sent = api(engineer), {**body, "variant": "int8"}
    first = client.post(url("/samples"), sent, format="json")
    assert first.status_code == 201, first.json()
    again = client.post(url("/samples"), sent, format="json")
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    job = Job.objects.get(pk=first.json()["id"])
    Job.objects.filter(pk=job.pk).update(state="succeeded")  # and its samples are damaged, or gone
    assert client.post(url("/samples"), sent, format="json").status_code == 201
    slots = set(job.inputs.values_list("slot", flat=True))
    assert (job.kind, slots) == (
        "health_samples",
        {"model", "manifest", "trained", "trained_manifest", "heldout"},
    )


def test_the_keys_are_for_everybody_who_is_somebody(body, engineer, stranger, url, api):
    assert api(stranger).get(KEYS).json() == {"version": 0, "fingerprint": "", "lists": [], "keys": [], "next": None}
    release = api(engineer).post(url(), body, format="json").json()
    document = api(stranger).get(KEYS).json()
    assert (document["version"], len(document["lists"]), len(document["fingerprint"])) == (1, 1, 64)
    assert [key["id"] for key in document["keys"]] == [release["key"]]
    assert api(stranger).get(KEYS + "?from=1").json()["lists"] == []
    assert api(stranger).get(KEYS + "?from=x").json()["error"]["field"] == "from"


def test_the_keys_come_in_pages(operator, engineer, api, monkeypatch):
    for _ in range(3):
        create_key(actor=operator)
    client = api(engineer)
    ids = [row["id"] for row in client.get(KEYS).json()["keys"]]
    first = client.get(KEYS + "?limit=2").json()
    second = client.get(KEYS + f"?limit=2&cursor={first['next']}").json()
    assert [row["id"] for row in first["keys"] + second["keys"]] == ids
    assert second["next"] is None
    monkeypatch.setattr(queries, "KEY_LISTS_BYTES", 1)
    assert [len(client.get(f"{KEYS}?from={since}").json()["lists"]) for since in (0, 1, 3)] == [1, 1, 0]
    assert client.get(KEYS + "?limit=0").json()["error"]["field"] == "limit"
