"""The part of an approval's page that says what changes, drawn from the facts: it shows what is decided about."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.data.datasets.models import DatasetVersion
from apps.ml.registry.evaluations.comparison import Verdict
from apps.ml.registry.evaluations.prediction_notes import words_of_two
from apps.ml.registry.models import AliasMove, ModelVersion
from apps.ml.registry.presenters import address_of, against_baseline, beside, variant_rows
from apps.ml.registry.states import GATE_COLOURS, GateState, MoveKind
from apps.platform.approvals.models import Approval
from apps.platform.approvals.states import ApprovalState
from apps.platform.lineage.models import Edge

USERS_SHOWN, FILES_SHOWN = 10, 50


def page_of(approval: Approval) -> dict[str, Any]:
    """The context of registry/promotion.html; asks for no right of its own: who sees the approval sees its facts."""
    facts, slug = json.loads(approval.facts), approval.project.slug
    candidate, current = facts["candidate"], facts["current"]
    context = {
        "slug": slug,
        **told_by(facts),
        "data": data_of(approval, facts),
        "run_url": address_of("experiments:detail", slug, facts["run"]["id"]) if facts["run"] else "",
        "users": users_of(approval, facts),
        "files": shown_files(candidate),
        "same_signature": current is not None and current["signature"] == candidate["signature"],
        "ended": approval.state != ApprovalState.PENDING,
    }
    number = {"number": candidate["version"]}
    return {
        **context,
        **outcome_of(approval, facts),
        "unknowns": unknowns_of(context),
        "void_words": void_words(approval.void_changes),
        "answer": render_to_string("registry/promotion_answer.html", context),
        "approve_label": _("Approve, move production to v%(number)s") % number,
        "reject_label": _("Reject, leave production at v%(number)s") % {"number": current["version"]}
        if current
        else _("Reject, leave production empty"),
    }


def shown_files(candidate: Mapping[str, Any]) -> dict[str, Any]:
    """The files of a version that a client made, the first of them as rows; empty for every other."""
    files = candidate.get("files") or {}
    rows = [{"path": path, **told} for path, told in list(files.items())[:FILES_SHOWN]]
    return {"rows": rows, "more": len(files) - len(rows)} if files else {}


def told_by(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the facts say by themselves, without a query."""
    candidate, current = facts["candidate"], facts["current"]
    rows, pairs = variant_rows(candidate), beside(candidate, current)
    return {
        "promotion": facts,
        "candidate": candidate,
        "current": current,
        "rows": rows,
        "pairs": pairs,
        "first": next((pair.metrics[0] for pair in pairs if pair.metrics), None),
        "baseline": against_baseline(rows[0]) if rows else None,
        "gates": [gate_of(told) for told in facts.get("gates", {}).values()],
    }


def gate_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a gate said, with its words and its colour."""
    state = GateState(told["state"])
    predicted = words_of_two(*givers_told(told), told["against"])
    return {**told, "word": state.label, "colour": GATE_COLOURS.get(state, "failed"), "predicted": predicted}


def givers_told(gate: Mapping[str, Any]) -> tuple[str, str]:
    """Who gave the predictions of the candidate, and of the baseline, as the facts of the gate have it, or ""."""
    candidate, baseline = (gate.get(f"{side}_predictions") or {"by": ""} for side in ("candidate", "baseline"))
    return candidate["by"], baseline["by"]


def sentence_of(facts: Mapping[str, Any]) -> str:
    """What moves and how sure it is, for lists of what waits."""
    return render_to_string("registry/promotion_answer.html", told_by(facts)).strip()


def unknowns_of(context: Mapping[str, Any]) -> list[str]:
    """What an approver should know that nobody knows, in sentences."""
    told, current = [], context["current"]
    by_verdict: dict[str, list[str]] = {}
    for pair in context["pairs"]:
        for one in pair.metrics:
            if one.paired is None:
                by_verdict.setdefault(one.verdict, []).append(f"{pair.mine.name} {one.name}")
    for verdict, words in UNDECIDED.items():
        if verdict in by_verdict:
            told.append(words % {"names": ", ".join(by_verdict[verdict])})
    if names := sorted({name for gate in context["gates"] for name in givers_told(gate) if name}):
        told.append(
            _("Whether the model does say what it is said to: %(names)s gave the predictions.")
            % {"names": ", ".join(names)}
        )
    elif not context["rows"]:
        told.append(_("How good it is: no figure was measured here."))
    bare = [row["name"] for row in context["rows"] if not row["metrics"]]
    if bare:
        told.append(_("Not measured at all: %(names)s.") % {"names": ", ".join(bare)})
    open_ = [
        f"{gate['set']} {gate['metric']}" for gate in context["gates"] if gate["state"] == GateState.NOT_SIGNIFICANT
    ]
    if open_:
        told.append(_("Whether it is worse than the gate lets through: %(names)s.") % {"names": ", ".join(open_)})
    brought = [row["name"] for row in context["rows"] if not row["job"] and row["metrics"]]
    if brought:
        told.append(
            _("Measured elsewhere, the figures came with the files: %(names)s.") % {"names": ", ".join(brought)}
        )
    if not context["data"]:
        told.append(_("Which data it was trained on."))
    if current and not context["users"]:
        told.append(_("Which programs ask for production: a download leaves no trace of its use."))
    return told


UNDECIDED: Mapping[str, Any] = {
    Verdict.NOT_SHOWN: gettext_lazy("No difference is shown, which does not prove that there is none: %(names)s."),
    Verdict.OTHER_ROWS: gettext_lazy("Measured on other held-out rows, so it cannot be compared: %(names)s."),
    Verdict.ROWS_UNKNOWN: gettext_lazy("Whether the held-out rows are the same: %(names)s."),
    Verdict.NO_INTERVAL: gettext_lazy("How far chance goes, for there is no interval: %(names)s."),
    Verdict.ONE_SIDED: gettext_lazy("Only one of the two has a figure: %(names)s."),
}


def void_words(changes: Iterable[Mapping[str, Any]]) -> str:
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
        return _("The bytes or the figures of the candidate changed: %(names)s.") % {"names": ", ".join(spoilt)}
    return ""


def outcome_of(approval: Approval, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What came of an approved one: the move it made, and where the alias points by now."""
    if approval.state != ApprovalState.APPROVED:
        return {}
    moves = AliasMove.objects.select_related("to_version__model").filter(
        model__project=approval.project_id, model__versions=int(approval.subject_id), alias=facts["alias"]
    )
    made = moves.filter(approval=approval, kind=MoveKind.PROMOTE).first()
    return {"outcome": "registry/outcome.html", "made": made, "newest": moves.order_by("-pk").first()} if made else {}


def data_of(approval: Approval, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The data that the facts name, with the addresses of their versions."""
    rows = []
    for told in facts["data"]:
        url = address_of("datasets:version", approval.project.slug, told["dataset"], told["version"])
        rows.append({**told, "url": url})
    known = DatasetVersion.objects.filter(
        dataset__project=approval.project_id, digest__in=[row["digest"] for row in rows]
    ).values_list("digest", "rows")
    counted = dict(known)
    return [{**row, "rows": counted.get(row["digest"])} for row in rows]


def users_of(approval: Approval, facts: Mapping[str, Any]) -> list[Edge]:
    """What lineage knows to have been made from the version that stands in production, the newest first."""
    if not facts["current"]:
        return []
    model = ModelVersion.objects.filter(pk=int(approval.subject_id)).values("model")
    versions = ModelVersion.objects.filter(model__project=approval.project_id, model__in=model)
    current = versions.filter(number=facts["current"]["version"]).first()
    if current is None:
        return []
    ends = {"model_version": [current.pk], "variant": list(current.variants.values_list("pk", flat=True))}
    found = []
    for kind, keys in ends.items():
        edges = Edge.objects.filter(project=approval.project_id, source_type=kind, source_id__in=[str(k) for k in keys])
        found += list(edges.exclude(target_type="model_version").order_by("-pk")[:USERS_SHOWN])
    return found[:USERS_SHOWN]
