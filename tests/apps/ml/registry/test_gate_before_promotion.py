"""What stops a request for a promotion, what lets it through, and what its facts then hold."""

import json

import pytest

from apps.core.errors import Conflict
from apps.ml.registry.models import GateVerdict
from apps.ml.registry.services import request_promotion
from apps.ml.registry.services.job_files import JobFile, record_files_version
from apps.platform.approvals.differences import find_changes
from apps.platform.approvals.models import Approval
from apps.platform.audit.models import AuditRecord
from tests.walking import job_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def ask(actor_for, engineer, approver):
    return lambda version: request_promotion(actor=actor_for(engineer), version=version)


@pytest.fixture
def refused(ask):
    """refused(version) -> the first error; nobody was asked."""

    def call(version):
        with pytest.raises(Conflict) as caught:
            ask(version)
        assert not Approval.objects.filter(subject_id=str(version.pk)).exists()
        return caught.value

    return call


@pytest.fixture
def two(registered, approved):
    """A version in production, and a newer one."""
    first = registered()
    approved(first)
    return first, registered()


def test_without_an_evaluation_the_way_out_is_told(refused, registered, a_set, gate):
    version, on = registered(), a_set()
    gate(version.model, on, variant="int8")
    error = refused(version)
    assert (error.code, error.status) == ("gate_not_evaluated", 409)
    address = "/api/v1/projects/demo/models/wti-forecast/versions/1/evaluations"
    assert error.hint == f'Evaluate it first: POST {address} {{"set": "later-r1", "variant": "int8"}}'


def test_the_result_of_a_study_passes_the_same_gates(ask, refused, actor_for, engineer, project, held, a_set, gate):
    job, files = job_of(project, "succeeded", 1), [JobFile("model.safetensors", held(b"weights"), "")]
    facts = {"federation": {"study": "heart", "sites": ["cleveland", "hungary"], "rounds": 2}}

    def register():
        who = actor_for(engineer)
        source = {"source": "studies/1", "job": job, "files": files, "facts": facts, "tags": {}}
        return record_files_version(actor=who, project=project, name="heart", **source)

    asked = json.loads(ask(register()).facts)  # no gate: its files alone are asked for
    assert (asked["model"], asked.get("gates"), asked["candidate"]["version"]) == ("heart", None, 1)
    version = register()
    gate(version.model, a_set())
    error = refused(version)  # nothing here can run it, so what it predicts is measured
    assert (error.code, '"predictions"' in error.hint) == ("gate_not_evaluated", True)
    gate(version.model, a_set("others"), variant="int8")
    assert [each["code"] for each in refused(version).errors] == ["gate_not_evaluated", "gate_no_variant"]


def test_with_nothing_in_production_an_evaluation_is_enough(ask, registered, a_set, gate, measure):
    version, on = registered(), a_set()
    gate(version.model, on)
    measure(version, on, 1.0)
    assert json.loads(ask(version).facts)["gates"]["later-r1 rmse"]["state"] == "no_baseline"


def test_a_baseline_that_was_not_evaluated_is_named(refused, two, a_set, gate, measure):
    _first, second = two
    on = a_set()
    gate(second.model, on)
    measure(second, on, 1.0)
    error = refused(second)
    assert error.code == "gate_baseline_not_evaluated"
    assert "v1, the baseline" in error.message
    assert "versions/1/evaluations" in error.hint


def test_a_worse_one_is_refused_with_its_numbers_and_written_down(refused, two, a_set, gate, measure):
    first, second = two
    on = a_set()
    gate(second.model, on, margin=0.05)
    measure(first, on, 1.0, 0.0)
    measure(second, on, 1.2, 0.1)
    error = refused(second)
    assert error.code == "gate_failed"
    assert "later-r1, rmse: wti-forecast v2 is worse than v1. The difference is 0.2 (0.105 to 0.295" in error.message
    assert "margin 0.05" in error.message
    assert error.limit == "not worse than v1 by more than 0.05"
    verdict = GateVerdict.objects.get()
    assert (verdict.verdict, verdict.asked_by) == ("fail", "engineer")
    assert AuditRecord.objects.filter(action="gate.judge", object_id=str(second.pk)).count() == 1


def test_every_gate_that_forbids_is_told(refused, two, a_set, gate, measure):
    first, second = two
    on, other = a_set(), a_set("others")
    gate(second.model, on)
    gate(second.model, other)
    measure(first, on, 1.0, 0.0)
    measure(second, on, 1.2)
    assert [one["code"] for one in refused(second).errors] == ["gate_failed", "gate_not_evaluated"]


def test_not_significant_goes_through_and_stands_in_the_facts(ask, two, a_set, gate, measure):
    first, second = two
    on = a_set()
    gate(second.model, on)
    measure(first, on, 1.0, 0.0)
    measure(second, on, 1.0, 0.1, parts=[])
    facts = json.loads(ask(second).facts)["gates"]["later-r1 rmse"]
    assert (facts["state"], facts["against"], facts["set_by"]) == ("not_significant", 1, "approver")
    assert facts["low"] < 0 < facts["high"]


def test_rows_that_differ_are_not_compared(refused, two, a_set, gate, measure):
    first, second = two
    on = a_set()
    gate(second.model, on)
    measure(first, on, 1.0)
    measure(second, on, 0.5, pairing="q" * 64)
    error = refused(second)
    assert error.code == "gate_not_comparable"
    assert "are not the same" in error.message


def test_spoilt_replicates_are_not_compared(refused, two, a_set, gate, measure, spoil):
    first, second = two
    on = a_set()
    gate(second.model, on)
    spoil(measure(first, on, 1.0).replicates_id)
    measure(second, on, 0.5)
    error = refused(second)
    assert error.code == "gate_not_comparable"
    assert "damaged or gone" in error.message


def test_a_version_that_the_plane_cannot_run_is_refused(refused, registered, a_set, gate):
    version = registered()
    version.variants.order_by("-pk").first().delete()
    version.variants.all().delete()
    gate(version.model, a_set())
    error = refused(version)
    assert error.code == "gate_no_variant"
    assert "lift the gate" in error.hint


def test_a_version_named_as_the_baseline_stands_in_for_production(refused, registered, a_set, gate, measure):
    first, second = registered(), registered()
    on = a_set()
    gate(second.model, on, baseline=first)
    measure(first, on, 1.0, 0.0)
    measure(second, on, 1.2)
    assert refused(second).code == "gate_failed"


@pytest.mark.parametrize("what", ["evaluation", "gate"])
def test_a_newer_evaluation_or_another_gate_changes_the_facts(what, ask, two, a_set, gate, measure):
    first, second = two
    on = a_set()
    gate(second.model, on, margin=1.0)
    measure(first, on, 1.0, 0.0)
    measure(second, on, 1.1)
    approval = ask(second)
    assert find_changes(approval) == []
    if what == "gate":
        gate(second.model, on, margin=2.0)
    else:
        measure(second, on, 1.1, 0.05, job=2)
    paths = [change["path"] for change in find_changes(approval)]
    assert "/gates/later-r1 rmse/" + ("margin" if what == "gate" else "candidate") in paths


def test_without_gates_the_facts_are_as_before(ask, registered):
    assert "gates" not in json.loads(ask(registered()).facts)
