"""What is found by its name, its number or a version: one query for each kind of object."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.db.models import Case, OuterRef, Q, QuerySet, Subquery, When
from django.urls import reverse
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.policy import is_allowed
from apps.data.datasets.models import Dataset
from apps.ml.experiments.models import Experiment, LoggedModel, Run
from apps.ml.pipelines.models import Pipeline
from apps.ml.registry.models import Model
from apps.platform.accounts.models import Membership, Project, User
from apps.platform.approvals.models import Approval
from apps.platform.jobs.models import Job
from apps.platform.nodes.models import Node
from apps.web.search import attributes
from apps.web.search.bounds import READ, Places, above
from apps.web.search.hits import Hit
from apps.web.search.query import Asked

NAME_END = "z" * 50  # behind every name that begins so, whatever the database's collation


def all_words(asked: Asked, *fields: str, whole: Sequence[str] = (), also: Callable[[str], Q] | None = None) -> Q:
    """Every word is a part of one of `fields`, or all of one of `whole`, or fits what `also` makes of it."""
    wanted = Q()
    for word in asked.words:
        either = Q()
        for field in fields:
            either |= Q(**{f"{field}__icontains": word})
        for field in whole:
            either |= Q(**{field: word.lower()})
        if also is not None:
            either |= also(word)
        wanted &= either
    return wanted


def numbered(asked: Asked, kind: str) -> Q | None:
    """The row with the number that was typed, if it may be one of this kind."""
    return Q(pk=asked.number) if asked.number and asked.kind in ("", kind) else None


def numbered_rows(rows: QuerySet[Any], asked: Asked, kind: str, read: Q, match: Q, limit: int) -> list[Any]:
    """The newest of a numbered kind that fit among those that are read; before them the one with the number, however
    old. None of another kind."""
    number = numbered(asked, kind)
    if asked.kind:
        return list(rows.filter(number)) if number is not None else []
    order = ("-created_at", "-pk")
    newest = rows.filter(read & match).order_by(*order)
    if number is None:
        return list(newest[:limit])
    either = any_of(rows, newest.values("pk")[:limit], rows.filter(number).values("pk"))
    return list(either.order_by(Case(When(number, then=0), default=1), *order)[:limit])


def any_of(rows: QuerySet[Any], *parts: QuerySet[Any]) -> QuerySet[Any]:
    """The rows that some part has the keys of. Each part goes by an index of its own: for all of them at once SQLite
    would walk the whole table."""
    keys = [rows.model.objects.filter(pk__in=part).values("pk") for part in parts]  # type: ignore[attr-defined]
    return rows.filter(pk__in=keys[0].union(*keys[1:]))


def jobs(actor: Actor, places: Places, asked: Asked, limit: int) -> Iterator[Hit]:
    match = all_words(asked, "name", whole=("kind", "state", "requester"))
    rows = in_places(Job, actor, places).only("pk", "project_id", "kind", "name", "state", "requester")
    for job in numbered_rows(rows, asked, "job", above(places, "job"), match, limit):
        yield hit_of_job(job, places.slug_of(job.project_id), exact=job.pk == asked.number)


def hit_of_job(job: Job, slug: str, *, exact: bool = False, text: str = "") -> Hit:
    return Hit(
        kind="job",
        title=f"#{job.pk} {job.kind} {job.name}".rstrip(),
        text=text or _("asked by %(who)s") % {"who": job.requester},
        url=reverse("jobs:detail", args=[slug, job.pk]),
        project=slug,
        state=job.state,
        exact=exact,
    )


def pipelines(actor: Actor, places: Places, asked: Asked, limit: int) -> Iterator[Hit]:
    match = all_words(asked, "name", whole=("template", "requester"))
    rows = in_places(Pipeline, actor, places).defer("document")
    for row in numbered_rows(rows, asked, "pipeline", above(places, "pipeline"), match, limit):
        slug = places.slug_of(row.project_id)
        yield Hit(
            kind="pipeline",
            title=str(row),
            text=_("asked by %(who)s") % {"who": row.requester},
            url=reverse("pipelines:detail", args=[slug, row.pk]),
            project=slug,
            exact=row.pk == asked.number,
        )


def approvals(actor: Actor, places: Places, asked: Asked, limit: int) -> Iterator[Hit]:
    match = all_words(asked, "title", whole=("state", "requester"))
    rows = in_places(Approval, actor, places).defer("facts", "void_changes")
    for row in numbered_rows(rows, asked, "approval", above(places, "approval"), match, limit):
        slug = places.slug_of(row.project_id)
        yield Hit(
            kind="approval",
            title=str(row),
            text=_("asked by %(who)s") % {"who": row.requester},
            url=reverse("approvals:detail", args=[slug, row.pk]),
            project=slug,
            state=row.state,
            exact=row.pk == asked.number,
        )


def runs(actor: Actor, places: Places, asked: Asked, limit: int) -> Iterator[Hit]:
    if asked.kind:
        return
    whole = ("kind", "state", "created_by")
    wanted = all_words(asked, "name", whole=whole)
    if asked.key:
        wanted |= attributes.of_run(asked)
    else:
        few = above(places, "said", "started_at")
        wanted |= few & all_words(asked, "name", whole=whole, also=attributes.begins_so)
    # Those that are read by themselves, and once: SQLite seeks them for each project, where it would walk all runs.
    wanted &= above(places, "run", "started_at")
    columns = ("pk", "project_id", "name", "kind", "state", "created_by")
    order = ("-started_at", "-pk")
    active = Run.objects.visible_to(actor).active()
    first = active.filter(wanted).order_by(*order).values("pk")[:limit]
    # The whole name by its index, however old and wherever: one of each project, for the newest would have all be read.
    same = active.filter(project=OuterRef("pk"), name=asked.text).order_by("name", "pk").values("pk")[:1]
    called_so = Project.objects.visible_to(actor).filter(places.here("pk")).annotate(run=Subquery(same))
    found = any_of(Run.objects.all(), first, called_so.values("run")).only(*columns)
    called_first = Case(When(name=asked.text, then=0), default=1)
    found = found.annotate(why=attributes.reason(asked))  # of these alone it is read
    for run in found.order_by(called_first, *order)[:limit]:
        by_name = all(word.lower() in run.name.lower() for word in asked.words)
        yield hit_of_run(run, places.slug_of(run.project_id), text="" if by_name else run.why or "")


def experiments(actor: Actor, places: Places, asked: Asked, limit: int) -> Iterator[Hit]:
    """By the beginning of the name over its index, by a part of it among the newest. The whole name comes first."""
    if asked.kind:
        return
    begins = Q(name__gte=asked.text, name__lte=asked.text + NAME_END, name__startswith=asked.text)
    whole = Case(When(name=asked.text, then=0), default=1)
    rows, order = in_places(Experiment, actor, places).active(), (whole, "-created_at", "-pk")
    part = rows.filter(above(places, "experiment"), all_words(asked, "name")).order_by(*order).values("pk")[:limit]
    start = rows.filter(begins).order_by(*order).values("pk")[:limit]
    for row in any_of(rows, part, start).order_by(*order)[:limit]:
        slug = places.slug_of(row.project_id)
        where = f"{reverse('experiments:list', args=[slug])}?experiment={row.number}"
        by = _("by %(who)s") % {"who": row.created_by}
        yield Hit(kind="experiment", title=row.name, text=by, url=where, project=slug)


def there(rows: QuerySet[LoggedModel]) -> QuerySet[LoggedModel]:
    """Logged models that were not deleted, alone or with their experiment."""
    return rows.filter(deleted_at=None, experiment__deleted_at=None)


def logged_models(actor: Actor, places: Places, asked: Asked, limit: int) -> Iterator[Hit]:
    if asked.kind:
        return
    rows = there(LoggedModel.objects.visible_to(actor)).filter(above(places, "logged_model"))
    rows = rows.filter(all_words(asked, "name", whole=("model_type", "created_by")))
    for row in rows.order_by("-created_at", "-pk")[:limit]:
        yield hit_of_logged(row, places.slug_of(row.project_id))


def hit_of_logged(model: LoggedModel, slug: str, *, exact: bool = False, text: str = "") -> Hit:
    return Hit(
        kind="logged_model",
        title=f"{model.name} {model.pk[:10]}",
        text=text or model.model_type or _("by %(who)s") % {"who": model.created_by},
        url=reverse("experiments:logged_model", args=[slug, model.pk]),
        project=slug,
        exact=exact,
    )


def hit_of_run(run: Run, slug: str, *, exact: bool = False, text: str = "") -> Hit:
    return Hit(
        kind="run",
        title=f"{run.pk[:8]} {run.name}",
        text=text or run.kind,
        url=reverse("experiments:detail", args=[slug, run.pk]),
        project=slug,
        state=run.state,
        exact=exact,
    )


def named(table: Any, actor: Actor, places: Places, asked: Asked, limit: int) -> list[Any]:
    """Datasets or models: by the beginning of the name over an index, by a part of it among the newest. The whole name
    comes first."""
    rows = in_places(table, actor, places)
    begins = (asked.name or asked.text).lower()
    prefix = Q(name__gte=begins, name__lte=begins + NAME_END, name__startswith=begins)
    read = rows.filter(project__in=[place.project for place in places.read])
    recent = Q(pk__in=read.order_by("-pk").values("pk")[:READ])
    match = all_words(asked, "name", "description")
    rank = Case(When(name=begins, then=0), When(name__startswith=begins, then=1), default=2)
    return list(rows.filter(prefix | (recent & match)).order_by(rank, "name")[:limit])


def versions_of(kind: str, page: str, version_page: str, rows: list[Any], places: Places, asked: Asked):  # type: ignore[no-untyped-def]
    """A hit for each dataset or model; for the version that was asked for, its own page before it."""
    for row in rows:
        slug = places.slug_of(row.project_id)
        if asked.version is not None and row.name == asked.name and 0 < asked.version <= row.versions_count:
            yield Hit(
                kind=kind,
                title=f"{row.name} v{asked.version}",
                text=_("of %(count)s versions") % {"count": row.versions_count},
                url=reverse(version_page, args=[slug, row.name, asked.version]),
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


def datasets(actor: Actor, places: Places, asked: Asked, limit: int) -> Iterator[Hit]:
    if not asked.kind:
        rows = named(Dataset, actor, places, asked, limit)
        yield from versions_of("dataset", "datasets:dataset", "datasets:version", rows, places, asked)


def models(actor: Actor, places: Places, asked: Asked, limit: int) -> Iterator[Hit]:
    if not asked.kind:
        rows = named(Model, actor, places, asked, limit)
        yield from versions_of("model", "registry:model", "registry:version", rows, places, asked)
        yield from attributes.of_models(actor, places, asked, limit)


def nodes(actor: Actor, places: Places, asked: Asked, limit: int) -> Iterator[Hit]:
    if asked.kind or not is_allowed(actor, "node.view"):
        return
    rows = Node.objects.visible_to(actor).with_status().filter(all_words(asked, "name", "host"))
    for node in rows.order_by("name")[:limit]:
        where = reverse("nodes:list") + f"#node-{node.pk}"
        yield Hit(kind="node", title=node.name, text=node.host, url=where, state=node.status)  # type: ignore[attr-defined]


def people(actor: Actor, places: Places, asked: Asked, limit: int) -> Iterator[Hit]:
    """Everybody for the administrators; for members, who is in a project with them."""
    if asked.kind or actor.scopes is not None:  # no scope lets a token read of people
        return
    if is_allowed(actor, "user.view"):
        found = User.objects.filter(all_words(asked, "username", "name", "email")).order_by("username")[:limit]
        for user in found:
            page = reverse("accounts:person", args=[user.username])
            yield Hit(kind="person", title=user.username, text=user.name, url=page)
        return
    mine = actor.project_ids & places.slugs.keys()
    members = Membership.objects.filter(project__in=mine, user__isnull=False).select_related("user")
    rows = members.filter(all_words(asked, "user__username", "user__name")).order_by("user__username")
    seen: dict[User, str] = {}
    for member in rows[: limit * 4]:  # one row for each role and project
        if member.user is not None:
            seen.setdefault(member.user, places.slug_of(member.project_id))
    for user, slug in list(seen.items())[:limit]:
        page = reverse("accounts:members", args=[slug])
        yield Hit(kind="person", title=user.username, text=user.name, url=page, project=slug)


def in_places(table: Any, actor: Actor, places: Places) -> Any:
    return table.objects.visible_to(actor).filter(places.here())


FINDERS = {
    "job": jobs,
    "pipeline": pipelines,
    "run": runs,
    "experiment": experiments,
    "dataset": datasets,
    "model": models,
    "logged_model": logged_models,
    "approval": approvals,
    "node": nodes,
    "person": people,
}
