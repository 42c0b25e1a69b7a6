from __future__ import annotations

import pytest

from apps.core.errors import Invalid, NotFound, Refused
from apps.platform.artifacts.services import adopt, get_artifact

DIGEST = "ef" * 32


@pytest.fixture
def held(worker_actor, project):
    return adopt(actor=worker_actor, project=project, digest=DIGEST, size=3)


def test_members_see_it(engineer, viewer, approver, actor_for, project, held):
    for who in (engineer, viewer, approver):
        assert get_artifact(actor=actor_for(who), project=project, digest=DIGEST) == held


def test_others_do_not(stranger, auditor, sysadmin, actor_for, project, held):
    for who, error in ((stranger, NotFound), (auditor, Refused), (sysadmin, Refused)):
        with pytest.raises(error):
            get_artifact(actor=actor_for(who), project=project, digest=DIGEST)


def test_what_another_project_holds_is_absent_here(stranger, actor_for, other_project, held):
    with pytest.raises(NotFound):
        get_artifact(actor=actor_for(stranger), project=other_project, digest=DIGEST)


def test_a_digest_is_a_digest(engineer, actor_for, project):
    with pytest.raises(Invalid):
        get_artifact(actor=actor_for(engineer), project=project, digest="..")
