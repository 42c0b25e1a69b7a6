"""Who may do what: one table, deny by default.

`require` is the first line of every service. It only raises; the web layer and the worker record the refusal
after the rollback, because a record written here would roll back with the exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from apps.core.actors import Actor, DeviceRole, NodeRole, PlaneRole, ProjectRole, SystemRole
from apps.core.errors import NotFound, Refused, Unauthenticated
from apps.core.token_scopes import SCOPES, find_scope
from deepseek.messages import N_, Message

Role = ProjectRole | SystemRole | PlaneRole | DeviceRole | NodeRole

VIEWER, ENGINEER, APPROVER = ProjectRole.VIEWER, ProjectRole.ENGINEER, ProjectRole.APPROVER
SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR = SystemRole.SYSTEM_ADMIN, SystemRole.SECURITY_ADMIN, SystemRole.AUDITOR
WORKER, DISPATCHER, OPERATOR = PlaneRole.WORKER, PlaneRole.DISPATCHER, PlaneRole.OPERATOR
DEVICE, ENROLMENT, NODE = DeviceRole.DEVICE, DeviceRole.ENROLMENT, NodeRole.NODE

MEMBERS: frozenset[Role] = frozenset({VIEWER, ENGINEER, APPROVER})

# Actions on an object of a project: a project role is looked up in that project only.
PROJECT_ACTIONS: dict[str, frozenset[Role]] = {
    "project.view": MEMBERS | {AUDITOR, SYSTEM_ADMIN, SECURITY_ADMIN, OPERATOR},
    "artifact.view": MEMBERS | {WORKER},
    "artifact.upload": frozenset({ENGINEER, WORKER}),
    "artifact.adopt": frozenset({WORKER}),  # takes the digest on trust: only for whoever stored the bytes itself
    "artifact.take_in": frozenset({ENGINEER, WORKER, OPERATOR}),  # files of this machine, by whoever stores them itself
    "comment.view": MEMBERS | {AUDITOR},  # besides seeing what it is about
    "comment.write": frozenset({ENGINEER, APPROVER}),  # of one's own: another's nobody changes
    "hold.view": MEMBERS | {AUDITOR, OPERATOR},
    "hold.place": frozenset({AUDITOR}),  # who does the work decides neither what stays nor what may go
    "hold.release": frozenset({AUDITOR}),
    "dataset.view": MEMBERS | {WORKER, OPERATOR},
    "dataset.create": frozenset({ENGINEER, WORKER, OPERATOR}),
    "dataset.add_version": frozenset({ENGINEER, WORKER, OPERATOR}),
    "dataset.tag": frozenset({ENGINEER}),
    "dataset.delete_version": frozenset({ENGINEER}),
    "dataset.lock": frozenset({ENGINEER}),
    "dataset.force_unlock": frozenset({APPROVER}),  # another's lock; who may not push has no use of it for oneself
    "dataset.describe": frozenset({ENGINEER}),
    "dataset.set_expectations": frozenset({ENGINEER}),
    "dataset.set_quality": frozenset({WORKER}),  # measured by a job, never claimed by a person
    "personal_data.view": MEMBERS | {AUDITOR, SECURITY_ADMIN, OPERATOR},
    "personal_data.mark": frozenset({ENGINEER, APPROVER}),
    "personal_data.change": frozenset({APPROVER}),  # who wants the data must not be who lifts its protection
    "personal_data.use": frozenset({ENGINEER, APPROVER}),  # takes marked columns out of the plane, for a named purpose
    "job.view": MEMBERS | {WORKER},
    "job.submit": frozenset({ENGINEER, DISPATCHER}),  # the plane: what measures a version that somebody may add
    "job.script": frozenset({ENGINEER}),  # besides job.submit: runs code of one's own on a node
    "job.cancel": frozenset({ENGINEER, DISPATCHER}),  # and ends with one that somebody may delete
    "job.retry": frozenset({ENGINEER}),
    "job.prioritise": frozenset({ENGINEER}),
    "pipeline.view": MEMBERS | {WORKER},
    "pipeline.submit": frozenset({ENGINEER}),
    "pipeline.cancel": frozenset({ENGINEER}),
    "schedule.view": MEMBERS | {WORKER},
    "schedule.create": frozenset({ENGINEER}),  # besides what it submits
    "schedule.update": frozenset({ENGINEER}),
    "schedule.pause": frozenset({ENGINEER}),
    "schedule.resume": frozenset({ENGINEER}),
    "schedule.delete": frozenset({ENGINEER}),
    "sweep.view": MEMBERS | {WORKER},
    "sweep.submit": frozenset({ENGINEER}),
    "sweep.cancel": frozenset({ENGINEER}),
    "sweep.record": frozenset({WORKER}),  # what the job answers that was asked for the next trials
    "labelling.view": MEMBERS | {WORKER},
    "labelling.connect": frozenset({ENGINEER}),  # to a server on the operator's list
    "labelling.save_schema": frozenset({ENGINEER}),
    "labelling.create": frozenset({ENGINEER}),
    "labelling.synchronize": frozenset({ENGINEER}),
    "labelling.close": frozenset({ENGINEER}),
    "labelling.adjudicate": frozenset({ENGINEER, APPROVER}),
    "labelling.set_gold": frozenset({ENGINEER, APPROVER}),
    "labelling.set_bar": frozenset({APPROVER}),  # who wants the result must not be who lowers the bar
    "labelling.publish": frozenset({ENGINEER}),  # besides dataset.add_version
    "labelling.train": frozenset({ENGINEER}),  # besides job.submit
    "labelling.ring": frozenset({WORKER}),  # a webhook that knows its secret
    "federation.view": MEMBERS | {AUDITOR, WORKER},  # the auditor: what left the building is theirs to read
    "federation.create_study": frozenset({ENGINEER}),
    "federation.invite_site": frozenset({ENGINEER}),
    "federation.enrol_site": frozenset({ENGINEER}),  # signs its certificate
    "federation.remove_site": frozenset({ENGINEER}),
    "federation.start_study": frozenset({ENGINEER}),  # besides job.submit
    "federation.stop_study": frozenset({ENGINEER, APPROVER}),
    "federation.register_result": frozenset({ENGINEER}),
    "federation.import_study": frozenset({ENGINEER}),
    "federation.bind_data": frozenset({ENGINEER}),
    "federation.request_approval": frozenset({ENGINEER}),  # besides approval.request
    "federation.join_study": frozenset({ENGINEER}),  # besides job.submit; with data: what was approved
    "federation.leave_study": frozenset({ENGINEER, APPROVER}),  # at any time
    "federation.record": frozenset({WORKER}),  # rounds, ledgers and ends, as its jobs report them
    "observation.view": MEMBERS | {WORKER},
    "observation.configure": frozenset({ENGINEER, DEVICE}),  # a device: its own source, which is made at need
    "observation.record": frozenset({ENGINEER, WORKER, DEVICE}),  # by a server or an agent, with a token of its own
    "observation.make_dataset": frozenset({ENGINEER}),  # besides job.submit
    "endpoint.view": MEMBERS | {WORKER},
    "endpoint.create": frozenset({ENGINEER}),
    "endpoint.update": frozenset({ENGINEER}),
    "endpoint.suspend": frozenset({ENGINEER, DISPATCHER}),  # the plane: one that serves what is recalled
    "endpoint.stop_shadow": frozenset({ENGINEER, DISPATCHER}),
    "endpoint.resume": frozenset({ENGINEER}),
    "endpoint.delete": frozenset({ENGINEER}),
    "endpoint.rotate_token": frozenset({ENGINEER}),
    "endpoint.predict": frozenset({ENGINEER, APPROVER}),  # a try through the plane
    "device.view": MEMBERS | {WORKER},
    "device.create_enrolment_token": frozenset({ENGINEER}),
    "device.revoke_enrolment_token": frozenset({ENGINEER, APPROVER}),
    "device.enrol": frozenset({ENROLMENT}),
    "device.register": frozenset({ENGINEER}),  # one of a stock client, which has no key
    "device.change": frozenset({ENGINEER}),
    "device.save_group": frozenset({ENGINEER}),
    "device.delete_group": frozenset({ENGINEER}),
    "device.quarantine": frozenset({ENGINEER, APPROVER, DISPATCHER}),
    "device.reinstate": frozenset({APPROVER}),
    "device.revoke": frozenset({ENGINEER, APPROVER}),
    "device.assign": frozenset({ENGINEER, DISPATCHER}),  # of releases, which carry their approval
    "device.cancel_assignment": frozenset({ENGINEER, APPROVER, DISPATCHER}),
    "device.report": frozenset({DEVICE}),  # of itself
    "device.set_maintenance_window": frozenset({ENGINEER, APPROVER}),
    "release.view": MEMBERS | {WORKER},
    "release.prepare": frozenset({ENGINEER}),  # besides job.submit: the samples by which a device checks itself
    "release.issue": frozenset({ENGINEER, DISPATCHER}),  # of a version that was approved: that is the authority
    "release.revoke": frozenset({ENGINEER, APPROVER, DISPATCHER, OPERATOR}),
    "release.attach_update_file": frozenset({APPROVER}),  # its bytes are in no approval: an approver vouches for them
    "package.publish": frozenset({ENGINEER}),  # into the index of the plane; later versions: by the same project alone
    "package.yank": frozenset({ENGINEER, SYSTEM_ADMIN, OPERATOR}),
    "bundle.view": MEMBERS | {AUDITOR, SYSTEM_ADMIN, WORKER},
    "bundle.export_inventory": frozenset({ENGINEER}),  # digests of what the project holds, for the source
    "bundle.build": frozenset({ENGINEER}),
    "bundle.receive": frozenset({ENGINEER}),  # into quarantine
    "bundle.accept_plane_contents": frozenset({SYSTEM_ADMIN}),  # what belongs to no project, besides the approval
    "bundle.request_application": frozenset({ENGINEER}),  # besides approval.request
    "bundle.discard": frozenset({ENGINEER}),
    "bundle.cancel": frozenset({ENGINEER}),  # a check or a load; an approval that it cancels is spent
    "bundle_signer.propose": frozenset({ENGINEER}),  # besides approval.request
    "bundle_signer.revoke": frozenset({ENGINEER, APPROVER}),  # at once: a stolen key waits for nobody
    "recall.view": MEMBERS | {AUDITOR},
    "recall.start": frozenset({ENGINEER, APPROVER}),  # it takes nothing but what was approved before into use
    "recall.retry": frozenset({ENGINEER, APPROVER}),
    "rollout.view": MEMBERS | {WORKER},
    "rollout.create": frozenset({ENGINEER}),
    "rollout.request_start": frozenset({ENGINEER}),  # besides approval.request
    "rollout.request_decision": frozenset({ENGINEER, DISPATCHER}),
    "rollout.start": frozenset({ENGINEER, DISPATCHER}),  # of an approved one
    "rollout.pause": frozenset({ENGINEER, APPROVER}),
    "rollout.resume": frozenset({ENGINEER}),
    "rollout.retry": frozenset({ENGINEER}),
    "rollout.abort": frozenset({ENGINEER, APPROVER, DISPATCHER}),  # the plane: one of a version that is recalled
    "rollout.roll_back": frozenset({ENGINEER, APPROVER, DISPATCHER}),  # to releases that were approved before
    "monitor.view": MEMBERS | {WORKER},
    "monitor.create": frozenset({ENGINEER}),
    "monitor.update": frozenset({ENGINEER}),
    "monitor.pause": frozenset({ENGINEER}),
    "monitor.resume": frozenset({ENGINEER}),
    "monitor.delete": frozenset({ENGINEER}),
    "monitor.set_retraining": frozenset({ENGINEER}),  # besides all that a retraining does with these rights
    "retraining.cancel": frozenset({ENGINEER, APPROVER}),
    "retraining.retry": frozenset({ENGINEER}),  # besides all that it does with these rights
    "alarm.acknowledge": frozenset({ENGINEER, APPROVER}),
    "alarm.close": frozenset({ENGINEER, APPROVER}),
    "run.view": MEMBERS | {WORKER},
    "run.record": frozenset({WORKER}),  # measured by a job, never claimed by a person
    "run.rerun": frozenset({ENGINEER}),
    "run.group": frozenset({ENGINEER, DISPATCHER}),  # one that stands for many: a sweep's
    "run.annotate": frozenset({ENGINEER}),  # note, tags, deleted and back: nothing that was measured
    "run.set_panels": frozenset({ENGINEER}),  # charts that the list of runs has for everybody of the project
    "run.track": frozenset({ENGINEER, OPERATOR}),  # recorded from outside: whose word it is stands on the run
    "run.view_purgeable": MEMBERS | {AUDITOR, OPERATOR},
    "run.purge": frozenset({OPERATOR}),  # for good, after its time of retention, by a command
    "run.import": frozenset({ENGINEER, OPERATOR}),  # from an MLflow server, by a command on this machine
    "model.import": frozenset({ENGINEER, OPERATOR}),  # likewise; `production` waits for its approval
    "model.view": MEMBERS | {WORKER},
    "model.create": frozenset({ENGINEER, WORKER, OPERATOR}),
    "model.register_version": frozenset({WORKER}),
    "model.record_version": frozenset({ENGINEER, OPERATOR}),  # by a client, of files that it logged
    "model.annotate": frozenset({ENGINEER, OPERATOR}),  # description, tags, stage, name
    "model.delete": frozenset({ENGINEER}),
    "model.set_alias": frozenset({ENGINEER, OPERATOR}),  # aliases but `production`
    "model.request_promotion": frozenset({ENGINEER}),
    "model.roll_back": frozenset({ENGINEER, APPROVER, DISPATCHER}),  # to bytes that were approved before
    "model.block": frozenset({ENGINEER, APPROVER, DISPATCHER}),
    "model.unblock": frozenset({APPROVER}),
    "evaluation_set.create": frozenset({ENGINEER}),
    "evaluation.register": frozenset({WORKER}),  # measured by a job, never claimed by a person
    "gate.set": frozenset({APPROVER}),  # who asks for a promotion must not be who lowers the bar
    "approval.view": MEMBERS | {AUDITOR},
    "approval.request": frozenset({ENGINEER}),
    "approval.decide": frozenset({APPROVER}),
    "approval.ask": frozenset({APPROVER}),
    "approval.answer": frozenset({ENGINEER}),  # about one's own
    "approval.withdraw": frozenset({ENGINEER}),  # one's own
    "approval.void": frozenset({ENGINEER, APPROVER, DISPATCHER}),  # by the end of what it is about
    "approval.set_policy": frozenset({SECURITY_ADMIN, OPERATOR}),
    "webhook.view": MEMBERS | {SECURITY_ADMIN, AUDITOR},
    "webhook.configure": frozenset({SECURITY_ADMIN}),  # what leaves the plane, and where to
    "lineage.view": MEMBERS | {WORKER},
    "lineage.record": frozenset({ENGINEER, WORKER}),
    "audit.view_project": MEMBERS | {AUDITOR},
    "project.set_label": frozenset({SECURITY_ADMIN}),
    "dataset.set_label": frozenset({SECURITY_ADMIN}),  # asked of the project: its clearance is not the point
    "service_account.set_clearance": frozenset({SECURITY_ADMIN}),
    "member.view": MEMBERS | {SECURITY_ADMIN, AUDITOR},
    "member.set_roles": frozenset({SECURITY_ADMIN, OPERATOR}),
    "member.remove": frozenset({SECURITY_ADMIN, OPERATOR}),
    "service_account.create": frozenset({SECURITY_ADMIN, OPERATOR}),
    "service_account.disable": frozenset({SECURITY_ADMIN, OPERATOR}),
    "token.create": MEMBERS | {AUDITOR, OPERATOR},
    "token.create_for_service_account": frozenset({SECURITY_ADMIN, OPERATOR}),
    "token.revoke": MEMBERS | {SECURITY_ADMIN, AUDITOR, OPERATOR},  # members and auditor: their own
}

# Actions on the plane as a whole: project roles do not count, except where "a member of any project" is meant.
PLANE_ACTIONS: dict[str, frozenset[Role]] = {
    "project.create": frozenset({SYSTEM_ADMIN, OPERATOR}),
    "user.view": frozenset({SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR, OPERATOR}),
    "user.create": frozenset({SYSTEM_ADMIN, OPERATOR}),
    "user.disable": frozenset({SYSTEM_ADMIN, OPERATOR}),
    "user.sign_in_from_directory": frozenset({OPERATOR}),  # the page that the directory sends a browser back to
    "user.open_to_directory": frozenset({SYSTEM_ADMIN, OPERATOR}),  # confirmed by another once a person is bound
    "user.set_expiry": frozenset({SYSTEM_ADMIN, OPERATOR}),
    "user.disable_idle": frozenset({WORKER}),  # what is past its date, or unused for long
    "user.enable": frozenset({SYSTEM_ADMIN, OPERATOR}),
    "user.reset_password": frozenset({SYSTEM_ADMIN, OPERATOR}),
    "user.reset_second_factor": frozenset({SECURITY_ADMIN, OPERATOR}),  # who resets passwords must be another
    "user.set_up_second_factor": frozenset({OPERATOR}),  # of a first account, before anybody has taken it over
    "user.confirm_credentials": frozenset({SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR}),  # of what another kind has set
    "user.rename_oneself": MEMBERS | {SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR},
    "user.set_preferences": MEMBERS | {SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR},  # one's own
    "user.set_system_role": frozenset({SECURITY_ADMIN, OPERATOR}),
    "user.set_clearance": frozenset({SECURITY_ADMIN}),
    "label.view": frozenset({SECURITY_ADMIN, AUDITOR}),  # names of datasets of every project, and their labels
    "personal_data.view_plane": frozenset({SECURITY_ADMIN, AUDITOR, OPERATOR}),
    "saved_view.view": MEMBERS | {SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR},  # one's own alone
    "saved_view.save": MEMBERS | {SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR},
    "saved_view.delete": MEMBERS | {SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR},
    "notice.view": MEMBERS | {SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR},  # one's own alone
    "notice.mark_read": MEMBERS | {SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR},
    "notice.set_preferences": MEMBERS | {SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR},
    "notice.deliver": frozenset({DISPATCHER}),
    "notice.purge": frozenset({WORKER}),
    "node.view": MEMBERS | {SYSTEM_ADMIN, AUDITOR, WORKER, DISPATCHER},
    "node.register": frozenset({WORKER}),
    "node.heartbeat": frozenset({WORKER}),
    "node.record_environment": frozenset({WORKER}),
    "node.keep_samples": frozenset({DISPATCHER}),
    "run.take_in": frozenset({DISPATCHER}),
    "node.report_health": frozenset({NODE}),  # of itself
    "node.read_registration": frozenset({NODE}),  # its own
    "node.view_plane_health": frozenset({NODE}),
    "node.issue_token": frozenset({SYSTEM_ADMIN, OPERATOR}),
    "node.revoke_token": frozenset({SYSTEM_ADMIN, OPERATOR}),
    "node.import_conflicts": frozenset({OPERATOR}),  # by a command on the machine that holds the trusted keys
    "node.hold": frozenset({SYSTEM_ADMIN, OPERATOR}),
    "node.release": frozenset({SYSTEM_ADMIN, OPERATOR}),
    "node.set_labels": frozenset({SYSTEM_ADMIN, OPERATOR}),
    "node.request_probe": frozenset({SYSTEM_ADMIN, OPERATOR}),
    "node.run_probe": frozenset({WORKER}),
    "node.record_disk_speed": frozenset({WORKER, OPERATOR}),
    "isolation.view": frozenset({SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR}),  # what came through is a map for an intruder
    "isolation.set_policy": frozenset({SECURITY_ADMIN}),  # what nodes trust: GB/T 22239-2019, 8.1.5.3
    "isolation.read_policy": frozenset({NODE}),
    "isolation.report": frozenset({NODE}),  # of itself
    "isolation.delete_expired": frozenset({DISPATCHER}),
    "job.claim": frozenset({WORKER}),
    "job.report": frozenset({WORKER}),
    "job.finish": frozenset({WORKER}),
    "job.recover": frozenset({DISPATCHER}),
    "job.recover_abandoned": frozenset({WORKER, DISPATCHER}),  # of a worker whose process is gone
    "sweep.drive": frozenset({DISPATCHER}),
    "labelling.drive": frozenset({WORKER}),
    "schedule.view_plane": frozenset({SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR, OPERATOR}),  # those of no project
    "schedule.manage_plane": frozenset({SYSTEM_ADMIN, OPERATOR}),  # besides what it submits
    "schedule.fire": frozenset({DISPATCHER}),
    "endpoint.follow": frozenset({DISPATCHER}),
    "endpoint.report": frozenset({WORKER}),
    "device.expire_assignments": frozenset({DISPATCHER}),
    "rollout.drive": frozenset({DISPATCHER}),
    "monitor.evaluate": frozenset({DISPATCHER}),
    "monitor.evaluate_drift": frozenset({WORKER}),  # of features and errors, which takes NumPy
    "retraining.drive": frozenset({DISPATCHER}),
    "recall.advance": frozenset({DISPATCHER}),
    "bundle.drive": frozenset({WORKER}),
    "run.judge": frozenset({DISPATCHER, OPERATOR}),  # the verdict on a rerun that has ended
    "queue.sample": frozenset({DISPATCHER}),
    "approval.expire": frozenset({DISPATCHER}),
    "metrics.view": MEMBERS | {SYSTEM_ADMIN, AUDITOR, OPERATOR},  # by a token's scope alone: no page asks for it
    "artifact.scrub": frozenset({WORKER, OPERATOR}),
    "artifact.report_damage": frozenset({WORKER, DISPATCHER, OPERATOR}),  # of a process that has read other bytes
    # Bytes that no project holds: packages and images, and the auditor's documents of compliance.
    "artifact.store_for_plane": frozenset({AUDITOR, OPERATOR}),
    "package.view": MEMBERS | {SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR, WORKER, OPERATOR},
    "package.import": frozenset({OPERATOR}),  # a folder that was carried in, by a command
    "package.import_advisories": frozenset({OPERATOR}),
    "image.view": MEMBERS | {SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR, WORKER, OPERATOR},
    "image.import": frozenset({OPERATOR}),  # an archive that was carried in, by a command
    "release_key.view": MEMBERS | {SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR, WORKER, OPERATOR},
    "release_key.create": frozenset({OPERATOR}),  # by a command on the machine that holds the key
    "release_key.rotate": frozenset({OPERATOR}),
    "release_key.revoke": frozenset({OPERATOR}),
    "release_key.publish": frozenset({OPERATOR}),
    "observation.seal": frozenset({WORKER}),
    "observation.store_reference": frozenset({WORKER}),
    "observation.purge": frozenset({WORKER}),  # what is past the retention of its source
    "artifact.encrypt_store": frozenset({OPERATOR}),
    "artifact.collect": frozenset({SYSTEM_ADMIN, OPERATOR}),
    "artifact.view_garbage": frozenset({SYSTEM_ADMIN, AUDITOR, OPERATOR}),  # digests and sizes of every project
    "plane.backup": frozenset({OPERATOR}),
    "plane.restore": frozenset({OPERATOR}),
    "recertification.view": frozenset({APPROVER, SECURITY_ADMIN, AUDITOR}),  # approvers: of their projects
    "recertification.start": frozenset({SECURITY_ADMIN}),
    "recertification.decide": frozenset({APPROVER, SECURITY_ADMIN, AUDITOR}),  # never about one's own grants
    "recertification.suspend": frozenset({WORKER}),  # what nobody has decided until the due date
    "recertification.close": frozenset({SECURITY_ADMIN}),
    "access_history.view": frozenset({SECURITY_ADMIN, AUDITOR}),  # who had which grant at a time
    "emergency.view": MEMBERS | {SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR, OPERATOR},  # members: of their projects
    "emergency.request": MEMBERS | {SYSTEM_ADMIN, SECURITY_ADMIN},
    "emergency.confirm": frozenset({SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR}),  # of another kind than who asked
    "emergency.end": MEMBERS | {SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR},  # members: their own
    "emergency.expire": frozenset({WORKER}),  # what is past its time
    "emergency.create_keys": frozenset({OPERATOR}),
    "emergency.use_keys": frozenset({OPERATOR}),  # by a command, when nobody can log in
    "plane.rotate_column_key": frozenset({OPERATOR}),
    "security_alarm.view": frozenset({SECURITY_ADMIN, SYSTEM_ADMIN, AUDITOR, OPERATOR}),
    "security_alarm.acknowledge": frozenset({SECURITY_ADMIN, AUDITOR}),
    "security_alarm.set_rule": frozenset({SECURITY_ADMIN}),
    "security_alarm.evaluate": frozenset({WORKER}),
    "snapshot.view": frozenset({SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR, OPERATOR, DISPATCHER}),
    "snapshot.create": frozenset({SYSTEM_ADMIN, OPERATOR, DISPATCHER}),
    "snapshot.verify": frozenset({SYSTEM_ADMIN, OPERATOR, DISPATCHER}),
    "snapshot.remove": frozenset({SYSTEM_ADMIN, OPERATOR, DISPATCHER}),  # the plane: what is past its retention
    "snapshot.run": frozenset({OPERATOR, DISPATCHER}),  # the process that has the keys
    "plane.restore_drill": frozenset({SYSTEM_ADMIN, OPERATOR, DISPATCHER}),
    "compliance.view": frozenset({SYSTEM_ADMIN, SECURITY_ADMIN, AUDITOR, OPERATOR, DISPATCHER}),
    "compliance.request_run": frozenset({SYSTEM_ADMIN, AUDITOR, OPERATOR, DISPATCHER}),  # it tries, and changes nothing
    "compliance.run": frozenset({OPERATOR, DISPATCHER}),  # the process that has the keys
    "compliance.attach": frozenset({AUDITOR}),
    "compliance.withdraw": frozenset({AUDITOR}),
    "compliance.set_gap": frozenset({SECURITY_ADMIN, AUDITOR}),
    "compliance.export": frozenset({AUDITOR, OPERATOR}),
    "audit.view": frozenset({AUDITOR, OPERATOR}),
    "audit.verify": frozenset({AUDITOR, DISPATCHER, OPERATOR}),
    "audit.export": frozenset({AUDITOR, OPERATOR}),
    "audit.seal": frozenset({DISPATCHER, OPERATOR}),
}

ACTIONS: dict[str, frozenset[Role]] = {**PROJECT_ACTIONS, **PLANE_ACTIONS}

# What one person alone decides for others: who may do what, and what goes out. Whoever takes such a decision calls
# `apps.platform.accounts.confirmations.require_confirmed` too: the credentials must be nobody else's.
DECISIONS: frozenset[str] = frozenset(
    {
        "approval.decide",
        "approval.set_policy",
        "gate.set",
        "model.roll_back",
        "model.unblock",
        "recall.start",
        "webhook.configure",
        "hold.place",
        "hold.release",
        "member.set_roles",
        "member.remove",
        "service_account.create",
        "token.create_for_service_account",
        "user.set_system_role",
        "user.reset_second_factor",
        "user.confirm_credentials",
        "emergency.confirm",
        "project.set_label",
        "dataset.set_label",
        "service_account.set_clearance",
        "user.set_clearance",
        "recertification.start",
        "recertification.decide",
        "recertification.close",
    }
)

# What roles of an emergency grant never do: lend rights further, decide whose credentials count, touch the trail.
# The auditor's role is in no grant (apps.platform.emergency), so what only the auditor may do needs no line here.
NEVER_BY_EMERGENCY: frozenset[str] = frozenset(
    {
        "user.set_system_role",
        "user.confirm_credentials",
        "user.reset_second_factor",  # with the role of their own somebody may reset the password too
        "user.open_to_directory",
        "member.set_roles",  # or what was lent for hours would give for good
        "node.issue_token",
        "emergency.request",
        "emergency.confirm",
        "project.set_label",
        "dataset.set_label",
        "service_account.set_clearance",
        "user.set_clearance",
        "recertification.start",
        "recertification.decide",
        "recertification.close",
        "access_history.view",
        "service_account.create",
        "token.create",
        "token.create_for_service_account",
        "audit.view",
        "audit.verify",
        "audit.export",
        "audit.seal",
        "hold.place",
        "hold.release",
    }
)

# With these a token decides, so it must not come from whoever only borrowed the account.
DECIDING_SCOPES: frozenset[str] = frozenset(scope for scope, actions in SCOPES.items() if actions & DECISIONS)


@dataclass(frozen=True, slots=True)
class InProject:
    """Stands for what belongs to a project, where nothing but that is known of it and no row was read."""

    project_id: int


def get_effective_roles(actor: Actor, action: str, project_id: int | None) -> frozenset[Role]:
    """The roles that count for this action: system and plane roles always, project roles where they belong."""
    effective: set[Role] = set()
    if actor.system_role:
        effective.add(actor.system_role)
    if actor.emergency_id is not None:
        lends = action not in NEVER_BY_EMERGENCY
        effective = effective | actor.emergency_roles if lends else effective - actor.emergency_roles
    if actor.plane_role:
        effective.add(actor.plane_role)
    if actor.node_id is not None:
        effective.add(NODE)
    if action in PROJECT_ACTIONS:
        effective |= actor.get_roles_in(project_id)
    else:
        for roles in actor.project_roles.values():
            effective |= roles
    return frozenset(effective)


def is_allowed(actor: Actor, action: str, obj: Any = None) -> bool:
    """Whether `require` would pass. For hiding a button; never instead of `require`."""
    if action not in ACTIONS:
        return False
    if actor.scopes is not None and not any(action in SCOPES.get(scope, ()) for scope in actor.scopes):
        return False
    if not is_cleared(actor, obj):
        return False
    return bool(get_effective_roles(actor, action, get_project_id(obj)) & ACTIONS[action])


def require(actor: Actor, action: str, obj: Any = None) -> None:
    """Pass, or raise Unauthenticated, NotFound (a project the actor does not belong to) or Refused.

    `obj` is a project, anything with a `project_id`, or None for the plane as a whole.
    """
    if action not in ACTIONS:
        raise LookupError(f"policy: unknown action {action!r}")
    if actor.is_anonymous:
        raise Unauthenticated("Log in or send a token.", hint=N_("Authorization: Bearer <token>"))
    if is_allowed(actor, action, obj):
        return
    project_id = get_project_id(obj)
    hidden = action in PROJECT_ACTIONS and project_id is not None and not can_see_project(actor, project_id)
    if hidden or not is_cleared(actor, obj):
        raise NotFound("There is no such object, or you may not see it.")
    about = {"project_id": project_id, **build_audit_reference(obj)}  # for the record of the refusal
    require_scope(actor, action, **about)
    roles = (role for role in ACTIONS[action] if not isinstance(role, PlaneRole | DeviceRole | NodeRole))
    needed = ", ".join(sorted(role.value for role in roles))
    raise Refused(
        "{actor_label} may not do {what}.",
        actor_label=actor.label,
        what=action,
        action=action,
        limit=needed or None,
        hint=Message("It takes one of these roles: {needed}.", needed=needed)
        if needed
        else Message("Only the plane itself does this."),
        **about,
    )


def require_scope(actor: Actor, action: str, **about: Any) -> None:
    """Raise Refused (scope_missing) for a token whose scopes do not name the action; for lists over projects."""
    scope = find_scope(action)
    if actor.scopes is None or scope in actor.scopes:
        return
    raise Refused(
        Message("This token may not do {action}.", action=action)
        if scope
        else Message("No token may do {action}: a person must.", action=action),
        code="scope_missing",
        action=action,
        field="scopes",
        limit=scope,
        hint=Message("Create a token with the scope {scope}.", scope=scope)
        if scope
        else Message("Log in with a browser."),
        **about,
    )


def is_cleared(actor: Actor, obj: Any) -> bool:
    """Whether the actor's clearance covers the label of a dataset or a version; a project that is above it has been
    taken out of `actor.project_roles` before."""
    return actor.is_cleared_for_all or getattr(obj, "data_label", 0) <= actor.clearance


def can_see_project(actor: Actor, project_id: int) -> bool:
    """Members see their projects, the three administrators and the plane see that every project exists."""
    return bool(actor.system_role or actor.plane_role or project_id in actor.project_roles)


def get_project_id(obj: Any) -> int | None:
    """A project's own id, or the `project_id` of what belongs to one."""
    if obj is None:
        return None
    project_id = getattr(obj, "project_id", None)
    if project_id is None and obj._meta.model_name == "project":
        project_id = obj.pk
    return project_id


def build_audit_reference(obj: Any) -> dict[str, Any]:
    """What a record calls this object: its type and id, where it is a row."""
    meta = getattr(obj, "_meta", None)
    return {"object_type": meta.model_name, "object_id": obj.pk} if meta is not None else {}
