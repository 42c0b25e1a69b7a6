"""What is deleted is offered nowhere, and what is needed or held is not deleted."""

from __future__ import annotations

import pytest

from apps.core.errors import Conflict, NotFound
from apps.ml.registry.evaluations.presenters import get_newest_version
from apps.ml.registry.evaluations.queries import get_evaluation, list_metric_lines
from apps.ml.registry.models import Variant
from apps.ml.registry.services import delete_model, delete_version
from apps.ml.registry.services.evaluations import remove_gate
from apps.platform.holds.models import Hold

URL = "/p/demo/models/wti-forecast"


@pytest.fixture
def deleted(actor_for, engineer):
    def delete(version):
        delete_version(actor=actor_for(engineer), version=version)

    return delete


def test_evaluations_and_forms_of_a_deleted_version_are_gone(
    registered, a_set, measure, deleted, actor_for, viewer, project
):
    first, second, on, who = registered(), registered(), a_set(), actor_for(viewer)
    kept, gone = measure(first, on, 1.0), measure(second, on, 2.0)
    deleted(second)
    assert [point for line in list_metric_lines(who, first.model, on) for point in line.points] == [(1, kept)]
    assert get_evaluation(who, project, kept.pk) == kept
    with pytest.raises(NotFound):
        get_evaluation(who, project, gone.pk)
    assert set(Variant.objects.visible_to(who)) == set(first.variants.all())
    assert get_newest_version(first.model) == first


def test_the_newest_version_to_measure_has_forms(registered):
    first, bare = registered(), registered(names=("fp32",))
    bare.variants.all().delete()
    assert get_newest_version(first.model) == first


def test_a_comparison_offers_what_is_there(registered, deleted, viewer, web):
    registered(), deleted(registered()), registered()
    text = web(viewer).get(f"{URL}/3/compare").content.decode()
    assert "wti-forecast v3 and v1" in text
    assert '<option value="2"' not in text


def test_the_baseline_of_a_gate_stays_until_the_gate_is_lifted(registered, a_set, gate, deleted, actor_for, approver):
    first, _second = registered(), registered()
    row = gate(first.model, a_set(), baseline=first)
    with pytest.raises(Conflict) as caught:
        deleted(first)
    assert (caught.value.code, f"gate {row.pk}" in caught.value.message) == ("still_needed", True)
    remove_gate(actor=actor_for(approver), gate=row, reason="another one")
    deleted(first)
    first.refresh_from_db()
    assert first.deleted_at is not None


@pytest.mark.parametrize("whole", [False, True])
def test_what_is_held_stays(registered, deleted, project, actor_for, engineer, whole):
    version = registered()
    held = {"object_type": "project"} if whole else {"object_type": "modelversion", "object_id": str(version.pk)}
    Hold.objects.create(project=project, reason="court", **held)
    for delete in (lambda: deleted(version), lambda: delete_model(actor=actor_for(engineer), model=version.model)):
        with pytest.raises(Conflict) as caught:
            delete()
        assert caught.value.code == "held"


def test_rest_tells_a_version_without_forms(registered, viewer, api):
    bare = registered(names=("fp32",))
    bare.variants.all().delete()
    answer = api(viewer).get("/api/v1/projects/demo/models/wti-forecast/versions/1")
    assert (answer.status_code, answer.json()["variants"], answer.json()["trained_on"]) == (200, [], [])
