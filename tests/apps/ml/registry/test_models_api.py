from datetime import UTC, datetime

import pytest

from apps.ml.registry.models import Alias, Model
from apps.platform.audit.models import AuditRecord

pytestmark = [pytest.mark.django_db, pytest.mark.services]
URL = "/api/v1/projects/demo/models"


def test_make_list_and_read(api, engineer):
    client = api(engineer)
    made = client.post(URL, {"name": "wti-forecast", "description": "tomorrow"}, format="json")
    assert (made.status_code, made["Location"]) == (201, f"{URL}/wti-forecast")
    assert made.json()["production"] is None
    [listed] = client.get(URL, {"q": "morrow"}).json()["items"]
    assert listed == made.json()
    assert client.get(URL, {"q": "nothing"}).json()["items"] == []
    assert client.get(f"{URL}/wti-forecast").json()["aliases"] == []


def test_days_narrow_the_list_and_the_last_registered_leads(api, viewer, project):
    for day, name in ((3, "second"), (2, "first"), (4, "third")):
        touched = datetime(2026, 3, day, 12, tzinfo=UTC)
        made = Model.objects.create(project=project, name=name, created_by="x")
        Model.objects.filter(pk=made.pk).update(touched_at=touched)
    client, between = api(viewer), {"registered_after": "2026-03-03", "registered_before": "2026-03-04"}
    assert [item["name"] for item in client.get(URL, between).json()["items"]] == ["third", "second"]
    wrong = client.get(URL, {"registered_before": "yesterday"})
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "registered_before")


def test_an_invalid_body_is_named(api, engineer, project):
    Model.objects.create(project=project, name="taken", created_by="x")
    client = api(engineer)
    for body, status, code in [
        ({}, 422, "required"),
        ({"name": "Not A Name"}, 422, "bad_name"),
        ({"name": "a", "x": 1}, 422, "unknown_field"),
        ({"name": "taken"}, 409, "model_exists"),
    ]:
        answer = client.post(URL, body, format="json")
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), body


def test_a_model_says_where_its_aliases_point_and_how_they_came_there(api, viewer, registered, approved):
    first, second = registered(), registered()
    approved(first)
    approved(second)
    found = api(viewer).get(f"{URL}/wti-forecast").json()
    assert (found["versions"], found["production"]) == (2, 2)
    assert found["production_metrics"][0]["name"] == "rmse"
    assert found["aliases"] == [{"alias": "production", "model": "wti-forecast", "version": 2, "digest": second.digest}]
    moves = [(move["kind"], move["from_version"], move["to_version"]) for move in found["moves"]]
    assert moves == [("promote", 1, 2), ("promote", None, 1)]


def test_set_an_alias(api, engineer, registered):
    version = registered()
    answer = api(engineer).put(f"{URL}/wti-forecast/aliases/staging", {"version": 1}, format="json")
    assert answer.json() == {"alias": "staging", "model": "wti-forecast", "version": 1, "digest": version.digest}
    held = api(engineer).get(f"{URL}/wti-forecast/aliases/staging").json()
    assert (held["number"], held["aliases"], len(held["variants"])) == (1, ["staging"], 2)


def test_an_invalid_alias_is_named(api, engineer, registered):
    registered()
    client = api(engineer)
    for alias, body, status, code in [
        ("production", {"version": 1}, 403, "alias_protected"),
        ("staging", {"version": 7}, 404, "not_found"),
        ("v3", {"version": 1}, 422, "bad_name"),
        ("staging", {"version": "one"}, 422, "invalid"),
        ("staging", {}, 422, "required"),
    ]:
        answer = client.put(f"{URL}/wti-forecast/aliases/{alias}", body, format="json")
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), (alias, body)
    assert not Alias.objects.exists()


def test_moving_production_by_hand_is_recorded_as_refused(api, engineer, registered):
    registered()
    api(engineer).put(f"{URL}/wti-forecast/aliases/production", {"version": 1}, format="json")
    record = AuditRecord.objects.get(action="model.set_alias")
    assert (record.result, record.object_type) == ("refused", "modelversion")


def test_roll_back(api, engineer, registered, approved):
    first, second = registered(), registered()
    approved(first)
    approved(second)
    answer = api(engineer).post(f"{URL}/wti-forecast/rollback", {"reason": "worse"}, format="json")
    told = answer.json()
    assert (answer.status_code, told["kind"], told["from_version"], told["to_version"]) == (200, "rollback", 2, 1)
    again = api(engineer).post(f"{URL}/wti-forecast/rollback", {"reason": "worse"}, format="json")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "nothing_to_roll_back")
    nothing = api(engineer).post(f"{URL}/wti-forecast/rollback", {"reason": " "}, format="json")
    assert (nothing.status_code, nothing.json()["error"]["field"]) == (422, "/reason")


def test_who_may_write(viewer, stranger, auditor, api, registered, make_token, project):
    registered()
    base, found = f"{URL}/wti-forecast", {}
    for user in (viewer, stranger, auditor):
        client = api(make_token(user, in_project=project, scopes=["read", "models:write"])[0])
        answers = [
            client.post(URL, {"name": "b"}, format="json"),
            client.put(f"{base}/aliases/staging", {"version": 1}, format="json"),
            client.post(f"{base}/rollback", {"reason": "x"}, format="json"),
            client.post(f"{base}/versions/1/promote", {}, format="json"),
        ]
        found[user.username] = {answer.status_code for answer in answers}
    assert found == {"viewer": {403}, "stranger": {404}, "auditor": {404}}
    assert (Model.objects.count(), Alias.objects.count()) == (1, 0)


def test_another_project_is_not_there(api, stranger, registered):
    registered()
    for tail in ("", "/wti-forecast", "/wti-forecast/versions", "/wti-forecast/versions/1"):
        assert api(stranger).get(f"{URL}{tail}").status_code == 404
    assert api(stranger).get("/api/v1/projects/other/models/wti-forecast").status_code == 404


def test_a_token_without_the_scope_is_refused(api, make_token, engineer, registered):
    registered()
    client = api(make_token(engineer, scopes=["read"])[0])
    answer = client.post(f"{URL}/wti-forecast/rollback", {"reason": "x"}, format="json")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "scope_missing")
