"""Deleted experiments go once they are empty."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.ml.experiments.models import (
    Experiment,
    LoggedModel,
)
from apps.ml.experiments.purge import deletion
from apps.platform.holds.services import place_hold

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_a_deleted_experiment_goes_once_it_is_empty(deleted, purge, experiment):
    deleted("a")
    young = deleted("b", days=5)
    Experiment.objects.update(deleted_at=timezone.now() - timedelta(days=40))
    assert purge(dry_run=True)[0].experiments == []
    young.delete()
    assert purge(dry_run=True)[0].experiments == ["old"]
    assert purge()[0].experiments == ["old"]
    assert not Experiment.objects.exists()


@pytest.mark.parametrize("meanwhile", ["restored", "held", "filled"])
def test_an_experiment_that_is_needed_between_the_look_and_the_lock_stays(
    deleted, purge, project, experiment, monkeypatch, meanwhile, auditor, actor_for
):
    Experiment.objects.update(deleted_at=timezone.now() - timedelta(days=40))
    logged = LoggedModel.objects.create(project=project, experiment=experiment, name="n")
    look = deletion.list_empty_experiments

    def then(*asked):
        found = look(*asked)
        if meanwhile == "restored":
            Experiment.objects.update(deleted_at=None)
        elif meanwhile == "filled":
            deleted("a", days=1)
        else:
            who = actor_for(auditor)
            place_hold(actor=who, project=project, object_type="loggedmodel", object_id=logged.pk, reason="case 12")
        return found

    monkeypatch.setattr(deletion, "list_empty_experiments", then)
    assert purge()[0].experiments == []
    assert LoggedModel.objects.get().experiment == experiment
