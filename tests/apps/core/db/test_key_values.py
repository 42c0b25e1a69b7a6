"""A key has one value, through the related manager of its object, and its table keeps the others."""

from __future__ import annotations

import pytest

from apps.core.db.key_values import KeyValue
from apps.ml.registry.models import Model, ModelTag

pytestmark = pytest.mark.django_db


@pytest.fixture
def model(project):
    return Model.objects.create(project=project, name="prices")


def test_a_key_is_set_changed_and_deleted(model, project):
    other = Model.objects.create(project=project, name="other")
    other.tags.set_value("owner", "eve")
    model.tags.set_value("owner", "ann")
    model.tags.set_value("owner", "bob")
    assert dict(model.tags.values_list("key", "value")) == {"owner": "bob"}
    assert [model.tags.delete_key("owner"), model.tags.delete_key("owner")] == [True, False]
    assert ModelTag.objects.get().value == "eve"


def test_every_table_of_tags_and_parameters_is_one():
    tables = {model._meta.db_table for model in KeyValue.__subclasses__()}
    of_runs = {"experiments_experimenttag", "experiments_runtag", "experiments_runparam"}
    of_models = {"experiments_loggedmodeltag", "experiments_loggedmodelparam"}
    assert tables == of_runs | of_models | {"registry_modeltag", "registry_modelversiontag"}
