import pytest

from apps.core.actors import ANONYMOUS
from apps.core.errors import Unauthenticated
from apps.platform.audit.models import AuditRecord
from apps.platform.notices.models import Notice
from apps.platform.notices.queries import count_unread
from apps.platform.notices.services import mark_all_read, mark_read


def test_own_ones_are_marked_once(queue, approver, actor_for):
    first, second = queue(approver)[0], queue(approver)[0]
    actor = actor_for(approver)
    assert mark_read(actor=actor, ids=[first.pk]) == 1
    assert count_unread(actor) == 1
    assert mark_read(actor=actor, ids=[first.pk, second.pk]) == 1
    assert count_unread(actor) == 0
    assert AuditRecord.objects.filter(action="notice.mark_read").count() == 2


def test_those_of_others_stay(queue, approver, viewer, actor_for):
    notice = queue(approver)[0]
    assert mark_read(actor=actor_for(viewer), ids=[notice.pk]) == 0
    assert mark_all_read(actor=actor_for(viewer)) == 0
    assert Notice.objects.get().read_at is None


def test_all_at_once(queue, approver, actor_for):
    queue(approver)
    queue(approver)
    assert mark_all_read(actor=actor_for(approver)) == 2
    assert mark_all_read(actor=actor_for(approver)) == 0


def test_a_project_that_one_has_left_is_told_of_no_more(queue, approver, actor_for):
    queue(approver)
    approver.memberships.all().delete()
    assert count_unread(actor_for(approver)) == 0


def test_nobody_logs_in_nobody_marks(db):
    with pytest.raises(Unauthenticated):
        mark_all_read(actor=ANONYMOUS)
