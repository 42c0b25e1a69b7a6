"""What keeps a model or a version from being deleted or renamed: production, approvals, and what was made from it."""

from __future__ import annotations

from collections.abc import Callable

from django.db.models import CharField, QuerySet
from django.db.models.functions import Cast

from apps.core.errors import Conflict
from apps.core.registry import Registry
from apps.ml.registry.models import Alias, AliasMove, Gate, Model, ModelVersion
from apps.ml.registry.states import PROTECTED, SUBJECT
from apps.platform.approvals.models import Approval
from apps.platform.approvals.states import ApprovalState
from apps.platform.holds.queries import refuse_held
from apps.platform.lineage.models import Edge
from deepseek.messages import Message

VersionUse = Callable[[QuerySet[ModelVersion]], Message | None]
"""What needs one of these versions, in one sentence; None if nothing does."""
VERSION_USES: Registry[VersionUse] = Registry("VERSION_USES")


def require_unused(model: Model, versions: QuerySet[ModelVersion]) -> None:
    """Raise Conflict where one of these versions of the model is needed or held; call it with the model locked."""
    refuse_held(model.project_id, *(("modelversion", str(key)) for key in versions.values_list("pk", flat=True)))
    require_free(model, versions)
    for find_use in VERSION_USES.values():
        if use := find_use(versions):
            raise build_still_needed_error(use, Message("Let it serve another version, or delete it, first."))
    moved = AliasMove.objects.filter(model=model, alias__in=PROTECTED, to_version__in=versions)
    if number := moved.values_list("to_version__number", flat=True).order_by("pk").first():
        raise build_still_needed_error(
            Message(
                "Production of {model} has pointed to v{number}: a rollback may go back to it.",
                model=model,
                number=number,
            ),
            Message("Keep it; it costs only its bytes."),
        )
    keys = versions.order_by().annotate(key=Cast("pk", CharField())).values("key")
    edge = Edge.objects.filter(project=model.project_id, source_type="model_version", source_id__in=keys).first()
    if edge is not None:
        raise build_still_needed_error(
            Message(
                "{source_label} is cited: {target_type} {target_label} was made from it.",
                source_label=edge.source_label or model,
                target_type=edge.target_type,
                target_label=edge.target_label or edge.target_id,
            ),
            Message("Its lineage shows what was made from it."),
        )


def require_no_baseline(version: ModelVersion) -> None:
    """Raise Conflict where a gate compares with this very version. With its model the gate goes too: ask for one."""
    gate = Gate.objects.filter(baseline=version, removed_at=None).select_related("set").order_by("pk").first()
    if gate is not None:
        raise build_still_needed_error(
            Message(
                "{version} is what gate {gate_pk} ({gate}) compares with.", version=version, gate_pk=gate.pk, gate=gate
            ),
            Message("Lift the gate, or set it against another version."),
        )


def require_free(model: Model, versions: QuerySet[ModelVersion] | None = None) -> None:
    """Raise Conflict where production points to one of the versions (None: any of the model), or may soon."""
    among = ModelVersion.objects.filter(model=model) if versions is None else versions
    alias = Alias.objects.filter(model=model, name__in=PROTECTED, version__in=among).select_related("version").first()
    if alias is not None:
        raise build_still_needed_error(
            Message(
                "{model} stays as it is: {held_name} points to v{held_version_number}.",
                model=model,
                held_name=alias.name,
                held_version_number=alias.version.number,
            ),
            Message("Let the approvers move production elsewhere first."),
        )
    pending = Approval.objects.filter(project=model.project_id, subject_type=SUBJECT, state=ApprovalState.PENDING)
    approvals = {int(subject): pk for subject, pk in pending.values_list("subject_id", "pk")}
    needed_version = among.filter(pk__in=approvals).values_list("pk", flat=True).first() if approvals else None
    if needed_version is not None:
        raise build_still_needed_error(
            Message(
                "{model} stays as it is: approval #{waiting} is about one of its versions.",
                model=model,
                waiting=approvals[needed_version],
            ),
            Message("Withdraw the request, or wait for the decision."),
        )


def build_still_needed_error(message: str, hint: str) -> Conflict:
    return Conflict(message, code="still_needed", field="model", hint=hint)
