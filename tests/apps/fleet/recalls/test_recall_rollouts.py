from __future__ import annotations

import pytest

from apps.fleet.recalls.queries import preview_recall
from apps.fleet.recalls.subjects import find_subject
from apps.fleet.rollouts.models import Rollout
from apps.fleet.rollouts.schemas import RolloutBody
from apps.fleet.rollouts.services import create_rollout
from tests.apps.fleet.recalls.conftest import outcomes
from tests.apps.fleet.rollouts.conftest import GATES

pytestmark = pytest.mark.django_db


def test_rollouts_under_way_are_aborted(project, actor_for, engineer, start, advance, bad, returning_device):
    actor = actor_for(engineer)
    body = {"model": "wti-forecast", "version": bad.version.number, "canary": GATES}
    rollout = create_rollout(actor=actor, project=project, body=RolloutBody.model_validate(body))
    subject = find_subject(actor, project, "model_version", str(bad.version_id))
    assert preview_recall(actor, project, subject).counts["rollout"] == 1
    recall = advance(start())
    assert outcomes(recall, "rollout") == {str(rollout): "stopped"}
    assert Rollout.objects.get().state == "aborted"
