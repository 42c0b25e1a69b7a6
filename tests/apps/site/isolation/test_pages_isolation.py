import pytest

from apps.site.isolation.models import PolicyVersion

pytestmark = pytest.mark.django_db
PAGE, HISTORY = "/isolation/nodes", "/isolation/reports"
SENT = {"networks": "192.168.1.0/24\n", "ports": "10.20.0.53 udp 53 8000-8100", "reason": "a start"}


def test_an_administrator_writes_the_policy_and_reads_its_rules(web, secadmin):
    client = web(secadmin)
    assert b"Write the policy" in client.get(PAGE).content
    assert client.post(PAGE, SENT).status_code == 302
    text = client.get(PAGE).content.decode()
    for words in ("Change the policy", "ip daddr 192.168.1.0/24 accept", "udp dport { 53, 8000-8100 }", "a start"):
        assert words in text
    assert client.post(PAGE, SENT).status_code == 409


def test_a_fault_stands_at_its_field_and_nothing_is_saved(web, secadmin):
    answer = web(secadmin).post(PAGE, {**SENT, "networks": "10.0.0.0/99", "reason": ""})
    assert answer.status_code == 422
    assert "10.0.0.0/99" in answer.content.decode()
    assert not PolicyVersion.objects.exists()


def test_an_auditor_reads_and_others_do_not(web, auditor, engineer, node):
    assert b"Save policy" not in web(auditor).get(PAGE).content
    assert web(auditor).post(PAGE, SENT).status_code == 403
    for path in PAGE, HISTORY, f"{HISTORY}/{node.name}":
        assert web(engineer).get(path).status_code == 403, path
    link = f'href="{PAGE}">Isolation</a>'.encode()
    assert [link in web(person).get("/nodes").content for person in (auditor, engineer)] == [True, False]


def test_the_lamp_shows_what_came_through_to_those_who_can_act(web, sysadmin, engineer, node_client, build_report):
    assert b"Isolation not proven" in web(sysadmin).get("/").content
    node_client("post", "gpu-01/isolation-reports", build_report("refused", "passed"))
    assert b"came through on gpu-01" in web(sysadmin).get("/").content
    assert b"came through" not in web(engineer).get("/").content


def test_the_history_of_a_node_is_paged_and_narrowed(web, sysadmin, node, node_client, build_report):
    assert b"deepseek isolate verify --send" in web(sysadmin).get(f"{HISTORY}/gpu-01").content
    for verdict in "passed", "refused":
        node_client("post", "gpu-01/isolation-reports", build_report(verdict))
    text = web(sysadmin).get(f"{HISTORY}/gpu-01?verdict=passed").content.decode()
    assert "tcp tcp 192.0.2.1:443: came through" in text
    assert "refused (rule tcp" not in text
    assert "next" in web(sysadmin).get(f"{HISTORY}?limit=1").content.decode().lower()
    assert web(sysadmin).get(f"{HISTORY}/gpu-09").status_code == 404


def test_rest_reads_what_the_pages_show(api, make_token, auditor, project, node_client, build_report):
    node_client("post", "gpu-01/isolation-reports", build_report("refused"))
    client = api(make_token(auditor, project, ["audit:read"])[0])
    answer = client.get("/api/v1/isolation").json()
    assert (answer["status"], answer["policy"], answer["nodes"][0]["name"]) == ("refused", None, "gpu-01")
    assert client.get("/api/v1/isolation/reports?node=gpu-01").json()["items"][0]["verdict"] == "refused"
