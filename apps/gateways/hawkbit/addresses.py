"""The addresses of the device API: `/<tenant>/controller/v1/<controllerId>...`, in and out.

They begin with the name of a project. What the plane itself serves below these first names stays its own, whatever a
project is called; its devices then say DEFAULT (tenants.py).
"""

from __future__ import annotations

import re
from urllib.parse import quote

from django.http import HttpRequest

OWN_NAMES = (
    "accounts",
    "ajax-api",
    "api",
    "git",
    "i18n",
    "legacy",
    "nodes",
    "p",
    "packages",
    "simple",
    "static",
    "tracked",
    "v2",
)
MARK = "/controller/v1/"
ADDRESS = re.compile(
    rf"(?!(?:{'|'.join(OWN_NAMES)})/)(?P<tenant>[^/]+){MARK}(?P<controller>[^/]+)(?P<rest>(?:/.*)?)", re.S
)


def is_device_address(path: str) -> bool:
    """Whether this path, without its leading slash, is one of the device API."""
    return MARK in path and ADDRESS.fullmatch(path) is not None


def build_root(request: HttpRequest, tenant: str, controller: str) -> str:
    """The absolute address of a device, by the host and the tenant that it used itself."""
    prefix = request.path.removesuffix(request.path_info)  # of a proxy that serves the plane below a path
    return request.build_absolute_uri(f"{prefix}/{quote(tenant, safe='')}{MARK}{quote(controller, safe='')}")
