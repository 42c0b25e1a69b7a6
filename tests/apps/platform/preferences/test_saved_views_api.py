from apps.platform.preferences.models import SavedView

BODY = {"listing": "jobs", "project": "demo", "name": "Broken", "query": "state=failed", "is_default": True}


def test_kept_listed_changed_and_deleted_at_a_browser(web, engineer, project):
    client = web(engineer)
    made = client.post("/api/v1/views", BODY, content_type="application/json")
    assert (made.status_code, made.json()["project"], made.json()["is_default"]) == (201, "demo", True)
    assert [one["name"] for one in client.get("/api/v1/views?listing=jobs&project=demo").json()["items"]] == ["Broken"]
    assert client.get("/api/v1/views?listing=runs").json()["items"] == []
    where = f"/api/v1/views/{made.json()['id']}"
    changed = client.patch(where, {"name": "Failed"}, content_type="application/json")
    assert (changed.json()["name"], changed.json()["query"]) == ("Failed", "state=failed")
    assert client.get(where).json() == changed.json()
    assert client.delete(where).status_code == 204
    assert client.get(where).status_code == 404


def test_a_token_reads_but_keeps_none(api, keep, engineer, project):
    keep()
    client = api(engineer)
    assert [one["name"] for one in client.get("/api/v1/views").json()["items"]] == ["Broken"]
    refused = client.post("/api/v1/views", BODY)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "scope_missing")


def test_a_token_sees_nothing_of_another_project(api, make_token, keep, engineer, other_project):
    keep()
    keep("Of the plane", project=None, listing="tokens")
    keep("Elsewhere", project=other_project)
    assert {one["name"] for one in api(engineer).get("/api/v1/views").json()["items"]} == {"Broken", "Of the plane"}


def test_nobody_sees_those_of_others(web, keep, viewer):
    view = keep()
    assert web(viewer).get("/api/v1/views").json()["items"] == []
    assert web(viewer).get(f"/api/v1/views/{view.pk}").status_code == 404
    assert web(viewer).delete(f"/api/v1/views/{view.pk}").status_code == 404


def test_errors_name_the_field(web, engineer, project, keep):
    keep()
    client = web(engineer)
    taken = client.post("/api/v1/views", BODY, content_type="application/json")
    assert (taken.status_code, taken.json()["error"]["field"]) == (409, "/name")
    other = client.post("/api/v1/views", BODY | {"project": "other"}, content_type="application/json")
    assert other.status_code == 404
    assert SavedView.objects.count() == 1
