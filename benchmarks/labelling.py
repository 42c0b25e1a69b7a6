"""Import and reconcile many labelling tasks, with the share of the time that Label Studio takes.

    LABELLING_ENV=.label-studio python -m benchmarks.labelling --tasks 100000

Starts a Label Studio and a plane's database of their own in a temporary folder, imports the tasks, marks a share of
them there, copies the marks, and prints seconds, rates and the server's share.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--marked", type=int, default=1000, help="annotations that are made there, one by one")
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
    from label_studio_sdk.client import LabelStudio as Client

    from apps.core.actors import Actor, PlaneRole, ProjectRole, build_plane_actor
    from apps.data.datasets.services import add_files
    from apps.ml.labelling import services
    from apps.ml.labelling.models import Annotation, LabellingProject
    from apps.platform.accounts.models import Project, User
    from apps.platform.artifacts.services import store_file
    from apps.platform.nodes.samples import get_database_now
    from workers.labelling import driver, remote

    project = Project.objects.create(slug="bench", name="Bench")
    user = User.objects.create(username="engineer")
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
        actor=actor, project=project, name="bench", server="s", schema="names:v1", source="texts:v1"
    )
    waited: list[remote.RemoteServer] = []

    def open_remote(server):
        waited.append(remote.RemoteServer(server))
        return waited[-1]

    worker = build_plane_actor(PlaneRole.WORKER)

    def drive(what: str, size: int) -> None:
        LabellingProject.objects.update(next_at=get_database_now())
        waited.clear()
        begun = time.monotonic()
        driver.drive_labellings(worker, open_remote=open_remote)
        seconds, theirs = time.monotonic() - begun, sum(one.seconds for one in waited)
        print(
            f"{what}: {size:,} in {seconds:.1f} s, {size / seconds:,.0f}/s; Label Studio {100 * theirs / seconds:.0f} %"
        )

    drive("imported", count)
    client = Client(base_url=f"http://{studio.host}", api_key=token)
    for row in labelling.groups.get().remote_tasks.order_by("number")[:marked]:
        region = {"id": "a", "from_name": "labels", "to_name": "text", "type": "labels"}
        value = {"start": 0, "end": 12, "labels": ["PERSON"]}
        client.annotations.create(id=row.remote_id, result=[{**region, "value": value}], lead_time=1.0)
    drive("reconciled, marked tasks", marked)
    assert Annotation.objects.count() == marked
    drive("a round without changes, tasks", count)


if __name__ == "__main__":
    main()
