"""Every write of the registry: make a model, register a version, move an alias. A version is never changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from apps import policy
from apps.accounts.models import SLUG, Project
from apps.actors import Actor
from apps.approvals.models import Approval
from apps.approvals.services import request_approval
from apps.artifacts.models import Artifact
from apps.artifacts.services import Damaged
from apps.audit import services as audit
from apps.errors import Conflict, Invalid, Refused, StaleState
from apps.jobs.models import Job, JobInput
from apps.jobs.provenance import for_whom
from apps.lineage.services import record_edges
from apps.registry import registering
from apps.registry.documents import Document, checked_document, metrics_of
from apps.registry.facts import facts_of, missing_bytes
from apps.registry.models import Alias, AliasMove, Model, ModelVersion, Variant
from apps.registry.reads import holders
from apps.registry.states import PRODUCTION, PROTECTED, SUBJECT, MoveKind
from apps.registry.verdicts import require_gates

JobOutputRow = tuple[str, Artifact, str, str, Mapping[str, Any]]
"""(slot, artifact, name, media type, meta): what jobs.services.succeed_job takes"""

VERSION_SLOT = "version"
LIKE_A_NUMBER = re.compile(r"v?[0-9]+")


# -- models and versions --------------------------------------------------------------------------------------------
def create_model(*, actor: Actor, project: Project, name: str, description: str = "") -> Model:
    """A new model without versions. Raises Invalid for a name that cannot be one, Conflict for one that is taken."""
    policy.require(actor, "model.create", project)
    check_name("name", name)
    check_text("description", description, 500)
    try:
        with transaction.atomic():
            return insert_model(actor, project, name, description)
    except IntegrityError:
        raise Conflict(
            f"The project has a model {name!r} already.",
            code="model_exists",
            field="name",
            hint="Register a version in it, or choose another name.",
        ) from None


def ensure_model(*, actor: Actor, project: Project, name: str) -> Model:
    """The model called `name`, made if the project has none; two at once make one."""
    found = Model.objects.filter(project=project, name=name).first()
    if found is not None:
        policy.require(actor, "model.view", found)
        return found
    policy.require(actor, "model.create", project)
    check_name("name", name)
    try:
        with transaction.atomic():
            return insert_model(actor, project, name, "")
    except IntegrityError:
        return Model.objects.get(project=project, name=name)


def insert_model(actor: Actor, project: Project, name: str, description: str) -> Model:
    model = Model.objects.create(project=project, name=name, description=description, created_by=for_whom(actor))
    audit.record(actor=actor, action="model.create", obj=model, after={"name": name, "description": description})
    return model


def register_version(
    *, actor: Actor, project: Project, model_name: str, outputs: Sequence[JobOutputRow], job: Job
) -> tuple[ModelVersion, bool]:
    """Make the document that a register job wrote a version of the model, which is made too if it is absent.

    Returns it and whether it is new: the digest of the document is its name, so registered twice is registered once.
    Call it inside the transaction that ends the job; it reads no bytes. Raises Invalid if the job has no such output,
    or one that names bytes which did not go into the job.
    """
    policy.require(actor, "model.register_version", project)
    made = {row[0]: row for row in outputs}
    if VERSION_SLOT not in made:
        raise Invalid(
            f"Job {job.pk} made no output {VERSION_SLOT!r}.",
            code="output_missing",
            field="slot",
            limit=", ".join(made) or "none",
        )
    _, artifact, _, _, document = made[VERSION_SLOT]
    text = checked_document(document, artifact.pk)
    check_inputs(job, document)
    with transaction.atomic():
        model = ensure_model(actor=actor, project=project, name=model_name)
        locked = Model.objects.select_for_update().get(pk=model.pk)
        version = ModelVersion.objects.select_related("model").filter(model=locked, digest=artifact.pk).first()
        created = version is None
        if version is None:
            version = insert_version(actor, locked, artifact.pk, text, document, job)
        variants = list(version.variants.order_by("pk"))
        record_edges(actor=actor, project=project, edges=registering.edges_of(job, version, variants))
    return version, created


def check_inputs(job: Job, document: Document) -> None:
    """Raise Invalid for a document that names bytes which the job was not given."""
    given = set(JobInput.objects.filter(job=job).values_list("artifact_id", flat=True))
    for variant in document["variants"]:
        for digest in (variant["model"], variant["manifest"]):
            if digest not in given:
                raise Invalid(
                    f"The document names {digest}, which is no input of job {job.pk}.",
                    code="version_document",
                    field=f"outputs/version/variants/{variant['name']}",
                    limit="the job's inputs",
                    hint="Run the register job again.",
                )


def insert_version(actor: Actor, model: Model, digest: str, text: str, document: Document, job: Job) -> ModelVersion:
    """The next version of a locked model, its variants and its record."""
    rows = document["variants"]
    makers = registering.makers_of(job, [row["slot"] for row in rows])
    trainer = makers.get(rows[0]["slot"])
    number = model.versions_count + 1
    Model.objects.filter(pk=model.pk).update(versions_count=number, touched_at=timezone.now())
    version = ModelVersion.objects.create(
        model=model,
        number=number,
        digest=digest,
        document=text,
        task=document["task"],
        target=document["target"],
        metrics=metrics_of(rows[0]["figures"]),
        note=document["note"],
        run=registering.run_of(trainer),
        job_id=job.pk,
        created_by=job.requester or actor.label,
    )
    trained: Variant | None = None  # the first; the others were made from it
    for row in rows:
        maker = makers.get(row["slot"])
        heldout = row["heldout"] or (registering.heldout_of(trainer) if trained is None else "")
        # Who brings a manifest may write into it which rows its figures are of; a job has read them.
        variant = insert_variant(version, row, trained, heldout if maker else "", maker)
        trained = trained or variant
    audit.record(
        actor=actor,
        action="model.register_version",
        obj=version,
        after={"model": model.name, "number": number, "variants": [row["name"] for row in rows], "job": job.pk},
        digests={"version": digest, **{row["name"]: row["model"] for row in rows}},
    )
    return version


def insert_variant(
    version: ModelVersion, row: Mapping[str, Any], parent: Variant | None, heldout: str, maker: int | None
) -> Variant:
    return Variant.objects.create(
        version=version,
        name=row["name"],
        format=row["format"],
        file=row["file"],
        artifact_id=row["model"],
        manifest_id=row["manifest"],
        parent=parent,
        size=row["size"],
        heldout=heldout,
        machine=row["machine"],
        figures=row["figures"],
        job_id=maker,
    )


# -- aliases --------------------------------------------------------------------------------------------------------
def set_alias(*, actor: Actor, version: ModelVersion, name: str, reason: str = "") -> Alias:
    """Let an alias that is not protected point to this version; the same again changes nothing.

    Raises Refused (`alias_protected`) for `production`, Invalid for a name that cannot be one.
    """
    policy.require(actor, "model.set_alias", version.model)
    check_alias(name)
    check_text("reason", reason, 2000)
    if name in PROTECTED:
        raise Refused(
            f"The alias {name} moves only by an approval.",
            code="alias_protected",
            action="model.set_alias",
            field="alias",
            limit=f"any name but {', '.join(sorted(PROTECTED))}",
            hint="Request a promotion: POST .../versions/<n>/promote.",
            project_id=version.project_id,
            **policy.named(version),
        )
    with transaction.atomic():
        Model.objects.select_for_update().get(pk=version.model_id)  # moves of one model wait for each other
        held = Alias.objects.select_related("version__model").filter(model=version.model, name=name).first()
        if held is not None and held.version_id == version.pk:
            return held
        before = held.version if held else None
        move = AliasMove(alias=name, kind=MoveKind.SET, from_version=before, to_version=version, reason=reason)
        return move_alias(actor, move)


def request_promotion(
    *, actor: Actor, version: ModelVersion, comment: str = "", deadline_hours: int | None = None
) -> Approval:
    """Ask the approvers to let `production` point to this version. Reads the bytes of every variant first.

    Raises Conflict where it points there already, where one is pending, or where a gate does not let it through
    (`gate_fail`, `gate_not_evaluated`...); Damaged where bytes are not whole.
    """
    policy.require(actor, "model.request_promotion", version.model)
    if Alias.objects.filter(model=version.model, name=PRODUCTION, version=version).exists():
        raise Conflict(
            f"{version} is in production already.",
            code="already_in_production",
            field="version",
            hint="Ask for another version.",
        )
    missing = missing_bytes(version)
    if missing is not None:
        raise Damaged(missing)
    require_gates(actor, version)
    return request_approval(
        actor=actor,
        project=version.model.project,
        subject_type=SUBJECT,
        subject_id=version.pk,
        title=f"{version} to {PRODUCTION}",
        facts=facts_of(version, deep=False),
        comment=comment,
        deadline_hours=deadline_hours,
    )


def promote(*, actor: Actor, version: ModelVersion, approval: Approval, current: int | None) -> Alias:
    """Let `production` point to an approved version, if it still points to the version numbered `current`.

    For the deciding vote, inside its transaction. Raises StaleState if production has moved meanwhile.
    """
    policy.require(actor, "approval.decide", version.model)
    with transaction.atomic():
        Model.objects.select_for_update().get(pk=version.model_id)
        held = Alias.objects.select_related("version__model").filter(model=version.model, name=PRODUCTION).first()
        before = held.version if held else None
        if (before.number if before else None) != current:
            raise moved_meanwhile()
        move = AliasMove(alias=PRODUCTION, kind=MoveKind.PROMOTE, from_version=before, to_version=version)
        move.approval, move.reason = approval, approval.comment
        alias = move_alias(actor, move)
        audit.seal_now()
    return alias


def roll_back(*, actor: Actor, model: Model, alias: str = PRODUCTION, reason: str) -> AliasMove:
    """Let the alias point to its previous holder again, once the bytes of that one's variants have been read whole.

    The stack of holders loses its top: a second rollback goes to what was before that one. Recorded with the approval
    that had put the holder there. Raises Conflict `nothing_to_roll_back`, Damaged, StaleState.
    """
    policy.require(actor, "model.roll_back", model)
    check_text("reason", reason, 2000, required=True)
    top, target = holders(model, alias)
    if top is None or target is None:
        raise Conflict(
            f"There is nothing to roll {alias} of {model} back to.",
            code="nothing_to_roll_back",
            field="alias",
            limit="a holder before this one",
            hint="Request the promotion of another version.",
        )
    missing = missing_bytes(target.to_version)  # outside the transaction: it may take minutes
    if missing is not None:
        raise Damaged(missing)
    with transaction.atomic():
        Model.objects.select_for_update().get(pk=model.pk)
        if holders(model, alias)[0] != top:
            raise moved_meanwhile()
        move = AliasMove(alias=alias, kind=MoveKind.ROLLBACK, from_version=top.to_version, to_version=target.to_version)
        move.origin, move.approval, move.reason = target, target.approval, reason
        move_alias(actor, move)
        audit.seal_now()
    return move


ACTIONS = {
    MoveKind.SET: "model.set_alias",
    MoveKind.PROMOTE: "model.promote",
    MoveKind.ROLLBACK: "model.roll_back",
}


def move_alias(actor: Actor, move: AliasMove) -> Alias:
    """Carry a move out: the alias by compare-and-set on where it points, its history and its record."""
    old, new = move.from_version, move.to_version
    move.model, move.by = new.model, actor.label
    if old is None:
        try:
            with transaction.atomic():
                alias = Alias.objects.create(model=new.model, name=move.alias, version=new)
        except IntegrityError:
            raise moved_meanwhile() from None
    else:
        held = Alias.objects.filter(model=new.model, name=move.alias, version=old)
        if not held.update(version=new):
            raise moved_meanwhile()
        alias = Alias.objects.select_related("version__model").get(model=new.model, name=move.alias)
    move.save()
    audit.record(
        actor=actor,
        action=ACTIONS[MoveKind(move.kind)],
        obj=new,
        reason=move.reason,
        before={"version": old.number if old else None},
        after={"model": new.model.name, "alias": move.alias, "version": new.number, "approval": move.approval_id},
        digests={"version": new.digest, **({"before": old.digest} if old else {})},
    )
    return alias


def moved_meanwhile() -> StaleState:
    return StaleState("The alias has moved meanwhile.", field="alias", hint="Read it again and decide anew.")


# -- checks ---------------------------------------------------------------------------------------------------------
def check_name(field: str, name: str) -> None:
    if not re.search(SLUG.regex, name):
        raise Invalid(
            f"{name[:60]!r} cannot be a name.",
            code="bad_name",
            field=field,
            limit="1 to 50 lower-case letters, digits and hyphens, a letter or digit first",
            hint="For instance wti-forecast.",
        )


def check_alias(name: str) -> None:
    """A name that could be taken for a version's number is none: v3 must mean the third."""
    check_name("alias", name)
    if LIKE_A_NUMBER.fullmatch(name):
        raise Invalid(
            f"{name!r} reads like the number of a version.",
            code="bad_name",
            field="alias",
            limit="a word",
            hint="For instance staging.",
        )


def check_text(field: str, value: str, limit: int, *, required: bool = False) -> None:
    if len(value) > limit:
        raise Invalid(
            f"{field} has {len(value)} characters.", field=field, limit=f"{limit} characters", hint="Shorten it."
        )
    if required and not value.strip():
        raise Invalid(f"Give a {field}.", code="required", field=field, hint="It stands in the audit trail.")
