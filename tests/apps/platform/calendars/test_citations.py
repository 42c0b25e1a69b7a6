"""What a schedule's request names is no garbage."""

import pytest

from apps.platform.calendars.citations import find_cited_artifacts
from apps.platform.calendars.models import Schedule

pytestmark = pytest.mark.django_db


def test_digests_of_jobs_and_of_steps_are_cited(schedule):
    inputs = {"table": {"digest": "a" * 64}, "model": {"job": 1, "slot": "model"}}
    steps = [{"name": "x", "kind": "train", "inputs": {"table": {"digest": "b" * 64}}}]
    Schedule.objects.update(request={"kind": "train", "inputs": inputs, "steps": steps}, state="paused")
    assert find_cited_artifacts({"a" * 64, "b" * 64, "c" * 64}) == {"a" * 64, "b" * 64}
