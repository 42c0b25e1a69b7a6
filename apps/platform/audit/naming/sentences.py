"""What a record says, as a sentence: who did what to which object."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from apps.core.html import format_html

SENTENCES: Mapping[str, Promise] = {
    "access_history.view": gettext_lazy("{who} read the access history"),
    "approval.approved": gettext_lazy("{what} was approved"),
    "approval.reject": gettext_lazy("{who} voted to reject {what}"),
    "approval.rejected": gettext_lazy("{what} was rejected"),
    "approval.request": gettext_lazy("{who} requested approval: {what}"),
    "approval.seen": gettext_lazy("{who} marked the changes of {what} as seen"),
    "approval.set_policy": gettext_lazy("{who} changed the approval policy of {what}"),
    "artifact.hold": gettext_lazy("{who} stored an artifact"),
    "artifact.hold_many": gettext_lazy("{who} stored artifacts"),
    "audit.export": gettext_lazy("{who} exported the audit trail"),
    "audit.request_verification": gettext_lazy("{who} requested a verification of the audit trail"),
    "audit.take_anchor": gettext_lazy("{who} downloaded the key or the checkpoints of the audit trail"),
    "audit.verify": gettext_lazy("{who} verified the whole audit trail"),
    "audit.verify_recent": gettext_lazy("{who} verified the newest audit records"),
    "audit.view": gettext_lazy("{who} read the audit trail"),
    "compliance.attach": gettext_lazy("{who} attached a document to a clause"),
    "compliance.export": gettext_lazy("{who} downloaded an evidence folder"),
    "compliance.request_run": gettext_lazy("{who} requested an evidence run"),
    "compliance.set_gap": gettext_lazy("{who} changed the owner of a compliance gap"),
    "dataset.set_expectations": gettext_lazy("{who} changed the expectations of {what}"),
    "dataset.set_quality": gettext_lazy("{who} attached a quality report to {what}"),
    "emergency.request": gettext_lazy("{who} requested emergency access"),
    "gate.set": gettext_lazy("{who} set a gate of {what}"),
    "job.failed": gettext_lazy("{what} failed"),
    "job.succeeded": gettext_lazy("{what} succeeded"),
    "lineage.record": gettext_lazy("{who} recorded the lineage of a job in {what}"),
    "list.export": gettext_lazy("{who} exported the list {what}"),
    "member.remove": gettext_lazy("{who} removed a member of {what}"),
    "member.set_roles": gettext_lazy("{who} changed a member's roles in {what}"),
    "model.promote": gettext_lazy("{who} promoted {what} to production"),
    "personal_data.mark": gettext_lazy("{who} marked a column of {what} as personal data"),
    "session.administer": gettext_lazy("{who} started to administer"),
    "user.add_second_factor": gettext_lazy("{who} set up a second factor for {what}"),
    "user.change_password": gettext_lazy("{who} changed the password of {what}"),
    "user.confirm_credentials": gettext_lazy("{who} confirmed the credentials of {what}"),
    "user.log_in": gettext_lazy("{who} signed in"),
    "user.log_out": gettext_lazy("{who} signed out"),
    "user.reset_password": gettext_lazy("{who} reset the password of {what}"),
    "user.reset_second_factor": gettext_lazy("{who} removed the second factor of {what}"),
    "user.set_expiry": gettext_lazy("{who} changed the last day of {what}"),
    "user.set_system_role": gettext_lazy("{who} changed the system role of {what}"),
}
"""Of one action."""

VERBS: Mapping[str, Promise] = {
    "accept_plane_contents": gettext_lazy("{who} accepted the contents of the plane in {what}"),
    "acknowledge": gettext_lazy("{who} acknowledged {what}"),
    "activate": gettext_lazy("{who} activated {what}"),
    "add": gettext_lazy("{who} added {what}"),
    "add_version": gettext_lazy("{who} added {what}"),
    "adjudicate": gettext_lazy("{who} decided a disagreement in {what}"),
    "amend": gettext_lazy("{who} amended {what}"),
    "annotate": gettext_lazy("{who} annotated {what}"),
    "answer": gettext_lazy("{who} answered a question about {what}"),
    "apply": gettext_lazy("{who} applied {what}"),
    "approve": gettext_lazy("{who} voted to approve {what}"),
    "ask": gettext_lazy("{who} requested changes to {what}"),
    "assign": gettext_lazy("{who} assigned {what}"),
    "attach": gettext_lazy("{who} attached {what}"),
    "bind": gettext_lazy("{who} bound {what}"),
    "block": gettext_lazy("{who} blocked {what}"),
    "build": gettext_lazy("{who} built {what}"),
    "cancel": gettext_lazy("{who} cancelled {what}"),
    "change": gettext_lazy("{who} changed {what}"),
    "check": gettext_lazy("{who} checked {what}"),
    "close": gettext_lazy("{who} closed {what}"),
    "confirm": gettext_lazy("{who} confirmed {what}"),
    "connect": gettext_lazy("{who} connected {what}"),
    "create": gettext_lazy("{who} created {what}"),
    "damaged": gettext_lazy("{who} found {what} damaged"),
    "decide": gettext_lazy("{who} decided {what}"),
    "delete": gettext_lazy("{who} deleted {what}"),
    "delete_tag": gettext_lazy("{who} removed a tag of {what}"),
    "delete_version": gettext_lazy("{who} deleted {what}"),
    "describe": gettext_lazy("{who} edited the card of {what}"),
    "describe_version": gettext_lazy("{who} edited the card of {what}"),
    "disable": gettext_lazy("{who} disabled {what}"),
    "discard": gettext_lazy("{who} discarded {what}"),
    "download": gettext_lazy("{who} downloaded {what}"),
    "edit": gettext_lazy("{who} edited {what}"),
    "enable": gettext_lazy("{who} enabled {what}"),
    "end": gettext_lazy("{who} ended {what}"),
    "enrol": gettext_lazy("{who} enrolled {what}"),
    "expire": gettext_lazy("{what} expired"),
    "export": gettext_lazy("{who} exported {what}"),
    "finish": gettext_lazy("{what} finished"),
    "go_on": gettext_lazy("{who} continued {what}"),
    "hold": gettext_lazy("{who} held {what}"),
    "import": gettext_lazy("{who} imported {what}"),
    "issue": gettext_lazy("{who} issued {what}"),
    "judge": gettext_lazy("{who} evaluated {what}"),
    "lock": gettext_lazy("{who} locked {what}"),
    "look": gettext_lazy("{who} opened {what}"),
    "mark": gettext_lazy("{who} marked {what}"),
    "mark_read": gettext_lazy("{who} marked notices as read"),
    "open": gettext_lazy("{who} opened {what}"),
    "pause": gettext_lazy("{who} paused {what}"),
    "place": gettext_lazy("{who} placed {what}"),
    "postpone": gettext_lazy("{who} postponed {what}"),
    "predict": gettext_lazy("{who} requested predictions of {what}"),
    "prioritise": gettext_lazy("{who} changed the priority of {what}"),
    "propose": gettext_lazy("{who} proposed {what}"),
    "publish": gettext_lazy("{who} published {what}"),
    "purge": gettext_lazy("{who} permanently deleted {what}"),
    "push": gettext_lazy("{who} pushed to {what}"),
    "quarantine": gettext_lazy("{who} quarantined {what}"),
    "raise": gettext_lazy("{who} raised {what}"),
    "receive": gettext_lazy("{who} received {what}"),
    "record": gettext_lazy("{who} recorded {what}"),
    "register": gettext_lazy("{who} registered {what}"),
    "register_version": gettext_lazy("{who} registered {what}"),
    "release": gettext_lazy("{who} released {what}"),
    "remove": gettext_lazy("{who} removed {what}"),
    "remove_alias": gettext_lazy("{who} removed an alias of {what}"),
    "rename": gettext_lazy("{who} renamed {what}"),
    "reopen": gettext_lazy("{who} reopened {what}"),
    "report": gettext_lazy("{who} reported about {what}"),
    "request": gettext_lazy("{who} requested {what}"),
    "rerun": gettext_lazy("{who} reran {what}"),
    "restore": gettext_lazy("{who} restored {what}"),
    "restore_version": gettext_lazy("{who} restored {what}"),
    "resume": gettext_lazy("{who} resumed {what}"),
    "retire": gettext_lazy("{who} retired {what}"),
    "retry": gettext_lazy("{who} retried {what}"),
    "revoke": gettext_lazy("{who} revoked {what}"),
    "roll_back": gettext_lazy("{who} rolled back {what}"),
    "rotate_token": gettext_lazy("{who} replaced the token of {what}"),
    "save": gettext_lazy("{who} saved {what}"),
    "serve": gettext_lazy("{who} changed what {what} serves"),
    "set": gettext_lazy("{who} set {what}"),
    "set_alias": gettext_lazy("{who} moved an alias to {what}"),
    "set_label": gettext_lazy("{who} changed the security label of {what}"),
    "set_note": gettext_lazy("{who} edited the note of {what}"),
    "set_policy": gettext_lazy("{who} changed the policy of {what}"),
    "set_tag": gettext_lazy("{who} tagged {what}"),
    "start": gettext_lazy("{who} started {what}"),
    "submit": gettext_lazy("{who} submitted {what}"),
    "tag": gettext_lazy("{who} tagged {what}"),
    "tag_version": gettext_lazy("{who} tagged {what}"),
    "unblock": gettext_lazy("{who} unblocked {what}"),
    "unlock": gettext_lazy("{who} unlocked {what}"),
    "untag": gettext_lazy("{who} removed a tag of {what}"),
    "untag_version": gettext_lazy("{who} removed a tag of {what}"),
    "update": gettext_lazy("{who} changed {what}"),
    "verify": gettext_lazy("{who} verified {what}"),
    "view": gettext_lazy("{who} viewed {what}"),
    "withdraw": gettext_lazy("{who} withdrew {what}"),
    "write": gettext_lazy("{who} wrote {what}"),
    "yank": gettext_lazy("{who} yanked {what}"),
}
"""Of every other action that ends so."""

NOUNS: Mapping[str, Promise] = {
    "alarm": pgettext_lazy("audit object", "alarm"),
    "apitoken": pgettext_lazy("audit object", "token"),
    "approval": pgettext_lazy("audit object", "approval"),
    "artifact": pgettext_lazy("audit object", "artifact"),
    "attachment": pgettext_lazy("audit object", "document"),
    "campaign": pgettext_lazy("audit object", "recertification"),
    "comment": pgettext_lazy("audit object", "comment"),
    "containerimage": pgettext_lazy("audit object", "image"),
    "dataset": pgettext_lazy("audit object", "dataset"),
    "datasetversion": pgettext_lazy("audit object", "dataset version"),
    "device": pgettext_lazy("audit object", "device"),
    "devicegroup": pgettext_lazy("audit object", "device group"),
    "emergencygrant": pgettext_lazy("audit object", "emergency access"),
    "endpoint": pgettext_lazy("audit object", "endpoint"),
    "enrolmenttoken": pgettext_lazy("audit object", "enrolment token"),
    "evaluation": pgettext_lazy("audit object", "evaluation"),
    "evaluationset": pgettext_lazy("audit object", "evaluation set"),
    "evidencerun": pgettext_lazy("audit object", "evidence run"),
    "experiment": pgettext_lazy("audit object", "experiment"),
    "gate": pgettext_lazy("audit object", "gate"),
    "hold": pgettext_lazy("audit object", "legal hold"),
    "holding": pgettext_lazy("audit object", "artifact"),
    "incomingbundle": pgettext_lazy("audit object", "incoming bundle"),
    "job": pgettext_lazy("audit object", "job"),
    "labellingproject": pgettext_lazy("audit object", "labelling project"),
    "labelschema": pgettext_lazy("audit object", "label schema"),
    "labelserver": pgettext_lazy("audit object", "labelling server"),
    "loggedmodel": pgettext_lazy("audit object", "logged model"),
    "model": pgettext_lazy("audit object", "model"),
    "modelversion": pgettext_lazy("audit object", "model version"),
    "monitor": pgettext_lazy("audit object", "monitor"),
    "node": pgettext_lazy("audit object", "node"),
    "nodetoken": pgettext_lazy("audit object", "node token"),
    "observationsource": pgettext_lazy("audit object", "observation source"),
    "outgoingbundle": pgettext_lazy("audit object", "outgoing bundle"),
    "package": pgettext_lazy("audit object", "package"),
    "packageversion": pgettext_lazy("audit object", "package version"),
    "pipeline": pgettext_lazy("audit object", "pipeline"),
    "project": pgettext_lazy("audit object", "project"),
    "recall": pgettext_lazy("audit object", "recall"),
    "release": pgettext_lazy("audit object", "release"),
    "releasekey": pgettext_lazy("audit object", "release key"),
    "rerun": pgettext_lazy("audit object", "rerun"),
    "retraining": pgettext_lazy("audit object", "retraining"),
    "rollout": pgettext_lazy("audit object", "rollout"),
    "run": pgettext_lazy("audit object", "run"),
    "runpanel": pgettext_lazy("audit object", "panel"),
    "savedview": pgettext_lazy("audit object", "view"),
    "schedule": pgettext_lazy("audit object", "schedule"),
    "securityalarm": pgettext_lazy("audit object", "security alarm"),
    "serviceaccount": pgettext_lazy("audit object", "service account"),
    "site": pgettext_lazy("audit object", "site"),
    "snapshot": pgettext_lazy("audit object", "snapshot"),
    "study": pgettext_lazy("audit object", "study"),
    "sweep": pgettext_lazy("audit object", "sweep"),
    "user": pgettext_lazy("audit object", "account"),
    "variant": pgettext_lazy("audit object", "variant"),
    "verificationrun": pgettext_lazy("audit object", "verification"),
    "webhook": pgettext_lazy("audit object", "webhook"),
}
"""Object type -> what people call such an object."""
SELF_EXPLAINING = frozenset({"approval", "datasetversion", "modelversion"})  # a name such as wti v3 needs no noun


def render_object(object_type: str, object_id: str, name: str, url: str) -> SafeString | str:
    """An object by its noun and its name, or its id where no name is known; a link where `url` is given."""
    noun = str(NOUNS.get(object_type, object_type))
    if not noun and not object_id:
        return ""
    label = name or (f"#{object_id}" if object_id.isdecimal() else object_id[:12])
    link = format_html('<a href="{}">{}</a>', url, label) if url else label
    if name and object_type in SELF_EXPLAINING:
        return link
    return format_html(_("{noun} {name}"), noun=noun, name=link) if label else noun


def render_sentence(action: str, who: str, what: SafeString | str, *, state: str = "") -> SafeString | str:
    """The sentence of what was done. `what`: "" for no object; `state`: the word for the state that it came into."""
    verb = action.rpartition(".")[2]
    sentence = SENTENCES.get(action) or VERBS.get(verb)
    if not what and (sentence is None or "{what}" in str(sentence)):
        return format_html(_("{who}: {verb}"), who=who, verb=verb.replace("_", " "))
    if sentence is not None:
        return format_html(str(sentence), who=who, what=what)
    if state:
        return format_html(_("{who}: {what} is now “{state}”"), who=who, what=what, state=state)
    return format_html(_("{who}: {verb}, {what}"), who=who, verb=verb.replace("_", " "), what=what)


def render_attempt(action: str, who: str, what: SafeString | str) -> SafeString | str:
    """The sentence of what was refused or failed."""
    if not what:
        return format_html(_("{who} attempted {action}"), who=who, action=action)
    return format_html(_("{who} attempted {action} on {what}"), who=who, action=action, what=what)
