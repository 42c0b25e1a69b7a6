"""A small Label Studio for tests: it answers what workers/labelling asks, as 1.23.2 was recorded to answer.

Over HTTP and in memory. `fail_next` lets requests fail; `drop_answer` does what was asked and loses the answer.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "0123456789abcdef0123456789abcdef01234567"


class FakeLabelStudio:
    def __init__(self) -> None:
        self.token = TOKEN
        self.projects: dict[int, dict[str, Any]] = {}
        self.hooks: list[dict[str, Any]] = []
        self.tasks: dict[int, dict[str, Any]] = {}
        self.annotations: dict[int, dict[str, Any]] = {}
        self.users = {1: "ann@example.com", 2: "bo@example.com"}
        self.calls: list[str] = []
        self.before: Callable[[str, str], None] = lambda method, path: None  # of each request
        self.drop_answer: Callable[[str, str], bool] = lambda method, path: False
        self.clock = datetime(2026, 7, 1, 12, tzinfo=UTC)
        self.next_id = 100
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"null") if length else None
                status, answer = fake.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
                if fake.drop_answer(self.command, self.path):
                    self.close_connection = True
                    return
                data = json.dumps(answer).encode() if answer is not None else b""
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    # -- what a person does there --------------------------------------------------------------------------------------
    def tick(self) -> str:
        self.clock += timedelta(seconds=10)
        return self.clock.isoformat().replace("+00:00", "Z")

    def make_id(self) -> int:
        self.next_id += 1
        return self.next_id

    def annotate(
        self, task: int, result: list[Any], *, user: int = 1, skipped: bool = False, seconds: float = 3.0
    ) -> int:
        now, pk = self.tick(), self.make_id()
        self.annotations[pk] = {
            "id": pk,
            "task": task,
            "project": self.tasks[task]["project"],
            "completed_by": user,
            "result": result,
            "was_cancelled": skipped,
            "ground_truth": False,
            "lead_time": seconds,
            "created_at": now,
            "updated_at": now,
        }
        self.tasks[task]["updated_at"] = now
        return pk

    def edit(self, annotation: int, result: list[Any]) -> None:
        now = self.tick()
        row = self.annotations[annotation]
        row["result"], row["updated_at"] = result, now
        self.tasks[row["task"]]["updated_at"] = now

    def delete_annotation(self, annotation: int) -> None:
        self.tasks[self.annotations.pop(annotation)["task"]]["updated_at"] = self.tick()

    def delete_task(self, task: int) -> None:
        self.tasks.pop(task)
        self.annotations = {pk: row for pk, row in self.annotations.items() if row["task"] != task}

    # -- the protocol --------------------------------------------------------------------------------------------------
    def answer(self, method: str, path: str, authorization: str, body: Any) -> tuple[int, Any]:
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.calls.append(f"{method} {parts.path}")
        try:
            self.before(method, parts.path)
        except ConnectionError:
            return 503, {"detail": "away", "status_code": 503}
        if authorization != f"Token {self.token}":
            return 401, {"detail": "Invalid token.", "status_code": 401}
        words = parts.path.strip("/").split("/")[1:]
        handler = getattr(self, f"{method.lower()}_{words[0]}", None)
        if handler is None:
            return 404, {"detail": "Not found.", "status_code": 404}
        return handler(words[1:], query, body)

    def get_version(self, words: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        return 200, {"release": "1.23.2", "edition": "Community"}

    def get_users(self, words: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        return 200, [{"id": pk, "email": name, "username": name} for pk, name in self.users.items()]

    def get_projects(self, words: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        if words:
            row = self.projects.get(int(words[0]))
            if row is None:
                return 404, {"detail": "No Project matches the given query.", "status_code": 404}
            tasks = [task["id"] for task in self.tasks.values() if task["project"] == row["id"]]
            skips = [annotation["was_cancelled"] for task in tasks for annotation in self.list_annotations(task)]
            counts = {"total_annotations_number": skips.count(False), "skipped_annotations_number": skips.count(True)}
            return 200, {**row, "task_number": len(tasks), **counts}
        rows = [row for row in self.projects.values() if query.get("title", "") in row["title"]]
        return 200, {"count": len(rows), "next": None, "previous": None, "results": rows}

    def post_projects(self, words: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        if len(words) == 2 and words[1] == "import":
            ids = [self.import_task(int(words[0]), task) for task in body]
            return 201, {"task_count": len(ids), "annotation_count": 0, "prediction_count": 0, "task_ids": ids}
        pk = self.make_id()
        self.projects[pk] = {"id": pk, "title": body["title"], "label_config": body["label_config"]}
        return 201, self.projects[pk]

    def import_task(self, project: int, task: dict[str, Any]) -> int:
        pk = self.make_id()
        now = self.tick()
        self.tasks[pk] = {
            "id": pk,
            "project": project,
            "data": task["data"],
            "meta": task.get("meta"),
            "predictions": task.get("predictions", []),
            "created_at": now,
            "updated_at": now,
        }
        for row in task.get("annotations", []):
            self.annotate(pk, row["result"], user=row["completed_by"], seconds=row["lead_time"])
        return pk

    def get_webhooks(self, words: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        return 200, [row for row in self.hooks if str(row["project"]) == query.get("project")]

    def post_webhooks(self, words: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        self.hooks.append({"id": self.make_id(), **body})
        return 201, self.hooks[-1]

    def get_tasks(self, words: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        rows = [task for task in self.tasks.values() if str(task["project"]) == query.get("project")]
        asked = json.loads(query.get("query", "{}"))
        for item in asked.get("filters", {}).get("items", []):
            rows = [row for row in rows if self.meets(row, item)]
        order = (asked.get("ordering") or ["tasks:id"])[0]
        key = order.removeprefix("-").removeprefix("tasks:")
        rows.sort(key=lambda row: row[key], reverse=order.startswith("-"))
        size = int(query.get("page_size", 100))
        page = int(query.get("page", 1))
        total, rows = len(rows), rows[(page - 1) * size : page * size]
        if total and not rows:
            return 404, {"detail": "Invalid page.", "status_code": 404}
        shown = [{**row, **self.count_annotations(row["id"])} for row in rows]
        if query.get("fields") == "all":
            shown = [{**row, "annotations": self.list_annotations(row["id"])} for row in shown]
        include = set(query.get("include", "").split(","))
        if include != {""}:
            shown = [{name: value for name, value in row.items() if name in include} for row in shown]
        return 200, {"tasks": shown, "total": total, "total_annotations": 0, "total_predictions": 0}

    def list_annotations(self, task: int) -> list[dict[str, Any]]:
        return [row for row in self.annotations.values() if row["task"] == task]

    def count_annotations(self, task: int) -> dict[str, int]:
        skips = [row["was_cancelled"] for row in self.list_annotations(task)]
        return {"total_annotations": skips.count(False), "cancelled_annotations": skips.count(True)}

    def delete_tasks(self, words: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        self.delete_task(int(words[0]))
        return 204, None

    def meets(self, row: dict[str, Any], item: dict[str, Any]) -> bool:
        column = item["filter"].removeprefix("filter:tasks:")
        if item["operator"] == "in_list":
            return row[column] in item["value"]
        if column == "total_annotations":
            return self.count_annotations(row["id"])[column] > item["value"]
        if column == "updated_at":
            return datetime.fromisoformat(row[column]) >= datetime.fromisoformat(item["value"])
        return row[column] > item["value"]
