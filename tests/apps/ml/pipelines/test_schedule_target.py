"""A pipeline that a schedule submits: of a template with the newest version of its dataset, or of the same steps."""

import pytest

from apps.ml.pipelines.requests import copy_template_parameters
from apps.ml.pipelines.schedule_target import PIPELINE_TARGET

pytestmark = pytest.mark.django_db
STEPS = {"name": "two", "steps": [{"name": "a", "kind": "noop"}, {"name": "b", "kind": "noop", "after": ["a"]}]}


def test_steps_are_submitted_copied_and_cancelled(engineer, actor_for, project):
    actor = actor_for(engineer)
    PIPELINE_TARGET.validate(actor, project, STEPS)
    pk = PIPELINE_TARGET.submit(actor, project, STEPS, "key-1")
    assert PIPELINE_TARGET.submit(actor, project, STEPS, "key-1") == pk
    assert PIPELINE_TARGET.copy_request(actor, project, pk) == STEPS
    assert PIPELINE_TARGET.is_active(pk)
    PIPELINE_TARGET.cancel(actor, pk, "later")
    PIPELINE_TARGET.cancel(actor, pk, "later")
    assert not PIPELINE_TARGET.is_active(pk)


def test_parameters_of_a_skipped_cleaning_are_not_copied():
    """A template takes no plan of a cleaning beside `skip_cleaning`."""
    stored = {
        "dataset": "d",
        "version": 3,
        "cleaned": None,
        "params": {"skip_cleaning": True, "clean": {}, "train": {}},
    }
    copied = copy_template_parameters(stored)
    assert copied == {"dataset": "d", "version": 3, "params": {"skip_cleaning": True, "train": {}}}
    assert copy_template_parameters({"params": {"clean": {}}}) == {"params": {"clean": {}}}
