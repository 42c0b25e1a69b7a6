from __future__ import annotations

import pytest
from django.utils import timezone

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.artifacts.services import adopt

DIGEST = "ab" * 32


def test_rows_for_bytes_the_worker_stored(worker_actor, project):
    for _ in range(2):
        adopt(actor=worker_actor, project=project, digest=DIGEST, size=7, name="out.csv", media_type="text/csv")
    held = Holding.objects.get()
    assert (held.artifact_id, held.artifact.size, held.name, held.media_type) == (DIGEST, 7, "out.csv", "text/csv")


def test_fresh_bytes_of_a_damaged_artifact_make_it_whole(folder, stored, worker_actor, project):
    digest = stored(folder, b"weights")
    Artifact.objects.create(digest=digest, size=7, damaged_at=timezone.now())
    assert adopt(actor=worker_actor, project=project, digest=digest, size=7).damaged_at is None


def test_a_damaged_artifact_whose_bytes_are_not_there_stays_damaged(folder, worker_actor, project):
    Artifact.objects.create(digest=DIGEST, size=7, damaged_at=timezone.now())
    with pytest.raises(Conflict) as refused:
        adopt(actor=worker_actor, project=project, digest=DIGEST, size=7)
    assert (refused.value.code, Artifact.objects.get().damaged_at is None) == ("artifact_damaged", False)


@pytest.mark.parametrize(("who", "error"), [("engineer", Refused), ("viewer", Refused), ("stranger", NotFound)])
def test_nobody_gets_bytes_by_naming_their_digest(request, actor_for, project, who, error):
    with pytest.raises(error):
        adopt(actor=actor_for(request.getfixturevalue(who)), project=project, digest=DIGEST, size=7)


def test_a_digest_is_a_digest(worker_actor, project):
    with pytest.raises(Invalid):
        adopt(actor=worker_actor, project=project, digest="../x", size=7)
