"""What clients and load balancers ask of a server before anything else."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse

from apps.gateways.mlflow.request import Ask

VERSION = "3.17.2"  # of the protocol that is spoken
INFO: dict[str, Any] = {
    "store_type": "SqlStore",
    "workspaces_enabled": False,
    "multipart_uploads_enabled": True,
    "multipart_downloads_enabled": True,
    "artifacts_presigned_only": False,
    "artifact_serving_enabled": True,
}


def info(ask: Ask) -> dict[str, Any]:
    return INFO


def version(ask: Ask) -> HttpResponse:
    return HttpResponse(VERSION, content_type="text/plain")


def health(ask: Ask) -> HttpResponse:
    return HttpResponse("OK", content_type="text/plain")
