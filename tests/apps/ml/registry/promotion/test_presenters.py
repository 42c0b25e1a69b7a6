"""What an approver sees of a promotion."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.errors import Conflict
from apps.ml.registry.models import Model, ModelVersion
from apps.ml.registry.promotion.presenters import describe_void_changes
from apps.ml.registry.provenance import build_variant_end
from apps.ml.registry.services import request_promotion, roll_back
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals.services import approve
from apps.platform.lineage.ends import EdgeSpec, End
from apps.platform.lineage.services import record_edges

pytestmark = pytest.mark.django_db


@pytest.fixture
def asked(actor_for, engineer, approver):
    return lambda version: request_promotion(actor=actor_for(engineer), version=version, comment="please")


@pytest.fixture
def approval_page(web, approver):
    """approval_page(approval, who=approver) -> its text on one line."""

    def read(approval, who=None):
        answer = web(who or approver).get(f"/p/demo/approvals/{approval.pk}")
        assert answer.status_code == 200
        return " ".join(answer.content.decode().split())

    return read


def test_what_changes_and_how_sure(registered, approved, asked, approval_page, metric):
    first = registered(metrics=[metric(2, 1.9, 2.1)])
    approved(first)
    second = registered(metrics=[metric(1, 0.9, 1.1)])
    text = approval_page(asked(second))
    assert "moves from v1 to <b>v2</b>" in text
    assert "rmse <b>1 USD</b>, v1 has <b>2</b>: <b>better</b>" in text
    assert "Approve, move production to v2" in text
    assert "Reject, leave production at v1" in text
    for digest in (first.digest, second.digest, second.variants.get(name="int8").artifact_id):
        assert digest in text
    assert "<b>v1 stays where it is.</b>" in text


def test_the_first_is_compared_with_its_baseline(registered, asked, approval_page):
    text = approval_page(asked(registered()))
    assert "becomes the first version of wti-forecast in production" in text
    assert "the baseline “last value” has <b>2</b>" in text
    assert "Reject, leave production empty" in text
    assert "There is nothing to roll back to" in text


def test_what_was_nothing_then_is_told_as_past_once_it_has_ended(registered, asked, approved, approval_page):
    assert "Nothing is in production yet" in approval_page(asked(registered()))
    text = approval_page(approved(registered(name="other")))
    assert "Nothing was in production at the request" in text
    assert "Production at request" in text
    assert "Nothing is in production yet" not in text


def test_it_is_drawn_from_the_facts(registered, asked, approval_page, metric):
    """Whoever edits a figure changes nothing on the page of an approval that was asked for before."""
    version = registered(metrics=[metric(1.25, 1.1, 1.4)])
    approval = asked(version)
    edited = version.document.replace('"value":1.25', '"value":9.99')
    ModelVersion.objects.filter(pk=version.pk).update(document=edited, metrics=[])
    version.variants.update(figures={})
    text = approval_page(approval)
    assert "1.25" in text
    assert "9.99" not in text[text.index("Evidence") :]


def test_another_signature_is_pointed_out(registered, approved, asked, approval_page):
    approved(registered())
    text = approval_page(asked(registered()))
    assert "unchanged: callers need no change" in text


def test_who_uses_what_stands_there_now(registered, approved, asked, approval_page, worker_actor, project):
    first = registered()
    approved(first)
    use = End("job", "77", label="#77 evaluate")
    edge = EdgeSpec.between(build_variant_end(first.variants.first()), use, "fp32")
    record_edges(actor=worker_actor, project=project, edges=[edge])
    assert "#77 evaluate" in approval_page(asked(registered()))


def test_the_auditor_sees_it_too(registered, asked, approval_page, auditor):
    assert "Rollback" in approval_page(asked(registered()), auditor)


def test_what_was_decided_still_shows(registered, approved, approval_page):
    first, second = registered(), registered()
    approved(first)
    approval = approved(second)
    approved(registered())
    assert "wti-forecast v2" in approval_page(approval)


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


def test_figures_that_no_job_measured_are_said_to_be_such(registered, asked, approval_page):
    version = registered(names=("fp32",))
    assert "not measured here" not in approval_page(asked(version))
    claimed = registered(names=("fp32",))
    claimed.variants.update(job_id=None, heldout="")  # as a register job has it whose figures came from somewhere else
    text = approval_page(asked(claimed))
    assert "not measured here" in text
    assert "the baseline “last value” has <b>2</b>: <b>undecided which is better</b>" in text


def test_what_is_not_known_is_said(registered, approved, asked, approval_page, metric):
    approved(registered(metrics=[metric(1, 0.9, 1.1)]))
    text = approval_page(asked(registered(metrics=[metric(1.05, 0.95, 1.15)])))
    assert "Unknowns" in text
    assert "does not prove that there is none: fp32 rmse, int8 rmse." in text
    assert "a download leaves no trace" in text


def test_other_rows_are_among_what_is_not_known(registered, approved, asked, approval_page):
    approved(registered(heldout=b"some"))
    assert "other held-out rows, so it cannot be compared: fp32 rmse" in approval_page(
        asked(registered(heldout=b"others"))
    )


def test_a_void_one_says_in_words_that_production_moved(
    registered, approved, asked, approval_page, approver, actor_for
):
    approved(registered())
    old = asked(registered())
    approved(registered())
    proof = Proof(user_id=approver.pk, method="password")
    with pytest.raises(Conflict):
        approve(actor=actor_for(approver), approval=old, facts_digest=old.facts_digest, reason="good", proof=proof)
    text = approval_page(old)
    assert "Production has moved from v1 to v3 since." in text
    assert text.index("current › version") < text.index("current › digest")


def test_spoilt_bytes_are_named_by_their_variant():
    path = "/candidate/variants/int8/model"
    assert "int8" in describe_void_changes([{"path": path, "was": "a", "is": "b"}])
    assert describe_void_changes([{"path": "/elsewhere", "was": 1}]) == ""


def test_what_came_of_it_is_told_to_the_end(registered, approved, approval_page, engineer, actor_for):
    first = approved(registered())
    assert "It still points there." in approval_page(first)
    second = approved(registered())
    assert "It points to v2 by now." in approval_page(first)
    roll_back(actor=actor_for(engineer), model=Model.objects.get(), reason="Worse in <ward 2>.")
    text = approval_page(second)
    assert "engineer rolled it back to v1" in text
    assert "Worse in &lt;ward 2&gt;." in text
