"""The files that a node's servers are told to load."""

from __future__ import annotations

import pytest

from apps.ml.registry.models import Variant
from apps.platform.artifacts.models import Artifact
from workers.endpoints.keeper import build_targets

pytestmark = pytest.mark.django_db


def list_names(node, endpoint):
    replicas = list(endpoint.replicas.select_related("endpoint"))
    return [[name for name, _digest in target.version.files] for target in build_targets(node, replicas).values()]


def test_held_out_rows_that_stayed_on_another_plane_are_not_waited_for(node, version, create):
    """A version that came in a bundle names them; its server draws rows to check itself."""
    endpoint = create()
    variants = Variant.objects.filter(version=version)
    variants.update(heldout="a" * 64)
    [names] = list_names(node, endpoint)
    assert (len(names), "heldout.safetensors" in names) == (2, False)
    Artifact.objects.create(digest="a" * 64, size=1)
    assert [*names, "heldout.safetensors"] in list_names(node, endpoint)
