"""Logged models that were deleted by themselves go for good too; what is held or cited stays."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone

from apps.ml.experiments.models import (
    Experiment,
    LoggedModel,
    LoggedModelArtifact,
    Run,
)
from apps.ml.experiments.purge import deletion
from apps.ml.registry.models import Model, ModelVersion
from apps.platform.audit.models import AuditRecord
from apps.platform.holds.services import place_hold

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def alone(project, experiment, deleted):
    """alone(days=40) -> a logged model of a run that is alive, deleted so long ago."""

    def make(days=40, **columns):
        facts = {"source_run": deleted("f", days=0), "deleted_at": timezone.now() - timedelta(days=days)}
        return LoggedModel.objects.create(project=project, experiment=experiment, name="n", **(facts | columns))

    return make


def test_one_goes_with_its_files_and_leaves_a_record(alone, purge, artifact):
    model = alone()
    LoggedModelArtifact.objects.create(model=model, path="MLmodel", artifact=artifact, size=5, media_type="x/y")
    said = purge(dry_run=True)[0]
    assert LoggedModel.objects.exists()
    done = purge()[0]
    assert done.models == said.models == [model.pk]
    assert (done.runs, done.files, done.bytes) == (said.runs, said.files, said.bytes) == (0, 1, 5)
    assert not LoggedModel.objects.exists()
    body = AuditRecord.objects.get(action="logged_model.purge").body
    assert model.pk in body
    assert artifact.digest in body
    assert Run.objects.exists()


def test_a_young_one_and_one_that_is_alive_stay(alone, purge):
    alone(days=10)
    LoggedModel.objects.create(
        project=LoggedModel.objects.get().project, experiment=Experiment.objects.get(), name="alive"
    )
    assert purge()[0].models == []
    assert LoggedModel.objects.count() == 2


def test_that_of_a_deleted_run_goes_with_the_run_alone(alone, purge, deleted):
    young = deleted("a", days=5)
    alone(source_run=young)
    assert purge(dry_run=True)[0].models == purge()[0].models == []


@pytest.mark.parametrize("kind", ["loggedmodel", "run", "experiment", "project"])
def test_a_hold_keeps_it(alone, purge, project, experiment, auditor, actor_for, kind):
    model = alone()
    of = {"loggedmodel": model.pk, "run": "f" * 32, "experiment": str(experiment.pk), "project": ""}
    place_hold(actor=actor_for(auditor), project=project, object_type=kind, object_id=of[kind], reason="case 12")
    report = purge()[0]
    assert (report.models, report.kept) == ([], 1)
    assert "case 12" in report.models_kept[model.pk]
    assert LoggedModel.objects.exists()


def test_a_version_made_of_it_keeps_it(alone, purge, project):
    model = Model.objects.create(project=project, name="m", created_by="x")
    ModelVersion.objects.create(
        model=model, number=1, digest="d" * 64, document="{}", task="", target="", logged_model=alone()
    )
    assert purge()[0].models == []
    assert LoggedModel.objects.exists()


def test_what_is_held_between_the_look_and_the_lock_stays(alone, purge, project, auditor, actor_for, monkeypatch):
    model, look = alone(), deletion.sum_model_sizes

    def then_held(made):
        place_hold(actor=actor_for(auditor), project=project, object_type="loggedmodel", object_id=model.pk, reason="x")
        return look(made)

    monkeypatch.setattr(deletion, "sum_model_sizes", then_held)
    assert purge()[0].models == []
    assert LoggedModel.objects.exists()


def test_the_command_names_it(alone, capsys):
    model = alone()
    call_command("purge_runs", "--older-than", "30d")
    out, errors = capsys.readouterr()
    assert out == f"goes logged_model {model.pk}\n"
    assert "0 runs, 1 logged models and 0 experiments" in errors
