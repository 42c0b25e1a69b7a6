"""A pending approval, and who may decide on it."""

from __future__ import annotations

import pytest

from apps.core.actors import ProjectRole
from apps.platform.accounts.reauthentication import Proof
from apps.platform.approvals import services
from apps.platform.approvals.models import Approval, ApprovalPolicy
from apps.platform.approvals.subjects import APPROVAL_SUBJECTS
from tests.apps.platform.approvals.stand_in import SUBJECT
from tests.conftest import member


@pytest.fixture(autouse=True)
def subject():
    SUBJECT.reset()
    with APPROVAL_SUBJECTS.override({"thing": SUBJECT}):
        yield SUBJECT


@pytest.fixture
def second(project):
    """Another approver."""
    return member(project, "second", ProjectRole.APPROVER)


@pytest.fixture
def ask(project, engineer, approver, actor_for):
    """ask(by=..., **changes) -> Approval: the engineer asks, with the facts as they stand."""

    def asked(by=None, **changes):
        about = {"subject_type": "thing", "subject_id": 7, "title": "Move the thing to 3", "facts": SUBJECT.facts}
        return services.request_approval(actor=by or actor_for(engineer), project=project, **about | changes)

    return asked


@pytest.fixture
def two_needed(project):
    return ApprovalPolicy.objects.create(project=project, subject_type="thing", needed=2, deadline_hours=72)


@pytest.fixture
def decide(actor_for):
    """decide(user, approval, "reject", **changes): with the password given again, on the facts as shown."""

    def decided(user, approval, decision="approve", **changes):
        about = {
            "actor": actor_for(user),
            "approval": Approval.objects.get(pk=approval.pk),
            "facts_digest": approval.facts_digest,
            "reason": "Looked at the figures.",
            "proof": Proof(user_id=user.pk, method="password"),
        }
        return getattr(services, decision)(**about | changes)

    return decided
