"""Pages of the registry: one model with the history of its aliases, one version with its tabs. Lists: lists.py."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid, NotFound, PlaneError, Refused
from apps.core.lists.listing import mark_list_view
from apps.core.markdown import render_markdown
from apps.core.messages import translate_error, translate_message
from apps.core.policy import is_allowed
from apps.core.request_values import parse_int
from apps.ml.registry import presenters, queries, services
from apps.ml.registry.batch_prediction import can_predict_tables, format_model_reference
from apps.ml.registry.blocks import find_block, find_rollback
from apps.ml.registry.client_presenters import build_client_context
from apps.ml.registry.documents import read_document
from apps.ml.registry.evaluations.prediction_notes import describe_evaluation_predictions
from apps.ml.registry.evaluations.presenters import build_baselines_context, build_evaluations_context
from apps.ml.registry.evaluations.queries import find_metric, get_newest_predictions
from apps.ml.registry.evaluations.sets import format_set_reference
from apps.ml.registry.gates.verdicts import VersionPageData, evaluate_gates
from apps.ml.registry.lists import VERSIONS, build_versions_table
from apps.ml.registry.models import Model, ModelVersion, Variant
from apps.ml.registry.promotion.facts import (
    build_side,
    list_variants_with_artifacts,
    summarize_client_files,
    verify_variant_bytes,
)
from apps.ml.registry.promotion.release_readiness import ReleaseReadiness, evaluate_readiness
from apps.ml.registry.provenance import list_training_data
from apps.ml.registry.states import PRODUCTION, SUBJECT
from apps.ml.registry.tags.presenters import build_tags_context
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.approvals.models import Approval
from apps.platform.approvals.states import ApprovalState
from apps.platform.approvals.terms import get_terms, query_eligible_people
from apps.platform.audit.list_export import export_list
from apps.platform.audit.queries import get_timeline
from apps.platform.audit.services import record_refusal

TABS = ("overview", "variants", "compare", "evaluations", "files", "history", "lineage", "audit")
MAX_VERSION_CHOICES = 50  # versions to compare with; others by their address


# -- one model ------------------------------------------------------------------------------------------------------
@mark_list_view(VERSIONS.key)
@require_safe
def show_model(request: HttpRequest, project: str, name: str, tab: str = "versions") -> HttpResponseBase:
    """/p/<slug>/models/<name>[/<tab>]: its versions, newest first; baselines; how its aliases moved; who did what."""
    actor, where = get_project_context(request, project)
    model = queries.get_model(actor, where, name)
    if tab == "versions" and request.GET.get("format") == "csv":
        return export_list(actor, build_versions_table(actor, model, request.GET), project=where)
    return render_model(request, actor, model, tab)


def render_model(
    request: HttpRequest,
    actor: Actor,
    model: Model,
    tab: str,
    *,
    refused: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    """One tab. `refused`: what was typed to roll production back, and why not; `more`: the same of another form."""
    context: dict[str, Any] = {
        "nav": "models",
        "model": model,
        "tab": tab,
        **build_rollback_context(actor, model),
        **(more or {}),
    }
    context["refused_back"] = refused
    if tab == "versions":
        table = build_versions_table(actor, model, request.GET)
        context, status = context | table.build_context(), table.status if table.wrong else status
        context |= {
            "card_html": render_markdown(model.description) if model.description else "",
            "may_describe": is_allowed(actor, "model.annotate", model),
            **build_tags_context(actor, model),
        }
    elif tab == "baselines":
        production = context["move"].to_version.number if context["move"] else None
        context |= build_baselines_context(
            actor, model, request.GET, production, context.get("refused_gate"), context.get("set_form")
        )
    elif tab == "history":
        context |= {"moves": queries.list_moves(actor, model), "aliases": queries.list_aliases(actor, model)}
    else:
        context["events"] = get_timeline(actor, "model", model.pk)
    return render(request, f"registry/model_{tab}.html", context, status=status)


def build_rollback_context(actor: Actor, model: Model) -> dict[str, Any]:
    """What a rollback would go back to now, and whether this person may do it."""
    top, target = find_rollback(model, PRODUCTION)
    return {
        "move": top,
        "target": target,
        "may_roll_back": bool(target) and is_allowed(actor, "model.roll_back", model),
    }


# -- one version ----------------------------------------------------------------------------------------------------
@require_safe
def show_version(request: HttpRequest, project: str, name: str, version: str, tab: str = "overview") -> HttpResponse:
    """/p/<slug>/models/<name>/<number or digest>[/<tab>]"""
    actor, where = get_project_context(request, project)
    return render_version(request, actor, where, queries.get_version(actor, where, name, version), tab)


def render_version(
    request: HttpRequest,
    actor: Actor,
    where: Project,
    version: ModelVersion,
    tab: str,
    *,
    refused: dict[str, Any] | None = None,
    refused_alias: dict[str, Any] | None = None,
    more: dict[str, Any] | None = None,
    status: int = 200,
) -> HttpResponse:
    """One tab. `refused`, `refused_alias`: what was typed to ask for a promotion or to set an alias, and why not;
    `more`: the same of a form of the tab."""
    variants = queries.list_variants(actor, version)
    context = build_page_head(actor, version, variants, tab) | {"refused": refused, "refused_alias": refused_alias}
    context |= more or {}
    context |= compare_with_production(context)
    if tab == "compare":
        context |= build_comparison(request, actor, version, context)
    if tab == "evaluations":
        context |= build_evaluations_context(actor, version, request.GET, context["known"])
    context |= build_tab_context(actor, where, version, context, tab)
    if tab in ("overview", "files"):
        files = request.build_absolute_uri(reverse("api-artifacts", args=[where.slug]))
        context["serving"] = presenters.build_serving_examples(
            variants, version.model.name, files, read_document(version.document)
        )
    if version.by_client and tab in ("overview", "files", "variants"):
        context |= build_client_context(request, actor, version, context["told"])
        tab = f"client_{tab}"
    return render(request, f"registry/{tab}.html", context, status=status)


def build_page_head(actor: Actor, version: ModelVersion, variants: list[Variant], tab: str) -> dict[str, Any]:
    """What the head of the page needs, whichever tab is open."""
    aliases = queries.list_aliases(actor, version.model)
    production = next((alias.version for alias in aliases if alias.name == PRODUCTION), None)
    is_production = production is not None and production.pk == version.pk
    block = find_block(version) if version.is_blocked else None
    pending = None if is_production else find_pending_promotion(version)
    mine = build_side(version, variants, {row.name: verify_variant_bytes(row, deep=False) for row in variants})
    return {
        "nav": "models",
        "model": version.model,
        "version": version,
        "tab": tab,
        "variants": variants,
        "aliases": [alias for alias in aliases if alias.version_id == version.pk],
        "production": production,
        "in_production": is_production,
        "pending": pending,
        "side": mine,
        "told": summarize_client_files(version)
        if version.by_client and tab in ("overview", "files", "variants")
        else None,
        "rows": presenters.build_variant_rows(mine),
        **build_predictions_note(version),
        "reference": format_model_reference(version),
        "version_block": block,
        "may_unblock": block is not None and is_allowed(actor, "model.unblock", version.model),
        "may_predict": block is None and can_predict_tables(version) and is_allowed(actor, "job.submit", version.model),
        "may_promote": not is_production
        and block is None
        and pending is None
        and is_allowed(actor, "model.request_promotion", version.model),
        "may_alias": block is None and is_allowed(actor, "model.set_alias", version.model),
        **(build_rollback_context(actor, version.model) if is_production else {}),
    }


def build_predictions_note(version: ModelVersion) -> dict[str, Any]:
    """The figure of the newest predictions of a version that a client registered, and who gave them."""
    evaluation = get_newest_predictions(version)
    if evaluation is None:
        return {}
    metric = find_metric(evaluation.metrics, evaluation.set.primary_metric)
    return {
        "predicted": {
            "row": evaluation,
            "ref": format_set_reference(evaluation.set),
            "metric": metric,
            "sentence": describe_evaluation_predictions(evaluation),
        }
    }


def find_pending_promotion(version: ModelVersion) -> Approval | None:
    """The request to let production point to this version that waits for a decision, without its facts."""
    requests = Approval.objects.filter(project=version.project_id, subject_type=SUBJECT, subject_id=str(version.pk))
    return requests.filter(state=ApprovalState.PENDING).defer("facts").first()


def compare_with_production(context: dict[str, Any]) -> dict[str, Any]:
    """What the answer of every tab needs: the figures of the version beside those of production's."""
    production: ModelVersion | None = context["production"]
    production_side, forms = None, {context["version"].pk: context["variants"]}
    if production and not context["in_production"]:
        theirs = forms[production.pk] = list_variants_with_artifacts(production)
        production_side = build_side(
            production, theirs, {row.name: verify_variant_bytes(row, deep=False) for row in theirs}
        )
    pairs = presenters.pair_with_other(context["side"], production_side)
    return {
        "pairs": pairs,
        "first": next((pair.metrics[0] for pair in pairs if pair.metrics), None),
        "baseline": presenters.pair_with_baseline(context["rows"][0]) if context["rows"] else None,
        "references": [
            reference
            for variant in context["variants"]
            if context["rows"] and variant.name == context["rows"][0]["name"]
            for reference in presenters.pair_with_references(context["rows"][0], variant.figures or {})
        ],
        "production_side": production_side,
        "production_rows": presenters.build_variant_rows(production_side) if production_side else [],
        "known": VersionPageData(production, forms),
    }


def build_comparison(
    request: HttpRequest, actor: Actor, version: ModelVersion, context: dict[str, Any]
) -> dict[str, Any]:
    """Beside the version that the query names: production, else the one before that is there, else the newest."""
    siblings = version.model.versions.filter(deleted_at=None).exclude(pk=version.pk)
    numbers = siblings.order_by("-number").values_list("number", flat=True)
    offered = list(numbers[:MAX_VERSION_CHOICES])
    apart = context["production"] is not None and not context["in_production"]
    requested = request.GET.get("with", "")[:70] or (PRODUCTION if apart else "")
    if not requested and offered:
        requested = str(numbers.filter(number__lt=version.number).first() or offered[0])
    other_version, wrong = None, ""
    try:
        other_version = queries.get_other(actor, version, requested) if requested else None
    except (NotFound, Invalid) as error:
        wrong = translate_message(error)
    choices = [(PRODUCTION, _("production"))] if apart else []
    if (
        other_version is not None and other_version.number not in offered
    ):  # an older one, asked for by its address: it is what is shown
        offered.append(other_version.number)
    chosen = requested if other_version is None or requested == PRODUCTION else str(other_version.number)
    choices += [(str(number), f"v{number}") for number in offered]
    return {
        "other": other_version,
        "wrong": wrong,
        "pairs": presenters.pair_with_other(
            context["side"], build_side(other_version, list_variants_with_artifacts(other_version), {})
        )
        if other_version
        else [],
        "filters": [{"name": "with", "label": _("Compare with"), "value": chosen, "choices": choices}],
    }


def build_tab_context(
    actor: Actor, where: Project, version: ModelVersion, context: dict[str, Any], tab: str
) -> dict[str, Any]:
    """What only this tab shows."""
    variants: list[Variant] = context["variants"]
    match tab:
        case "overview":
            data = list_training_data(next(iter(variants), None), where.pk)
            steps = presenters.build_provenance_steps(version, variants, data, context["aliases"], where.slug)
            document = read_document(version.document)
            outlook = (
                None
                if context["in_production"]
                else evaluate_version_readiness(actor, version, context, document, data)
            )
            return {
                "document": document,
                "tensors": presenters.describe_tensors(document),
                "recipe": presenters.list_recipe(document),
                "data": data,
                "steps": steps,
                "outlook": outlook,
                "may_submit": is_allowed(actor, "job.submit", where),
                **build_tags_context(actor, version),
            }
        case "variants":
            theirs = next(iter(context["production_rows"]), None)
            rows = context["rows"]
            return {
                "noted": any(row["notes"] for row in rows),
                "measures": presenters.build_measures(rows, theirs),
                "latencies": presenters.build_latencies(rows, theirs),
                "columns": 1 + len(rows) + bool(theirs),
            }
        case "history":
            return {
                "moves": queries.list_version_moves(actor, version),
                "asked": queries.list_approvals(actor, version),
            }
        case "audit":
            return {"events": get_timeline(actor, "modelversion", version.pk)}
    return {}


def evaluate_version_readiness(
    actor: Actor, version: ModelVersion, context: dict[str, Any], document: dict[str, Any], data: list[Any]
) -> ReleaseReadiness:
    """May it go out: from what the page shows, and from what the project asks of a promotion."""
    baseline = context["baseline"]
    return evaluate_readiness(
        context["rows"],
        first=context["first"],
        baseline=next(iter(baseline.metrics), None) if baseline else None,
        production=context["production_side"],
        signature=document["signature"],
        data=data,
        files=context["told"],
        terms=get_terms(version.model.project, SUBJECT),
        eligible=query_eligible_people(
            version.project_id,
            requester_user_id=actor.user_id,
            requester_service_account_id=actor.service_account_id,
        ).count(),
        gates=evaluate_gates(version, page_data=context["known"]),
        predicted=context.get("predicted", {}).get("sentence", ""),
    )


# -- writes ---------------------------------------------------------------------------------------------------------
@require_POST
def promote(request: HttpRequest, project: str, name: str, version: str) -> HttpResponse:
    """Ask the approvers; on to the approval, or the version with what is wrong and what was typed."""
    actor, where = get_project_context(request, project)
    version_row = queries.get_version(actor, where, name, version)
    comment, hours = request.POST.get("comment", "").strip(), request.POST.get("deadline_hours", "").strip()
    try:
        deadline = parse_hours(hours)
        approval = services.request_promotion(
            actor=actor, version=version_row, comment=comment, deadline_hours=deadline
        )
    except (Conflict, Invalid) as error:
        messages.error(request, format_error(error))
        refused = {"comment": comment, "deadline_hours": hours, "why": format_error(error)}
        return render_version(request, actor, where, version_row, "overview", refused=refused, status=error.status)
    messages.success(request, _("Approval requested: %(version)s to production.") % {"version": version_row})
    return redirect("approvals:detail", project=where.slug, pk=approval.pk)


def parse_hours(text: str) -> int | None:
    """Hours that a person typed; None where the field was left empty."""
    if not text:
        return None
    if (hours := parse_int(text, 0, 9999)) is not None:
        return hours
    raise Invalid("A deadline is a whole number of hours.", field="deadline_hours", limit="a whole number")


@require_POST
def roll_back(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """Production to its previous holder; or the model with what is wrong and what was typed."""
    actor, where = get_project_context(request, project)
    model, reason = queries.get_model(actor, where, name), request.POST.get("reason", "").strip()
    try:
        move = services.roll_back(actor=actor, model=model, reason=reason)
    except (Conflict, Invalid) as error:
        messages.error(request, format_error(error))
        refused = {"reason": reason, "why": format_error(error)}
        return render_model(request, actor, model, "versions", refused=refused, status=error.status)
    messages.success(request, _("Production points to %(version)s again.") % {"version": move.to_version})
    return redirect("registry:model", project=where.slug, name=name)


@require_POST
def unblock(request: HttpRequest, project: str, name: str, version: str) -> HttpResponseRedirect:
    """Lift the block of a version, for the reason that was typed."""
    actor, where = get_project_context(request, project)
    version_row = queries.get_version(actor, where, name, version)
    try:
        services.lift_block(actor=actor, version=version_row, reason=request.POST.get("reason", "").strip())
    except (Conflict, Invalid) as error:
        messages.warning(request, format_error(error))
    else:
        messages.success(request, _("%(version)s is not blocked any more.") % {"version": version_row})
    return redirect("registry:version", project=where.slug, name=name, version=version_row.number)


@require_POST
def set_alias(request: HttpRequest, project: str, name: str, version: str) -> HttpResponse:
    """Let an alias that is not protected point here; or the version with what is wrong and what was typed."""
    actor, where = get_project_context(request, project)
    version_row = queries.get_version(actor, where, name, version)
    alias, reason = request.POST.get("alias", "").strip()[:60], request.POST.get("reason", "").strip()
    try:
        services.set_alias(actor=actor, version=version_row, name=alias, reason=reason)
    except (Conflict, Invalid, Refused) as error:
        if isinstance(error, Refused):
            if error.code != "alias_protected":
                raise
            record_refusal(actor, error, request)  # it ends here, so the exception handler does not see it
        refused = {"alias": alias, "reason": reason, "why": format_error(error)}
        return render_version(
            request, actor, where, version_row, "overview", refused_alias=refused, status=error.status
        )
    messages.success(request, _("%(alias)s points to %(version)s.") % {"alias": alias, "version": version_row})
    return redirect("registry:version", project=where.slug, name=name, version=version_row.number)


def format_error(error: PlaneError) -> str:
    """What is wrong, and the way out."""
    return translate_error(error)


# -- by key, as lineage knows them ----------------------------------------------------------------------------------
@require_safe
def redirect_to_version(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """A version by its key at its address for people."""
    actor, where = get_project_context(request, project)
    policy.require(actor, "model.view", where)
    rows = ModelVersion.objects.visible_to(actor).select_related("model").defer("document")
    version = rows.filter(pk=pk, model__project=where).first() if pk < 2**63 else None
    if version is None:
        raise NotFound("This project has no model version with the key {pk}.", pk=pk, field="id")
    return redirect("registry:version", project=where.slug, name=version.model.name, version=version.number)


@require_safe
def redirect_to_variant(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """A variant by its key: it is shown with the others of its version."""
    actor, where = get_project_context(request, project)
    policy.require(actor, "model.view", where)
    rows = Variant.objects.visible_to(actor).select_related("version__model").defer("version__document")
    variant = rows.filter(pk=pk, version__model__project=where).first() if pk < 2**63 else None
    if variant is None:
        raise NotFound("This project has no variant with the key {pk}.", pk=pk, field="id")
    number = variant.version.number
    return redirect("registry:variants", project=where.slug, name=variant.version.model.name, version=number)
