"""A Label Studio as the driver speaks to it, with label-studio-sdk (extra `labelling`).

Connections go to hosts of LABELLING_HOSTS alone, at an address that was looked at first; no redirect is followed, no
proxy is used and nothing is tried again here: an import that is sent twice would be there twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from django.conf import settings

from apps.core.errors import PlaneError
from apps.ml.labelling.addresses import is_listed_server, parse_server_url
from apps.ml.labelling.models import LabelServer
from apps.ml.labelling.tokens import TokenUnreadable, decrypt_token
from deepseek.messages import Message
from workers.notices.webhooks import DeliveryFailed, resolve_reachable_address

TIMEOUT_SECONDS = 60.0  # below what is left of a lease that was renewed before the request
PAGE_SIZE = 500
IDS_AT_ONCE = 200  # they stand in the address, which servers cut at 4,000 characters
# The server counts everything that a query fits for each page of it, so long lists are read in long pages.
INDEX_PAGE_SIZE = 5000
INDEX_FIELDS = "id,updated_at,total_annotations,cancelled_annotations"
# Of tasks and of the annotations within them: a third of the time that all fields take.
TASK_FIELDS = "id,updated_at,annotations,completed_by,result,was_cancelled,lead_time,created_at"
ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_DELETED")
SECRET_HEADER = "X-Plane-Secret"  # noqa: S105 - its name


@dataclass(frozen=True, slots=True)
class RemoteProject:
    """A project of the server with its counts; skipped annotations are counted apart."""

    config: str
    tasks: int
    annotations: int
    skipped: int


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A task of the server as the index has it; skipped annotations are counted apart."""

    remote_id: int
    updated_at: datetime
    annotations: int
    skipped: int


class RemoteFailure(Exception):
    """The server cannot be worked with now. `is_refusal`: it does not take the token."""

    def __init__(self, message: Message, *, is_refusal: bool = False, status: int | None = None) -> None:
        super().__init__(str(message))
        self.message, self.is_refusal, self.status = message, is_refusal, status


class GuardedTransport(httpx.BaseTransport):
    """HTTP to one listed host, at the address that its name was found to be."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port, self.inner = host, port, httpx.HTTPTransport(retries=0, trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        if (request.url.host, port) != (self.host, self.port) or not is_listed_server(self.host, self.port):
            raise httpx.ConnectError(f"{request.url.host}:{port} is not in LABELLING_HOSTS")
        try:
            address, _port = resolve_reachable_address(self.host, self.port, settings.LABELLING_HOSTS)
        except DeliveryFailed as failure:
            raise httpx.ConnectError(str(failure)) from None
        request.extensions = {**request.extensions, "sni_hostname": self.host}
        request.url = request.url.copy_with(host=address)  # the header Host stays the name
        return self.inner.handle_request(request)

    def close(self) -> None:
        self.inner.close()


class RemoteServer:
    """One server, for one round of the driver.

    `seconds` is the time that was spent waiting for it; `clock` its time, by its last answer.
    """

    def __init__(self, server: LabelServer) -> None:
        from label_studio_sdk.client import LabelStudio

        self.seconds = 0.0
        self.clock: datetime | None = None
        try:
            token = decrypt_token(server.token)
            self.host, port = parse_server_url(server.url)
        except TokenUnreadable as failure:
            raise RemoteFailure(Message("{reason}.", reason=str(failure)), is_refusal=True) from None
        except PlaneError as failure:
            raise RemoteFailure(Message("{reason}", reason=str(failure))) from None
        transport = GuardedTransport(self.host, port)
        self.http = httpx.Client(
            transport=transport,
            timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
            trust_env=False,
            event_hooks={"response": [self.read_clock]},
        )
        with self.translate_failures():
            self.client: Any = LabelStudio(base_url=server.url, api_key=token, httpx_client=self.http, max_retries=0)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self.http.close()

    def read_clock(self, response: httpx.Response) -> None:
        try:
            self.clock = parsedate_to_datetime(response.headers["date"])
        except (KeyError, ValueError):
            self.clock = None

    @contextmanager
    def translate_failures(self) -> Iterator[None]:
        """What went wrong as RemoteFailure, in words for the person who owns the connection."""
        from label_studio_sdk.core.api_error import ApiError
        from label_studio_sdk.core.parse_error import ParsingError

        begun = time.monotonic()
        try:
            yield
        except ApiError as failure:
            if failure.status_code in (401, 403):
                raise RemoteFailure(
                    Message("Label Studio at {host} refuses the token.", host=self.host),
                    is_refusal=True,
                    status=failure.status_code,
                ) from None
            detail = failure.body.get("detail") if isinstance(failure.body, dict) else failure.body
            raise RemoteFailure(
                Message(
                    "Label Studio at {host} answers {status}: {detail}.",
                    host=self.host,
                    status=failure.status_code or 0,
                    detail=str(detail)[:300],
                ),
                status=failure.status_code,
            ) from None
        except (ParsingError, ValueError, TypeError, AttributeError, LookupError) as failure:
            # A proxy's page, or another program at this address: the SDK builds its objects unchecked.
            raise RemoteFailure(
                Message(
                    "What answers at {host} is no Label Studio: {reason}.",
                    host=self.host,
                    reason=type(failure).__name__,
                ),
                status=0,
            ) from None
        except (httpx.HTTPError, OSError) as failure:
            raise RemoteFailure(
                Message(
                    "Label Studio at {host} cannot be reached: {reason}.",
                    host=self.host,
                    reason=str(failure)[:300] or type(failure).__name__,
                )
            ) from None
        finally:
            self.seconds += time.monotonic() - begun

    def get_version(self) -> str:
        """The version of the server, once it has taken the token."""
        with self.translate_failures():
            release = str(self.client.versions.get().release or "")
            next(iter(self.client.projects.list(page_size=1)), None)
        return release

    def create_project(self, title: str, config: str, instruction: str = "") -> int:
        with self.translate_failures():
            project = self.client.projects.create(
                title=title[:50],
                label_config=config,
                description="deepseek-offline",
                expert_instruction=instruction,
                show_instruction=bool(instruction),
                show_collab_predictions=True,
                show_skip_button=True,
                maximum_annotations=1,
            )
        return int(project.id)

    def find_project(self, title: str) -> int | None:
        """The project with this title that a driver made which died before it was recorded."""
        with self.translate_failures():
            rows = self.client.projects.list(title=title[:50], page_size=10)
            return next((int(row.id) for row in rows if row.title == title[:50]), None)

    def get_project(self, project: int) -> RemoteProject:
        with self.translate_failures():
            row = self.client.projects.get(id=project)
        return RemoteProject(
            config=row.label_config or "",
            tasks=int(row.task_number or 0),
            annotations=int(row.total_annotations_number or 0),
            skipped=int(row.skipped_annotations_number or 0),
        )

    def create_hook(self, project: int, url: str, secret: str) -> int:
        """A webhook without payload: it only rings."""
        with self.translate_failures():
            for row in self.client.webhooks.list(project=str(project)):
                if row.url == url:
                    return int(row.id)
            webhook = self.client.webhooks.create(
                project=project,
                url=url,
                send_payload=False,
                send_for_all_actions=False,
                headers={SECRET_HEADER: secret},
                actions=list(ACTIONS),
            )
        return int(webhook.id)

    def import_tasks(self, project: int, tasks: Sequence[dict[str, Any]]) -> list[int]:
        """Import tasks; returns their ids in the same order."""
        with self.translate_failures():
            answer = self.client.projects.import_tasks(id=project, request=list(tasks), return_task_ids=True)
        return [int(task_id) for task_id in answer.task_ids or []]

    def list_task_keys(self, project: int, most: int) -> list[tuple[int, dict[str, Any]]]:
        """(id, meta) of the newest tasks of the project."""
        return [
            (int(row.id), dict(row.meta or {}))
            for row in self.load_page(project, [], "-tasks:id", most, include="id,meta", fields=None)
        ]

    def get_newest_change(self, project: int) -> datetime | None:
        """When the server last changed a task of the project, by its own clock; None where it has none."""
        rows = self.load_page(project, [], "-tasks:updated_at", 1, include="id,updated_at")
        return parse_time(rows[0].updated_at) if rows else None

    def iterate_index(self, project: int) -> Iterator[list[IndexEntry]]:
        """Pages of every task of the project, by their ids: when each was changed and how often it was marked."""
        last = 0
        while True:
            condition = build_filter("id", "greater", "Number", last)
            page = self.load_page(project, [condition], "tasks:id", INDEX_PAGE_SIZE, include=INDEX_FIELDS, fields=None)
            if not page:  # a short page says nothing: the server may give less than it was asked for
                return
            yield [
                IndexEntry(
                    int(row.id),
                    parse_time(row.updated_at),
                    int(row.total_annotations or 0),
                    int(row.cancelled_annotations or 0),
                )
                for row in page
            ]
            last = int(page[-1].id)

    def iterate_changed_tasks(self, project: int, since: datetime, *, only_marked: bool = False) -> Iterator[list[Any]]:
        """Pages of the tasks that changed at or after `since`, oldest first, with their annotations.

        By the time of the last one that was seen, not by page numbers: a task that is edited meanwhile moves to the
        end, and would let another slip through between two pages.
        """
        tasks_by_id: dict[int, Any] = {}
        size = PAGE_SIZE
        marked = [build_filter("total_annotations", "greater", "Number", 0)] if only_marked else []
        while True:
            changed = build_filter("updated_at", "greater_or_equal", "Datetime", format_time(since))
            page = self.load_page(project, [changed, *marked], "tasks:updated_at", size, include=TASK_FIELDS)
            fresh = [row for row in page if tasks_by_id.get(row.id) != row.updated_at]
            if fresh:
                tasks_by_id.update({row.id: row.updated_at for row in fresh})
                since = parse_time(fresh[-1].updated_at)
                yield fresh
            if len(page) < size:
                return
            size = PAGE_SIZE if fresh else 2 * size  # very many of the same moment

    def iterate_tasks(self, project: int, remote_ids: Sequence[int], include: str = TASK_FIELDS) -> Iterator[list[Any]]:
        """Pages of these tasks with their annotations; one that is no longer there is left out."""
        for start in range(0, len(remote_ids), IDS_AT_ONCE):
            chosen = list(remote_ids[start : start + IDS_AT_ONCE])
            condition = build_filter("id", "in_list", "List", chosen)
            yield self.load_page(project, [condition], "tasks:id", len(chosen), include=include)

    def load_page(
        self,
        project: int,
        conditions: list[dict[str, Any]],
        order: str,
        size: int,
        *,
        include: str,
        fields: str | None = "all",
    ) -> list[Any]:
        facts = {"filters": {"conjunction": "and", "items": conditions}, "ordering": [order]}
        query = json.dumps(facts, separators=(",", ":"))
        with self.translate_failures():
            pager = self.client.tasks.list(
                project=project, query=query, fields=fields, include=include, page=1, page_size=size
            )
            return list(pager.items or [])  # of this page: going on would ask for the next

    def delete_task(self, task: int) -> None:
        with self.translate_failures():
            self.client.tasks.delete(id=str(task))

    def list_users(self) -> dict[int, str]:
        """{id: e-mail} of those who may annotate."""
        with self.translate_failures():
            return {int(row.id): str(row.email or row.username or "") for row in self.client.users.list()}


def build_filter(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


def format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str | datetime) -> datetime:
    return text if isinstance(text, datetime) else datetime.fromisoformat(text)
