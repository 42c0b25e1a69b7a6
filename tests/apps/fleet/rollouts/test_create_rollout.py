import pytest

from apps.core.errors import Conflict, Invalid, NotFound, PlaneError, Refused
from apps.fleet.devices.schemas import DeviceGroupBody
from apps.fleet.devices.services import create_group
from apps.fleet.rollouts.queries import get_preview
from apps.fleet.rollouts.schemas import RolloutBody
from apps.fleet.rollouts.services import create_rollout

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def test_a_draft_has_the_default_waves_and_touches_no_device(create, fleet, find_records):
    rollout = create(title="spring")
    assert (rollout.state, [wave["share"] for wave in rollout.plan["waves"]]) == ("draft", [0.1, 0.5, 1.0])
    assert [row.architecture for row in rollout.variants.all()] == ["x86_64"]
    assert not rollout.waves.exists()
    assert len(find_records("rollout.create")) == 1


def test_a_group_is_copied(create, fleet, project, actor_for, engineer):
    body = DeviceGroupBody(name="berlin", query="tag.site = 'site 0'")
    create_group(actor=actor_for(engineer), project=project, body=body)
    rollout = create(group="berlin")
    assert rollout.query == "tag.site = 'site 0'"
    assert get_preview(actor_for(engineer), rollout)["devices"] == 10


def test_the_preview_counts_waves_strata_and_who_is_left_out(create, fleet, add_devices, actor_for, engineer):
    add_devices(3, start=100, state="quarantined")
    add_devices(2, start=200, architecture="aarch64")
    preview = get_preview(actor_for(engineer), create(stratify_by=["tag.site"]))
    assert preview["excluded"] == {"inactive": 3, "no_variant": 2}
    assert [(wave["devices"], wave["controls"]) for wave in preview["waves"]] == [(2, 18), (8, 10), (10, 0)]
    assert [row["waves"] for row in preview["strata"]] == [[1, 4, 5], [1, 4, 5]]
    assert sum(preview["previous"].values()) == 20


def test_who_may_not(create, project, second_version, actor_for, viewer, stranger):
    body = RolloutBody(model=second_version.model.name, version=second_version.number)
    for user, error in ((viewer, Refused), (stranger, NotFound)):
        with pytest.raises(error):
            create_rollout(actor=actor_for(user), project=project, body=body)


def test_what_is_refused(create, registered):
    bare = registered(name="bare")
    cases = {
        "not_found": {"version": 99},
        "two_selections": {"group": "a", "query": "state = 'active'"},
        "bad_filter": {"query": "colour = 'red'"},
        "variant_unknown": {"variants": {"x86_64": "none"}},
        "architecture_mismatch": {"variants": {"aarch64": "tvm-x86_64"}},
        "not_deployable": {"model": "bare", "version": bare.number},
    }
    codes = {}
    for code, body in cases.items():
        with pytest.raises((Invalid, Conflict, NotFound, PlaneError)) as caught:
            create(**body)
        codes[code] = caught.value.code
    assert codes == {code: code for code in cases}


def test_a_group_that_there_is_none_of(create):
    with pytest.raises(NotFound):
        create(group="nowhere")
    with pytest.raises(NotFound):
        create(waves=[{"group": "nowhere"}])
