"""Rounds and ends that jobs report, and the model version of a study."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse

from apps.core.errors import Conflict, Refused
from apps.ml.federation import services
from apps.ml.federation.models import Study
from apps.ml.federation.presenters import describe_study_step, list_comparison_rows, list_round_rows
from apps.platform.artifacts.services import store_file
from apps.platform.jobs.models import JobOutput
from apps.platform.lineage.models import Edge
from apps.web.search.finders import search

pytestmark = pytest.mark.django_db
AUC = {"value": 0.81, "low": 0.7, "high": 0.9}


@pytest.fixture
def running(actor, study, invite, enrol, site_actor, other_project) -> Study:
    for name in ("budapest", "cleveland", "hungary"):
        enrol(services.import_study(actor=site_actor, project=other_project, content=invite(name)))
    services.remove_site(actor=actor, site=study.sites.get(name="budapest"), reason="withdrew")
    return services.start_study(actor=actor, study=study)


@pytest.fixture
def completed(running, worker_actor, actor, project, tmp_path) -> Study:
    for number in (1, 2, 2):
        services.record_round(
            actor=worker_actor,
            study=running,
            number=number,
            sites_count=2,
            metrics={"norm": {"cleveland": 0.8}, "missing": []},
            epsilon=4.5 - 1.5 * number,  # who had spent most has left
        )
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    artifact = store_file(actor=actor, project=project, path=path, name=path.name)
    JobOutput.objects.create(job=running.job, slot="weights", artifact=artifact, name=path.name, media_type="")
    metrics = {"federated": AUC, "local": {**AUC, "low": None}}
    result = {"sites": [{"name": "hungary", "metrics": None}, {"name": "cleveland", "metrics": metrics, "updates": 2}]}
    done = services.complete_study(actor=worker_actor, job=running.job, result=result)
    assert done is not None
    return done


def test_the_result_is_a_version_whose_lineage_names_the_sites(completed, actor, project, web, engineer):
    assert (completed.state, completed.rounds.count()) == ("completed", 2)
    study = services.register_result(actor=actor, study=completed, model="heart-risk")
    version = study.result_version
    facts = json.loads(version.document)["federation"]
    assert (facts["sites"], facts["rounds"], facts["epsilon"]) == (["cleveland", "hungary"], 2, 3.0)
    assert facts["privacy"]["epsilon"] == 4.0
    assert [row.path for row in version.files.all()] == ["model.safetensors"]
    sites = Edge.objects.filter(project=project, role="site").order_by("source_label")
    assert [edge.source_label for edge in sites] == ["heart: cleveland", "heart: hungary"]
    assert not Edge.objects.filter(source_type="dataset_version").exists()
    assert version.tags.get(key="federation.sites").value == "cleveland, hungary"
    shown = web(engineer).get(reverse("registry:version", args=[project.slug, "heart-risk", 1])).text
    assert "cleveland, hungary" in shown
    with pytest.raises(Conflict) as caught:
        services.register_result(actor=actor, study=study, model="heart-risk")
    assert caught.value.code == "already_registered"


def test_a_study_that_runs_has_no_result(running, actor, actor_for, viewer, worker_actor):
    with pytest.raises(Conflict):
        services.register_result(actor=actor, study=running, model="x")
    with pytest.raises(Refused):
        services.record_round(actor=actor, study=running, number=1, sites_count=2)
    services.stop_study(actor=actor, study=running)
    assert services.complete_study(actor=worker_actor, job=running.job, result={}) is None


def test_quality_per_site_with_intervals(completed):
    rows = list_comparison_rows(completed.result)
    assert rows[0] == {"site": "cleveland", "cells": ["0.810", "0.810 (0.700–0.900)", "–"], "updates": 2}
    assert rows[1]["cells"] == ["–", "–", "–"]
    assert list_comparison_rows({"sites": {"a": 1}}) == list_comparison_rows({}) == []


def test_what_has_no_pooled_figure_says_why(completed, web, engineer, project):
    page = web(engineer).get(reverse("federation:study", args=[project.slug, completed.pk])).text
    assert ("Pooled" in page, "rows never leave" in page) == (False, True)
    completed.result["sites"][1]["metrics"]["pooled"] = AUC
    completed.save()
    page = web(engineer).get(reverse("federation:study", args=[project.slug, completed.pk])).text
    assert ("Pooled" in page, "rows never leave" in page) == (True, False)


def test_a_study_is_found_by_its_name(completed, actor_for, engineer, hospital, stranger):
    def find(who, text):
        groups = search(actor_for(who), text, kind="study").groups
        return [hit.title for group in groups for hit in group.hits]

    assert find(engineer, "completed heart") == ["heart"]
    assert sorted(find(hospital, "heart")) == ["heart at budapest", "heart at cleveland", "heart at hungary"]
    assert find(hospital, "hung") == ["heart at hungary"]
    assert (find(engineer, "hungary"), "heart" in find(stranger, "heart")) == ([], False)  # of the other project


def test_rounds_and_a_job_that_has_stopped(completed, running, client):
    rows = list_round_rows(list(completed.rounds.order_by("number")))
    assert rows[1]["metrics"] == [("norm", "cleveland 0.8")]
    running.job.state = "failed"
    assert "retry it there" in describe_study_step(running, 2)


def test_the_end_of_a_site(approved, site_actor, worker_actor):
    row = services.join_study(actor=site_actor, site_study=approved)
    done = services.complete_site_study(actor=worker_actor, job=row.job, result={"rounds": 3})
    assert (done.state, done.result) == ("completed", {"rounds": 3})
    assert services.complete_site_study(actor=worker_actor, job=row.job, result={}) is None
