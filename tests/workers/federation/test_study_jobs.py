"""A study through workers: its server and two sites in sandboxes of their own, with real certificates."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from apps.ml.federation import services
from apps.ml.federation.models import LedgerEntry, SiteStudy, Study
from apps.platform.jobs.models import Job
from deepseek.federated.ledger import verify_entries
from deepseek.federated.spec import LedgerEntry as Line
from workers import tasks

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


def run_one() -> None:
    try:
        tasks.run_next("cpu")
    finally:
        connection.close()


def run_all(count: int) -> None:
    threads = [threading.Thread(target=run_one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)


def test_a_study_runs_from_its_approvals_to_its_result(worker, study, site_studies, coordinator, hospital, tmp_path):
    services.start_study(actor=coordinator, study=study, options={"join_seconds": 240, "round_seconds": 120})
    for row in site_studies:
        services.join_study(actor=hospital, site_study=row)
    run_all(3)
    assert [(job.kind, job.state, job.error) for job in Job.objects.exclude(state="succeeded")] == []
    study = Study.objects.get(pk=study.pk)
    assert (study.state, study.result["rounds"][1]["sites"]) == ("completed", ["north", "south"])
    assert list(study.rounds.order_by("number").values_list("number", "sites_count")) == [(1, 2), (2, 2)]
    for row in SiteStudy.objects.all():
        lines = [
            Line.model_validate(each)
            for each in LedgerEntry.objects.filter(site_study=row).order_by("pk").values_list("document", flat=True)
        ]
        verify_entries(lines, public_key=row.public_key)
        assert [line.kind for line in lines] == ["join", "update", "update", "evaluation"]
        assert (row.state, row.result["federated"]["value"] > 0.5) == ("completed", True)
    assert list((tmp_path / "federation").rglob("*.key")) == []  # only while a job runs
    services.register_result(actor=coordinator, study=study, model="heart-risk")
    assert Study.objects.get(pk=study.pk).result_version.digest
