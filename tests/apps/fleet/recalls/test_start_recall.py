from __future__ import annotations

import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.fleet.devices.services import assign_release
from apps.fleet.recalls.models import Recall
from apps.fleet.recalls.services import start_recall
from apps.fleet.recalls.states import RecallState
from apps.fleet.recalls.subjects import find_subject
from apps.ml.registry.blocks import find_blocked
from apps.ml.registry.services import set_alias
from apps.platform.notices.models import Notice
from tests.apps.fleet.recalls.conftest import add_dataset_version, outcomes

pytestmark = pytest.mark.django_db


def test_the_versions_that_carry_it_are_blocked_at_once(start, bad, good, releases, approver, find_records):
    recall = start()
    assert find_blocked([bad.version_id, good.version_id]) == {bad.version_id}
    assert outcomes(recall, "model_version") == {str(bad.version): "blocked"}
    assert outcomes(recall, "release") == {str(releases[1]): "pending"}
    assert find_records("recall.start")[0].object_id == str(recall.pk)
    assert Notice.objects.filter(kind="recall.started", recipient=approver).count() == 1


def test_a_blocked_version_is_neither_named_released_nor_assigned(
    start, bad, releases, issue, enrol, actor_for, engineer, approver
):
    start()
    device = enrol()
    actor = actor_for(engineer)
    for refused in (
        lambda: set_alias(actor=actor, version=bad.version, name="staging"),
        lambda: issue(bad, without_samples=True),
        lambda: assign_release(actor=actor, device=device, release=releases[1]),
    ):
        with pytest.raises(Conflict) as error:
            refused()
        assert error.value.code == "version_blocked"


def test_who_may_not(start, bad, project, other_project, actor_for, viewer, stranger, dataset_version):
    with pytest.raises(Refused):
        start(who=viewer)
    with pytest.raises(NotFound):
        start(who=stranger)
    with pytest.raises(NotFound):
        find_subject(actor_for(stranger), other_project, "dataset_version", str(dataset_version.pk))
    assert not Recall.objects.exists()


def test_bad_subjects_and_reasons(start, bad, dataset_version):
    cases = {
        "type": {"type": "release", "id": 1},
        "id": {"id": 987_654},
        "row": {"row": "0"},
        "row 11": {"row": 11},
        "row of a version of a model": {"type": "model_version", "id": bad.version_id, "row": 1},
        "reason": {"reason": "  "},
        "a long reason": {"reason": "x" * 401},
    }
    wrong = {}
    for name, case in cases.items():
        with pytest.raises((Invalid, NotFound)) as error:
            start(**case)
        if error.value.field not in name:
            wrong[name] = error.value.field
    assert wrong == {}


def test_what_nothing_carries_is_refused(start, project, bad):
    unused = add_dataset_version(project, 2)
    with pytest.raises(Conflict) as error:
        start(id=unused.pk)
    assert error.value.code == "nothing_to_recall"


def test_once_is_enough(start, bad, releases, advance):
    recall = start()
    with pytest.raises(Conflict) as error:
        start()
    assert error.value.code == "already_recalled"
    assert advance(recall).state == RecallState.COMPLETED  # no device runs it
    with pytest.raises(Conflict) as error:
        start()
    assert error.value.code == "already_recalled"


def test_a_version_by_its_name_and_number(project, actor_for, engineer, bad):
    actor = actor_for(engineer)
    subject = find_subject(actor, project, "model_version", f"wti-forecast:{bad.version.number}")
    recall = start_recall(actor=actor, project=project, subject=subject, reason="x", note="Sensor 7 was off.")
    assert outcomes(recall, "model_version") == {str(bad.version): "blocked"}
    assert recall.note == "Sensor 7 was off."
