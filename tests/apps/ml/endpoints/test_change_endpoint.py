import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.ml.endpoints.models import Replica
from apps.ml.endpoints.schemas import EndpointChanges
from apps.ml.endpoints.services import (
    delete_endpoint,
    forget_replica,
    resume_endpoint,
    suspend_endpoint,
    update_endpoint,
)
from apps.ml.registry.services.clients import delete_version
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db


def test_nodes_replicas_and_shadow_change(add_node, version, registered, create, report, actor_for, engineer):
    add_node("a"), add_node("b")
    endpoint, candidate = create(replicas=2), registered()
    report(endpoint)
    changes = EndpointChanges(nodes=["b"], replicas=1, shadow={"version": candidate.number, "rate": 0.5})
    changed = update_endpoint(actor=actor_for(engineer), endpoint=endpoint, changes=changes)
    assert (changed.shadow_version, changed.shadow_rate, changed.replicas_per_node) == (candidate, 0.5, 1)
    assert list(changed.replicas.filter(is_removed=False).values_list("node__name")) == [("b",)]
    assert changed.replicas.filter(is_removed=True).count() == 2  # until their node has ended them
    update_endpoint(actor=actor_for(engineer), endpoint=changed, changes=changes)
    assert AuditRecord.objects.filter(action="endpoint.update").count() == 1  # the same again changes nothing
    changed = update_endpoint(actor=actor_for(engineer), endpoint=changed, changes=EndpointChanges(shadow=None))
    assert changed.shadow_version is None
    with pytest.raises(Invalid):
        update_endpoint(actor=actor_for(engineer), endpoint=changed, changes=EndpointChanges(nodes=None))


def test_another_variant_has_to_be_one_of_the_version_and_of_the_shadow(
    node, version, registered, create, actor_for, engineer
):
    candidate, who = registered(names=("fp32",)), actor_for(engineer)
    endpoint = create(shadow={"version": candidate.number})
    for variant in ("odd", "int8"):
        with pytest.raises(Invalid) as caught:
            update_endpoint(actor=who, endpoint=endpoint, changes=EndpointChanges(variant=variant))
        assert (caught.value.field, caught.value.limit) == ("variant", "fp32, int8" if variant == "odd" else "fp32")
    changes = EndpointChanges(variant="int8", shadow=None)
    assert update_endpoint(actor=who, endpoint=endpoint, changes=changes).variant == "int8"
    assert update_endpoint(actor=who, endpoint=endpoint, changes=EndpointChanges(variant="")).variant == "fp32"


def test_suspend_resume_and_delete(node, version, create, report, follow, worker_actor, actor_for, engineer):
    who, endpoint = actor_for(engineer), create()
    report(endpoint)
    assert suspend_endpoint(actor=who, endpoint=endpoint, reason="maintenance").state == "suspended"
    assert endpoint.state_reason["message"] == "maintenance"
    with pytest.raises(Conflict):
        suspend_endpoint(actor=who, endpoint=endpoint)
    assert resume_endpoint(actor=who, endpoint=endpoint).state == "starting"
    assert follow(endpoint).state == "starting"  # its node may not have looked since, and has said that it serves
    report(endpoint)
    assert follow(endpoint).state == "serving"
    with pytest.raises(Conflict):
        resume_endpoint(actor=who, endpoint=endpoint)
    delete_endpoint(actor=who, endpoint=endpoint)
    with pytest.raises(Conflict):
        delete_endpoint(actor=who, endpoint=endpoint)
    forget_replica(actor=worker_actor, replica=endpoint.replicas.get())
    assert not Replica.objects.exists()
    actions = set(AuditRecord.objects.values_list("action", flat=True))
    assert {"endpoint.suspend", "endpoint.resume", "endpoint.delete", "endpoint.free_port"} <= actions


@pytest.mark.parametrize("action", [suspend_endpoint, resume_endpoint, delete_endpoint])
def test_who_may_not(node, version, create, viewer, stranger, actor_for, action):
    endpoint = create()
    with pytest.raises(Refused):
        action(actor=actor_for(viewer), endpoint=endpoint)
    with pytest.raises(NotFound):
        action(actor=actor_for(stranger), endpoint=endpoint)


def test_a_version_in_shadow_is_not_deleted(node, version, registered, create, actor_for, engineer):
    candidate, who = registered(), actor_for(engineer)
    endpoint = create(shadow={"version": candidate.number})
    with pytest.raises(Conflict) as caught:
        delete_version(actor=who, version=candidate)
    assert (caught.value.code, str(caught.value)) == ("still_needed", "The endpoint oil serves it.")
    delete_endpoint(actor=who, endpoint=endpoint)
    delete_version(actor=who, version=candidate)
