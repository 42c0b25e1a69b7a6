"""Health checks without log-in: `/healthz` for this process, `/readyz` for the parts that it depends on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from apps.platform.artifacts.scanning import describe_scanner
from apps.platform.artifacts.stores import get_store, get_store_folder
from apps.platform.jobs.scheduling import liveness
from apps.platform.nodes.disks import read_disk, render_size

log = logging.getLogger(__name__)

BROKER_SECONDS = 2.0
NO_STORE = {"Cache-Control": "no-store"}


class NotReady(Exception):
    """Why a part is not ready, in words that hold no address and no password."""


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Liveness. Checks no dependency, so that a database outage does not get the web process killed."""
    return JsonResponse({"ok": True}, headers=NO_STORE)


@login_not_required
@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Each part with `ok` and `detail`; of a pulse also `age_seconds`, of a disk its sizes. 503 if one is not ready.

    A part with `warning` leaves it at 200: a disk that is getting short still takes what comes.
    """
    parts = {name: check_part(name, look) for name, look in PARTS.items()}
    ready = all(part["ok"] for part in parts.values())
    return JsonResponse({"ok": ready, "parts": parts}, status=200 if ready else 503, headers=NO_STORE)


def check_part(name: str, look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run the check of one part; any exception means that the part is not ready."""
    try:
        return {"ok": True, **look()}
    except NotReady as reason:
        return {"ok": False, "detail": str(reason)}
    except Exception as failure:  # noqa: BLE001 - any driver, any fault; its text may hold an address or a password
        log.warning("not ready: %s: %s", name, failure)
        return {"ok": False, "detail": f"failed: {type(failure).__name__}"}


def check_database() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return {"detail": connection.vendor}


def check_broker() -> dict[str, Any]:
    if settings.EMBEDDED_BROKER:
        for name in ("queue", "control"):  # as the next process that sends or reads would
            make_folder(Path(settings.CELERY_BROKER_FOLDER) / name)
        check_writable(Path(settings.CELERY_BROKER_FOLDER) / "queue")
        return {"detail": "folder"}
    import redis  # only where a Redis is configured

    client = redis.Redis.from_url(
        settings.CELERY_BROKER_URL, socket_timeout=BROKER_SECONDS, socket_connect_timeout=BROKER_SECONDS
    )
    try:
        client.ping()
    finally:
        client.close()
    return {"detail": "redis"}


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as failure:
        raise NotReady(f"its folder cannot be made: {failure.strerror}") from None


def check_writable(folder: Path) -> None:
    if not folder.is_dir():
        raise NotReady("its folder is missing")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise NotReady("its folder cannot be written")


def check_malware_scanner() -> dict[str, Any]:
    """What looks at uploads, and how old its signatures are; a scanner that gives no answer is a warning."""
    version = describe_scanner()
    detail = version or ("set" if settings.ENV.upload_scan_command else "none")
    return {"detail": detail, **({"warning": True} if version.startswith("no answer") else {})}


def check_artifacts() -> dict[str, Any]:
    at = get_store()
    at.check()
    return {"detail": type(at).__name__}


def build_disk_check(name: str, folder: Callable[[], Path | None]) -> Callable[[], dict[str, Any]]:
    """Build the check of the free disk space of one of the plane's folders, as this host sees it.

    Full: not ready, for then uploads, and with the home everything else, are refused. Scratch alone only makes jobs
    wait, so that is a warning, as is a disk that is short.
    """

    def check_disk() -> dict[str, Any]:
        path = folder()
        if path is None:
            return {"detail": "not on this host"}
        if name != "scratch":
            check_writable(path)
        disk = read_disk(name, path)
        facts = {"free_bytes": disk.free_bytes, "total_bytes": disk.total_bytes}
        sizes = f"{render_size(disk.free_bytes)} free of {render_size(disk.total_bytes)}"
        if disk.is_full and name != "scratch":
            return {**facts, "ok": False, "detail": f"full: {sizes}"}
        if disk.is_short or disk.is_full:
            return {**facts, "warning": True, "detail": f"short: {sizes}, {render_size(disk.needed_bytes)} needed"}
        return {**facts, "detail": sizes}

    return check_disk


def build_pulse_check(name: str) -> Callable[[], dict[str, Any]]:
    """Build the check of the last heartbeat of a part of the dispatcher, on whichever host it runs."""

    def check_pulse() -> dict[str, Any]:
        age = liveness.get_beat_age(name)
        if age is None:
            raise NotReady("no pulse: it is not running")
        if age > liveness.STALE_SECONDS:
            raise NotReady(f"silent for {age:.0f} s, longer than {liveness.STALE_SECONDS:.0f} s")
        return {"detail": "alive", "age_seconds": round(age, 3)}

    return check_pulse


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "database": check_database,
    "broker": check_broker,
    "store": check_artifacts,
    "malware_scanner": check_malware_scanner,
    "home_disk": build_disk_check("home", lambda: Path(settings.PLANE_HOME)),
    "store_disk": build_disk_check("store", get_store_folder),
    "scratch_disk": build_disk_check("scratch", lambda: Path(settings.PLANE_HOME) / "scratch"),
    "dispatcher": build_pulse_check("dispatcher"),
    "sealer": build_pulse_check("sealer"),
}
