import pytest
from django.utils import timezone

from apps.core.errors import Conflict, Invalid, NotFound, PlaneError, Refused
from apps.ml.registry.evaluations.sets import find_set
from apps.ml.registry.models import EvaluationSet, Gate
from apps.ml.registry.services.evaluations import create_evaluation_set, get_gate, remove_gate, submit_evaluation
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db


# -- sets -----------------------------------------------------------------------------------------------------------
def test_a_set_holds_its_table_and_what_decides_the_figures(a_set, dataset_version):
    made = a_set(spec={"slices": [{"column": "region"}], "seed": 3})
    assert (made.number, made.primary_metric, made.dataset_version) == (1, "rmse", dataset_version)
    assert made.table_id == dataset_version.files.get().artifact_id
    assert (made.spec["seed"], made.spec["slices"]) == (3, [{"column": "region", "bins": None}])
    assert "runs" not in made.spec
    assert AuditRecord.objects.filter(action="evaluation_set.create", object_id=str(made.pk)).count() == 1


def test_a_revision_supersedes_and_the_one_before_stays(a_set, project):
    first = a_set()
    with pytest.raises(Conflict) as caught:
        a_set()
    assert (caught.value.code, "supersede" in caught.value.hint) == ("evaluation_set_exists", True)
    second = a_set(supersede=True, spec={"seed": 1})
    assert find_set(project, "later") == second
    assert find_set(project, "later-r1") == first
    assert EvaluationSet.objects.get(pk=first.pk).superseded_at is not None
    with pytest.raises(NotFound):
        find_set(project, "later-r3")


INVALID_SETS = [
    ({"name": "Later"}, "name"),
    ({"name": "later-r2"}, "name"),
    ({"name": "x" * 40}, "name"),
    ({"task": "poetry"}, "task"),
    ({"target": ""}, "target"),
    ({"target": "open"}, "target"),
    ({"primary_metric": "accuracy"}, "primary_metric"),
    ({"spec": {"slices": [{"column": "planet"}]}}, "/spec/slices/0/column"),
    ({"spec": {"seed": -1}}, "/spec/seed"),
    ({"spec": {"nothing": 1}}, "/spec/nothing"),
    ({"spec": {"group": "region"}}, "/spec/group"),
    ({"task": "ranking"}, "/spec/group"),
    ({"description": "x" * 501}, "description"),
]


def test_an_invalid_set_is_refused_by_field(a_set):
    for asked, field in INVALID_SETS:
        with pytest.raises(Invalid) as caught:
            a_set(**asked)
        assert caught.value.field == field, asked
    assert not EvaluationSet.objects.exists()


def test_only_an_engineer_makes_a_set(actor_for, viewer, approver, stranger, project, dataset_version):
    asked = {"name": "later", "dataset_version": dataset_version, "task": "forecast", "target": "close"}
    for who, error in ((viewer, Refused), (approver, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            create_evaluation_set(actor=actor_for(who), project=project, **asked)


# -- measuring ------------------------------------------------------------------------------------------------------
def test_a_version_is_measured_once_at_a_time(actor_for, engineer, registered, a_set):
    version, on = registered(), a_set()
    who = actor_for(engineer)
    job, new = submit_evaluation(actor=who, version=version, on=on, variant="int8", timing={"runs": 20})
    assert (new, job.kind, job.register) == (True, "evaluate", {"evaluation": "later-r1"})
    given = dict(job.inputs.values_list("slot", "artifact_id"))
    variant = version.variants.get(name="int8")
    assert given == {"model": variant.artifact_id, "manifest": variant.manifest_id, "table": on.table_id}
    assert submit_evaluation(actor=who, version=version, on=on, variant="int8") == (job, False)
    assert submit_evaluation(actor=who, version=version, on=on)[1] is True


@pytest.mark.parametrize(
    ("asked", "code"), [({"variant": "int4"}, "no_variant"), ({"task": "regression"}, "set_mismatch")]
)
def test_what_does_not_fit_is_refused(asked, code, actor_for, engineer, registered, a_set):
    on = a_set(**({"task": asked["task"]} if "task" in asked else {}))
    with pytest.raises(Invalid) as caught:
        submit_evaluation(actor=actor_for(engineer), version=registered(), on=on, variant=asked.get("variant", ""))
    assert caught.value.code == code


def test_files_of_a_client_cannot_be_measured(actor_for, engineer, registered, a_set):
    version = registered()
    version.variants.order_by("-pk").first().delete()
    version.variants.all().delete()
    with pytest.raises(Invalid, match="a client registered its files"):
        submit_evaluation(actor=actor_for(engineer), version=version, on=a_set())


def test_who_may_not_submit_jobs_measures_nothing(actor_for, viewer, stranger, registered, a_set):
    version, on = registered(), a_set()
    for who, error in ((viewer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            submit_evaluation(actor=actor_for(who), version=version, on=on)


# -- gates ----------------------------------------------------------------------------------------------------------
def test_a_gate_is_replaced_and_the_one_before_stays(registered, a_set, gate):
    model, on = registered().model, a_set()
    first, second = gate(model, on), gate(model, on, margin=0.5)
    assert (second.metric, second.better, second.confidence) == ("rmse", "lower", 0.95)
    assert list(Gate.objects.filter(removed_at=None)) == [second]
    record = AuditRecord.objects.filter(action="gate.set").latest("id")
    assert '"margin":0.5' in record.body.replace(" ", "")
    assert Gate.objects.filter(pk=first.pk).exists()


INVALID_GATES = [
    ({"metric": "auc"}, "metric"),
    ({"margin": -0.1}, "margin"),
    ({"margin": float("nan")}, "margin"),
    ({"confidence": 1.0}, "confidence"),
    ({"confidence": 0.5}, "confidence"),
    ({"variant": "x" * 61}, "variant"),
]


def test_an_invalid_gate_is_refused_by_field(registered, a_set, gate):
    model, on = registered().model, a_set()
    for asked, field in INVALID_GATES:
        with pytest.raises(PlaneError) as caught:
            gate(model, on, **asked)
        assert caught.value.field == field, asked
    assert not Gate.objects.exists()


def test_a_gate_is_replaced_only_where_it_was_seen(registered, a_set, gate):
    model, on = registered().model, a_set()
    first = gate(model, on, seen=0)
    with pytest.raises(Conflict) as caught:
        gate(model, on, margin=0.2, seen=0)
    assert caught.value.code == "gate_stands"
    assert gate(model, on, margin=0.2, seen=first.pk).margin == 0.2


def test_a_baseline_is_a_version_of_the_model_that_is_there(registered, a_set, gate):
    version, on, other = registered(), a_set(), registered(name="other")
    gone = registered()
    gone.deleted_at = timezone.now()
    gone.save()
    for baseline in (other, gone):
        with pytest.raises(Invalid) as caught:
            gate(version.model, on, baseline=baseline)
        assert caught.value.field == "baseline"
    assert not Gate.objects.exists()


def test_only_an_approver_sets_and_lifts(actor_for, engineer, approver, stranger, registered, a_set, gate):
    model, on = registered().model, a_set()
    made = gate(model, on)
    for who, error in ((engineer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            remove_gate(actor=actor_for(who), gate=made, reason="I want to")
    with pytest.raises(Invalid):
        remove_gate(actor=actor_for(approver), gate=made, reason=" ")
    remove_gate(actor=actor_for(approver), gate=made, reason="the set is old")
    with pytest.raises(Conflict) as caught:
        remove_gate(actor=actor_for(approver), gate=made, reason="again")
    assert caught.value.code == "gate_removed"
    with pytest.raises(NotFound):
        get_gate(model, made.pk)
