"""Pages of connections, schemas, one labelling project and its tasks, and what may be done with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.core.actors import Actor
from apps.core.errors import Invalid, PlaneError, Refused
from apps.core.lists.pages import paginate
from apps.core.messages import translate_error
from apps.core.policy import is_allowed, require
from apps.core.request_values import parse_int
from apps.ml.labelling import presenters, queries, services
from apps.ml.labelling.decisions import list_decision_fields, list_relation_choices, list_span_choices, read_decision
from apps.ml.labelling.forms import SchemaForm, ServerForm, read_share
from apps.ml.labelling.models import LabellingProject, LabelTask
from apps.ml.labelling.states import NEXT_LEVELS, LabellingState, TaskState
from apps.platform.accounts.projects import get_project_context

REASON_LENGTH = 500


# -- connections and schemas ----------------------------------------------------------------------------------------
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def add_server(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/labelling/servers: the connections; a POST adds one."""
    actor, where = get_project_context(request, project)
    form = ServerForm()
    if request.method == "POST":
        require(actor, "labelling.connect", where)
        form = ServerForm(request.POST)
        server = form.save(actor, where)
        if server is not None:
            messages.success(request, _("The connection %(name)s is added and checked.") % {"name": server.name})
            return redirect("labelling:servers", project=where.slug)
    rows = presenters.list_server_rows(list(queries.list_servers(actor, where).order_by("name")))
    context = {
        "nav": "data",
        "servers": rows,
        "form": form,
        "may_connect": is_allowed(actor, "labelling.connect", where),
    }
    return render(request, "labelling/servers.html", context, status=422 if form.problems or form.error else 200)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def show_server(request: HttpRequest, project: str, name: str) -> HttpResponse:
    """/p/<slug>/labelling/servers/<name>: a POST changes its address or token."""
    actor, where = get_project_context(request, project)
    server = queries.get_server(actor, where, name)
    form = ServerForm(server=server)
    if request.method == "POST":
        require(actor, "labelling.connect", server)
        form = ServerForm(request.POST, server=server)
        if form.save(actor, where) is not None:
            messages.success(request, _("The connection is changed and checked again."))
            return redirect("labelling:server", project=where.slug, name=name)
    context = {
        "nav": "data",
        "row": presenters.list_server_rows([server])[0],
        "form": form,
        "may_connect": is_allowed(actor, "labelling.connect", server),
        "is_used": server.labelling_projects.exists(),
    }
    return render(request, "labelling/server.html", context, status=422 if form.problems or form.error else 200)


@require_POST
def delete_server(request: HttpRequest, project: str, name: str) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    server = queries.get_server(actor, where, name)
    if attempt(request, lambda: services.delete_server(actor=actor, server=server), _("The connection is deleted.")):
        return redirect("labelling:servers", project=where.slug)
    return redirect("labelling:server", project=where.slug, name=name)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def add_schema(request: HttpRequest, project: str) -> HttpResponse:
    """/p/<slug>/labelling/schemas: the editor of a new schema; a POST saves it."""
    actor, where = get_project_context(request, project)
    require(actor, "labelling.view", where)
    form = SchemaForm()
    if request.method == "POST":
        require(actor, "labelling.save_schema", where)
        form = SchemaForm(request.POST)
        version = form.save(actor, where)
        if version is not None:
            messages.success(request, _("%(schema)s is saved.") % {"schema": version})
            return redirect(
                "labelling:schema", project=where.slug, name=version.schema.name, schema_version=version.number
            )
    context = {
        "nav": "data",
        "form": form,
        "schemas": list(queries.list_project_schema_versions(actor, where).order_by("-id")[:50]),
        "may_save": is_allowed(actor, "labelling.save_schema", where),
    }
    return render(request, "labelling/schemas.html", context, status=422 if form.problems or form.error else 200)


@require_http_methods(["GET", "HEAD"])
def show_schema(request: HttpRequest, project: str, name: str, schema_version: int) -> HttpResponse:
    """/p/<slug>/labelling/schemas/<name>/<number>: one version, and the editor of the next."""
    actor, where = get_project_context(request, project)
    version = queries.get_schema_version(actor, where, name, schema_version)
    context = {
        "nav": "data",
        "version": version,
        "document": version.document,
        "versions": list(queries.list_schema_versions(actor, where, name)[:20]),
        "form": SchemaForm(version=version),
        "may_save": is_allowed(actor, "labelling.save_schema", where),
    }
    return render(request, "labelling/schema.html", context)


@require_http_methods(["GET", "HEAD"])
def find_schema(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    """/p/<slug>/labelling/schema-versions/<id>: to the page of a version that lineage knows by its id."""
    actor, where = get_project_context(request, project)
    version = queries.get_schema_version_by_id(actor, where, pk)
    return redirect("labelling:schema", project=where.slug, name=version.schema.name, schema_version=version.number)


# -- one labelling project ------------------------------------------------------------------------------------------
@require_http_methods(["GET", "HEAD"])
def show_labelling(request: HttpRequest, project: str, pk: int) -> HttpResponse:
    """/p/<slug>/labelling/<id>: progress, agreement, what is next, and its tasks, the disputed first."""
    actor, where = get_project_context(request, project)
    labelling = queries.get_labelling(actor, where, pk)
    counts = labelling.progress.get("tasks", {})
    state = request.GET.get("state")
    if state is None:
        state = TaskState.DISPUTED if counts.get(TaskState.DISPUTED) else ""
    page = paginate(queries.list_tasks(actor, labelling, state=state), request.GET, order=("number",))
    is_open = labelling.state not in (LabellingState.CLOSED, LabellingState.FAILED)
    done = presenters.count_done(labelling)
    states = [("", _("Every state")), *((value, str(label)) for value, label in TaskState.choices)]
    document = labelling.schema.document
    context: dict[str, Any] = {
        "nav": "data",
        "labelling": labelling,
        "colour": presenters.STATE_COLOURS[LabellingState(labelling.state)],
        "next_step": presenters.describe_next_step(labelling),
        "failure": presenters.describe_failure(labelling.failure),
        "done": done,
        "done_share": presenters.format_share(done, labelling.tasks_count),
        "states": presenters.list_states(labelling),
        "agreement": presenters.build_agreement(labelling),
        "annotators": presenters.list_annotator_rows(labelling),
        "groups": labelling.groups.order_by("number"),
        "tasks": presenters.list_task_rows(page.items),
        "page": page,
        "filters": [{"name": "state", "label": _("State"), "value": state, "choices": states}],
        "is_publishing": bool(labelling.publish_request),
        "may_sync": is_open and is_allowed(actor, "labelling.synchronize", labelling),
        "may_close": is_open and is_allowed(actor, "labelling.close", labelling),
        "may_set_bar": is_open and is_allowed(actor, "labelling.set_bar", labelling),
        "may_publish": is_open and bool(done) and is_allowed(actor, "labelling.publish", labelling),
        "may_go_on": presenters.is_finished(labelling)
        and labelling.schema.level in NEXT_LEVELS
        and document["data"] == "text"
        and is_allowed(actor, "labelling.create", where),
        "may_train": bool(labelling.result_id)
        and document["data"] != "row"
        and is_allowed(actor, "labelling.train", labelling),
    }
    return render(request, "labelling/project.html", context)


@require_POST
def synchronize(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    return change(request, project, pk, services.synchronize_labelling, _("It is read again within seconds."))


@require_POST
def close(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    reason = request.POST.get("reason", "").strip()[:REASON_LENGTH]
    return change(request, project, pk, lambda **who: services.close_labelling(**who, reason=reason), _("Closed."))


@require_POST
def set_bar(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    text = request.POST.get("bar", "")
    return change(
        request,
        project,
        pk,
        lambda **who: services.set_bar(**who, bar=read_share("bar", text)),
        _("The agreement bar is changed."),
    )


@require_POST
def publish(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    dataset = request.POST.get("dataset", "").strip()
    return change(
        request,
        project,
        pk,
        lambda **who: services.request_result(**who, dataset=dataset),
        _("The dataset version is made within seconds."),
    )


@require_POST
def train(request: HttpRequest, project: str, pk: int) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    labelling = queries.get_labelling(actor, where, pk)
    try:
        job = services.train_on_result(actor=actor, labelling=labelling)
    except Refused:
        raise
    except PlaneError as failure:
        messages.error(request, translate_error(failure))
        return redirect("labelling:project", project=where.slug, pk=pk)
    return redirect("jobs:detail", project=where.slug, pk=job.pk)


def change(
    request: HttpRequest, project: str, pk: int, service: Callable[..., LabellingProject], done: str
) -> HttpResponseRedirect:
    """Back to the labelling project, with what was done or why it was not."""
    actor, where = get_project_context(request, project)
    labelling = queries.get_labelling(actor, where, pk)
    attempt(request, lambda: service(actor=actor, labelling=labelling), done)
    return redirect("labelling:project", project=where.slug, pk=pk)


# -- one task -------------------------------------------------------------------------------------------------------
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def show_task(request: HttpRequest, project: str, pk: int, task: int) -> HttpResponse:
    """/p/<slug>/labelling/<id>/tasks/<number>: what each annotator marked; a POST decides."""
    actor, where = get_project_context(request, project)
    labelling = queries.get_labelling(actor, where, pk)
    row = queries.get_task(actor, labelling, task)
    if request.method == "POST":
        require(actor, "labelling.adjudicate", row)
        if attempt(request, lambda: decide(request, actor, row), _("Decided.")):
            following = queries.list_tasks(actor, labelling, state=TaskState.DISPUTED)
            follower = following.filter(number__gt=row.number).order_by("number").first() or following.first()
            if follower is not None:
                return redirect("labelling:task", project=where.slug, pk=pk, task=follower.number + 1)
            return redirect("labelling:project", project=where.slug, pk=pk)
    annotations = queries.load_current_annotations([row.pk]).get(row.pk, [])
    is_open = labelling.state not in (LabellingState.CLOSED, LabellingState.FAILED)
    context: dict[str, Any] = {
        "nav": "data",
        "labelling": labelling,
        "task": row,
        "number": row.number + 1,
        "colour": presenters.TASK_COLOURS[TaskState(row.state)],
        "annotations": presenters.list_annotation_rows(row, annotations),
        "result": presenters.describe_marks(row, row.marks) if row.marks is not None else None,
        "gold": presenters.describe_marks(row, row.gold) if row.gold is not None else None,
        "spans": list_span_choices(row, annotations),
        "relations": list_relation_choices(row, annotations),
        "fields": list_decision_fields(row, annotations),
        "may_choose": any(not one.is_skipped for one in annotations),
        "may_decide": is_open and is_allowed(actor, "labelling.adjudicate", row),
        "may_reopen": is_open and row.state == TaskState.ADJUDICATED and is_allowed(actor, "labelling.adjudicate", row),
        "may_set_gold": is_open
        and (row.marks is not None or row.gold is not None)
        and is_allowed(actor, "labelling.set_gold", row),
    }
    return render(request, "labelling/task.html", context)


def decide(request: HttpRequest, actor: Actor, task: LabelTask) -> LabelTask:
    """By the annotation that was taken as it is, else by what was chosen of all of them."""
    note = request.POST.get("note", "").strip()[:REASON_LENGTH]
    annotation_id = parse_int(request.POST.get("annotation", ""), low=1)
    annotations = queries.load_current_annotations([task.pk]).get(task.pk, [])
    if annotation_id is not None:
        marks = next((row.marks for row in annotations if row.pk == annotation_id), None)
        if marks is None:
            raise Invalid("This annotation is no longer there.", field="annotation")
        return services.adjudicate_task(actor=actor, task=task, marks=marks, note=note)
    return services.adjudicate_task(actor=actor, task=task, marks=read_decision(request.POST, task), note=note)


@require_POST
def reopen(request: HttpRequest, project: str, pk: int, task: int) -> HttpResponseRedirect:
    actor, where = get_project_context(request, project)
    row = queries.get_task(actor, queries.get_labelling(actor, where, pk), task)
    attempt(request, lambda: services.reopen_task(actor=actor, task=row), _("The decision is taken back."))
    return redirect("labelling:task", project=where.slug, pk=pk, task=task)


@require_POST
def toggle_gold(request: HttpRequest, project: str, pk: int, task: int) -> HttpResponseRedirect:
    """Gold with the marks of its result; gold no longer where it is."""
    actor, where = get_project_context(request, project)
    row = queries.get_task(actor, queries.get_labelling(actor, where, pk), task)
    marks = row.marks if row.gold is None else None
    attempt(request, lambda: services.set_gold(actor=actor, task=row, marks=marks), _("Changed."))
    return redirect("labelling:task", project=where.slug, pk=pk, task=task)


def attempt(request: HttpRequest, write: Callable[[], Any], done: str) -> bool:
    try:
        write()
    except Refused:
        raise
    except PlaneError as failure:
        messages.error(request, translate_error(failure))
        return False
    messages.success(request, done)
    return True
