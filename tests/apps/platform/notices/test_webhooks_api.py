from apps.platform.notices.models import Delivery, Webhook
from tests.apps.platform.notices.conftest import HOST

LIST = "/api/v1/projects/demo/webhooks"
BODY = {"name": "chat", "url": f"http://{HOST}/hooks/abc", "kinds": ["job.failed"]}
JSON = {"content_type": "application/json"}


def test_created_tested_changed_and_deleted_at_a_browser(web, hosts, project, secadmin):
    client = web(secadmin)
    made = client.post(LIST, BODY, **JSON)
    assert (made.status_code, made["Cache-Control"]) == (201, "no-store")
    assert made.json()["secret"].startswith("whsec_")
    where = f"{LIST}/{made.json()['id']}"
    assert "secret" not in client.get(where).json()
    assert client.get(where).json()["url"] == BODY["url"]
    assert client.post(f"{where}/test", **JSON).json()["kind"] == "webhook.test"
    assert [row["state"] for row in client.get(f"{where}/deliveries").json()["items"]] == ["pending"]
    assert client.patch(where, {"kinds": []}, **JSON).json()["kinds"] == []
    assert client.post(f"{where}/secret", **JSON).json()["secret"] != made.json()["secret"]
    assert client.post(f"{where}/enable", **JSON).status_code == 409
    assert client.delete(where).status_code == 204
    assert (Webhook.objects.count(), Delivery.objects.count()) == (0, 0)


def test_members_see_the_host_and_no_path(api, webhook, engineer):
    (row,) = api(engineer).get(LIST).json()["items"]
    assert (row["host"], row["url"], row["name"]) == (HOST, None, "chat")
    assert api(engineer).get(f"{LIST}/{row['id']}/deliveries").status_code == 200


def test_nobody_else_configures(api, web, webhook, engineer, auditor, stranger):
    where = f"{LIST}/{webhook.pk}"
    acts = [
        ("post", LIST),
        ("patch", where),
        ("delete", where),
        *(("post", f"{where}/{act}") for act in ("secret", "test")),
    ]
    for client, status in ((api(engineer), 403), (web(auditor), 403), (api(stranger), 404)):
        answers = {act: client.generic(act[0].upper(), act[1], b"{}", content_type="application/json") for act in acts}
        assert {act: answer.status_code for act, answer in answers.items()} == dict.fromkeys(acts, status)


def test_a_host_that_is_not_listed_is_named(web, hosts, project, secadmin):
    answer = web(secadmin).post(LIST, BODY | {"url": "http://10.0.0.1/"}, **JSON)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"], error["limit"]) == (
        422,
        "webhook_host_not_allowed",
        "/url",
        HOST,
    )
