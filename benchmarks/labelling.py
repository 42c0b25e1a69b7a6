"""Import and reconcile many labelling tasks, with the share of the time that Label Studio takes, and time their pages.

    LABELLING_ENV=.label-studio python -m benchmarks.labelling --tasks 100000

Starts a Label Studio and a plane's database of their own in a temporary folder. Marks are written into the server's
tables, since one takes some 60 ms by its API. Prints seconds, rates and the server's share; what a reconciliation costs
the server for each task, against reading every task with all fields; and the processor time of pages.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--marked", type=int, default=10_000, help="tasks of each group that are marked there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="labelling-") as folder:
        os.environ |= {"PLANE_HOME": folder, "DJANGO_SETTINGS_MODULE": "controlplane.settings"}
        from controlplane.label_studio import LabelStudio

        studio = LabelStudio(Path(folder))
        studio.prepare()
        os.environ["LABELLING_HOSTS"] = studio.host
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(studio.command, env=studio.build_environment(), stdout=quiet, stderr=quiet)
        try:
            await_health(studio.host)
            measure(Path(folder), studio, arguments.tasks, arguments.marked)
        finally:
            process.terminate()
            process.wait(timeout=20)


def await_health(host: str) -> None:
    import httpx

    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://{host}/health", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise SystemExit("Label Studio did not start")


def measure(folder: Path, studio, count: int, marked: int) -> None:
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    from controlplane.startup_checks import make_folders

    make_folders(settings.ENV)
    call_command("migrate", verbosity=0)
    from apps.core.actors import Actor, PlaneRole, ProjectRole, build_plane_actor
    from apps.data.datasets.services import add_files
    from apps.ml.labelling import services
    from apps.ml.labelling.models import Annotation, LabellingProject
    from apps.platform.accounts.models import Membership, Project, User
    from apps.platform.artifacts.services import store_file
    from apps.platform.nodes.samples import get_database_now
    from workers.labelling import driver, remote

    project = Project.objects.create(slug="bench", name="Bench")
    user = User.objects.create(username="engineer", must_change_password=False)
    Membership.objects.create(project=project, user=user, role=ProjectRole.ENGINEER)
    actor = Actor(
        kind="user",
        label="engineer",
        user_id=user.pk,
        project_roles={project.pk: frozenset({ProjectRole.ENGINEER})},
    )
    path = folder / "texts.txt"
    path.write_text("".join(f"Ada Lovelace wrote letter {n} to ACME.\n" for n in range(count)))
    stored = store_file(actor=actor, project=project, path=path)
    add_files(actor=actor, project=project, dataset_name="texts", files=[(path.name, stored.digest, "")])
    token = str(studio.account["token"])
    services.connect_server(actor=actor, project=project, name="s", url=f"http://{studio.host}", token=token)
    text, label = '<Text name="text" value="$text"/>', '<Label value="PERSON"/>'
    template = f'<View>{text}<Labels name="labels" toName="text">{label}</Labels></View>'
    services.save_schema(actor=actor, project=project, name="names", document=template)
    labelling = services.create_labelling(
        actor=actor,
        project=project,
        name="bench",
        server="s",
        schema="names:v1",
        source="texts:v1",
        groups=["one", "two"],
        overlap=0.1,
    )
    worker = build_plane_actor(PlaneRole.WORKER)
    waited: list[remote.RemoteServer] = []

    def open_remote(server):
        waited.append(remote.RemoteServer(server))
        return waited[-1]

    def drive(what: str, size: int) -> None:
        LabellingProject.objects.update(next_at=get_database_now())
        waited.clear()
        begun = time.monotonic()
        driver.drive_labellings(worker, open_remote=open_remote)
        seconds, theirs = time.monotonic() - begun, sum(server.seconds for server in waited)
        share = f"Label Studio {100 * theirs / seconds:.0f} %, {1000 * theirs / size:.2f} ms each"
        print(f"{what}: {size:,} in {seconds:.1f} s, {size / seconds:,.0f}/s; {share}", flush=True)

    drive("imported", count)
    made = write_marks(folder, labelling, marked)
    drive("new annotations", made)
    assert Annotation.objects.count() == made
    drive("a round without changes, tasks", count)
    services.synchronize_labelling(actor=actor, labelling=labelling)
    drive("a full reconciliation without changes, tasks", count)
    compare_reads(labelling, remote)
    time_pages(user, labelling)


def write_marks(folder: Path, labelling, marked: int) -> int:
    """Annotate the first tasks of each group in the server's tables; one in ten of the second group differs."""
    import sqlite3

    made = 0
    with sqlite3.connect(folder / "label-studio/data/label_studio.sqlite3", timeout=60) as tables:
        for group in labelling.groups.order_by("number"):
            rows = group.remote_tasks.order_by("number").values_list("remote_id", "number")[:marked]
            tasks = [(task, group.number == 2 and number % 10 == 0) for task, number in rows]
            tables.executemany(
                INSERT_MARK, [(build_result(other), task, group.remote_project) for task, other in tasks]
            )
            tables.executemany(COUNT_MARK, [(task,) for task, _other in tasks])
            made += len(tasks)
    return made


NOW = "strftime('%Y-%m-%d %H:%M:%f000', 'now')"  # microseconds, as the server writes and compares them
INSERT_MARK = f"""INSERT INTO task_completion (result, was_cancelled, created_at, updated_at, task_id, lead_time,
    result_count, completed_by_id, ground_truth, project_id, bulk_created, unique_id)
    VALUES (?, 0, {NOW}, {NOW}, ?, 2.0, 1, 1, 0, ?, 0, lower(hex(randomblob(16))))"""
COUNT_MARK = f"UPDATE task SET total_annotations = 1, is_labeled = 1, updated_at = {NOW} WHERE id = ?"


def build_result(is_other: bool) -> str:
    value = {"start": 0, "end": 3 if is_other else 12, "labels": ["PERSON"]}
    return json.dumps([{"id": "a", "from_name": "labels", "to_name": "text", "type": "labels", "value": value}])


def compare_reads(labelling, remote) -> None:
    """What the server takes for each annotated task: its line in the index, and all its fields as before."""
    server = remote.RemoteServer(labelling.server)
    project = labelling.groups.order_by("number").first().remote_project
    seconds = {}
    for name, fields, include, size in (
        ("index", None, remote.INDEX_FIELDS, remote.INDEX_PAGE_SIZE),
        ("its fields", "all", remote.TASK_FIELDS, remote.PAGE_SIZE),
        ("all fields", "all", None, 200),
    ):
        begun = time.monotonic()
        rows = server.load_page(project, [], "tasks:id", size, include=include, fields=fields)
        seconds[name] = (time.monotonic() - begun) / len(rows)
    server.close()
    ratio = seconds["all fields"] / seconds["index"]
    print(", ".join(f"{name} {1000 * value:.2f} ms" for name, value in seconds.items()), f"a task: {ratio:.1f} times")


def time_pages(user, labelling) -> None:
    from statistics import median

    from django.test import Client

    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    disputed = labelling.tasks.filter(state="disputed").first()
    address = f"/p/{labelling.project.slug}/labelling/{labelling.pk}"
    pages = {"project": address, "open tasks": f"{address}?state=open", "list": address.rpartition("/")[0]}
    if disputed is not None:
        pages["adjudication"] = f"{address}/tasks/{disputed.number + 1}"
    for name, page in pages.items():
        times = []
        for _ in range(6):
            begun = time.process_time()
            assert client.get(page, HTTP_HOST="127.0.0.1").status_code == 200, page
            times.append(time.process_time() - begun)
        print(f"page {name}: {1000 * median(times[1:]):.0f} ms of the web process")


if __name__ == "__main__":
    main()
