import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.ml.experiments.models import Run
from apps.ml.sweeps.models import Sweep
from apps.platform.audit.models import AuditRecord
from tests.apps.ml.sweeps.conftest import SPACE

pytestmark = pytest.mark.django_db


def test_a_sweep_has_a_parent_run_and_is_recorded(start, project):
    sweep = start()
    assert (sweep.state, sweep.kind, sweep.name) == ("running", "noop", "try")
    assert (sweep.run.kind, sweep.run.state, sweep.run.job) == ("sweep", "running", None)
    assert dict(sweep.run.params.values_list("key", "value"))["space/value"] == "0.0 to 1.0"
    assert AuditRecord.objects.filter(action="sweep.submit", object_id=str(sweep.pk)).exists()


def test_the_same_key_finds_the_first_one(start):
    sweep = start(key="k")
    assert start(key="k") == sweep
    assert (Sweep.objects.count(), Run.objects.count()) == (1, 1)
    with pytest.raises(Conflict) as caught:
        start(key="k", trials=5)
    assert caught.value.code == "idempotency_conflict"


def test_creating_requires_an_engineer_of_the_project(start, actor_for, viewer, approver, stranger):
    for user, error in ((viewer, Refused), (approver, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            start(who=actor_for(user))
    assert not Sweep.objects.exists()


BAD = {
    "/kind": {"kind": "clean", "spec": {}},
    "/space/0/name": {"space": [{**SPACE[0], "name": "/nothing"}]},
    "/space/1/name": {"space": [SPACE[0], {**SPACE[0], "name": "/value/deep"}]},
    "/space/0/high": {"space": [{"type": "int", "name": "/steps", "low": 1, "high": 10**9}]},
    "/space/0/low": {"space": [{"type": "float", "name": "/steps", "low": 0.5, "high": 2}]},
    "/space/0/choices/1": {"space": [{"type": "choice", "name": "/fail", "choices": ["error", "oops"]}]},
    "/space/0": {"space": [{**SPACE[0], "low": 2.0}]},
    "/space": {"space": [SPACE[0], SPACE[0]]},
    "/trials": {"trials": 0},
    "/spec/seconds": {"spec": {"seconds": -1}},
    "/inputs/x/digest": {"inputs": {"x": {"digest": "a" * 64}}},
    "/register/experiment": {"experiment": "tuning"},
    "/name": {"name": "n" * 101},
    "/metric": {"metric": ""},
    "/unknown": {"unknown": 1},
}


def test_each_bad_field_is_named(start):
    found = {}
    for field, change in BAD.items():
        with pytest.raises(Invalid) as caught:
            start(**change)
        found[field] = [error["field"].split("/float")[0] for error in caught.value.errors]
    assert {field: fields for field, fields in found.items() if fields != [field]} == {}
    assert not Sweep.objects.exists()


def test_a_bound_that_holds_with_some_values_of_the_others_is_taken(start, create_artifact):
    schedule = [
        {"type": "float", "name": "/schedule/init_lr", "low": 1e-4, "high": 1e-2},
        {"type": "float", "name": "/schedule/max_lr", "low": 1e-3, "high": 1e-1},
    ]
    inputs = {"table": {"digest": create_artifact().digest}}
    spec = {"task": "regression", "target": "price"}
    start(kind="train", spec=spec, inputs=inputs, space=schedule, metric="validation_loss")
    spec = {**spec, "schedule": {"max_lr": 0.1}}
    with pytest.raises(Invalid) as caught:
        start(kind="train", spec=spec, inputs=inputs, space=[{**schedule[0], "high": 0.5}], metric="validation_loss")
    assert caught.value.field == "/space/0/high"


def test_a_language_model_is_tuned(start, create_artifact):
    """Its schedule, the rank of its adapters and its method are searched; what its spec refuses is named."""
    files = {slot: {"digest": create_artifact(f"{place}" * 64).digest} for place, slot in enumerate(("texts", "base"))}
    space = [
        {"type": "float", "name": "/schedule/max_lr", "low": 1e-4, "high": 1e-2, "log": True},
        {"type": "int", "name": "/lora/rank", "low": 1, "high": 64, "log": True},
        {"type": "choice", "name": "/method", "choices": ["lora", "full"]},
    ]
    body = {"kind": "train_language", "spec": {"schedule": {"init_lr": 1e-5}}, "inputs": files}
    sweep = start(**body, space=space, metric="validation_loss")
    assert sweep.kind == "train_language"
    bad = {
        "/space/0/low": {**space[1], "low": 0, "log": False},
        "/space/0/choices/1": {**space[2], "choices": ["lora", "other"]},
        "/space/0/name": {**space[1], "name": "/lora/dropout"},
        "/space/0/high": {"type": "float", "name": "/test_share", "low": 0.1, "high": 0.9},
    }
    found = {}
    for field, parameter in bad.items():
        with pytest.raises(Invalid) as caught:
            start(**body, space=[parameter], metric="validation_loss")
        found[field] = caught.value.field
    assert {field: actual for field, actual in found.items() if field != actual} == {}


def test_words_of_a_command_are_replaced(start, create_artifact):
    inputs = {"code": {"digest": create_artifact().digest}}
    space = [{**SPACE[0], "name": "lr"}]
    spec = {"command": ["python", "t.py", "--lr={lr}", "{x}"]}
    start(kind="script", spec=spec, inputs=inputs, space=space)
    with pytest.raises(Invalid) as caught:
        start(kind="script", spec={"command": ["python", "t.py", "{x}"]}, inputs=inputs, space=space)
    assert (caught.value.field, caught.value.code) == ("/space/0/name", "unknown_parameter")
