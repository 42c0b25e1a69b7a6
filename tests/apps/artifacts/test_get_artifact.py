from __future__ import annotations

import pytest

from apps.artifacts.services import adopt, get_artifact
from apps.errors import Invalid, NotFound, Refused

DIGEST = "ef" * 32


@pytest.fixture
def held(worker_actor, project):
    return adopt(actor=worker_actor, project=project, digest=DIGEST, size=3)


@pytest.mark.parametrize("who", ["engineer", "viewer", "approver"])
def test_members_see_it(request, actor_for, project, held, who):
    assert get_artifact(actor=actor_for(request.getfixturevalue(who)), project=project, digest=DIGEST) == held


@pytest.mark.parametrize(("who", "error"), [("stranger", NotFound), ("auditor", Refused), ("sysadmin", Refused)])
def test_others_do_not(request, actor_for, project, held, who, error):
    with pytest.raises(error):
        get_artifact(actor=actor_for(request.getfixturevalue(who)), project=project, digest=DIGEST)


def test_what_another_project_holds_is_absent_here(stranger, actor_for, other_project, held):
    with pytest.raises(NotFound):
        get_artifact(actor=actor_for(stranger), project=other_project, digest=DIGEST)


def test_a_digest_is_a_digest(engineer, actor_for, project):
    with pytest.raises(Invalid):
        get_artifact(actor=actor_for(engineer), project=project, digest="..")
