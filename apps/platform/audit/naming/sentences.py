"""What a record says, as a sentence: who did what to which object. Other actions are shown by their name."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

SENTENCES: Mapping[str, Promise] = {
    "approval.approved": gettext_lazy("{who} approved {what}"),
    "approval.rejected": gettext_lazy("{who} rejected {what}"),
    "approval.request": gettext_lazy("{who} requested {what}"),
    "approval.look": gettext_lazy("{who} opened {what}"),
    "approval.set_policy": gettext_lazy("{who} changed the approval policy of {what}"),
    "artifact.damaged": gettext_lazy("{who} found {what} damaged"),
    "audit.export": gettext_lazy("{who} exported the audit trail"),
    "audit.verify": gettext_lazy("{who} verified the whole audit trail"),
    "audit.verify_recent": gettext_lazy("{who} verified the newest audit records"),
    "audit.view": gettext_lazy("{who} read the audit trail"),
    "bundle.apply": gettext_lazy("{who} applied the bundle {what}"),
    "bundle.request": gettext_lazy("{who} requested the bundle {what}"),
    "dataset.add_version": gettext_lazy("{who} added {what}"),
    "dataset.create": gettext_lazy("{who} created the dataset {what}"),
    "dataset.delete_version": gettext_lazy("{who} deleted {what}"),
    "dataset.describe": gettext_lazy("{who} edited the card of {what}"),
    "dataset.set_expectations": gettext_lazy("{who} changed the expectations of {what}"),
    "dataset.set_label": gettext_lazy("{who} changed the security label of {what}"),
    "dataset.set_quality": gettext_lazy("{who} attached a quality report to {what}"),
    "dataset.tag": gettext_lazy("{who} tagged {what}"),
    "dataset.untag": gettext_lazy("{who} removed a tag of {what}"),
    "device.register": gettext_lazy("{who} registered the device {what}"),
    "device.quarantine": gettext_lazy("{who} quarantined the device {what}"),
    "emergency.request": gettext_lazy("{who} requested emergency access"),
    "endpoint.create": gettext_lazy("{who} created the endpoint {what}"),
    "endpoint.serve": gettext_lazy("{who} changed what the endpoint {what} serves"),
    "experiment.create": gettext_lazy("{who} created the experiment {what}"),
    "hold.place": gettext_lazy("{who} placed the legal hold {what}"),
    "hold.release": gettext_lazy("{who} released the legal hold {what}"),
    "job.cancel": gettext_lazy("{who} cancelled {what}"),
    "job.failed": gettext_lazy("{what} failed"),
    "job.retry": gettext_lazy("{who} retried {what}"),
    "job.submit": gettext_lazy("{who} submitted {what}"),
    "job.succeeded": gettext_lazy("{what} succeeded"),
    "list.export": gettext_lazy("{who} exported the list {what}"),
    "member.remove": gettext_lazy("{who} removed a member of {what}"),
    "member.set_roles": gettext_lazy("{who} changed a member's roles in {what}"),
    "model.create": gettext_lazy("{who} created the model {what}"),
    "model.delete": gettext_lazy("{who} deleted the model {what}"),
    "model.describe": gettext_lazy("{who} edited the card of the model {what}"),
    "model.promote": gettext_lazy("{who} promoted {what} to production"),
    "model.register_version": gettext_lazy("{who} registered {what}"),
    "model.remove_alias": gettext_lazy("{who} removed an alias of {what}"),
    "model.roll_back": gettext_lazy("{who} rolled {what} back"),
    "model.set_alias": gettext_lazy("{who} moved an alias to {what}"),
    "node.hold": gettext_lazy("{who} held the node {what}"),
    "node.register": gettext_lazy("{who} registered the node {what}"),
    "node.release": gettext_lazy("{who} released the node {what}"),
    "personal_data.mark": gettext_lazy("{who} marked a column of {what} as personal data"),
    "pipeline.cancel": gettext_lazy("{who} cancelled the pipeline {what}"),
    "pipeline.submit": gettext_lazy("{who} submitted the pipeline {what}"),
    "project.create": gettext_lazy("{who} created the project {what}"),
    "rollout.abort": gettext_lazy("{who} aborted the rollout {what}"),
    "rollout.create": gettext_lazy("{who} created the rollout {what}"),
    "rollout.pause": gettext_lazy("{who} paused the rollout {what}"),
    "rollout.resume": gettext_lazy("{who} resumed the rollout {what}"),
    "rollout.start": gettext_lazy("{who} started the rollout {what}"),
    "run.create": gettext_lazy("{who} created the run {what}"),
    "run.delete": gettext_lazy("{who} deleted the run {what}"),
    "schedule.create": gettext_lazy("{who} created the schedule {what}"),
    "schedule.delete": gettext_lazy("{who} deleted the schedule {what}"),
    "schedule.update": gettext_lazy("{who} changed the schedule {what}"),
    "service_account.create": gettext_lazy("{who} created the service account {what}"),
    "service_account.disable": gettext_lazy("{who} disabled the service account {what}"),
    "token.create": gettext_lazy("{who} created the token {what}"),
    "token.revoke": gettext_lazy("{who} revoked the token {what}"),
    "user.create": gettext_lazy("{who} created the account {what}"),
    "user.disable": gettext_lazy("{who} disabled the account {what}"),
    "user.enable": gettext_lazy("{who} enabled the account {what}"),
    "user.log_in": gettext_lazy("{who} signed in"),
    "user.log_out": gettext_lazy("{who} signed out"),
    "user.reset_password": gettext_lazy("{who} reset the password of {what}"),
    "user.set_system_role": gettext_lazy("{who} changed the system role of {what}"),
}


def render_sentence(action: str, who: str, what: SafeString | str) -> SafeString | str:
    """The sentence of an action, with `what` as it is given: a link, or a name that is escaped; "" for no sentence."""
    sentence = SENTENCES.get(action)
    return format_html(str(sentence), who=who, what=what) if sentence is not None else ""
