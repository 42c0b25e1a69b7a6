"""The scopes of tokens, and the actions that each of them names."""

from __future__ import annotations

# A token may do what its owner may, narrowed to its scopes. What no scope names, no token can do:
# accounts, members, roles, holds and the audit trail need a person in a browser.
SCOPES: dict[str, frozenset[str]] = {
    "read": frozenset(
        {
            "project.view",
            "artifact.view",
            "hold.view",
            "dataset.view",
            "personal_data.view",
            "personal_data.use",
            "job.view",
            "pipeline.view",
            "sweep.view",
            "schedule.view",
            "observation.view",
            "labelling.view",
            "federation.view",
            "endpoint.view",
            "device.view",
            "release.view",
            "rollout.view",
            "monitor.view",
            "release_key.view",
            "recall.view",
            "bundle.view",
            "comment.view",
            "run.view",
            "run.view_purgeable",
            "model.view",
            "approval.view",
            "lineage.view",
            "node.view",
            "saved_view.view",
            "notice.view",
            "package.view",
            "image.view",
            "notice.mark_read",  # of one's own: it changes what the bell shows, and nothing else
            "webhook.view",
            "audit.view_project",
        }
    ),
    "data:write": frozenset(
        {
            "artifact.upload",
            "dataset.create",
            "dataset.add_version",
            "dataset.describe",
            "dataset.set_expectations",
            "dataset.tag",
            "dataset.delete_version",
            "dataset.lock",
            "dataset.force_unlock",
            "personal_data.mark",
            "personal_data.change",
            "lineage.record",
            "observation.configure",
            "labelling.connect",
            "labelling.save_schema",
            "labelling.create",
            "labelling.synchronize",
            "labelling.close",
            "labelling.adjudicate",
            "labelling.set_gold",
            "labelling.set_bar",
            "labelling.publish",
            "federation.create_study",
            "federation.invite_site",
            "federation.enrol_site",
            "federation.remove_site",
            "federation.import_study",
            "federation.bind_data",
        }
    ),
    "observations:write": frozenset({"observation.record"}),  # for the token of a server or a device: nothing else
    "jobs:write": frozenset(
        {
            "observation.make_dataset",
            "labelling.train",
            "federation.start_study",
            "federation.stop_study",
            "federation.join_study",
            "federation.leave_study",
            "job.submit",
            "job.script",
            "job.cancel",
            "job.retry",
            "job.prioritise",
            "pipeline.submit",
            "pipeline.cancel",
            "sweep.submit",
            "sweep.cancel",
            "schedule.create",
            "schedule.update",
            "schedule.pause",
            "schedule.resume",
            "schedule.delete",
            "run.rerun",
            "run.group",
        }
    ),
    "runs:write": frozenset({"comment.write", "run.annotate", "run.set_panels", "run.track"}),
    "models:write": frozenset(
        {
            "model.create",
            "model.record_version",
            "model.annotate",
            "model.delete",
            "model.set_alias",
            "model.request_promotion",
            "model.roll_back",
            "model.block",
            "model.unblock",
            "monitor.create",
            "monitor.update",
            "monitor.pause",
            "monitor.resume",
            "monitor.delete",
            "monitor.set_retraining",
            "retraining.cancel",
            "retraining.retry",
            "alarm.acknowledge",
            "alarm.close",
            "recall.start",
            "recall.retry",
            "endpoint.create",
            "endpoint.update",
            "endpoint.suspend",
            "endpoint.stop_shadow",
            "endpoint.resume",
            "endpoint.delete",
            "endpoint.rotate_token",
            "endpoint.predict",
            "release.prepare",
            "release.issue",
            "release.revoke",
            "evaluation_set.create",
            "gate.set",
            "federation.register_result",
            "federation.request_approval",
            "approval.request",
            "approval.answer",
            "approval.withdraw",
        }
    ),
    "devices:write": frozenset(
        {
            "device.create_enrolment_token",
            "device.revoke_enrolment_token",
            "device.register",
            "device.change",
            "device.save_group",
            "device.delete_group",
            "device.quarantine",
            "device.reinstate",
            "device.revoke",
            "device.assign",
            "device.cancel_assignment",
            "device.set_maintenance_window",
            "rollout.create",
            "rollout.request_start",
            "rollout.request_decision",
            "rollout.start",
            "rollout.pause",
            "rollout.resume",
            "rollout.retry",
            "approval.void",  # of a rollout that ends
            "rollout.abort",
            "rollout.roll_back",
        }
    ),
    "bundles:write": frozenset(
        {
            "bundle.export_inventory",
            "bundle.build",
            "bundle.receive",
            "bundle.request_application",
            "bundle.discard",
            "bundle.cancel",
            "bundle_signer.propose",
            "bundle_signer.revoke",
        }
    ),
    "packages:write": frozenset({"package.publish", "package.yank"}),  # of twine and uv publish
    "approvals:decide": frozenset(
        {"approval.decide", "approval.ask", "release.attach_update_file"}
    ),  # a person's own token; no service account decides
    "audit:read": frozenset(
        {
            "audit.view",
            "audit.verify",
            "audit.export",
            "compliance.view",
            "compliance.export",
            "personal_data.view_plane",
            "security_alarm.view",
            "artifact.view_garbage",
            "isolation.view",
            "schedule.view_plane",
            "snapshot.view",
        }
    ),
    "metrics:read": frozenset({"metrics.view"}),  # for the token of a scraper: it opens /metrics and nothing else
}


def find_scope(action: str) -> str | None:
    """The scope that lets a token do this, or None where no token may."""
    return next((scope for scope, actions in SCOPES.items() if action in actions), None)
