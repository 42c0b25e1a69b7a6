"""What is found by its name, its number or a version: one query for each kind of object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db.models import BigIntegerField, Case, F, OuterRef, Q, QuerySet, Subquery, Value, When
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.data.datasets.models import Dataset
from apps.fleet.devices.models import Device
from apps.fleet.devices.states import DeviceState
from apps.ml.experiments.models import Experiment, LoggedModel, Run
from apps.ml.pipelines.models import Pipeline
from apps.ml.registry.models import Model
from apps.platform.accounts.models import Membership, Project, User
from apps.platform.approvals.models import Approval
from apps.platform.jobs.models import Job
from apps.platform.nodes.models import Node
from apps.web.search import attributes
from apps.web.search.bounds import MAX_ROWS_READ, SearchBounds, build_floor_filter
from apps.web.search.hits import Hit
from apps.web.search.query import SearchQuery

NODE_COLUMNS = ("pk", "name", "host", "status")
NAME_END = "z" * 50  # behind every name that begins so, whatever the database's collation


def build_words_filter(
    query: SearchQuery, *fields: str, exact_fields: Sequence[str] = (), extra_filter: Callable[[str], Q] | None = None
) -> Q:
    """Every word is a part of one of `fields`, or all of one of `whole`, or fits what `also` makes of it."""
    condition = Q()
    for word in query.words:
        either = Q()
        for field in fields:
            either |= Q(**{f"{field}__icontains": word})
        for field in exact_fields:
            either |= Q(**{field: word.lower()})
        if extra_filter is not None:
            either |= extra_filter(word)
        condition &= either
    return condition


def build_number_filter(query: SearchQuery, kind: str) -> Q | None:
    """The row with the number that was typed, if it may be one of this kind."""
    return Q(pk=query.number) if query.number and query.kind in ("", kind) else None


def load_numbered_rows(rows: QuerySet[Any], query: SearchQuery, kind: str, read: Q, match: Q, limit: int) -> list[Any]:
    """The newest of a numbered kind that fit among those that are read; before them the one with the number, however
    old. None of another kind."""
    number = build_number_filter(query, kind)
    if query.kind:
        return list(rows.filter(number)) if number is not None else []
    order = ("-created_at", "-pk")
    newest = rows.filter(read & match).order_by(*order)
    if number is None:
        return list(newest[:limit])
    either = union_rows(rows, newest.values("pk")[:limit], rows.filter(number).values("pk"))
    return list(either.order_by(Case(When(number, then=0), default=1), *order)[:limit])


def union_rows(rows: QuerySet[Any], *parts: QuerySet[Any]) -> QuerySet[Any]:
    """The rows that some part has the keys of. Each part goes by an index of its own: for all of them at once SQLite
    would walk the whole table."""
    keys = [rows.model.objects.filter(pk__in=part).values("pk") for part in parts]  # type: ignore[attr-defined]
    return rows.filter(pk__in=keys[0].union(*keys[1:]))


def find_jobs(actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> Iterator[Hit]:
    match = build_words_filter(query, "name", exact_fields=("kind", "state", "requester"))
    rows = list_visible(Job, actor, bounds).only("pk", "project_id", "kind", "name", "state", "requester")
    for job in load_numbered_rows(rows, query, "job", build_floor_filter(bounds, "job"), match, limit):
        yield build_job_hit(job, bounds.get_slug(job.project_id), exact=job.pk == query.number)


def build_job_hit(job: Job, slug: str, *, exact: bool = False, text: str = "") -> Hit:
    return Hit(
        kind="job",
        title=f"#{job.pk} {job.kind} {job.name}".rstrip(),
        text=text or _("requested by %(who)s") % {"who": job.requester},
        url=reverse("jobs:detail", args=[slug, job.pk]),
        project=slug,
        state=job.state,
        exact=exact,
    )


def find_pipelines(actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> Iterator[Hit]:
    match = build_words_filter(query, "name", exact_fields=("template", "requester"))
    rows = list_visible(Pipeline, actor, bounds).defer("document")
    for row in load_numbered_rows(rows, query, "pipeline", build_floor_filter(bounds, "pipeline"), match, limit):
        slug = bounds.get_slug(row.project_id)
        yield Hit(
            kind="pipeline",
            title=str(row),
            text=_("requested by %(who)s") % {"who": row.requester},
            url=reverse("pipelines:detail", args=[slug, row.pk]),
            project=slug,
            exact=row.pk == query.number,
        )


def find_approvals(actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> Iterator[Hit]:
    match = build_words_filter(query, "title", exact_fields=("state", "requester"))
    rows = list_visible(Approval, actor, bounds).defer("facts", "void_changes")
    for row in load_numbered_rows(rows, query, "approval", build_floor_filter(bounds, "approval"), match, limit):
        slug = bounds.get_slug(row.project_id)
        yield Hit(
            kind="approval",
            title=str(row),
            text=_("requested by %(who)s") % {"who": row.requester},
            url=reverse("approvals:detail", args=[slug, row.pk]),
            project=slug,
            state=row.state,
            exact=row.pk == query.number,
        )


def find_runs(actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> Iterator[Hit]:
    if query.kind:
        return
    exact_fields = ("kind", "state", "created_by")
    condition = build_words_filter(query, "name", exact_fields=exact_fields)
    if query.key:
        condition |= attributes.match_run(query)
    else:
        few = build_floor_filter(bounds, "attribute_run", "started_at")
        condition |= few & build_words_filter(
            query, "name", exact_fields=exact_fields, extra_filter=attributes.match_run_prefix
        )
    # Those that are read by themselves, and once: SQLite seeks them for each project, where it would walk all runs.
    condition &= build_floor_filter(bounds, "run", "started_at")
    columns = ("pk", "project_id", "name", "kind", "state", "created_by")
    order = ("-started_at", "-pk")
    active = Run.objects.visible_to(actor).active()
    first = active.filter(condition).order_by(*order).values("pk")[:limit]
    # The whole name by its index, however old and wherever: one of each project, for the newest would have all be read.
    same = active.filter(project=OuterRef("pk"), name=query.text).order_by("name", "pk").values("pk")[:1]
    called_so = Project.objects.visible_to(actor).filter(bounds.filter_projects("pk")).annotate(run=Subquery(same))
    rows = union_rows(Run.objects.all(), first, called_so.values("run")).only(*columns)
    called_first = Case(When(name=query.text, then=0), default=1)
    rows = rows.annotate(why=attributes.build_reason(query))  # of these alone it is read
    for run in rows.order_by(called_first, *order)[:limit]:
        by_name = all(word.lower() in run.name.lower() for word in query.words)
        yield build_run_hit(run, bounds.get_slug(run.project_id), text="" if by_name else run.why or "")


def find_experiments(actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> Iterator[Hit]:
    """By the beginning of the name over its index, by a part of it among the newest. The whole name comes first."""
    if query.kind:
        return
    begins = Q(name__gte=query.text, name__lte=query.text + NAME_END, name__startswith=query.text)
    exact_first = Case(When(name=query.text, then=0), default=1)
    rows, order = list_visible(Experiment, actor, bounds).active(), (exact_first, "-created_at", "-pk")
    part = (
        rows.filter(build_floor_filter(bounds, "experiment"), build_words_filter(query, "name"))
        .order_by(*order)
        .values("pk")[:limit]
    )
    start = rows.filter(begins).order_by(*order).values("pk")[:limit]
    for row in union_rows(rows, part, start).order_by(*order)[:limit]:
        slug = bounds.get_slug(row.project_id)
        url = f"{reverse('experiments:list', args=[slug])}?experiment={row.number}"
        by = _("by %(who)s") % {"who": row.created_by}
        yield Hit(kind="experiment", title=row.name, text=by, url=url, project=slug)


def exclude_deleted(rows: QuerySet[LoggedModel]) -> QuerySet[LoggedModel]:
    """Logged models that were not deleted, alone or with their experiment."""
    return rows.filter(deleted_at=None, experiment__deleted_at=None)


def find_logged_models(actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> Iterator[Hit]:
    if query.kind:
        return
    rows = exclude_deleted(LoggedModel.objects.visible_to(actor)).filter(build_floor_filter(bounds, "logged_model"))
    rows = rows.filter(build_words_filter(query, "name", exact_fields=("model_type", "created_by")))
    for row in rows.order_by("-created_at", "-pk")[:limit]:
        yield build_logged_hit(row, bounds.get_slug(row.project_id))


def build_logged_hit(model: LoggedModel, slug: str, *, exact: bool = False, text: str = "") -> Hit:
    return Hit(
        kind="logged_model",
        title=f"{model.name} {model.pk[:10]}",
        text=text or model.model_type or _("by %(who)s") % {"who": model.created_by},
        url=reverse("experiments:logged_model", args=[slug, model.pk]),
        project=slug,
        exact=exact,
    )


def build_run_hit(run: Run, slug: str, *, exact: bool = False, text: str = "") -> Hit:
    return Hit(
        kind="run",
        title=f"{run.pk[:8]} {run.name}",
        text=text or run.kind,
        url=reverse("experiments:detail", args=[slug, run.pk]),
        project=slug,
        state=run.state,
        exact=exact,
    )


def find_by_name(table: Any, actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> list[Any]:
    """Datasets or models: by the beginning of the name over an index, by a part of it among the newest. The whole name
    comes first."""
    rows = list_visible(table, actor, bounds)
    begins = (query.name or query.text).lower()
    prefix = Q(name__gte=begins, name__lte=begins + NAME_END, name__startswith=begins)
    read = rows.filter(project__in=[place.project for place in bounds.read])
    recent = Q(pk__in=read.order_by("-pk").values("pk")[:MAX_ROWS_READ])
    match = build_words_filter(query, "name", "description")
    rank = Case(When(name=begins, then=0), When(name__startswith=begins, then=1), default=2)
    return list(rows.filter(prefix | (recent & match)).order_by(rank, "name")[:limit])


def build_version_hits(
    kind: str, page: str, version_page: str, rows: list[Any], bounds: SearchBounds, query: SearchQuery
):  # type: ignore[no-untyped-def]
    """A hit for each dataset or model; for the version that was asked for, its own page before it."""
    for row in rows:
        slug = bounds.get_slug(row.project_id)
        if query.version is not None and row.name == query.name and 0 < query.version <= row.versions_count:
            yield Hit(
                kind=kind,
                title=f"{row.name} v{query.version}",
                text=_("of %(count)s versions") % {"count": row.versions_count},
                url=reverse(version_page, args=[slug, row.name, query.version]),
                project=slug,
                exact=True,
            )
            continue
        yield Hit(
            kind=kind,
            title=row.name,
            text=row.description or _("newest: v%(number)s") % {"number": row.versions_count},
            url=reverse(page, args=[slug, row.name]),
            project=slug,
        )


def find_datasets(actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> Iterator[Hit]:
    if not query.kind:
        rows = find_by_name(Dataset, actor, bounds, query, limit)
        yield from build_version_hits("dataset", "datasets:dataset", "datasets:version", rows, bounds, query)


def find_models(actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> Iterator[Hit]:
    if not query.kind:
        rows = find_by_name(Model, actor, bounds, query, limit)
        yield from build_version_hits("model", "registry:model", "registry:version", rows, bounds, query)
        yield from attributes.find_models_by_attributes(actor, bounds, query, limit)


def find_nodes(actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> Iterator[Hit]:
    for pk, name, host, status in select_nodes(actor, query).order_by("name").values_list(*NODE_COLUMNS)[:limit]:
        yield build_node_hit(pk, name, host, status)


def select_nodes(actor: Actor, query: SearchQuery) -> QuerySet[Node]:
    if query.kind or not is_allowed(actor, "node.view"):
        return Node.objects.with_status().none()
    return Node.objects.visible_to(actor).with_status().filter(build_words_filter(query, "name", "host"))


def build_node_hit(pk: int, name: str, host: str, status: str) -> Hit:
    return Hit(kind="node", title=name, text=host, url=reverse("nodes:list") + f"#node-{pk}", state=status)


def find_machines(actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> Iterator[Hit]:
    """Devices and nodes in one query. Devices by the beginning of the name over its index, by a part of it among the
    newest of each project that is read."""
    if query.kind:
        return
    rows = list_visible(Device, actor, bounds).exclude(state=DeviceState.REVOKED)
    begins = rows.filter(name__gte=query.text, name__lte=query.text + NAME_END, name__startswith=query.text)
    newest = rows.filter(project__in=[place.project for place in bounds.read]).order_by("-pk").values("pk")
    part = rows.filter(build_words_filter(query, "name"), pk__in=newest[:MAX_ROWS_READ])
    devices = union_rows(Device.objects.all(), *(each.order_by("name").values("pk")[:limit] for each in (begins, part)))
    columns = ("of", "place", *NODE_COLUMNS)
    either = (
        devices.annotate(of=Value("device"), place=F("project_id"), about=F("note"), status=F("state"))
        .values_list("of", "place", "pk", "name", "about", "status")
        .union(
            select_nodes(actor, query)
            .annotate(of=Value("node"), place=Value(0, output_field=BigIntegerField()))
            .values_list(*columns),
            all=True,
        )
    )
    for kind, project, pk, name, text, state in either.order_by("of", "name")[: 3 * limit]:
        if kind == "node":
            yield build_node_hit(pk, name, text, state)
            continue
        slug = bounds.get_slug(project)
        page = reverse("devices:detail", args=[slug, pk])
        yield Hit(kind="device", title=name, text=text, url=page, project=slug, state=state)


def find_people(actor: Actor, bounds: SearchBounds, query: SearchQuery, limit: int) -> Iterator[Hit]:
    """Everybody for the administrators; for members, who is in a project with them."""
    if query.kind or actor.scopes is not None:  # no scope lets a token read of people
        return
    if is_allowed(actor, "user.view"):
        users = User.objects.filter(build_words_filter(query, "username", "name", "email")).order_by("username")[:limit]
        for user in users:
            page = reverse("accounts:person", args=[user.username])
            yield Hit(kind="person", title=user.username, text=user.name, url=page)
        return
    mine = actor.project_ids & bounds.slugs.keys()
    members = Membership.objects.filter(project__in=mine, user__isnull=False).select_related("user")
    rows = members.filter(build_words_filter(query, "user__username", "user__name")).order_by("user__username")
    slugs: dict[User, str] = {}
    for member in rows[: limit * 4]:  # one row for each role and project
        if member.user is not None:
            slugs.setdefault(member.user, bounds.get_slug(member.project_id))
    for user, slug in list(slugs.items())[:limit]:
        page = reverse("accounts:members", args=[slug])
        yield Hit(kind="person", title=user.username, text=user.name, url=page, project=slug)


def list_visible(table: Any, actor: Actor, bounds: SearchBounds) -> Any:
    return table.objects.visible_to(actor).filter(bounds.filter_projects())


FINDERS = {
    "job": find_jobs,
    "pipeline": find_pipelines,
    "run": find_runs,
    "experiment": find_experiments,
    "dataset": find_datasets,
    "model": find_models,
    "logged_model": find_logged_models,
    "approval": find_approvals,
    "device": find_machines,
    "node": find_nodes,
    "person": find_people,
}
