"""`/metrics`: deny by default, whole when everything is there, and an answer when the database is not."""

from __future__ import annotations

import pytest
from django.core.cache import cache
from django.db import OperationalError, connection
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from apps.platform.accounts.services import create_service_account, create_token_for_service_account
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job, JobTally
from apps.platform.jobs.scheduling import liveness
from apps.platform.nodes.models import Node
from controlplane import metrics, metrics_collector

pytestmark = [pytest.mark.django_db, pytest.mark.services]
LOCAL = {"REMOTE_ADDR": "127.0.0.1"}
GPU = {"index": 0, "name": "A100", "memory_bytes": 40}
LOAD = {"cpu_share": 0.5, "memory_total_bytes": 80, "memory_free_bytes": 20, "disk_free_bytes": 7}


@pytest.fixture(autouse=True)
def _nobody_trusted(settings, tmp_path):
    settings.PLANE_HOME = tmp_path
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    cache.clear()
    metrics._trusted.clear()


@pytest.fixture
def open_to(settings):
    """open_to(*addresses): METRICS_ALLOW."""

    def say(*addresses: str) -> None:
        settings.ENV = settings.ENV.model_copy(update={"metrics_allow": list(addresses)})

    return say


@pytest.fixture
def scrape(client, open_to):
    """scrape() -> {name and labels: value}."""
    open_to("loopback")

    def ask() -> dict[str, float]:
        answer = client.get("/metrics", **LOCAL)
        assert answer.status_code == 200
        return told_by(answer.content.decode())

    return ask


def told_by(text: str) -> dict[str, float]:
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def with_token(secret: str) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {secret}", "REMOTE_ADDR": "192.0.2.9"}


# -- who may --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.0.2.9"])
def test_nobody_by_default(client, address):
    answer = client.get("/metrics", REMOTE_ADDR=address)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer realm="metrics"')
    assert b"METRICS_ALLOW" in answer.content


@pytest.mark.parametrize(
    ("named", "address", "status"),
    [
        ("loopback", "127.0.0.1", 200),
        ("loopback", "::1", 200),
        ("loopback", "192.0.2.9", 401),
        ("192.0.2.0/24", "192.0.2.9", 200),
        ("192.0.2.9", "192.0.2.9", 200),
        ("192.0.2.8", "192.0.2.9", 401),
        ("2001:db8::/32", "192.0.2.9", 401),
    ],
)
def test_addresses_that_are_named(client, open_to, named, address, status):
    open_to(named)
    assert client.get("/metrics", REMOTE_ADDR=address).status_code == status


def test_a_proxys_word_counts_only_behind_one(client, open_to):
    open_to("192.0.2.9")
    assert client.get("/metrics", REMOTE_ADDR="203.0.113.1", HTTP_X_FORWARDED_FOR="192.0.2.9").status_code == 401


@pytest.mark.parametrize(("scopes", "status"), [(["metrics:read"], 200), (["read"], 403), (["audit:read"], 403)])
def test_a_token_takes_the_scope(client, make_token, viewer, scopes, status):
    secret, _ = make_token(viewer, scopes=scopes)
    assert client.get("/metrics", **with_token(secret)).status_code == status
    assert AuditRecord.objects.filter(action="metrics.view", result="refused").exists() is (status == 403)


def test_the_scope_opens_nothing_else(client, make_token, viewer):
    secret, _ = make_token(viewer, scopes=["metrics:read"])
    assert client.get("/api/v1/nodes", **with_token(secret)).status_code == 403


def test_a_service_account_may_hold_it(client, project, secadmin, actor_for):
    actor = actor_for(secadmin)
    account = create_service_account(actor=actor, project=project, name="prometheus", roles=["viewer"])
    _, secret = create_token_for_service_account(actor=actor, account=account, name="t", scopes=["metrics:read"])
    assert client.get("/metrics", **with_token(secret)).status_code == 200


def test_a_log_in_is_no_key(web, sysadmin):
    assert web(sysadmin).get("/metrics").status_code == 401


@pytest.mark.parametrize("header", ["Bearer nothing", "Digest x", "Basic !!"])
def test_nonsense_is_refused(client, header):
    assert client.get("/metrics", HTTP_AUTHORIZATION=header).status_code == 401


def test_only_reading(client, open_to):
    open_to("loopback")
    assert client.post("/metrics", **LOCAL).status_code == 405


# -- what it tells --------------------------------------------------------------------------------------------------
def test_the_plane(scrape, project, engineer):
    node = Node.objects.create(name="n1", host="h", queues=["cpu", "gpu"], cpus=4, memory_bytes=100, gpus=[GPU])
    Node.objects.update(
        load={**LOAD, "gpus": [{"index": 0, "busy": 0.25, "memory_free_bytes": 30, "memory_bytes": 40}]}
    )
    columns = {"project": project, "spec": "{}", "queue": "cpu", "time_limit_seconds": 9, "grant": {}, "kind": "noop"}
    Job.objects.create(state="running", node=node, need_cpus=1.5, **columns)
    Job.objects.create(state="queued", **columns)
    JobTally.objects.create(kind="noop", queue="cpu", state="failed", ended=5, ran=4, seconds=9, buckets=[1] * 9 + [4])
    liveness._last_beats.clear()
    liveness.record_beat("dispatcher")
    told = scrape()
    expected = {
        "plane_database_up": 1,
        "plane_jobs{kind=noop,queue=cpu,state=running}": 1,
        "plane_jobs{kind=noop,queue=cpu,state=queued}": 1,
        "plane_queue_oldest_seconds{queue=gpu}": 0,
        "plane_jobs_ended_total{kind=noop,queue=cpu,state=failed}": 5,
        "plane_job_seconds_bucket{kind=noop,le=1.0,queue=cpu,state=failed}": 1,
        "plane_job_seconds_count{kind=noop,queue=cpu,state=failed}": 4,
        "plane_nodes{status=offline}": 1,
        "plane_node_cpus_claimed{node=n1}": 1.5,
        "plane_node_memory_busy_ratio{node=n1}": 0.75,
        "plane_node_gpu_memory_free_bytes{gpu=0,node=n1}": 30,
        "plane_approvals_pending": 0,
        "plane_artifacts_damaged": 0,
    }
    assert {name: told.get(name) for name in expected} == expected
    assert told["plane_part_age_seconds{part=dispatcher}"] < 60
    assert told["plane_disk_free_bytes{of=store}"] > 0
    assert told["plane_disk_short{of=store}"] == told["plane_jobs_stalled"] == 0
    assert not any(name.startswith("plane_scrape_errors") for name in told)


def test_counts_requests_by_the_name_of_the_address(scrape, client):
    name = "plane_http_requests_total{method=GET,status=2xx,view=healthz}"
    timed = "plane_http_request_seconds_count{view=healthz}"
    before = scrape()
    client.get("/healthz")
    client.get("/no/such/place")
    after = scrape()
    assert after[name] == before.get(name, 0) + 1
    assert after[timed] == before.get(timed, 0) + 1
    assert after["plane_http_requests_total{method=GET,status=4xx,view=none}"] >= 1
    assert not any("no/such" in told for told in after)


@pytest.mark.parametrize("many", [1, 25])
def test_asks_as_little_of_a_large_plane(client, open_to, project, many, django_assert_max_num_queries):
    open_to("loopback")
    columns = {"project": project, "spec": "{}", "time_limit_seconds": 9, "grant": {}}
    for number in range(many):
        Node.objects.create(name=f"n{number}", host="h", queues=[f"q{number}"])
        Job.objects.create(state="queued", queue=f"q{number}", kind=f"k{number}", **columns)
        JobTally.objects.create(kind=f"k{number}", queue="cpu", state="failed")
    with django_assert_max_num_queries(12):
        assert client.get("/metrics", **LOCAL).status_code == 200


def test_openmetrics_for_who_asks_for_it(client, open_to):
    open_to("loopback")
    answer = client.get("/metrics", HTTP_ACCEPT="application/openmetrics-text; version=1.0.0", **LOCAL)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.content.decode().endswith("# EOF\n")


# -- when things are broken -----------------------------------------------------------------------------------------
@pytest.fixture
def away(monkeypatch):
    """away(): from now on every query fails."""

    def fail(*_args, **_more):
        raise OperationalError("connection refused at db.internal")

    return lambda: monkeypatch.setattr(connection, "cursor", fail)


def test_a_database_that_is_away_is_told(scrape, away):
    away()
    told = scrape()
    assert told["plane_database_up"] == 0
    assert told["plane_disk_free_bytes{of=home}"] > 0
    assert not any(name.startswith(("plane_jobs", "plane_node")) for name in told)


def test_one_that_goes_away_in_between_is_told_too(scrape, monkeypatch):
    def fail():
        raise OperationalError("gone")
        yield

    monkeypatch.setattr(
        metrics_collector, "SECTIONS", (metrics_collector.collect_jobs, fail, metrics_collector.collect_nodes)
    )
    told = scrape()
    assert (told["plane_database_up"], "plane_nodes{status=online}" in told) == (0, False)


def test_a_defect_hides_one_section_only(scrape, monkeypatch):
    def broken():
        raise KeyError("surprise")
        yield

    monkeypatch.setattr(metrics_collector, "SECTIONS", (broken, metrics_collector.collect_nodes))
    told = scrape()
    assert told["plane_scrape_errors{section=broken}"] == 1
    assert told["plane_database_up"] == 1
    assert "plane_nodes{status=online}" in told


def test_a_token_that_was_good_just_now_opens_it_while_the_database_is_away(make_token, viewer, away, monkeypatch):
    good, bad = (make_token(viewer, scopes=[scope])[0] for scope in ("metrics:read", "read"))
    client = Client()
    assert [client.get("/metrics", **with_token(secret)).status_code for secret in (good, bad)] == [200, 403]
    away()
    assert [client.get("/metrics", **with_token(secret)).status_code for secret in (good, bad)] == [200, 503]
    monkeypatch.setattr(metrics, "TRUSTED_SECONDS", -1.0)
    assert client.get("/metrics", **with_token(good)).status_code == 503


def test_a_revoked_token_is_trusted_no_more(client, make_token, viewer, away):
    secret, token = make_token(viewer, scopes=["metrics:read"])
    client.get("/metrics", **with_token(secret))
    token.delete()
    assert client.get("/metrics", **with_token(secret)).status_code == 401
    away()
    assert client.get("/metrics", **with_token(secret)).status_code == 503
