import pytest

from apps.core.errors import Conflict, Invalid, NotFound, Refused
from apps.fleet.devices import queries
from apps.fleet.devices.models import Device
from apps.fleet.devices.schemas import DeviceGroupBody, DeviceGroupChanges
from apps.fleet.devices.services import create_group, delete_group, update_group

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def three(enrol):
    """press-1 in Berlin, press-2 in Oslo on ARM, gate_3 without a site."""
    enrol("press-1", tags={"site": "berlin"})
    enrol("press-2", tags={"site": "oslo"}, architecture="aarch64", attributes={"os": "Yocto", "ram": "2"})
    enrol("gate_3", attributes={})


QUERIES = {
    "": ["press-1", "press-2", "gate_3"],
    "name = 'press-1'": ["press-1"],
    "name LIKE 'press%'": ["press-1", "press-2"],
    "name LIKE 'PRESS%'": [],
    "name ILIKE 'PRESS%'": ["press-1", "press-2"],
    "device.name != 'gate_3' AND state = 'active'": ["press-1", "press-2"],
    "name IN ('gate_3', 'press-2')": ["press-2", "gate_3"],
    "name NOT IN ('gate_3', 'press-2')": ["press-1"],
    "architecture = aarch64": ["press-2"],
    "kind = 'hawkbit'": [],
    "health = 'unknown' AND agent_version = '1.0'": ["press-1", "press-2", "gate_3"],
    "tag.site = 'berlin'": ["press-1"],
    "tag.site != 'berlin'": ["press-2"],
    "tag.site IN ('berlin', 'oslo') AND tags.site LIKE '%lo'": ["press-2"],
    "tag.site IS NULL": ["gate_3"],
    "tag.site IS NOT NULL AND attribute.os ILIKE 'yo%'": ["press-2"],
    "attributes.ram = 2": ["press-2"],
}


def test_what_queries_find(three, project, actor_for, viewer):
    actor = actor_for(viewer)
    found = {
        query: [device.name for device in queries.list_devices(actor, project, {"query": query}).order_by("pk")]
        for query in QUERIES
    }
    assert found == QUERIES
    part = Device.objects.filter(
        pk__in=queries.list_devices(actor, project, {"query": "name LIKE 'press%'"}).values("pk")
    )
    assert part.count() == 2  # a query can be a part of another


def test_what_queries_refuse(project, actor_for, viewer):
    wrong = ("site = 'x'", "foo.x = 'y'", "state = 'gone'", "name > 'x'", "name =", "tag.a = 'b' OR tag.c = 'd'")
    too_much = (" AND ".join(["name = 'x'"] * 21), "name = '" + "x" * 2000 + "'")
    for query in wrong + too_much:
        with pytest.raises(Invalid) as caught:
            queries.list_devices(actor_for(viewer), project, {"query": query})
        assert (query, caught.value.code, caught.value.field) == (query, "bad_filter", "query")


def test_a_group_is_who_fits_now(three, project, actor_for, engineer, enrol, find_records):
    actor = actor_for(engineer)
    body = DeviceGroupBody(name="presses", query="name LIKE 'press%'")
    group = create_group(actor=actor, project=project, body=body)
    assert queries.list_group_devices(actor, group).count() == 2
    enrol("press-9")
    assert queries.list_devices(actor, project, {"group": "presses"}).count() == 3
    with pytest.raises(Conflict):
        create_group(actor=actor, project=project, body=body)
    group = update_group(actor=actor, group=group, changes=DeviceGroupChanges(query="name = 'press-9'"))
    assert queries.list_group_devices(actor, group).count() == 1
    with pytest.raises(Invalid):
        update_group(actor=actor, group=group, changes=DeviceGroupChanges(query="nonsense"))
    delete_group(actor=actor, group=group)
    with pytest.raises(NotFound):
        queries.list_devices(actor, project, {"group": "presses"})
    assert [len(find_records(f"device.{verb}_group")) for verb in ("create", "update", "delete")] == [1, 1, 1]


def test_who_may_not(project, actor_for, viewer, stranger):
    body = DeviceGroupBody(name="all", query="")
    for user, error in ((viewer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            create_group(actor=actor_for(user), project=project, body=body)
