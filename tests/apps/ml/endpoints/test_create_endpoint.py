import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.ml.endpoints.models import Endpoint, Replica
from apps.ml.endpoints.services import delete_endpoint
from apps.platform.audit.models import AuditRecord

pytestmark = pytest.mark.django_db


def test_replicas_get_ports_of_their_nodes(add_node, version, create):
    add_node("a"), add_node("b", ports=(9000, 9001))
    endpoint = create(nodes=["a", "b"], replicas=2)
    ports = list(endpoint.replicas.order_by("node__name", "slot").values_list("node__name", "port"))
    assert ports == [("a", 8600), ("a", 8601), ("b", 9000), ("b", 9001)]
    assert (endpoint.state, endpoint.version, endpoint.variant) == ("starting", version, "fp32")
    assert endpoint.approval_id is not None
    assert AuditRecord.objects.filter(action="endpoint.create", object_id=str(endpoint.pk)).exists()


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"name": "Oil!"}, "name", "bad_name"),
        ({"model": "none"}, "alias", "invalid"),
        ({"alias": "staging"}, "alias", "invalid"),
        ({"variant": "tvm"}, "variant", "invalid"),
        ({"nodes": ["z"]}, "nodes", "invalid"),
        ({"nodes": ["plain"]}, "nodes", "node_without_serving"),
        ({"shadow": {"version": 7}}, "shadow", "invalid"),
        ({"replicas": 11}, "nodes", "no_free_port"),
    ],
)
def test_bad_values_name_their_fields(node, add_node, version, create, changes, field, code):
    plain = add_node("plain")
    type(plain).objects.filter(pk=plain.pk).update(extras=[])
    with pytest.raises((Invalid, Conflict)) as failure:
        create(**changes)
    assert (failure.value.field, failure.value.code) == (field, code)
    assert not Endpoint.objects.exists()


def test_a_version_without_forms_is_not_servable(node, by_client, create, actor_for, engineer):
    from apps.ml.registry.services import set_alias

    set_alias(actor=actor_for(engineer), version=by_client(), name="staging")
    with pytest.raises(Invalid) as failure:
        create(alias="staging")
    assert failure.value.code == "not_servable"


def test_a_name_is_taken_once_until_its_endpoint_is_deleted(node, version, create, actor_for, engineer):
    first = create()
    with pytest.raises(Conflict):
        create()
    delete_endpoint(actor=actor_for(engineer), endpoint=first)
    assert not Replica.objects.filter(endpoint=first).exists()
    assert create().replicas.get().port == 8600


def test_who_may_not(node, version, create, viewer, stranger, actor_for):
    with pytest.raises(Refused):
        create(who=actor_for(viewer))
    with pytest.raises(NotFound):
        create(who=actor_for(stranger))
