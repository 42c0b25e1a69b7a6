import ast
from pathlib import Path

import pytest

from apps.core.errors import Invalid
from apps.data.datasets.models import Dataset
from apps.data.datasets.versions.registration import ensure_dataset

ROOT = Path(__file__).parents[5]
ENTRY = "apps/data/datasets/versions/registration.py"


def is_version_insert(node):
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("create", "bulk_create", "get_or_create", "update_or_create")
        and "DatasetVersion." in ast.unparse(node.func)
    )


def test_versions_are_created_in_one_module():
    files = [file for folder in ("apps", "workers", "controlplane") for file in (ROOT / folder).rglob("*.py")]
    creators = {
        str(file.relative_to(ROOT))
        for file in files
        if "DatasetVersion" in (text := file.read_text()) and any(map(is_version_insert, ast.walk(ast.parse(text))))
    }
    assert creators == {ENTRY}


@pytest.mark.django_db
def test_ensured_dataset_is_created_once(actor_for, engineer, project):
    first = ensure_dataset(actor=actor_for(engineer), project=project, name="wti")
    again = ensure_dataset(actor=actor_for(engineer), project=project, name="wti")
    assert first == again
    assert Dataset.objects.filter(project=project).count() == 1


@pytest.mark.django_db
def test_name_that_is_no_slug_creates_no_dataset(actor_for, engineer, project):
    with pytest.raises(Invalid):
        ensure_dataset(actor=actor_for(engineer), project=project, name="No Slug")
    assert not Dataset.objects.exists()
