"""Accounts past their date, which housekeeping has not disabled yet, neither may vote nor have voted."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.platform.accounts.models import User
from apps.platform.approvals.models import Vote
from apps.platform.approvals.terms import query_eligible_voters

pytestmark = pytest.mark.django_db


def test_they_do_not_count(two_needed, ask, decide, approver, second, project):
    approval = ask()
    decide(approver, approval)
    assert set(query_eligible_voters(approval)) == {approver, second}
    assert Vote.objects.filter(approval=approval).counting(project).count() == 1
    User.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert not query_eligible_voters(approval).exists()
    assert not Vote.objects.filter(approval=approval).counting(project).exists()
