"""Reads of studies, sites and egress ledgers, limited to what the actor may see."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import get_args

from django.conf import settings
from django.db.models import QuerySet

from apps.core import policy
from apps.core.actors import Actor
from apps.core.errors import Invalid, NotFound
from apps.core.request_values import MAX_INT32, MAX_INT64, parse_int, validate_choice
from apps.data.datasets.models import DatasetVersion
from apps.data.datasets.queries import read_first_bytes
from apps.ml.federation.models import (
    LedgerEntry,
    LedgerEntryQuerySet,
    RoundResult,
    Site,
    SiteStudy,
    SiteStudyQuerySet,
    Study,
    StudyQuerySet,
)
from apps.ml.federation.states import OPEN_STUDY, SiteStudyState, StudyState
from apps.platform.accounts.models import Project
from apps.platform.artifacts.models import Artifact
from deepseek.federated.spec import EntryKind
from deepseek.messages import N_

MAX_CODE_BYTES = 4 * 2**20
MAX_YEAR = 9999
DEFAULT_PORT = 8102
MAX_VERSIONS = 100
ENTRY_KINDS: tuple[str, ...] = get_args(EntryKind)


def list_studies(actor: Actor, project: Project, *, state: str = "") -> StudyQuerySet:
    policy.require(actor, "federation.view", project)
    validate_choice("state", state, StudyState.values)
    rows = Study.objects.visible_to(actor).filter(project=project).select_related("project", "job")
    return rows.filter(state=state) if state else rows


def get_study(actor: Actor, project: Project, pk: int) -> Study:
    rows = list_studies(actor, project).select_related("result_version__model")
    study = rows.filter(pk=pk).first() if 0 < pk <= MAX_INT64 else None
    if study is None:
        raise NotFound("This project has no study {pk}.", pk=pk, field="id")
    return study


def choose_port() -> int:
    """The first port that servers of studies may listen on and that no study has; the first one where all are taken."""
    ports = settings.ENV.federation_ports or [DEFAULT_PORT]
    taken = set(Study.objects.filter(port__in=ports, state__in=OPEN_STUDY).values_list("port", flat=True))
    return next((port for port in ports if port not in taken), ports[0])


def list_version_choices(actor: Actor, project: Project) -> list[str]:
    """NAME:vN of the newest dataset versions of the project."""
    policy.require(actor, "dataset.view", project)
    rows = DatasetVersion.objects.visible_to(actor).filter(dataset__project=project, deleted_at=None).order_by("-id")
    return [f"{name}:v{number}" for name, number in rows.values_list("dataset__name", "number")[:MAX_VERSIONS]]


def get_site(actor: Actor, study: Study, name: str) -> Site:
    policy.require(actor, "federation.view", study)
    site = study.sites.filter(name=name).first()
    if site is None:
        raise NotFound("{study} has no site {name!r}.", study=study.name, name=name[:60], field="site")
    site.study = study
    return site


def list_rounds(actor: Actor, study: Study) -> QuerySet[RoundResult]:
    policy.require(actor, "federation.view", study)
    return RoundResult.objects.filter(study=study)


def list_site_studies(actor: Actor, project: Project, *, state: str = "") -> SiteStudyQuerySet:
    policy.require(actor, "federation.view", project)
    validate_choice("state", state, SiteStudyState.values)
    rows = SiteStudy.objects.visible_to(actor).filter(project=project)
    rows = rows.select_related("project", "job", "data__dataset", "approval").defer("data__manifest")
    return rows.filter(state=state) if state else rows


def get_site_study(actor: Actor, project: Project, pk: int) -> SiteStudy:
    row = list_site_studies(actor, project).filter(pk=pk).first() if 0 < pk <= MAX_INT64 else None
    if row is None:
        raise NotFound("This plane takes part in no study {pk}.", pk=pk, field="id")
    return row


def read_code(actor: Actor, of: Study | SiteStudy) -> dict[str, str]:
    """{file name: text} of the code of a study."""
    policy.require(actor, "federation.view", of)
    return load_code(of.code)


def load_code(artifact: Artifact) -> dict[str, str]:
    data, _is_complete = read_first_bytes(artifact, MAX_CODE_BYTES)
    code: dict[str, str] = json.loads(data)
    return code


# -- what left ------------------------------------------------------------------------------------------------------
def list_ledger(actor: Actor, project: Project, **filters: str) -> LedgerEntryQuerySet:
    """All that ever left this project for a study, and what was refused; Invalid for a filter that cannot be read."""
    policy.require(actor, "federation.view", project)
    return filter_ledger(LedgerEntry.objects.visible_to(actor).filter(project=project), **filters)


def list_plane_ledger(actor: Actor, *, project: str = "", **filters: str) -> LedgerEntryQuerySet:
    """All that ever left this plane for a study: for the auditor. `project`: the slug of one; Invalid as above."""
    policy.require(actor, "audit.view")
    rows = LedgerEntry.objects.all()  # the auditor's token too, which sees no project
    return filter_ledger(rows.filter(project__slug=project[:50]) if project else rows, **filters)


def filter_ledger(
    rows: LedgerEntryQuerySet,
    *,
    study: str = "",
    site: str = "",
    round: str = "",
    kind: str = "",
    since: str = "",
    until: str = "",
) -> LedgerEntryQuerySet:
    """`study`: the number of a study of this site; `since`, `until`: dates (UTC), both included."""
    validate_choice("kind", kind, ENTRY_KINDS)
    rows = rows.select_related("site_study__project")
    if study:
        rows = rows.filter(site_study=parse_number("study", study, MAX_INT64))
    if round:
        rows = rows.filter(round=parse_number("round", round, MAX_INT32))
    if site:
        rows = rows.filter(site_study__site=site[:50])
    if kind:
        rows = rows.filter(kind=kind)
    if since:
        rows = rows.filter(at__gte=parse_day("since", since))
    if until:
        rows = rows.filter(at__lt=parse_day("until", until) + timedelta(days=1))
    return rows


def parse_number(field: str, text: str, high: int) -> int:
    number = parse_int(text, 0, high)
    if number is None:
        raise Invalid(
            "{text!r} is no number.",
            text=text[:40],
            field=field,
            limit=N_("a whole number"),
            hint=N_("Clear the filter."),
        )
    return number


def parse_day(field: str, text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = date.max
    if day.year >= MAX_YEAR:
        raise Invalid(
            "{text!r} is no date.", text=text[:40], field=field, limit="YYYY-MM-DD", hint=N_("Clear the filter.")
        )
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def list_site_ledger(actor: Actor, site_study: SiteStudy) -> LedgerEntryQuerySet:
    policy.require(actor, "federation.view", site_study)
    return LedgerEntry.objects.visible_to(actor).filter(site_study=site_study)


# -- of jobs --------------------------------------------------------------------------------------------------------
def find_study_of_job(actor: Actor, job_id: int) -> Study | None:
    return Study.objects.visible_to(actor).select_related("project").filter(job=job_id).first()


def find_site_study_of_job(actor: Actor, job_id: int) -> SiteStudy | None:
    rows = SiteStudy.objects.visible_to(actor).select_related("project", "home_node")
    return rows.filter(job=job_id).first()
