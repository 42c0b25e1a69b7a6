"""Who hears of an approval request, of its void, and of the end of a study."""

from __future__ import annotations

import pytest

from apps.ml.federation import services
from apps.platform.notices.models import Notice
from tests.apps.ml.federation.conftest import ROWS
from tests.conftest import member

pytestmark = pytest.mark.django_db


def list_notices() -> set[tuple[str, str]]:
    return {(notice.kind, notice.recipient.username) for notice in Notice.objects.select_related("recipient")}


def test_who_asked_and_who_approved_hear_of_a_site(
    approved, site_actor, worker_actor, other_project, add_table, decide
):
    assert ("approval.requested", "doctor") in list_notices()
    version = add_table(site_actor, other_project, ROWS + "50,1,1\n", "more")
    services.bind_data(actor=site_actor, site_study=approved, version=version)
    assert {row for row in list_notices() if row[0].startswith("site_study")} == {("site_study.void", "doctor")}
    decide(services.request_participation(actor=site_actor, site_study=approved))
    row = services.join_study(actor=site_actor, site_study=approved)
    services.complete_site_study(actor=worker_actor, job=row.job, result={})
    ended = {("site_study.ended", "doctor"), ("site_study.ended", "hospital")}
    assert {row for row in list_notices() if row[0] == "site_study.ended"} == ended
    message = str(Notice.objects.filter(kind="site_study.ended").first().message)
    assert "has completed the federated study" in message


def test_engineers_and_approvers_hear_of_the_end_of_a_study(study, actor, project, engineer):
    member(project, "head", "approver")
    member(project, "colleague", "engineer")
    member(project, "guest", "viewer")
    services.stop_study(actor=actor, study=study)
    ended = {name for kind, name in list_notices() if kind == "study.ended"}
    assert {"head", "colleague"} <= ended
    assert not {"guest", engineer.username} & ended
