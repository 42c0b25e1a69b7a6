"""What an approver sees of a promotion."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.lineage.ends import EdgeSpec, End
from apps.lineage.services import record_edges
from apps.registry.models import ModelVersion
from apps.registry.registering import variant_end
from apps.registry.services import request_promotion

pytestmark = pytest.mark.django_db


@pytest.fixture
def asked(actor_for, engineer, approver):
    return lambda version: request_promotion(actor=actor_for(engineer), version=version, comment="please")


@pytest.fixture
def page(web, approver):
    """page(approval, who=approver) -> its text on one line."""

    def read(approval, who=None):
        answer = web(who or approver).get(f"/p/demo/approvals/{approval.pk}")
        assert answer.status_code == 200
        return " ".join(answer.content.decode().split())

    return read


def test_what_changes_and_how_sure(registered, approved, asked, page, metric):
    first = registered(metrics=[metric(2, 1.9, 2.1)])
    approved(first)
    second = registered(metrics=[metric(1, 0.9, 1.1)])
    text = page(asked(second))
    assert "moves from v1 to <b>v2</b>" in text
    assert "rmse <b>1 USD</b>, v1 has <b>2</b>: <b>better</b>" in text
    assert "Approve, move production to v2" in text
    assert "Reject, leave production at v1" in text
    for digest in (first.digest, second.digest, second.variants.get(name="int8").artifact_id):
        assert digest in text
    assert "<b>v1 stays where it is.</b>" in text


def test_the_first_is_compared_with_its_baseline(registered, asked, page):
    text = page(asked(registered()))
    assert "becomes the first version of wti-forecast in production" in text
    assert "the baseline “last value” has <b>2</b>" in text
    assert "Reject, leave production empty" in text
    assert "There is nothing to go back to" in text


def test_it_is_drawn_from_the_facts(registered, asked, page, metric):
    """Whoever edits a figure changes nothing on the page of an approval that was asked for before."""
    version = registered(metrics=[metric(1.25, 1.1, 1.4)])
    approval = asked(version)
    edited = version.document.replace('"value":1.25', '"value":9.99')
    ModelVersion.objects.filter(pk=version.pk).update(document=edited, metrics=[])
    version.variants.update(figures={})
    text = page(approval)
    assert "1.25" in text
    assert "9.99" not in text[text.index("How sure are we") :]


def test_another_signature_is_pointed_out(registered, approved, asked, page):
    approved(registered())
    text = page(asked(registered()))
    assert "the same: what asks it need not change" in text


def test_who_uses_what_stands_there_now(registered, approved, asked, page, worker_actor, project):
    first = registered()
    approved(first)
    use = End("job", "77", label="#77 evaluate")
    edge = EdgeSpec.between(variant_end(first.variants.first()), use, "fp32")
    record_edges(actor=worker_actor, project=project, edges=[edge])
    assert "#77 evaluate" in page(asked(registered()))


def test_the_auditor_sees_it_too(registered, asked, page, auditor):
    assert "How do we get back" in page(asked(registered()), auditor)


def test_what_was_decided_still_shows(registered, approved, page):
    first, second = registered(), registered()
    approved(first)
    approval = approved(second)
    approved(registered())
    assert "wti-forecast v2" in page(approval)


def test_its_cost_does_not_grow_with_its_variants(registered, asked, web, approver):
    client = web(approver)
    counts = []
    for names in (("fp32",), ("fp32", "int8", "tvm-x86_64")):
        approval = asked(registered(name=f"m{len(names)}", names=names))
        client.get(f"/p/demo/approvals/{approval.pk}")
        with CaptureQueriesContext(connection) as seen:
            client.get(f"/p/demo/approvals/{approval.pk}")
        counts.append(len(seen))
    assert counts[0] == counts[1]


def test_figures_that_no_job_measured_are_said_to_be_such(registered, asked, page):
    version = registered(names=("fp32",))
    assert "not measured here" not in page(asked(version))
    claimed = registered(names=("fp32",))
    claimed.variants.update(job_id=None, heldout="")  # as a register job has it whose figures came from somewhere else
    text = page(asked(claimed))
    assert "not measured here" in text
    assert "the baseline “last value” has <b>2</b>: <b>which is better cannot be told</b>" in text
