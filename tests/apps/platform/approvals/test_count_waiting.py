"""The number beside Home: counted by a kept statement, and always that of the list."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.core.actors import ProjectRole, SystemRole
from apps.platform.accounts.models import ApiToken, CredentialChange, Membership, Project, User
from apps.platform.nodes.models import Node
from apps.web.action_items import count_action_items, filter_own_approvals, list_action_items
from tests.conftest import member

pytestmark = pytest.mark.services


def test_the_kept_statement_counts_what_the_list_shows(
    ask, decide, approver, second, engineer, viewer, two_needed, actor_for
):
    project = two_needed.project
    both = member(project, "both", ProjectRole.ENGINEER, ProjectRole.APPROVER)
    elsewhere = [
        member(Project.objects.create(slug=slug, name=slug), slug, ProjectRole.APPROVER) for slug in ("first", "third")
    ]
    Membership.objects.create(project=project, user=elsewhere[0], role=ProjectRole.VIEWER)
    Membership.objects.create(project=project, user=elsewhere[1], role=ProjectRole.APPROVER)
    approvals = [ask(), ask(subject_id=8), ask(subject_id=9, by=actor_for(both))]
    decide(approver, approvals[0])
    people = [approver, second, engineer, viewer, both, *elsewhere]
    counted = {person.username: count_action_items(actor_for(person)) for person in people}
    assert counted == {person.username: filter_own_approvals(actor_for(person)).count() for person in people}
    days = {"soon": 3, "later": 30}
    for name, left in days.items():
        ends = timezone.now() + timedelta(days=left)
        ApiToken.objects.create(project=project, user=viewer, name=name, prefix="dso_", digest=name, expires_at=ends)
    assert count_action_items(actor_for(viewer)) == 1
    assert counted == {"approver": 2, "second": 3, "engineer": 0, "viewer": 0, "both": 2, "first": 0, "third": 3}


@pytest.mark.parametrize("role", list(SystemRole))
def test_administrators_are_counted_what_their_list_shows(db, actor_for, role):
    person = User.objects.create(username="officer", system_role=role, password="!")
    newcomer = User.objects.create(
        username="newcomer", system_role="security_admin", must_change_password=False, password="!"
    )
    CredentialChange.objects.create(user=newcomer, kind="password", by=User.objects.create(username="other"))
    Node.objects.create(name="silent", host="h", queues=["cpu"], cpus=1, memory_bytes=1)
    actor = actor_for(person)
    assert count_action_items(actor) == len(list_action_items(actor)) > 0
