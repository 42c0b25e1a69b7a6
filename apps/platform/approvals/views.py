"""Pages of approvals: one approval with its decision, and what a project asks of them. The list is in lists.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from itertools import islice
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from apps.core import policy
from apps.core.actors import Actor
from apps.core.canonical import encode_canonical_json
from apps.core.errors import NotFound, PlaneError, Refused
from apps.core.messages import translate_error
from apps.core.policy import is_allowed
from apps.platform.accounts.confirmations import list_unconfirmed_changes, require_confirmed
from apps.platform.accounts.forms import show_refusal
from apps.platform.accounts.models import Project
from apps.platform.accounts.projects import get_project_context
from apps.platform.accounts.reauthentication import list_proof_factors, require_proof
from apps.platform.approvals import queries, services
from apps.platform.approvals.differences import Change
from apps.platform.approvals.forms import AnswerForm, PolicyForm, VoteForm, WithdrawForm
from apps.platform.approvals.models import Approval
from apps.platform.approvals.seen_state import build_seen_state, format_pointer
from apps.platform.approvals.states import ApprovalState, Decision
from apps.platform.approvals.subjects import (
    APPROVAL_SUBJECTS,
    get_approval_subject,
    get_subject_url,
    is_carried_out_at_once,
)
from apps.platform.approvals.validation import check_subject_type
from apps.platform.audit.queries import get_timeline

ASK = "ask"  # the third button: it decides nothing
TABS = ("overview", "facts", "audit")
MAX_CARD_FACTS, MAX_LISTED_FACTS = 200, 1000  # rows of the card and of the tab; the text below them is whole
GROUP_DEPTH = 3  # parts of a pointer: /candidate/variants/fp32


# -- one approval ---------------------------------------------------------------------------------------------------
@require_safe
def show_approval(request: HttpRequest, project: str, pk: int, tab: str = "overview") -> HttpResponse:
    """/p/<slug>/approvals/<id>[/<tab>]"""
    actor, where = get_project_context(request, project)
    approval = queries.get_approval(actor, where, pk)
    if tab == "overview":
        return render_overview(request, approval)
    context = build_head_context(actor, approval, tab)
    if tab == "facts":
        context |= build_facts_context(approval)
    else:
        context["events"] = get_timeline(actor, "approval", approval.pk)
    return render(request, f"approvals/{tab}.html", context)


def build_head_context(actor: Actor, approval: Approval, tab: str) -> dict[str, Any]:
    """What the head of the page needs, whichever tab is open."""
    votes = queries.list_votes(approval)
    own = approval.is_own_of(actor)
    requester_people = queries.list_people_behind(approval)
    own_tool = any(each.person == actor.label for each in requester_people)
    asked_before = approval.follows is not None and approval.follows.is_requested_by(actor)
    voted = next((vote for vote in votes if vote.user_id == actor.user_id), None)
    open_ = approval.state == ApprovalState.PENDING and not approval.due  # type: ignore[attr-defined]  # annotated
    left = max(0, approval.needed - approval.given)  # type: ignore[attr-defined]  # annotated
    resumes = not left and voted is not None and voted.decision == Decision.APPROVE
    is_party = own or own_tool or asked_before
    decides = open_ and not is_party and is_allowed(actor, "approval.decide", approval)
    unconfirmed = list_unconfirmed_changes(actor.user_id) if decides and actor.user_id is not None else []
    decides = decides and not unconfirmed
    return {
        "nav": "approvals",
        "approval": approval,
        "tab": tab,
        "votes": votes,
        "own": own,
        "behind": requester_people,
        "own_tool": own_tool,
        "asked_before": asked_before and not own,
        "voted": voted,
        "unconfirmed": unconfirmed[0] if unconfirmed else None,
        "open": open_,
        "may_vote": decides and (voted is None or resumes),
        "awaits_answer": decides and queries.is_awaiting_answer(approval, actor.user_id),
        "resumes": decides and resumes,  # enough votes count again: who voted may carry it out
        "may_ask": open_ and not is_party and is_allowed(actor, "approval.ask", approval),
        "may_withdraw": open_ and own and is_allowed(actor, "approval.withdraw", approval),
        "may_answer": open_ and own and is_allowed(actor, "approval.answer", approval),
        "left": left,
        "acts_at_once": is_carried_out_at_once(approval),
        "remaining": max(0.0, (approval.deadline_at - timezone.now()).total_seconds()) if open_ else None,
        "hours": round((approval.deadline_at - approval.created_at).total_seconds() / 3600),
        "ending": queries.get_ending(approval),
    }


def render_overview(
    request: HttpRequest,
    approval: Approval,
    form: forms.Form | None = None,
    status: int = 200,
    *,
    answer_form: AnswerForm | None = None,
) -> HttpResponse:
    """The overview, with the form as it was sent where something in it was wrong."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    template, part = get_subject_part(actor, approval)
    standing, remarks = queries.get_standing(approval), queries.list_remarks(approval)
    head = build_head_context(actor, approval, "overview")
    seen_state = build_seen_state(approval, head["votes"], remarks, standing.changes or approval.void_changes)
    look = services.record_look(actor=actor, approval=approval, seen_state=seen_state)
    context = {
        **part,
        **head,
        "part": template,
        "standing": standing,
        "remarks": remarks,
        "unanswered": bool(remarks) and remarks[-1].asks,
        "looked": queries.get_news(look, approval),
        "could_vote": queries.count_possible_voters(approval) if head["open"] else None,
        "changes": build_change_rows(standing.changes or approval.void_changes),
        "subject_url": get_subject_url(approval) if approval.project_id in actor.project_ids else "",
        "vote_body": {"facts_digest": approval.facts_digest, "reason": "..."},
        "withdraw_body": {"reason": "..."},
        "ask_body": {"facts_digest": approval.facts_digest, "reason": "..."},
        "answer_body": {"text": "..."},
    }
    if context["looked"]:
        context["looked_facts"] = build_change_rows(context["looked"].facts)
    if head["resumes"]:
        context["approve_label"] = _("Carry it out: enough votes count again")
    if context["may_vote"]:
        context["form"] = form or build_vote_form(actor, approval)
    elif context["may_withdraw"]:
        context["form"] = form or WithdrawForm()
        context["answer_form"] = answer_form or AnswerForm(auto_id="answer_%s")
    return render(request, "approvals/overview.html", context, status=status)


def get_subject_part(actor: Actor, approval: Approval) -> tuple[str, Mapping[str, Any]]:
    """What the subject shows of itself; the plain facts where it cannot."""
    fallback = "approvals/facts_card.html", {"rows": build_fact_rows(approval), "limit": MAX_CARD_FACTS}
    if approval.subject_type not in APPROVAL_SUBJECTS:
        return fallback
    try:
        return get_approval_subject(approval).page(actor, approval)
    except PlaneError:
        return fallback


def build_fact_rows(approval: Approval) -> list[tuple[str, str]]:
    """The facts as (JSON pointer, value as text), the first FACTS_SHOWN of them."""
    return [
        (path, render_value(value)) for path, value in islice(iter_leaves(json.loads(approval.facts)), MAX_CARD_FACTS)
    ]


def build_facts_context(approval: Approval) -> dict[str, Any]:
    """All facts, by the first parts of their pointers; within a group each has the rest of its pointer as name."""
    facts = list(iter_leaves(json.loads(approval.facts)))
    groups: dict[str, list[tuple[str, str]]] = {"": []}  # the first one: what stands at the top
    for path, value in facts[:MAX_LISTED_FACTS]:
        parts = path.split("/")
        group = "/".join(parts[:-1][: GROUP_DEPTH + 1])
        groups.setdefault(group, []).append((path[len(group) :].lstrip("/") or path, render_value(value)))
    return {"groups": groups, "count": len(facts), "limit": MAX_LISTED_FACTS}


def iter_leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name in value:
            yield from iter_leaves(value[name], f"{path}/{name}")
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from iter_leaves(item, f"{path}/{index}")
    else:
        yield path or "/", value


def build_change_rows(changes: list[Change]) -> list[dict[str, str | None]]:
    """Changes with their values as text, the broadest first; None where there was, or is, nothing."""
    return [
        {
            "path": change["path"],
            "spoken": format_pointer(change["path"]),
            **{side: render_value(change[side]) if side in change else None for side in ("was", "is")},
        }
        for change in sorted(changes, key=get_breadth)
    ]


def get_breadth(change: Change) -> tuple[int, bool, str]:
    """The version before its note, its digest after its number, and figures of a variant last."""
    path = change["path"]
    return path.count("/"), not path.endswith(("/version", "/digest")), path[::-1]


def render_value(value: Any) -> str:
    return value if isinstance(value, str) else encode_canonical_json(value)


def build_vote_form(actor: Actor, approval: Approval, data: Any = None) -> VoteForm:
    initial = {"facts_digest": approval.facts_digest}
    return VoteForm(data, person=actor.label, factors=list_proof_factors(actor), initial=initial)


def redirect_get_to_page(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorator of what takes POST alone: a log-in in between comes back with a GET, which decides nothing."""

    @require_http_methods(["GET", "HEAD", "POST"])
    @wraps(view)
    def handle_post(request: HttpRequest, project: str, pk: int) -> HttpResponse:
        if request.method != "POST":
            return redirect("approvals:detail", project=project, pk=pk)
        return view(request, project, pk)

    return handle_post


# -- deciding -------------------------------------------------------------------------------------------------------
@sensitive_post_parameters("password", "code")
@redirect_get_to_page
def decide(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """Vote, with the password in the same form; what is wrong stands beside its field and the reason is kept."""
    actor, where = get_project_context(request, project)
    approval = queries.get_approval(actor, where, pk)
    policy.require(actor, "approval.decide", approval)
    require_confirmed(actor, "approval.decide", project_id=approval.project_id)
    form = build_vote_form(actor, approval, request.POST)
    decision = request.POST.get("decision", "")
    if decision == ASK:
        for name in ("password", "code"):  # to ask decides nothing, so it takes no proof
            form.fields.pop(name, None)
    elif decision not in Decision.values:  # Enter in a field presses no button of consequence
        form.add_error(None, _("Press Approve or Reject: nothing is decided yet."))
    if not form.is_valid():
        return render_overview(request, approval, form, status=422)
    try:
        if decision == ASK:
            fields = form.cleaned_data
            services.ask_for_more(actor=actor, approval=approval, **fields)
            messages.success(
                request, _("Your question is with %(who)s. Nothing is decided.") % {"who": approval.requester}
            )
            return redirect("approvals:detail", project=where.slug, pk=pk)
        ended = cast_vote(request, approval, decision, form.cleaned_data)
    except (Refused, NotFound):
        raise
    except PlaneError as failure:
        return render_refusal(request, where, pk, form, failure)
    messages.success(request, describe_result(ended))
    return redirect("approvals:detail", project=where.slug, pk=pk)


def cast_vote(request: HttpRequest, approval: Approval, decision: str, fields: Mapping[str, Any]) -> Approval:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    proof = require_proof(request, actor, password=fields["password"], code=fields.get("code", ""))
    vote = services.approve if decision == Decision.APPROVE else services.reject
    return vote(
        actor=actor,
        approval=approval,
        facts_digest=fields["facts_digest"],
        reason=fields["reason"],
        proof=proof,
    )


def describe_result(approval: Approval) -> str:
    if approval.state == ApprovalState.APPROVED:
        return _("Approved, and carried out.") if is_carried_out_at_once(approval) else _("Approved.")
    if approval.state == ApprovalState.REJECTED:
        return _("Rejected: nothing was changed.")
    return _("Your vote counts. Others must vote too.")


def render_refusal(
    request: HttpRequest, project: Project, pk: int, form: forms.Form, failure: PlaneError
) -> HttpResponse:
    """The page as it stands now. The form goes with an approval that has ended, so the message stands above it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    approval = queries.get_approval(actor, project, pk)
    if approval.ended or any(vote.user_id == actor.user_id for vote in approval.votes.all()):
        messages.error(request, translate_error(failure))
    else:
        show_refusal(form, failure)
    return render_overview(request, approval, form, status=failure.status)


@redirect_get_to_page
def answer(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """What the requester says to a question of the approvers."""
    actor, where = get_project_context(request, project)
    approval = queries.get_approval(actor, where, pk)
    policy.require(actor, "approval.answer", approval)
    form = AnswerForm(request.POST, auto_id="answer_%s")
    if not form.is_valid():
        return render_overview(request, approval, status=422, answer_form=form)
    try:
        services.answer(actor=actor, approval=approval, text=form.cleaned_data["text"])
    except (Refused, NotFound):
        raise
    except PlaneError as failure:
        show_refusal(form, failure)
        return render_overview(request, queries.get_approval(actor, where, pk), status=failure.status, answer_form=form)
    messages.success(request, _("The approvers see your answer on their next look."))
    return redirect("approvals:detail", project=where.slug, pk=pk)


@redirect_get_to_page
def dismiss_changes(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """Let go of what changed since the last look: the reader has taken note of it."""
    actor, where = get_project_context(request, project)
    services.dismiss_changes(actor=actor, approval=queries.get_approval(actor, where, pk))
    return redirect("approvals:detail", project=where.slug, pk=pk)


@redirect_get_to_page
def withdraw(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """Take one's own request back."""
    actor, where = get_project_context(request, project)
    approval = queries.get_approval(actor, where, pk)
    policy.require(actor, "approval.withdraw", approval)
    form = WithdrawForm(request.POST)
    if not form.is_valid():
        return render_overview(request, approval, form, status=422)
    try:
        services.withdraw(actor=actor, approval=approval, reason=form.cleaned_data["reason"])
    except (Refused, NotFound):
        raise
    except PlaneError as failure:
        return render_refusal(request, where, pk, form, failure)
    messages.success(request, _("The request is withdrawn: nothing was changed."))
    return redirect("approvals:detail", project=where.slug, pk=pk)


# -- what a project asks --------------------------------------------------------------------------------------------
@require_http_methods(["GET", "HEAD", "POST"])
def show_policies(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/approvals/policy: how many approvals each subject takes; the security administrator sets it."""
    actor, where = get_project_context(request, project)
    if request.method != "POST":
        return render_policies(request, where)
    policy.require(actor, "approval.set_policy", where)
    subject_type = request.POST.get("subject_type", "")
    check_subject_type(subject_type)
    form = PolicyForm(request.POST, prefix=subject_type)
    if form.is_valid():
        try:
            services.set_approval_policy(actor=actor, project=where, subject_type=subject_type, **form.cleaned_data)
            messages.success(request, _("It counts for every request from now on."))
            return redirect("approvals:policies", project=where.slug)
        except (Refused, NotFound):
            raise
        except PlaneError as failure:
            show_refusal(form, failure)
    return render_policies(request, where, {subject_type: form})


def render_policies(
    request: HttpRequest, project: Project, sent: Mapping[str, PolicyForm] | None = None
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    rows = queries.list_policies(actor, project)
    forms_by_type = sent or {}
    for row in rows:
        key, now = row["subject_type"], {name: row[name] for name in ("needed", "deadline_hours")}
        row["form"] = forms_by_type.get(key) or PolicyForm(prefix=key, initial=now)
    may_set = is_allowed(actor, "approval.set_policy", project)
    context = {
        "nav": "approvals",
        "rows": rows,
        "may_set": may_set,
        "may_list": is_allowed(actor, "approval.view", project),
    }
    return render(request, "approvals/policies.html", context, status=422 if sent else 200)
