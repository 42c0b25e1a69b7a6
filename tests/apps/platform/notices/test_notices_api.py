from apps.platform.notices.models import NoticePreference


def test_own_ones_are_listed_and_marked_read_by_token(api, queue, approver, viewer, project):
    first = queue(approver)[0]
    second = queue(approver)[0]
    queue(viewer)
    client = api(approver)
    rows = client.get("/api/v1/notices").json()["items"]
    assert [row["id"] for row in rows] == [second.pk, first.pk]
    assert rows[0]["message"] == "engineer asks for approval: Move it"
    assert (rows[0]["url"], rows[0]["project"], rows[0]["read_at"]) == ("/p/demo/approvals/7", "demo", None)
    read = client.patch(f"/api/v1/notices/{first.pk}", {"read": True}).json()
    assert read["read_at"] is not None
    assert [row["id"] for row in client.get("/api/v1/notices?unread=1").json()["items"]] == [second.pk]
    assert client.post("/api/v1/notices/read", {"ids": [first.pk, second.pk]}).json() == {"marked": 1}
    assert client.post("/api/v1/notices/read", {}).json() == {"marked": 0}
    assert client.get("/api/v1/notices?unread=1").json()["items"] == []


def test_those_of_others_are_not_there(api, queue, approver, viewer):
    notice = queue(approver)[0]
    client = api(viewer)
    assert client.get("/api/v1/notices").json()["items"] == []
    assert client.get(f"/api/v1/notices/{notice.pk}").status_code == 404
    assert client.patch(f"/api/v1/notices/{notice.pk}", {"read": True}).status_code == 404


def test_a_token_sees_its_project_alone(api, queue, approver, other_project, make_token):
    queue(approver, project=other_project)
    queue(approver)
    assert len(api(approver).get("/api/v1/notices").json()["items"]) == 1


def test_bad_values_are_named(api, queue, approver):
    notice = queue(approver)[0]
    client = api(approver)
    answers = {
        "unread": client.get("/api/v1/notices?unread=yes"),
        "kind": client.get("/api/v1/notices?kind=job.exploded"),
        "/read": client.patch(f"/api/v1/notices/{notice.pk}", {"read": False}),
        "/ids/0": client.post("/api/v1/notices/read", {"ids": [0]}),
    }
    assert {field: answer.json()["error"]["field"] for field, answer in answers.items()} == {f: f for f in answers}
    assert {answer.status_code for answer in answers.values()} == {422}


def test_channels_are_chosen_at_a_browser(api, web, engineer):
    where, choice = "/api/v1/notices/preferences", {"choices": {"job.failed": {"mail": True}}}
    refused = api(engineer).patch(where, choice)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "scope_missing")
    answer = web(engineer).patch(where, choice, content_type="application/json")
    assert next(item for item in answer.json()["items"] if item["kind"] == "job.failed")["mail"] is True
    assert api(engineer).get(where).json() == answer.json()
    assert NoticePreference.objects.count() == 1
    address = web(engineer).patch(where, {"address": "e@bank.example"}, content_type="application/json")
    assert address.json()["address"] == "e@bank.example"
    wrong = web(engineer).patch(where, {"choices": {"job.exploded": {}}}, content_type="application/json")
    assert wrong.json()["error"]["code"] == "unknown_notice_kind"
