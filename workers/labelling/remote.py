"""A Label Studio as the driver speaks to it, with label-studio-sdk (extra `labelling`).

Connections go to hosts of LABELLING_HOSTS alone, at an address that was looked at first; no redirect is followed, no
proxy is used and nothing is tried again here: an import that is sent twice would be there twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
from django.conf import settings

from apps.core.errors import PlaneError
from apps.ml.labelling.addresses import is_listed_server, parse_server_url
from apps.ml.labelling.models import LabelServer
from apps.ml.labelling.tokens import TokenUnreadable, decrypt_token
from deepseek.messages import Message
from workers.notices.webhooks import DeliveryFailed, resolve_reachable_address

TIMEOUT_SECONDS = 120.0  # an import of a thousand tasks takes a few seconds
PAGE_SIZE = 200
IDS_PAGE_SIZE = 2000
ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED", "TASKS_DELETED")
SECRET_HEADER = "X-Plane-Secret"  # noqa: S105 - its name


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
    """One server, for one round of the driver. `seconds` is the time that was spent waiting for it."""

    def __init__(self, server: LabelServer) -> None:
        from label_studio_sdk.client import LabelStudio

        self.seconds = 0.0
        try:
            token = decrypt_token(server.token)
            self.host, port = parse_server_url(server.url)
        except TokenUnreadable as failure:
            raise RemoteFailure(Message("{reason}.", reason=str(failure)), is_refusal=True) from None
        except PlaneError as failure:
            raise RemoteFailure(Message("{reason}", reason=str(failure))) from None
        transport = GuardedTransport(self.host, port)
        self.http = httpx.Client(transport=transport, timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False)
        with self.translate_failures():
            self.client: Any = LabelStudio(base_url=server.url, api_key=token, httpx_client=self.http, max_retries=0)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self.http.close()

    @contextmanager
    def translate_failures(self) -> Iterator[None]:
        """What went wrong as RemoteFailure, in words for the person who owns the connection."""
        from label_studio_sdk.core.api_error import ApiError

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

    def get_project(self, project: int) -> dict[str, Any]:
        """{config, tasks} of the project."""
        with self.translate_failures():
            row = self.client.projects.get(id=project)
        return {"config": row.label_config or "", "tasks": int(row.task_number or 0)}

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
        rows: list[tuple[int, dict[str, Any]]] = []
        with self.translate_failures():
            query = json.dumps({"ordering": ["-tasks:id"]})
            for row in self.client.tasks.list(
                project=project, query=query, include="id,meta", page_size=min(most, 1000)
            ):
                rows.append((int(row.id), dict(row.meta or {})))
                if len(rows) >= most:
                    break
        return rows

    def list_task_ids(self, project: int) -> set[int]:
        with self.translate_failures():
            rows = self.client.tasks.list(project=project, include="id", page_size=IDS_PAGE_SIZE)
            return {int(row.id) for row in rows}

    def iterate_changed_tasks(self, project: int, since: datetime) -> Iterator[list[Any]]:
        """Pages of the tasks that changed at or after `since`, oldest first.

        By the time of the last one that was seen, not by page numbers: a task that is edited meanwhile moves to the
        end, and would let another slip through between two pages.
        """
        tasks_by_id: dict[int, Any] = {}
        size = PAGE_SIZE
        while True:
            condition = build_filter("updated_at", "greater_or_equal", "Datetime", format_time(since))
            page = self.load_page(project, [condition], "tasks:updated_at", size)
            fresh = [row for row in page if tasks_by_id.get(row.id) != row.updated_at]
            if fresh:
                tasks_by_id.update({row.id: row.updated_at for row in fresh})
                since = parse_time(fresh[-1].updated_at)
                yield fresh
            if len(page) < size:
                return
            size = PAGE_SIZE if fresh else 2 * size  # very many of the same moment

    def iterate_annotated_tasks(self, project: int) -> Iterator[list[Any]]:
        """Pages of all tasks that have an annotation, by their ids."""
        last = 0
        while True:
            conditions = [
                build_filter("id", "greater", "Number", last),
                build_filter("total_annotations", "greater", "Number", 0),
            ]
            page = self.load_page(project, conditions, "tasks:id", PAGE_SIZE)
            if page:
                yield page
                last = int(page[-1].id)
            if len(page) < PAGE_SIZE:
                return

    def load_page(self, project: int, conditions: list[dict[str, Any]], order: str, size: int) -> list[Any]:
        query = json.dumps({"filters": {"conjunction": "and", "items": conditions}, "ordering": [order]})
        with self.translate_failures():
            pager = self.client.tasks.list(project=project, query=query, fields="all", page=1, page_size=size)
            return list(pager.items or [])  # of this page: going on would ask for the next

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
