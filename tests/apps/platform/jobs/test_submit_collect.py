"""A collection is queued only for hosts that the operator allows, and where a node can do it."""

import pytest

from apps.core.errors import Invalid
from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.queries import explain_wait
from apps.platform.jobs.scheduling.schedule_estimate import estimate_schedule
from apps.platform.jobs.services import claim_job, submit_job
from apps.platform.jobs.submission import Submission
from apps.platform.jobs.submission_validation import resolve_needs

SPEC = {
    "start_urls": ["http://wiki.bank.example/"],
    "allowed_hosts": ["wiki.bank.example"],
    "pages": [{"fields": [{"name": "title", "select": "h1"}]}],
}
BROWSER = SPEC | {"pages": [{"render": "browser", "fields": [{"name": "title", "select": "h1"}]}]}


@pytest.fixture
def allow(settings):
    def to(*hosts):
        settings.ENV = settings.ENV.model_copy(update={"collect_hosts": list(hosts)})

    to("*.bank.example")
    return to


@pytest.fixture
def collector(add_node):
    return add_node("c1", extras=["collect"])


@pytest.fixture
def submit(allow, project, engineer, actor_for):
    def submit_one(spec=SPEC, **asked):
        asked = Submission(kind="collect", spec=spec, **asked)
        return submit_job(actor=actor_for(engineer), project=project, submission=asked)[0]

    return submit_one


def test_it_is_queued_with_what_it_needs(collector, submit):
    job = submit(register={"dataset": "wiki"})
    assert (job.state, job.queue, job.need_extra) == ("queued", "cpu", "collect")


@pytest.mark.parametrize(
    ("listed", "code", "field"),
    [
        ([], "collection_off", "/spec/allowed_hosts"),
        (["wiki.other.example", "10.0.0.0/8"], "host_not_allowed", "/spec/allowed_hosts/0"),
    ],
)
def test_a_host_off_the_list_is_named_with_the_way_out(collector, submit, allow, listed, code, field):
    allow(*listed)
    with pytest.raises(Invalid) as failure:
        submit()
    error = failure.value.first()
    assert (error["code"], error["field"]) == (code, field)
    assert "COLLECT_HOSTS" in error["hint"]
    if listed:
        assert "wiki.bank.example" in error["message"]
        assert error["limit"] == "wiki.other.example, 10.0.0.0/8"


def test_a_node_that_lacks_it_is_told_before_it_is_queued(node, submit):
    with pytest.raises(Invalid) as failure:
        submit()
    error = failure.value.first()
    assert (error["code"], error["field"]) == ("extra_missing", "/kind")
    assert "deepseek-offline[collect]" in error["hint"]


def test_a_browser_is_another_extra(collector, add_node, submit):
    with pytest.raises(Invalid, match="collect-browser"):
        submit(BROWSER)
    add_node("c2", extras=["collect", "collect-browser"])
    assert submit(BROWSER).need_extra == "collect-browser"


def test_only_a_node_that_has_it_claims_it(collector, node, submit, worker_actor, engineer, actor_for):
    job = submit()
    assert claim_job(actor=worker_actor, node=node, owner="a", queue="cpu") is None
    rows = {row["node"]: row["why_not"] for row in explain_wait(actor_for(engineer), job)["nodes"]}
    assert rows == {"c1": "", "n1": "lacks collect"}
    assert claim_job(actor=worker_actor, node=collector, owner="b", queue="cpu") == job


def test_other_kinds_run_anywhere(collector, node, project, engineer, actor_for, worker_actor):
    asked = Submission(kind="noop", spec={})
    submit_job(actor=actor_for(engineer), project=project, submission=asked)
    assert claim_job(actor=worker_actor, node=collector, owner="b", queue="cpu").kind == "noop"


def test_the_form_says_that_no_node_has_it(node, project, engineer, actor_for):
    needs = resolve_needs(KINDS["collect"], Submission(kind="collect", spec={}), None)
    told = estimate_schedule(actor_for(engineer), project, "collect", needs)
    assert (told.state, "lacks collect" in told.sentence) == ("failed", True)


def test_the_needs_asked_for_cannot_take_it_away(collector, api, engineer, project, allow):
    body = {"kind": "collect", "spec": SPEC, "needs": {"cpus": 2}}
    answer = api(engineer).post(f"/api/v1/projects/{project.slug}/jobs", body, format="json")
    assert (answer.status_code, answer.json()["extra"]) == (201, "collect")
    body["needs"] = {"extra": ""}
    assert api(engineer).post(f"/api/v1/projects/{project.slug}/jobs", body, format="json").status_code == 422


def test_every_error_comes_at_once(node, submit, allow):
    allow()
    with pytest.raises(Invalid) as failure:
        submit(SPEC, register={"model": "x"})
    assert {error["code"] for error in failure.value.errors} == {"collection_off", "extra_missing", "unknown_register"}
