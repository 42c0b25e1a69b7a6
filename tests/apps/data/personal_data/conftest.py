"""A dataset with a column of telephone numbers, and who marks it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.data.datasets.services import create_dataset
from apps.data.datasets.versions.registration import add_version
from apps.data.personal_data.services import mark_column
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.stores import get_store

PEOPLE_CSV = (
    "name,phone,mail,grade\n王伟,13812345678,a@plant.cn,1\n李娜,13912345678,b@plant.cn,2\n张敏,13712345678,c@plant.cn,3\n"
).encode()


@pytest.fixture
def dataset(worker_actor, project):
    made = create_dataset(actor=worker_actor, project=project, name="people")
    with get_store().open_staging() as staging:
        staging.write(PEOPLE_CSV)
        digest, size = staging.publish()
    artifact = Artifact.objects.create(digest=digest, size=size)
    Holding.objects.create(project=project, artifact=artifact, name="people.csv", media_type="text/csv")
    made.version = add_version(
        actor=worker_actor,
        dataset=made,
        files=[("table.csv", artifact, "text/csv")],
        media_type="text/csv",
        rows=3,
        columns=[{"name": name, "dtype": "string"} for name in ("name", "phone", "mail", "grade")],
        script="test",
        params={},
    )[0]
    made.digest = digest
    return made


@pytest.fixture
def mark_values():
    """What a mark says, of a column that is used for another thirty days."""
    return {
        "column": "phone",
        "category": "phone",
        "purpose": "Shift planning",
        "legal_basis": "contract",
        "retain_until": timezone.localdate() + timedelta(days=30),
    }


@pytest.fixture
def mark(dataset, engineer, actor_for, mark_values):
    return mark_column(actor=actor_for(engineer), dataset=dataset, **mark_values)
