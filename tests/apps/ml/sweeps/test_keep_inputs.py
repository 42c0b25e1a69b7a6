"""What a sweep takes is neither collected nor deleted while it runs, though no trial has a job yet."""

from datetime import timedelta

import pytest

from apps.core.errors import Conflict, Invalid
from apps.data.datasets.versions.deletion import delete_version
from apps.ml.sweeps.models import Sweep
from apps.ml.sweeps.services import cancel_sweep, requests
from apps.platform.artifacts.garbage import collect_garbage
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.jobs.models import JobInput
from tests.apps.data.datasets.conftest import added, dataset, held  # noqa: F401

pytestmark = [pytest.mark.django_db, pytest.mark.services]
SCRIPT = {
    "kind": "script",
    "spec": {"command": ["python", "t.py", "{lr}"]},
    "space": [{"type": "float", "name": "lr", "low": 0.0, "high": 1.0}],
}


def collect(operator) -> set[str]:
    return {item.digest for item in collect_garbage(actor=operator, older_than=timedelta(0)).gone}


def test_the_inputs_of_a_sweep_stay_until_it_is_over(start, held, operator, engineer, actor_for):  # noqa: F811
    code, unused = held(b"print(1)"), held(b"unused")
    sweep = start(**SCRIPT, inputs={"code": {"digest": code.pk}})
    assert not JobInput.objects.exists()
    assert collect(operator) == {unused.pk}
    cancel_sweep(actor=actor_for(engineer), sweep=sweep)
    assert collect(operator) == {code.pk}


def test_what_is_collected_meanwhile_is_refused(start, create_artifact, monkeypatch):
    """The collection ends between the check of the request and its transaction."""
    check, digest = requests.check_request, create_artifact().digest

    def check_and_lose(*request):
        check(*request)
        Holding.objects.filter(artifact=digest).delete()
        Artifact.objects.filter(pk=digest).delete()

    monkeypatch.setattr(requests, "check_request", check_and_lose)
    with pytest.raises(Invalid) as caught:
        start(**SCRIPT, inputs={"code": {"digest": digest}})
    assert (caught.value.code, caught.value.field) == ("artifact_not_found", "/inputs/code/digest")
    assert not Sweep.objects.exists()


def test_a_version_that_a_sweep_needs_is_not_deleted(start, added, held, worker_actor, engineer, actor_for):  # noqa: F811
    """By its name in the spec, by its name among the choices of a parameter, and by one of its files."""
    version, other = added({"t.py": held(b"print(1)")})[0], held(b"print(2)")
    choice = {"type": "choice", "name": "/code", "choices": ["wti-daily:1", "wti-daily:v1"]}
    sweeps = {
        "spec": {**SCRIPT, "spec": {**SCRIPT["spec"], "code": "wti-daily:v1"}},
        "choice": {**SCRIPT, "space": [*SCRIPT["space"], choice]},
        "file": {**SCRIPT, "inputs": {"code": {"digest": held(b"print(1)").pk}}},
        "other": {**SCRIPT, "inputs": {"code": {"digest": other.pk}}},
    }
    refused = set()
    for name, body in sweeps.items():
        sweep = start(**body)
        try:
            delete_version(actor=actor_for(engineer), version=version, reason="old")
        except Conflict as failure:
            refused |= {name} if failure.code == "version_cited" and str(sweep) in failure.hint else set()
        cancel_sweep(actor=actor_for(engineer), sweep=sweep)
    assert refused == {"spec", "choice", "file"}
