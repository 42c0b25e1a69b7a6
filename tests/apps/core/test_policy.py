"""Who may do what, written out a second time by hand: every role by every action, in one's own project and in another,
with no token and with a token of every scope. A change of the policy must be made here too, and be meant."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from apps.core import policy, token_scopes
from apps.core.actors import ANONYMOUS, Actor, DeviceRole, NodeRole, PlaneRole, ProjectRole, SystemRole
from apps.core.errors import NotFound, PlaneError, Refused, Unauthenticated

# V viewer, E engineer, A approver; S system administrator, C security administrator, U auditor;
# W worker, D dispatcher, O operator; X device, N who sends an enrolment token, M node.
# The last column is the scope that lets a token do it.
IN_A_PROJECT = """
    project.view                           VEA SCU --O  read
    artifact.view                          VEA --- W--  read
    artifact.upload                        -E- --- W--  data:write
    artifact.adopt                         --- --- W--  -
    artifact.take_in                       -E- --- W-O  -
    comment.view                           VEA --U ---  read
    comment.write                          -EA --- ---  runs:write
    hold.view                              VEA --U --O  read
    hold.place                             --- --U ---  -
    hold.release                           --- --U ---  -
    dataset.view                           VEA --- W-O  read
    dataset.create                         -E- --- W-O  data:write
    dataset.add_version                    -E- --- W-O  data:write
    dataset.tag                            -E- --- ---  data:write
    dataset.delete_version                 -E- --- ---  data:write
    dataset.lock                           -E- --- ---  data:write
    dataset.force_unlock                   --A --- ---  data:write
    dataset.describe                       -E- --- ---  data:write
    dataset.set_expectations               -E- --- ---  data:write
    dataset.set_quality                    --- --- W--  -
    personal_data.view                     VEA -CU --O  read
    personal_data.mark                     -EA --- ---  data:write
    personal_data.change                   --A --- ---  data:write
    personal_data.use                      -EA --- ---  read
    job.view                               VEA --- W--  read
    job.submit                             -E- --- -D-  jobs:write
    job.script                             -E- --- ---  jobs:write
    job.cancel                             -E- --- -D-  jobs:write
    job.retry                              -E- --- ---  jobs:write
    job.prioritise                         -E- --- ---  jobs:write
    pipeline.view                          VEA --- W--  read
    pipeline.submit                        -E- --- ---  jobs:write
    pipeline.cancel                        -E- --- ---  jobs:write
    schedule.view                          VEA --- W--  read
    schedule.create                        -E- --- ---  jobs:write
    schedule.update                        -E- --- ---  jobs:write
    schedule.pause                         -E- --- ---  jobs:write
    schedule.resume                        -E- --- ---  jobs:write
    schedule.delete                        -E- --- ---  jobs:write
    sweep.view                             VEA --- W--  read
    sweep.submit                           -E- --- ---  jobs:write
    sweep.cancel                           -E- --- ---  jobs:write
    sweep.record                           --- --- W--  -
    labelling.view                         VEA --- W--  read
    labelling.connect                      -E- --- ---  data:write
    labelling.save_schema                  -E- --- ---  data:write
    labelling.create                       -E- --- ---  data:write
    labelling.synchronize                  -E- --- ---  data:write
    labelling.close                        -E- --- ---  data:write
    labelling.adjudicate                   -EA --- ---  data:write
    labelling.set_gold                     -EA --- ---  data:write
    labelling.set_bar                      --A --- ---  data:write
    labelling.publish                      -E- --- ---  data:write
    labelling.train                        -E- --- ---  jobs:write
    labelling.ring                         --- --- W--  -
    federation.view                        VEA --U W--  read
    federation.create_study                -E- --- ---  data:write
    federation.invite_site                 -E- --- ---  data:write
    federation.enrol_site                  -E- --- ---  data:write
    federation.remove_site                 -E- --- ---  data:write
    federation.start_study                 -E- --- ---  jobs:write
    federation.stop_study                  -EA --- ---  jobs:write
    federation.register_result             -E- --- ---  models:write
    federation.import_study                -E- --- ---  data:write
    federation.bind_data                   -E- --- ---  data:write
    federation.request_approval            -E- --- ---  models:write
    federation.join_study                  -E- --- ---  jobs:write
    federation.leave_study                 -EA --- ---  jobs:write
    federation.record                      --- --- W--  -
    observation.view                       VEA --- W--  read
    observation.configure                  -E- --- --- X-  data:write
    observation.record                     -E- --- W-- X-  observations:write
    observation.make_dataset               -E- --- ---  jobs:write
    endpoint.view                          VEA --- W--  read
    endpoint.create                        -E- --- ---  models:write
    endpoint.update                        -E- --- ---  models:write
    endpoint.suspend                       -E- --- -D-  models:write
    endpoint.stop_shadow                   -E- --- -D-  models:write
    endpoint.resume                        -E- --- ---  models:write
    endpoint.delete                        -E- --- ---  models:write
    endpoint.rotate_token                  -E- --- ---  models:write
    endpoint.predict                       -EA --- ---  models:write
    device.view                            VEA --- W--  read
    device.create_enrolment_token          -E- --- ---  devices:write
    device.revoke_enrolment_token          -EA --- ---  devices:write
    device.enrol                           --- --- --- -N  -
    device.register                        -E- --- ---  devices:write
    device.change                          -E- --- ---  devices:write
    device.save_group                      -E- --- ---  devices:write
    device.delete_group                    -E- --- ---  devices:write
    device.quarantine                      -EA --- -D-  devices:write
    device.reinstate                       --A --- ---  devices:write
    device.revoke                          -EA --- ---  devices:write
    device.assign                          -E- --- -D-  devices:write
    device.cancel_assignment               -EA --- -D-  devices:write
    device.report                          --- --- --- X-  -
    device.set_maintenance_window          -EA --- ---  devices:write
    release.view                           VEA --- W--  read
    release.prepare                        -E- --- ---  models:write
    release.issue                          -E- --- -D-  models:write
    release.revoke                         -EA --- -DO  models:write
    release.attach_update_file             --A --- ---  approvals:decide
    package.publish                        -E- --- ---  packages:write
    package.yank                           -E- S-- --O  packages:write
    bundle.view                            VEA S-U W--  read
    bundle.export_inventory                -E- --- ---  bundles:write
    bundle.build                           -E- --- ---  bundles:write
    bundle.receive                         -E- --- ---  bundles:write
    bundle.accept_plane_contents           --- S-- ---  -
    bundle.request_application             -E- --- ---  bundles:write
    bundle.discard                         -E- --- ---  bundles:write
    bundle.cancel                          -E- --- ---  bundles:write
    bundle_signer.propose                  -E- --- ---  bundles:write
    bundle_signer.revoke                   -EA --- ---  bundles:write
    recall.view                            VEA --U ---  read
    recall.start                           -EA --- ---  models:write
    recall.retry                           -EA --- ---  models:write
    monitor.view                           VEA --- W--  read
    monitor.create                         -E- --- ---  models:write
    monitor.update                         -E- --- ---  models:write
    monitor.pause                          -E- --- ---  models:write
    monitor.resume                         -E- --- ---  models:write
    monitor.delete                         -E- --- ---  models:write
    monitor.set_retraining                 -E- --- ---  models:write
    retraining.retry                       -E- --- ---  models:write
    retraining.cancel                      -EA --- ---  models:write
    alarm.acknowledge                      -EA --- ---  models:write
    alarm.close                            -EA --- ---  models:write
    rollout.view                           VEA --- W--  read
    rollout.create                         -E- --- ---  devices:write
    rollout.request_start                  -E- --- ---  devices:write
    rollout.request_decision               -E- --- -D-  devices:write
    rollout.start                          -E- --- -D-  devices:write
    rollout.pause                          -EA --- ---  devices:write
    rollout.resume                         -E- --- ---  devices:write
    rollout.retry                          -E- --- ---  devices:write
    rollout.abort                          -EA --- -D-  devices:write
    rollout.roll_back                      -EA --- -D-  devices:write
    run.view                               VEA --- W--  read
    run.record                             --- --- W--  -
    run.rerun                              -E- --- ---  jobs:write
    run.group                              -E- --- -D-  jobs:write
    run.annotate                           -E- --- ---  runs:write
    run.set_panels                         -E- --- ---  runs:write
    run.track                              -E- --- --O  runs:write
    run.view_purgeable                     VEA --U --O  read
    run.purge                              --- --- --O  -
    run.import                             -E- --- --O  -
    model.import                           -E- --- --O  -
    model.view                             VEA --- W--  read
    model.create                           -E- --- W-O  models:write
    model.register_version                 --- --- W--  -
    model.record_version                   -E- --- --O  models:write
    model.annotate                         -E- --- --O  models:write
    model.delete                           -E- --- ---  models:write
    model.set_alias                        -E- --- --O  models:write
    model.request_promotion                -E- --- ---  models:write
    model.roll_back                        -EA --- -D-  models:write
    model.block                            -EA --- -D-  models:write
    model.unblock                          --A --- ---  models:write
    evaluation_set.create                  -E- --- ---  models:write
    evaluation.register                    --- --- W--  -
    gate.set                               --A --- ---  models:write
    approval.view                          VEA --U ---  read
    approval.request                       -E- --- ---  models:write
    approval.decide                        --A --- ---  approvals:decide
    approval.ask                           --A --- ---  approvals:decide
    approval.answer                        -E- --- ---  models:write
    approval.withdraw                      -E- --- ---  models:write
    approval.void                          -EA --- -D-  devices:write
    approval.set_policy                    --- -C- --O  -
    webhook.view                           VEA -CU ---  read
    webhook.configure                      --- -C- ---  -
    lineage.view                           VEA --- W--  read
    lineage.record                         -E- --- W--  data:write
    audit.view_project                     VEA --U ---  read
    project.set_label                      --- -C- ---  -
    dataset.set_label                      --- -C- ---  -
    service_account.set_clearance          --- -C- ---  -
    member.view                            VEA -CU ---  -
    member.set_roles                       --- -C- --O  -
    member.remove                          --- -C- --O  -
    service_account.create                 --- -C- --O  -
    service_account.disable                --- -C- --O  -
    token.create                           VEA --U --O  -
    token.create_for_service_account       --- -C- --O  -
    token.revoke                           VEA -CU --O  -
"""
ON_THE_PLANE = """
    project.create                         --- S-- --O  -
    user.view                              --- SCU --O  -
    user.create                            --- S-- --O  -
    user.disable                           --- S-- --O  -
    user.enable                            --- S-- --O  -
    user.sign_in_from_directory            --- --- --O  -
    user.open_to_directory                 --- S-- --O  -
    user.set_expiry                        --- S-- --O  -
    user.disable_idle                      --- --- W--  -
    user.reset_password                    --- S-- --O  -
    user.reset_second_factor               --- -C- --O  -
    user.set_up_second_factor              --- --- --O  -
    user.confirm_credentials               --- SCU ---  -
    user.rename_oneself                    VEA SCU ---  -
    user.set_preferences                   VEA SCU ---  -
    user.set_clearance                     --- -C- ---  -
    label.view                             --- -CU ---  -
    user.set_system_role                   --- -C- --O  -
    personal_data.view_plane               --- -CU --O  audit:read
    saved_view.view                        VEA SCU ---  read
    saved_view.save                        VEA SCU ---  -
    saved_view.delete                      VEA SCU ---  -
    notice.view                            VEA SCU ---  read
    notice.mark_read                       VEA SCU ---  read
    notice.set_preferences                 VEA SCU ---  -
    notice.deliver                         --- --- -D-  -
    notice.purge                           --- --- W--  -
    node.view                              VEA S-U WD-  read
    node.register                          --- --- W--  -
    node.heartbeat                         --- --- W--  -
    node.record_environment                --- --- W--  -
    node.keep_samples                      --- --- -D-  -
    run.take_in                            --- --- -D-  -
    node.hold                              --- S-- --O  -
    node.issue_token                       --- S-- --O  -
    node.revoke_token                      --- S-- --O  -
    node.import_conflicts                  --- --- --O  -
    node.release                           --- S-- --O  -
    node.report_health                     --- --- ---M -
    node.read_registration                 --- --- ---M -
    node.view_plane_health                 --- --- ---M -
    node.request_probe                     --- S-- --O  -
    node.run_probe                         --- --- W--  -
    node.set_labels                        --- S-- --O  -
    node.record_disk_speed                 --- --- W-O  -
    isolation.view                         --- SCU ---  audit:read
    isolation.set_policy                   --- -C- ---  -
    isolation.read_policy                  --- --- ---M -
    isolation.report                       --- --- ---M -
    isolation.delete_expired               --- --- -D-  -
    job.claim                              --- --- W--  -
    job.report                             --- --- W--  -
    job.finish                             --- --- W--  -
    job.recover                            --- --- -D-  -
    job.recover_abandoned                  --- --- WD-  -
    schedule.view_plane                    --- SCU --O  audit:read
    schedule.manage_plane                  --- S-- --O  -
    schedule.fire                          --- --- -D-  -
    sweep.drive                            --- --- -D-  -
    artifact.store_for_plane               --- --U --O  -
    package.view                           VEA SCU W-O  read
    package.import                         --- --- --O  -
    package.import_advisories              --- --- --O  -
    image.view                             VEA SCU W-O  read
    image.import                           --- --- --O  -
    release_key.view                       VEA SCU W-O  read
    release_key.create                     --- --- --O  -
    release_key.rotate                     --- --- --O  -
    release_key.revoke                     --- --- --O  -
    release_key.publish                    --- --- --O  -
    observation.seal                       --- --- W--  -
    observation.store_reference            --- --- W--  -
    observation.purge                      --- --- W--  -
    endpoint.follow                        --- --- -D-  -
    labelling.drive                        --- --- W--  -
    endpoint.report                        --- --- W--  -
    device.expire_assignments              --- --- -D-  -
    rollout.drive                          --- --- -D-  -
    monitor.evaluate                       --- --- -D-  -
    monitor.evaluate_drift                 --- --- W--  -
    retraining.drive                       --- --- -D-  -
    recall.advance                         --- --- -D-  -
    bundle.drive                           --- --- W--  -
    run.judge                              --- --- -DO  -
    queue.sample                           --- --- -D-  -
    approval.expire                        --- --- -D-  -
    metrics.view                           VEA S-U --O  metrics:read
    artifact.scrub                         --- --- W-O  -
    artifact.report_damage                 --- --- WDO  -
    artifact.encrypt_store                 --- --- --O  -
    artifact.collect                       --- S-- --O  -
    artifact.view_garbage                  --- S-U --O  audit:read
    plane.backup                           --- --- --O  -
    plane.restore                          --- --- --O  -
    plane.rotate_column_key                --- --- --O  -
    plane.restore_drill                    --- S-- -DO  -
    recertification.view                   --A -CU ---  -
    recertification.start                  --- -C- ---  -
    recertification.decide                 --A -CU ---  -
    recertification.suspend                --- --- W--  -
    recertification.close                  --- -C- ---  -
    access_history.view                    --- -CU ---  -
    emergency.view                         VEA SCU --O  -
    emergency.request                      VEA SC- ---  -
    emergency.confirm                      --- SCU ---  -
    emergency.end                          VEA SCU ---  -
    emergency.expire                       --- --- W--  -
    emergency.create_keys                  --- --- --O  -
    emergency.use_keys                     --- --- --O  -
    security_alarm.view                    --- SCU --O  audit:read
    security_alarm.acknowledge             --- -CU ---  -
    security_alarm.set_rule                --- -C- ---  -
    security_alarm.evaluate                --- --- W--  -
    snapshot.view                          --- SCU -DO  audit:read
    snapshot.create                        --- S-- -DO  -
    snapshot.verify                        --- S-- -DO  -
    snapshot.remove                        --- S-- -DO  -
    snapshot.run                           --- --- -DO  -
    compliance.view                        --- SCU -DO  audit:read
    compliance.request_run                 --- S-U -DO  -
    compliance.run                         --- --- -DO  -
    compliance.attach                      --- --U ---  -
    compliance.withdraw                    --- --U ---  -
    compliance.set_gap                     --- -CU ---  -
    compliance.export                      --- --U --O  audit:read
    audit.view                             --- --U --O  audit:read
    audit.verify                           --- --U -DO  audit:read
    audit.export                           --- --U --O  audit:read
    audit.seal                             --- --- -DO  -
"""
LETTERS = {
    "V": ProjectRole.VIEWER,
    "E": ProjectRole.ENGINEER,
    "A": ProjectRole.APPROVER,
    "S": SystemRole.SYSTEM_ADMIN,
    "C": SystemRole.SECURITY_ADMIN,
    "U": SystemRole.AUDITOR,
    "W": PlaneRole.WORKER,
    "D": PlaneRole.DISPATCHER,
    "O": PlaneRole.OPERATOR,
    "X": DeviceRole.DEVICE,
    "N": DeviceRole.ENROLMENT,
    "M": NodeRole.NODE,
}
SCOPES = [
    "read",
    "data:write",
    "observations:write",
    "jobs:write",
    "runs:write",
    "models:write",
    "devices:write",
    "approvals:decide",
    "audit:read",
    "metrics:read",
    "bundles:write",
    "packages:write",
]
OWN, OTHER = 1, 2

# No service asks these by name: `visible_to` of the model answers them.
BY_VISIBILITY = {"audit.view_project"}


def rows(table: str) -> dict[str, tuple[str, str]]:
    lines = [line.split() for line in table.strip().splitlines()]
    return {action: ("".join(letters), scope) for action, *letters, scope in lines}


PROJECT_ROWS, PLANE_ROWS = rows(IN_A_PROJECT), rows(ON_THE_PLANE)
ROWS = PROJECT_ROWS | PLANE_ROWS


def actor_of(letter: str, scope: str | None = None) -> Actor:
    role = LETTERS[letter]
    about = {"kind": "user", "label": role.value, "scopes": None if scope is None else frozenset({scope})}
    if isinstance(role, ProjectRole | DeviceRole):
        return Actor(**about, project_roles={OWN: frozenset({role})})
    if isinstance(role, NodeRole):
        return Actor(**about, node_id=1)
    if isinstance(role, SystemRole):
        return Actor(**about, system_role=role)
    return Actor(**about, plane_role=role)


def outcome(actor: Actor, action: str, project_id: int | None) -> str:
    obj = SimpleNamespace(project_id=project_id) if project_id else None
    try:
        policy.require(actor, action, obj)
    except PlaneError as error:
        assert not policy.is_allowed(actor, action, obj)
        return f"{type(error).__name__} {error.code}"
    assert policy.is_allowed(actor, action, obj)
    return "yes"


def expected(letter: str, action: str, project_id: int | None, scope: str | None) -> str:
    allowed, needed = ROWS[action]
    stranger = letter in "VEAXN" and action in PROJECT_ROWS and project_id == OTHER
    if stranger or (letter == "M" and action in PROJECT_ROWS):
        return "NotFound not_found"
    if scope is not None and scope != needed:
        return "Refused scope_missing"
    return "yes" if letter in allowed else "Refused refused"


@pytest.mark.parametrize("letter", LETTERS)
def test_a_role_may_do_what_the_table_says(letter):
    """Every action by this role: in its project and in another, with no token and with a token of each scope."""
    actors = {scope: actor_of(letter, scope) for scope in [None, *SCOPES]}
    cells = [
        (action, place, scope)
        for action in ROWS
        for place in ([OWN, OTHER] if action in PROJECT_ROWS else [None, OTHER])
        for scope in actors
    ]
    found = {cell: outcome(actors[cell[2]], *cell[:2]) for cell in cells}
    assert found == {cell: expected(letter, *cell) for cell in cells}


def test_anonymous_must_log_in():
    cells = [(action, place) for action in ROWS for place in (None, OWN)]
    assert {cell: outcome(ANONYMOUS, *cell) for cell in cells} == dict.fromkeys(
        cells, "Unauthenticated unauthenticated"
    )


def test_a_role_here_is_none_there():
    both = Actor(
        kind="user", project_roles={OWN: frozenset({ProjectRole.ENGINEER}), OTHER: frozenset({ProjectRole.VIEWER})}
    )
    assert outcome(both, "job.submit", OWN) == "yes"
    assert outcome(both, "job.submit", OTHER) == "Refused refused"


def test_roles_of_a_project_need_the_project():
    assert outcome(actor_of("E"), "job.submit", None) == "Refused refused"


def test_the_table_is_whole():
    assert set(PROJECT_ROWS) == set(policy.PROJECT_ACTIONS)
    assert set(PLANE_ROWS) == set(policy.PLANE_ACTIONS)
    assert set(SCOPES) == set(token_scopes.SCOPES)


def test_an_unknown_action_is_a_defect_not_a_refusal():
    with pytest.raises(LookupError):
        policy.require(actor_of("O"), "job.destroy")
    assert not policy.is_allowed(actor_of("O"), "job.destroy")


@pytest.mark.parametrize("scopes", [[], ["read", "jobs:write"]])
def test_lists_ask_for_the_scope(scopes):
    token = Actor(kind="user", scopes=frozenset(scopes), project_roles={OWN: frozenset({ProjectRole.ENGINEER})})
    if "read" in scopes:
        policy.require_scope(token, "project.view")
        return
    with pytest.raises(Refused):
        policy.require_scope(token, "project.view")


def test_every_action_is_asked_for_somewhere():
    asked = re.compile(r'(?:require|require_scope|allows)\(\s*[^,()]+,\s*"([a-z_.]+)"')
    root = Path(policy.__file__).parents[2]
    used = {
        name
        for layer in ("apps", "workers", "controlplane")
        for path in (root / layer).rglob("*.py")
        for name in asked.findall(path.read_text())
    }
    assert set(ROWS) - used == BY_VISIBILITY


def test_the_errors_say_what_is_missing():
    with pytest.raises(Refused) as caught:
        policy.require(actor_of("E", "read"), "job.submit", SimpleNamespace(project_id=OWN))
    assert (caught.value.field, caught.value.limit) == ("scopes", "jobs:write")
    with pytest.raises(Refused) as caught:
        policy.require(actor_of("V"), "job.submit", SimpleNamespace(project_id=OWN))
    assert caught.value.limit == "engineer"
    with pytest.raises(NotFound):
        policy.require(actor_of("V"), "job.submit", SimpleNamespace(project_id=OTHER))
    with pytest.raises(Unauthenticated):
        policy.require(ANONYMOUS, "job.submit", SimpleNamespace(project_id=OWN))
