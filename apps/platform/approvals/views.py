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
from apps.platform.accounts.projects import get_project
from apps.platform.accounts.reauthentication import asks_for_code, prove
from apps.platform.approvals import queries, services
from apps.platform.approvals.differences import Change
from apps.platform.approvals.forms import AnswerForm, PolicyForm, VoteForm, WithdrawForm
from apps.platform.approvals.models import Approval
from apps.platform.approvals.seen_state import shown_of, spoken
from apps.platform.approvals.states import ApprovalState, Decision
from apps.platform.approvals.subjects import address_of, subject_of, subject_types
from apps.platform.approvals.validation import check_subject_type
from apps.platform.audit.queries import timeline

ASK = "ask"  # the third button: it decides nothing
TABS = ("overview", "facts", "audit")
FACTS_SHOWN, FACTS_LISTED = 200, 1000  # rows of the card and of the tab; the text below them is whole
GROUPED_BY = 3  # parts of a pointer: /candidate/variants/fp32


def within(request: HttpRequest, slug: str) -> tuple[Actor, Project]:
    """Who asks, and the project of the address, which the frame shows too; NotFound."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    project = get_project(actor, slug)
    request.project = project  # type: ignore[attr-defined]
    return actor, project


# -- one approval ---------------------------------------------------------------------------------------------------
@require_safe
def approval_page(request: HttpRequest, project: str, pk: int, tab: str = "overview") -> HttpResponse:
    """/p/<slug>/approvals/<id>[/<tab>]"""
    actor, where = within(request, project)
    approval = queries.get_approval(actor, where, pk)
    if tab == "overview":
        return drawn(request, approval)
    context = head_of(actor, approval, tab)
    if tab == "facts":
        context |= facts_of(approval)
    else:
        context["events"] = timeline(actor, "approval", approval.pk)
    return render(request, f"approvals/{tab}.html", context)


def head_of(actor: Actor, approval: Approval, tab: str) -> dict[str, Any]:
    """What the head of the page needs, whichever tab is open."""
    votes = queries.votes_on(approval)
    own = approval.is_own_of(actor)
    behind = queries.people_behind(approval)
    own_tool = any(each.person == actor.label for each in behind)
    voted = next((vote for vote in votes if vote.user_id == actor.user_id), None)
    open_ = approval.state == ApprovalState.PENDING and not approval.due  # type: ignore[attr-defined]  # annotated
    left = max(0, approval.needed - approval.given)  # type: ignore[attr-defined]  # annotated
    resumes = not left and voted is not None and voted.decision == Decision.APPROVE
    decides = open_ and not own and not own_tool and is_allowed(actor, "approval.decide", approval)
    unconfirmed = list_unconfirmed_changes(actor.user_id) if decides and actor.user_id is not None else []
    decides = decides and not unconfirmed
    return {
        "nav": "models",
        "approval": approval,
        "tab": tab,
        "votes": votes,
        "own": own,
        "behind": behind,
        "own_tool": own_tool,
        "voted": voted,
        "unconfirmed": unconfirmed[0] if unconfirmed else None,
        "open": open_,
        "may_vote": decides and (voted is None or resumes),
        "awaits_answer": decides and queries.awaits_answer(approval, actor.user_id),
        "resumes": decides and resumes,  # enough votes count again: who voted may carry it out
        "may_ask": open_ and not own and not own_tool and is_allowed(actor, "approval.ask", approval),
        "may_withdraw": open_ and own and is_allowed(actor, "approval.withdraw", approval),
        "may_answer": open_ and own and is_allowed(actor, "approval.answer", approval),
        "left": left,
        "remaining": max(0.0, (approval.deadline_at - timezone.now()).total_seconds()) if open_ else None,
        "hours": round((approval.deadline_at - approval.created_at).total_seconds() / 3600),
        "ending": queries.ending_of(approval),
    }


def drawn(
    request: HttpRequest,
    approval: Approval,
    form: forms.Form | None = None,
    status: int = 200,
    *,
    answer_form: AnswerForm | None = None,
) -> HttpResponse:
    """The overview, with the form as it was sent where something in it was wrong."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    template, part = part_of(actor, approval)
    standing, remarks = queries.standing_of(approval), queries.remarks_on(approval)
    head = head_of(actor, approval, "overview")
    seen = shown_of(approval, head["votes"], remarks, standing.changes or approval.void_changes)
    look = services.note_look(actor=actor, approval=approval, shown=seen)
    context = {
        **part,
        **head,
        "part": template,
        "standing": standing,
        "remarks": remarks,
        "unanswered": bool(remarks) and remarks[-1].asks,
        "looked": queries.news_for(look, approval),
        "could_vote": queries.could_vote(approval) if head["open"] else None,
        "changes": shown(standing.changes or approval.void_changes),
        "subject_url": address_of(approval) if approval.project_id in actor.project_ids else "",
        "vote_body": {"facts_digest": approval.facts_digest, "reason": "..."},
        "withdraw_body": {"reason": "..."},
        "ask_body": {"facts_digest": approval.facts_digest, "reason": "..."},
        "answer_body": {"text": "..."},
    }
    if context["looked"]:
        context["looked_facts"] = shown(context["looked"].facts)
    if head["resumes"]:
        context["approve_label"] = _("Carry it out: enough votes count again")
    if context["may_vote"]:
        context["form"] = form or vote_form(actor, approval)
    elif context["may_withdraw"]:
        context["form"] = form or WithdrawForm()
        context["answer_form"] = answer_form or AnswerForm(auto_id="answer_%s")
    return render(request, "approvals/overview.html", context, status=status)


def part_of(actor: Actor, approval: Approval) -> tuple[str, Mapping[str, Any]]:
    """What the subject shows of itself; the plain facts where it cannot."""
    plain = "approvals/facts_card.html", {"rows": rows_of(approval), "limit": FACTS_SHOWN}
    if approval.subject_type not in subject_types():
        return plain
    try:
        return subject_of(approval).page(actor, approval)
    except PlaneError:
        return plain


def rows_of(approval: Approval) -> list[tuple[str, str]]:
    """The facts as (JSON pointer, value as text), the first FACTS_SHOWN of them."""
    return [(path, text_of(value)) for path, value in islice(leaves(json.loads(approval.facts)), FACTS_SHOWN)]


def facts_of(approval: Approval) -> dict[str, Any]:
    """All facts, by the first parts of their pointers; within a group each has the rest of its pointer as name."""
    facts = list(leaves(json.loads(approval.facts)))
    groups: dict[str, list[tuple[str, str]]] = {"": []}  # the first one: what stands at the top
    for path, value in facts[:FACTS_LISTED]:
        parts = path.split("/")
        group = "/".join(parts[:-1][: GROUPED_BY + 1])
        groups.setdefault(group, []).append((path[len(group) :].lstrip("/") or path, text_of(value)))
    return {"groups": groups, "count": len(facts), "limit": FACTS_LISTED}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name in value:
            yield from leaves(value[name], f"{path}/{name}")
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}/{index}")
    else:
        yield path or "/", value


def shown(changes: list[Change]) -> list[dict[str, str | None]]:
    """Changes with their values as text, the broadest first; None where there was, or is, nothing."""
    return [
        {
            "path": change["path"],
            "spoken": spoken(change["path"]),
            **{side: text_of(change[side]) if side in change else None for side in ("was", "is")},
        }
        for change in sorted(changes, key=breadth)
    ]


def breadth(change: Change) -> tuple[int, bool, str]:
    """The version before its note, its digest after its number, and figures of a variant last."""
    path = change["path"]
    return path.count("/"), not path.endswith(("/version", "/digest")), path[::-1]


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else encode_canonical_json(value)


def vote_form(actor: Actor, approval: Approval, data: Any = None) -> VoteForm:
    initial = {"facts_digest": approval.facts_digest}
    return VoteForm(data, person=actor.label, with_code=asks_for_code(actor), initial=initial)


def back_to_the_page(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Decorator of what takes POST alone: a log-in in between comes back with a GET, which decides nothing."""

    @require_http_methods(["GET", "HEAD", "POST"])
    @wraps(view)
    def posted(request: HttpRequest, project: str, pk: int) -> HttpResponse:
        if request.method != "POST":
            return redirect("approvals:detail", project=project, pk=pk)
        return view(request, project, pk)

    return posted


# -- deciding -------------------------------------------------------------------------------------------------------
@sensitive_post_parameters("password", "code")
@back_to_the_page
def decide(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """Vote, with the password in the same form; what is wrong stands beside its field and the reason is kept."""
    actor, where = within(request, project)
    approval = queries.get_approval(actor, where, pk)
    policy.require(actor, "approval.decide", approval)
    require_confirmed(actor, "approval.decide", project_id=approval.project_id)
    form = vote_form(actor, approval, request.POST)
    decision = request.POST.get("decision", "")
    if decision == ASK:
        for name in ("password", "code"):  # to ask decides nothing, so it takes no proof
            form.fields.pop(name, None)
    elif decision not in Decision.values:  # Enter in a field presses no button of consequence
        form.add_error(None, _("Press Approve or Reject: nothing is decided yet."))
    if not form.is_valid():
        return drawn(request, approval, form, status=422)
    try:
        if decision == ASK:
            asked = form.cleaned_data
            services.ask_for_more(actor=actor, approval=approval, **asked)
            messages.success(
                request, _("Your question is with %(who)s. Nothing is decided.") % {"who": approval.requester}
            )
            return redirect("approvals:detail", project=where.slug, pk=pk)
        ended = voted(request, approval, decision, form.cleaned_data)
    except (Refused, NotFound):
        raise
    except PlaneError as failure:
        return refused(request, where, pk, form, failure)
    messages.success(request, said(ended))
    return redirect("approvals:detail", project=where.slug, pk=pk)


def voted(request: HttpRequest, approval: Approval, decision: str, asked: Mapping[str, Any]) -> Approval:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    proof = prove(request, actor, password=asked["password"], code=asked.get("code", ""))
    vote = services.approve if decision == Decision.APPROVE else services.reject
    return vote(
        actor=actor,
        approval=approval,
        facts_digest=asked["facts_digest"],
        reason=asked["reason"],
        proof=proof,
    )


def said(approval: Approval) -> str:
    if approval.state == ApprovalState.APPROVED:
        return _("Approved, and carried out.")
    if approval.state == ApprovalState.REJECTED:
        return _("Rejected: nothing was changed.")
    return _("Your vote counts. Others must vote too.")


def refused(request: HttpRequest, project: Project, pk: int, form: forms.Form, failure: PlaneError) -> HttpResponse:
    """The page as it stands now. The form goes with an approval that has ended, so the message stands above it."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    approval = queries.get_approval(actor, project, pk)
    if approval.ended or any(vote.user_id == actor.user_id for vote in approval.votes.all()):
        messages.error(request, translate_error(failure))
    else:
        show_refusal(form, failure)
    return drawn(request, approval, form, status=failure.status)


@back_to_the_page
def answer(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """What the requester says to a question of the approvers."""
    actor, where = within(request, project)
    approval = queries.get_approval(actor, where, pk)
    policy.require(actor, "approval.answer", approval)
    form = AnswerForm(request.POST, auto_id="answer_%s")
    if not form.is_valid():
        return drawn(request, approval, status=422, answer_form=form)
    try:
        services.answer(actor=actor, approval=approval, text=form.cleaned_data["text"])
    except (Refused, NotFound):
        raise
    except PlaneError as failure:
        show_refusal(form, failure)
        return drawn(request, queries.get_approval(actor, where, pk), status=failure.status, answer_form=form)
    messages.success(request, _("The approvers see your answer on their next look."))
    return redirect("approvals:detail", project=where.slug, pk=pk)


@back_to_the_page
def seen(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """Let go of what changed since the last look: the reader has taken note of it."""
    actor, where = within(request, project)
    services.let_go(actor=actor, approval=queries.get_approval(actor, where, pk))
    return redirect("approvals:detail", project=where.slug, pk=pk)


@back_to_the_page
def withdraw(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """Take one's own request back."""
    actor, where = within(request, project)
    approval = queries.get_approval(actor, where, pk)
    policy.require(actor, "approval.withdraw", approval)
    form = WithdrawForm(request.POST)
    if not form.is_valid():
        return drawn(request, approval, form, status=422)
    try:
        services.withdraw(actor=actor, approval=approval, reason=form.cleaned_data["reason"])
    except (Refused, NotFound):
        raise
    except PlaneError as failure:
        return refused(request, where, pk, form, failure)
    messages.success(request, _("The request is withdrawn: nothing was changed."))
    return redirect("approvals:detail", project=where.slug, pk=pk)


# -- what a project asks --------------------------------------------------------------------------------------------
@require_http_methods(["GET", "HEAD", "POST"])
def policies(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/approvals/policy: how many approvals each subject takes; the security administrator sets it."""
    actor, where = within(request, project)
    if request.method != "POST":
        return drawn_policies(request, where)
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
    return drawn_policies(request, where, {subject_type: form})


def drawn_policies(
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
        "nav": "models",
        "rows": rows,
        "may_set": may_set,
        "may_list": is_allowed(actor, "approval.view", project),
    }
    return render(request, "approvals/policies.html", context, status=422 if sent else 200)
