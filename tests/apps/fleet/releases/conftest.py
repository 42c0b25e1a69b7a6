"""Releases of models that were never trained; keys in files of the test's own folder."""

from __future__ import annotations

import pytest

from apps.core.actors import PlaneRole, build_plane_actor
from apps.fleet.releases.samples import KIND
from apps.fleet.releases.services import create_key, issue_release
from apps.ml.registry.models import Variant
from tests.apps.ml.registry.conftest import (  # noqa: F401  fixtures
    _own_store,
    approved,
    default_experiment,
    forms,
    held,
    job_of,
    registered,
    spoil,
    store_files,
)


@pytest.fixture
def operator():
    return build_plane_actor(PlaneRole.OPERATOR, host="test")


@pytest.fixture
def key(db, operator):
    """The first key."""
    return create_key(actor=operator)


@pytest.fixture
def make_variant(registered):  # noqa: F811
    """make_variant(name, ...) -> one form of a new version, compiled for x86_64 unless another is named."""

    def make(name="tvm-x86_64", arch="x86_64", **more) -> Variant:
        version = registered(names=("fp32", "int8", "tvm-x86_64"), **more)
        version.variants.filter(name="tvm-x86_64").update(machine={"arch": arch})
        related = ("version__model__project", "artifact", "manifest")
        return version.variants.select_related(*related).get(name=name)

    return make


@pytest.fixture
def add_samples(job_of, held):  # noqa: F811
    """add_samples(variant) -> the samples that a job has made of it."""

    def add(variant):
        samples = held(f"samples of {variant.pk}".encode(), variant.version.model.project)
        job_of(KIND, {"manifest": variant.manifest}, {"samples": samples}, variant.version.model.project)
        return samples

    return add


@pytest.fixture
def variant(make_variant, approved, add_samples):  # noqa: F811
    """A compiled variant of a version that is in production, with its samples."""
    made = make_variant()
    approved(made.version)
    add_samples(made)
    return made


@pytest.fixture
def issue(actor_for, engineer):
    """issue(variant, ...) -> its release."""
    return lambda of, who=None, **more: issue_release(actor=who or actor_for(engineer), variant=of, **more)


@pytest.fixture
def url(project):
    return lambda tail="": f"/api/v1/projects/{project.slug}/releases{tail}"
