"""The part of an approval's page that says what changes, drawn from the facts: it shows what is decided about."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.data.datasets.models import DatasetVersion
from apps.ml.registry.evaluations.comparison import Verdict
from apps.ml.registry.evaluations.prediction_notes import describe_compared_predictions
from apps.ml.registry.models import AliasMove, ModelVersion
from apps.ml.registry.presenters import build_variant_rows, find_address, pair_with_baseline, pair_with_other
from apps.ml.registry.promotion.evidence import build_evidence_cards
from apps.ml.registry.states import GATE_COLOURS, GateState, MoveKind
from apps.platform.approvals.models import Approval
from apps.platform.approvals.states import ApprovalState
from apps.platform.lineage.models import Edge

MAX_USERS, MAX_FILES = 10, 50


def build_promotion_context(approval: Approval) -> dict[str, Any]:
    """The context of registry/promotion.html; asks for no right of its own: who sees the approval sees its facts."""
    facts, slug = json.loads(approval.facts), approval.project.slug
    candidate, current = facts["candidate"], facts["current"]
    context = {
        "slug": slug,
        **build_facts_context(facts),
        "data": list_data(approval, facts),
        "run_url": find_address("experiments:detail", slug, facts["run"]["id"]) if facts["run"] else "",
        "users": list_users(approval, facts),
        "evidence": build_evidence_cards(approval, facts),
        "files": build_file_rows(candidate),
        "same_signature": current is not None and current["signature"] == candidate["signature"],
        "ended": approval.state != ApprovalState.PENDING,
    }
    number = {"number": candidate["version"]}
    return {
        **context,
        **get_outcome(approval, facts),
        "unknowns": list_unknowns(context),
        "void_words": describe_void_changes(approval.void_changes),
        "answer": render_to_string("registry/promotion_answer.html", context),
        "approve_label": _("Approve, move production to v%(number)s") % number,
        "reject_label": _("Reject, leave production at v%(number)s") % {"number": current["version"]}
        if current
        else _("Reject, leave production empty"),
    }


def build_file_rows(candidate: Mapping[str, Any]) -> dict[str, Any]:
    """The files of a version that a client made, the first of them as rows; empty for every other."""
    files = candidate.get("files") or {}
    rows = [{"path": path, **file} for path, file in list(files.items())[:MAX_FILES]]
    return {"rows": rows, "more": len(files) - len(rows)} if files else {}


def build_facts_context(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the facts say by themselves, without a query."""
    candidate, current = facts["candidate"], facts["current"]
    rows, pairs = build_variant_rows(candidate), pair_with_other(candidate, current)
    return {
        "promotion": facts,
        "candidate": candidate,
        "current": current,
        "rows": rows,
        "pairs": pairs,
        "first": next((pair.metrics[0] for pair in pairs if pair.metrics), None),
        "baseline": pair_with_baseline(rows[0]) if rows else None,
        "gates": [build_gate(gate) for gate in facts.get("gates", {}).values()],
    }


def build_gate(gate: Mapping[str, Any]) -> dict[str, Any]:
    """What a gate said, with its words and its colour."""
    state = GateState(gate["state"])
    predicted = describe_compared_predictions(*get_prediction_givers(gate), gate["against"])
    return {**gate, "word": state.label, "colour": GATE_COLOURS.get(state, "failed"), "predicted": predicted}


def get_prediction_givers(gate: Mapping[str, Any]) -> tuple[str, str]:
    """Who gave the predictions of the candidate, and of the baseline, as the facts of the gate have it, or ""."""
    candidate, baseline = (gate.get(f"{side}_predictions") or {"by": ""} for side in ("candidate", "baseline"))
    return candidate["by"], baseline["by"]


def render_promotion_sentence(facts: Mapping[str, Any]) -> SafeString:
    """What moves and how sure it is, for lists of what waits."""
    return SafeString(render_to_string("registry/promotion_answer.html", build_facts_context(facts)).strip())


def list_unknowns(context: Mapping[str, Any]) -> list[str]:
    """What an approver should know that nobody knows, in sentences."""
    sentences, current = [], context["current"]
    by_verdict: dict[str, list[str]] = {}
    for pair in context["pairs"]:
        for comparison in pair.metrics:
            if comparison.paired is None:
                by_verdict.setdefault(comparison.verdict, []).append(f"{pair.mine.name} {comparison.name}")
    for verdict, words in UNDECIDED.items():
        if verdict in by_verdict:
            sentences.append(words % {"names": ", ".join(by_verdict[verdict])})
    if names := sorted({name for gate in context["gates"] for name in get_prediction_givers(gate) if name}):
        sentences.append(
            _("Whether the predictions come from this model: %(names)s supplied them.") % {"names": ", ".join(names)}
        )
    elif not context["rows"]:
        sentences.append(_("Quality: no metric was measured here."))
    bare = [row["name"] for row in context["rows"] if not row["metrics"]]
    if bare:
        sentences.append(_("Not measured at all: %(names)s.") % {"names": ", ".join(bare)})
    open_ = [
        f"{gate['set']} {gate['metric']}" for gate in context["gates"] if gate["state"] == GateState.NOT_SIGNIFICANT
    ]
    if open_:
        sentences.append(_("Whether it is worse than the gate tolerates: %(names)s.") % {"names": ", ".join(open_)})
    brought = [row["name"] for row in context["rows"] if not row["job"] and row["metrics"]]
    if brought:
        sentences.append(
            _("Evaluated elsewhere; the metrics came with the files: %(names)s.") % {"names": ", ".join(brought)}
        )
    if not context["data"]:
        sentences.append(_("Which data it was trained on."))
    if current and not context["users"]:
        sentences.append(_("Which programs ask for production: a download leaves no trace of its use."))
    return sentences


UNDECIDED: Mapping[str, Any] = {
    Verdict.NOT_SHOWN: gettext_lazy("No difference is shown, which does not prove that there is none: %(names)s."),
    Verdict.OTHER_ROWS: gettext_lazy("Measured on other held-out rows, so it cannot be compared: %(names)s."),
    Verdict.ROWS_UNKNOWN: gettext_lazy("Whether the held-out rows are the same: %(names)s."),
    Verdict.NO_INTERVAL: gettext_lazy("Uncertainty, as there is no interval: %(names)s."),
    Verdict.ONE_SIDED: gettext_lazy("Only one of the two has this metric: %(names)s."),
}


def describe_void_changes(changes: Iterable[Mapping[str, Any]]) -> str:
    """Which of the facts that had changed made it void, as people say it; "" for what has no shorter words."""
    by_path = {change["path"]: change for change in changes}
    moved = by_path.get("/current/version")
    if moved and "was" in moved and "is" in moved:
        return _("Production has moved from v%(was)s to v%(now)s since.") % {"was": moved["was"], "now": moved["is"]}
    if "/current" in by_path:
        return _("Production has been set since, or is gone.")
    if any(path.startswith("/gates") for path in by_path):
        return _("A gate has changed, or was given a newer evaluation.")
    parts = [path.split("/") for path in by_path if path.startswith(("/candidate/variants/", "/candidate/files/"))]
    spoilt = sorted({part[3].replace("~1", "/").replace("~0", "~") for part in parts if len(part) > 3})
    if spoilt:
        return _("The files or the metrics of the candidate changed: %(names)s.") % {"names": ", ".join(spoilt)}
    return ""


def get_outcome(approval: Approval, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What came of an approved one: the move it made, and where the alias points by now."""
    if approval.state != ApprovalState.APPROVED:
        return {}
    moves = AliasMove.objects.select_related("to_version__model").filter(
        model__project=approval.project_id, model__versions=int(approval.subject_id), alias=facts["alias"]
    )
    move = moves.filter(approval=approval, kind=MoveKind.PROMOTE).first()
    return {"outcome": "registry/outcome.html", "made": move, "newest": moves.order_by("-pk").first()} if move else {}


def list_data(approval: Approval, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The data that the facts name, with the addresses of their versions."""
    rows = []
    for entry in facts["data"]:
        url = find_address("datasets:version", approval.project.slug, entry["dataset"], entry["version"])
        rows.append({**entry, "url": url})
    dataset_versions = DatasetVersion.objects.filter(
        dataset__project=approval.project_id, digest__in=[row["digest"] for row in rows]
    ).values_list("digest", "rows")
    counted = dict(dataset_versions)
    return [{**row, "rows": counted.get(row["digest"])} for row in rows]


def list_users(approval: Approval, facts: Mapping[str, Any]) -> list[Edge]:
    """What lineage knows to have been made from the version that stands in production, the newest first."""
    if not facts["current"]:
        return []
    model = ModelVersion.objects.filter(pk=int(approval.subject_id)).values("model")
    versions = ModelVersion.objects.filter(model__project=approval.project_id, model__in=model)
    current = versions.filter(number=facts["current"]["version"]).first()
    if current is None:
        return []
    ends = {"model_version": [current.pk], "variant": list(current.variants.values_list("pk", flat=True))}
    edges_found = []
    for kind, keys in ends.items():
        edges = Edge.objects.filter(project=approval.project_id, source_type=kind, source_id__in=[str(k) for k in keys])
        edges_found += list(edges.exclude(target_type="model_version").order_by("-pk")[:MAX_USERS])
    return edges_found[:MAX_USERS]
