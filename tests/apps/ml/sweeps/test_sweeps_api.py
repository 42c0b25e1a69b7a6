import json

import pytest

from apps.ml.sweeps.models import Sweep, SweepTrial
from tests.apps.ml.sweeps.conftest import BODY

pytestmark = pytest.mark.django_db


def test_begin_look_and_cancel(engineer, url, api):
    client = api(engineer)
    made = client.post(url(), BODY, format="json", headers={"Idempotency-Key": "k"})
    assert (made.status_code, made["Location"]) == (201, url(f"/{made.json()['id']}"))
    again = client.post(url(), BODY, format="json", headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
    sweep = Sweep.objects.get()
    SweepTrial.objects.create(sweep=sweep, number=0, values=[0.5], state="succeeded", objective=0.5, step=1)
    found = client.get(url(f"/{sweep.pk}")).json()
    assert (found["counts"]["succeeded"], found["best"]["values"]) == (1, {"/value": 0.5})
    assert (found["settings"]["metric"], found["spec"]) == ("value", {})
    assert [row["number"] for row in client.get(url(f"/{sweep.pk}/trials")).json()["items"]] == [0]
    assert [row["id"] for row in client.get(url() + "?state=running").json()["items"]] == [sweep.pk]
    assert client.get(url() + "?state=odd").status_code == 422
    ended = client.post(url(f"/{sweep.pk}/cancel"), {"reason": "enough"}, format="json").json()
    assert (ended["state"], ended["reason"]) == ("cancelled", "enough")
    assert client.post(url(f"/{sweep.pk}/cancel"), {}, format="json").status_code == 409


def test_errors_name_their_fields(engineer, url, api):
    answer = api(engineer).post(url(), {**BODY, "trials": 0, "odd": 1}, format="json")
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["error"]["errors"]} == {"/trials", "/odd"}
    assert json.loads(answer.content)["error"]["code"] in ("invalid", "unknown_field")


def test_who_is_no_engineer_of_the_project_begins_none(viewer, stranger, url, api):
    assert api(viewer).post(url(), BODY, format="json").status_code == 403
    assert api(stranger).post(url(), BODY, format="json").status_code == 404
    assert api(viewer).get(url()).status_code == 200
