"""Server info, version and health, which clients and load balancers request first."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse

from apps.gateways.mlflow.request import MlflowCall

VERSION = "3.17.2"  # of the protocol that is spoken
INFO: dict[str, Any] = {
    "store_type": "SqlStore",
    "workspaces_enabled": False,
    "multipart_uploads_enabled": True,
    "multipart_downloads_enabled": True,
    "artifacts_presigned_only": False,
    "artifact_serving_enabled": True,
}


def get_server_info(call: MlflowCall) -> dict[str, Any]:
    return INFO


def get_protocol_version(call: MlflowCall) -> HttpResponse:
    return HttpResponse(VERSION, content_type="text/plain")


def check_health(call: MlflowCall) -> HttpResponse:
    return HttpResponse("OK", content_type="text/plain")
