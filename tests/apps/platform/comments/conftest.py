"""A run, two versions and an approval that people comment on."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.canonical import sha256_hex
from apps.data.datasets.models import Dataset, DatasetVersion
from apps.ml.experiments.models import Experiment, Run
from apps.ml.registry.models import Model, ModelVersion
from apps.platform.approvals.models import Approval


@pytest.fixture
def run(project):
    experiment = Experiment.objects.create(project=project, number=0, name="Default")
    return Run.objects.create(project=project, experiment=experiment, name="one", state="finished")


@pytest.fixture
def dataset_version(project):
    dataset = Dataset.objects.create(project=project, name="load", created_by="x", versions_count=1)
    facts = {"manifest": "{}", "media_type": "text/csv", "size": 1, "created_by": "x", "digest": "1" * 64}
    return DatasetVersion.objects.create(dataset=dataset, number=1, **facts)


@pytest.fixture
def model_version(project):
    model = Model.objects.create(project=project, name="plant", created_by="x", versions_count=1)
    document = '{"task": "", "target": "", "signature": {}, "note": "", "variants": []}'
    return ModelVersion.objects.create(
        model=model, number=1, digest="2" * 64, document=document, task="", target="", created_by="x"
    )


@pytest.fixture
def approval(project):
    facts = {"facts": "{}", "facts_digest": sha256_hex("{}"), "requester": "x", "needed": 1, "eligible": 1}
    deadline = timezone.now() + timedelta(days=1)
    return Approval.objects.create(
        project=project, subject_type="stand_in", subject_id="1", title="promote", deadline_at=deadline, **facts
    )


@pytest.fixture
def targets(run, dataset_version, model_version, approval):
    """[(type, id)] of one object of every type."""
    objects = {"run": run, "datasetversion": dataset_version, "modelversion": model_version, "approval": approval}
    return [(kind, str(obj.pk)) for kind, obj in objects.items()]


@pytest.fixture
def where(project):
    return lambda tail="": f"/api/v1/projects/{project.slug}/comments{tail}"


@pytest.fixture
def client(api, make_token, engineer):
    return api(make_token(engineer, scopes=["read", "runs:write"])[0])


@pytest.fixture
def add(client, where, run):
    """add(text, object_type="run", object_id=the run's) -> the answer."""

    def post(text, object_type="run", object_id=None):
        body = {"object_type": object_type, "object_id": object_id or run.pk, "text": text}
        return client.post(where(), body, format="json")

    return post
