from __future__ import annotations

import pytest

from apps.core.actors import ProjectRole
from apps.core.errors import NotFound, Refused
from apps.platform.accounts.models import Membership
from apps.platform.artifacts.models import Holding
from apps.platform.artifacts.services import adopt, hold


@pytest.fixture
def theirs(worker_actor, other_project):
    return adopt(actor=worker_actor, project=other_project, digest="cd" * 32, size=3, name="theirs")


def test_a_member_of_both_projects_may_share(engineer, actor_for, project, other_project, theirs):
    Membership.objects.create(project=other_project, user=engineer, role=ProjectRole.VIEWER)
    for _ in range(2):
        held = hold(actor=actor_for(engineer), project=project, artifact=theirs, name="mine")
    assert (held.project, held.name, Holding.objects.count()) == (project, "mine", 2)


def test_what_one_cannot_see_one_cannot_hold(engineer, actor_for, project, theirs):
    with pytest.raises(NotFound):
        hold(actor=actor_for(engineer), project=project, artifact=theirs)


@pytest.mark.parametrize(("who", "error"), [("viewer", Refused), ("stranger", NotFound)])
def test_others_may_not(request, actor_for, project, theirs, who, error):
    with pytest.raises(error):
        hold(actor=actor_for(request.getfixturevalue(who)), project=project, artifact=theirs)
