"""A version that a client registered is measured by predictions: who may, what is refused, and what is written down."""

import json
from dataclasses import replace

import pytest
from django.db import IntegrityError, transaction

from apps.core.actors import ProjectRole
from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.ml.registry.models import Evaluation
from apps.ml.registry.services.predictions import register_predictions, submit_predictions
from apps.platform.artifacts.models import Artifact
from apps.platform.audit.models import AuditRecord
from apps.platform.jobs.models import Job
from apps.platform.jobs.states import JobState
from apps.platform.jobs.submission import InputSpec, Submission
from apps.platform.jobs.submission_validation import validate_submission
from tests.apps.ml.registry.measured import series
from tests.conftest import member

pytestmark = pytest.mark.django_db


@pytest.fixture
def given(held):
    return held(b"prediction\n1.0\n").digest


@pytest.fixture
def submit(actor_for, engineer, given, a_set):
    """submit(version, ...) -> (job, whether it is new)"""

    def do(version, on=None, who=engineer, **asked):
        asked = {"predictions": given, "horizon": 1} | asked
        return submit_predictions(actor=actor_for(who), version=version, on=on or a_set(), **asked)

    return do


def test_the_job_takes_the_predictions_and_the_table_of_the_set(by_client, submit, a_set, given):
    version, on = by_client(), a_set(spec={"seed": 3})
    job, new = submit(version, on, horizon=2)
    assert (new, job.kind) == (True, "evaluate_predictions")
    assert job.register == {"evaluation": "later-r1", "version": str(version.pk)}
    assert dict(job.inputs.values_list("slot", "artifact_id")) == {"predictions": given, "table": on.table_id}
    spec = json.loads(job.spec)
    assert [spec[name] for name in ("task", "target", "horizon", "seed")] == ["forecast", "close", 2, 3]
    assert submit(version, on, horizon=2) == (job, False)
    Job.objects.update(state=JobState.SUCCEEDED)
    assert submit(version, on, horizon=2)[1] is True


INVALID_REQUESTS = [
    ({"predictions": "0" * 64}, "artifact_not_found", "predictions"),
    ({"predictions": "no digest"}, "artifact_not_found", "predictions"),
    ({"horizon": None}, "horizon_unknown", "horizon"),
    ({"horizon": 0}, "out_of_range", "horizon"),
    ({"horizon": 4097}, "out_of_range", "horizon"),
]


def test_what_cannot_be_measured_is_named(by_client, submit, a_set):
    version, on = by_client(), a_set()
    for asked, code, field in INVALID_REQUESTS:
        with pytest.raises(Invalid) as caught:
            submit(version, on, **asked)
        assert (caught.value.code, caught.value.field) == (code, field), asked
        assert caught.value.limit, asked
    assert not Job.objects.exists()


def test_only_a_forecast_has_a_horizon(by_client, submit, a_set):
    with pytest.raises(Invalid) as caught:
        submit(by_client(), a_set(task="regression"))
    assert caught.value.code == "horizon_not_taken"


def test_damaged_predictions_are_refused(by_client, submit, given):
    version = by_client()
    Artifact.objects.filter(pk=given).update(damaged_at=version.created_at)
    with pytest.raises(Invalid) as caught:
        submit(version)
    assert (caught.value.code, caught.value.field) == ("artifact_damaged", "predictions")


def test_of_another_project_they_are_not_seen(by_client, submit, held, stranger, project):
    other = type(project).objects.get_or_create(slug="other")[0]
    with pytest.raises(Invalid) as caught:
        submit(by_client(), predictions=held(b"theirs", other).digest)
    assert caught.value.code == "artifact_not_found"


def test_a_version_that_the_plane_runs_takes_none(registered, submit):
    with pytest.raises(Invalid) as caught:
        submit(registered())
    assert (caught.value.code, caught.value.field) == ("predictions_not_taken", "predictions")
    assert "Leave predictions out" in caught.value.hint


def test_who_may_not_submit_jobs_measures_nothing(by_client, submit, a_set, viewer, approver, stranger):
    version, on = by_client(), a_set()
    for who, error in ((viewer, Refused), (approver, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            submit(version, on, who=who)
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("others", "spec", "target", "task"),
    [
        ("forecast", {}, "close", "regression"),
        ("", {"positive": "yes"}, "close", "classification"),
        ("", {}, "region", "classification"),
        ("classification", {}, "close", "classification"),
    ],
)
def test_a_ranking_is_of_what_the_others_are_or_of_the_target(
    by_client, registered, submit, a_set, dataset_version, others, spec, target, task
):
    dataset_version.columns = [{"name": "close", "dtype": "double"}, {"name": "region", "dtype": "string"}]
    dataset_version.save()
    if others:
        other = registered()
        type(other).objects.filter(pk=other.pk).update(task=others)
    on = a_set(task="ranking", target=target, spec={"group": "region", **spec})
    job, _ = submit(by_client(), on, horizon=None)
    assert json.loads(job.spec)["task"] == task


def test_a_job_by_hand_names_a_version_of_a_client(registered, a_set, project, actor_for, engineer, given):
    trained, on, who = str(registered().pk), a_set(), actor_for(engineer)
    inputs = [InputSpec(slot="predictions", digest=given), InputSpec(slot="table", digest=on.table_id)]
    spec = {"task": "forecast", "target": "close", "horizon": 1}
    asked = Submission(kind="evaluate_predictions", spec=spec, inputs=inputs)
    for key in ("", "x", "0", "9" * 30, trained):
        with pytest.raises(Invalid) as caught:
            validate_submission(who, project, replace(asked, register={"evaluation": "later-r1", "version": key}))
        assert caught.value.field == "/register/version", key


@pytest.mark.parametrize(("given_alone", "lacking"), [("evaluation", "version"), ("version", "evaluation")])
def test_a_job_by_hand_registers_by_both_names_or_none(
    by_client, a_set, project, actor_for, engineer, given, given_alone, lacking
):
    names, on = {"evaluation": "later-r1", "version": str(by_client().pk)}, a_set()
    inputs = [InputSpec(slot="predictions", digest=given), InputSpec(slot="table", digest=on.table_id)]
    spec = {"task": "forecast", "target": "close", "horizon": 1}
    asked = Submission(
        kind="evaluate_predictions", spec=spec, inputs=inputs, register={given_alone: names[given_alone]}
    )
    with pytest.raises(Invalid) as caught:
        validate_submission(actor_for(engineer), project, asked)
    assert (caught.value.code, caught.value.field) == ("register_incomplete", f"/register/{lacking}")


def test_another_horizon_or_another_person_is_another_job(by_client, submit, a_set, project):
    version, on = by_client(), a_set()
    first, _ = submit(version, on)
    assert submit(version, on, horizon=2)[0] != first
    assert submit(version, on, who=member(project, "second", ProjectRole.ENGINEER))[0] != first
    assert submit(version, on) == (first, False)


# -- the bar --------------------------------------------------------------------------------------------------------
@pytest.fixture
def baseline(by_client, a_set, measure_predictions):
    """A version of a client with figures on the set."""
    version = by_client()
    measure_predictions(version, a_set(), 1.0, 0.0, job=7)
    return version


def test_who_asks_for_a_promotion_does_not_lower_the_bar(baseline, approved, submit, ended, by_client):
    on = baseline.evaluations.get().set
    submit(baseline, on)  # as long as nothing is compared with it
    Job.objects.update(state=JobState.SUCCEEDED)
    approved(baseline)
    with pytest.raises(Conflict) as caught:
        submit(baseline, on)
    assert (caught.value.code, caught.value.field) == ("baseline_measured", "predictions")
    with pytest.raises(Conflict):  # queued before the promotion
        ended(baseline, on)
    approved(by_client())
    with pytest.raises(Conflict):  # a rollback may lead there again
        submit(baseline, on)


def test_the_baseline_of_a_gate_is_the_bar_too(baseline, gate, submit):
    on = baseline.evaluations.get().set
    gate(baseline.model, on, baseline=baseline)
    with pytest.raises(Conflict):
        submit(baseline, on)


def test_an_approver_may_replace_its_figures(baseline, approved, submit, project):
    on = baseline.evaluations.get().set
    approved(baseline)
    assert submit(baseline, on, who=member(project, "both", ProjectRole.ENGINEER, ProjectRole.APPROVER))[1]


# -- what the job leaves --------------------------------------------------------------------------------------------
@pytest.fixture
def ended(worker_actor, project, held, job_of, given, a_set):
    """ended(version, **of the document) -> what is registered of a job that measured its predictions."""

    def do(version, on=None, **changed):
        on = on or a_set()
        document = {
            "schema": "plane/evaluation/v1",
            "task": "forecast",
            "target": "close",
            "predictions": given,
            "table": on.table_id,
            "rows": 40,
            "spec": {**on.spec, "task": "forecast", "target": "close", "horizon": 1},
            "pairing": "p" * 64,
            "metrics": [],
        } | changed
        text = json.dumps(document, sort_keys=True, indent=1) + "\n"
        job = job_of("evaluate_predictions", {"predictions": Artifact.objects.get(pk=given), "table": on.table})
        outputs = [
            ("evaluation", held(text.encode()), "evaluation.json", "x/y", document),
            ("replicates", held(json.dumps(series("rmse", "lower", 1.0, [1.0])).encode()), "r.json", "x/y", {}),
        ]
        asked = {"project": project, "set_name": "later-r1", "outputs": outputs, "job": job}
        made = register_predictions(actor=worker_actor, version_key=str(version.pk), **asked)
        return made, asked

    return do


def test_the_evaluation_says_who_gave_which_predictions(by_client, ended, given, worker_actor):
    version = by_client()
    made, asked = ended(version)
    assert (made.version, made.variant, made.form) == (version, None, "predictions")
    assert (made.predictions_id, made.created_by) == (given, "engineer")
    body = json.loads(AuditRecord.objects.get(action="evaluation.register").body)
    assert given in json.dumps(body)
    assert register_predictions(actor=worker_actor, version_key=str(version.pk), **asked) == made
    assert Evaluation.objects.count() == 1


def test_a_document_of_something_else_is_refused(by_client, ended, a_set):
    version, on = by_client(), a_set()
    for changed in (
        {"predictions": "0" * 64},
        {"table": "0" * 64},
        {"task": "regression"},
        {"target": "open"},
        {"spec": {"task": "forecast", "target": "close", "seed": 5}},
    ):
        with pytest.raises(Invalid) as caught:
            ended(version, on, **changed)
        assert caught.value.code == "evaluation_document", changed
    assert not Evaluation.objects.exists()


def test_a_version_that_was_deleted_meanwhile_gets_none(by_client, ended):
    version = by_client()
    type(version).objects.filter(pk=version.pk).update(deleted_at=version.created_at)
    with pytest.raises(Invalid) as caught:
        ended(version)
    assert caught.value.code == "predictions_not_taken"


def test_only_a_worker_registers(by_client, ended, actor_for, engineer):
    version = by_client()
    _, asked = ended(version)
    with pytest.raises(Refused):
        register_predictions(actor=actor_for(engineer), version_key=str(version.pk), **asked)


def test_the_table_takes_no_evaluation_of_neither_or_of_both(registered, measure, a_set):
    made = measure(registered(), a_set(), 1.0)
    for fields in ({"variant": None}, {"predictions": made.artifact_id}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Evaluation.objects.filter(pk=made.pk).update(**fields)
