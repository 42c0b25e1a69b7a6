"""Notices of what a person has to do with a labelling project: each once, and settled when it is done."""

from __future__ import annotations

from datetime import timedelta

import pytest

from apps.ml.labelling import services
from apps.ml.labelling.models import LabellingProject
from apps.platform.nodes.samples import get_database_now
from apps.platform.notices.models import Notice

pytest.importorskip("label_studio_sdk")
pytestmark = pytest.mark.django_db


def list_unread(kind):
    return sorted(Notice.objects.filter(kind=kind, read_at=None).values_list("recipient__username", flat=True))


@pytest.mark.services
def test_disputed_tasks_wait_for_engineers_and_approvers(engineer, approver, viewer, agreed, actor, drive):
    drive()
    assert list_unread("labelling.disputed") == ["approver", "engineer"]
    services.adjudicate_task(actor=actor, task=agreed.tasks.get(state="disputed"), marks={})
    drive()
    assert list_unread("labelling.disputed") == []
    assert Notice.objects.filter(kind="labelling.disputed").count() == 2


def test_agreement_below_the_bar_is_told_until_it_is_not(engineer, approver, actor_for, agreed, drive):
    for bar, waiting in ((0.99, ["approver", "engineer"]), (0.1, [])):
        services.set_bar(actor=actor_for(approver), labelling=agreed, bar=bar)
        drive()
        assert list_unread("labelling.below_bar") == waiting


def test_a_failure_is_told_when_it_lasts_and_closing_settles_it(engineer, agreed, studio, actor, drive):
    studio.token = "f" * 40
    drive()
    assert list_unread("labelling.failing") == []
    LabellingProject.objects.update(failed_at=get_database_now() - timedelta(minutes=6))
    drive()
    drive()
    assert list_unread("labelling.failing") == ["engineer"]
    services.close_labelling(actor=actor, labelling=agreed)
    assert list_unread("labelling.failing") == []
