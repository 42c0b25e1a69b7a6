"""Every REST operation says 401, 403 or 404 before it says anything about the body or the query."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone

from apps.core.canonical import sha256_hex
from apps.platform.accounts.models import ApiToken, Membership, Project, User
from tests import walking

FORM = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--\r\n"
BODIES = {
    "a form": ("multipart/form-data; boundary=x", FORM),
    "an unknown field": ("application/json", b'{"no_such_field": 1}'),
}
# A person's token is none of a device's, a node's or a webhook's.
OF_DEVICES = ("api/v1/agent/", "api/v1/doctor/", "api/v1/labelling/hooks/")
TOKEN_IN_BODY = ("api/v1/agent/enrol",)
OF_ONESELF = ("api/v1/me", "api/v1/tokens", "api/v1/views", "api/v1/notices/read")  # what everybody may write to
TOKENS = {"stranger": "dso_stranger", "reader": "dso_reader"}
"""Of an engineer of another project, and of a viewer of this one."""


def operations():
    """(method, route) of every operation of the REST API."""

    def below(resolver, prefix):
        for pattern in resolver.url_patterns:
            route = prefix + str(pattern.pattern)
            if hasattr(pattern, "url_patterns"):
                yield from below(pattern, route)
            elif route.startswith("api/v1/"):
                yield from ((method, route) for method in methods_of(pattern.callback))

    yield from below(get_resolver(), "")


def methods_of(view):
    view_class = getattr(view, "cls", None) or getattr(view, "view_class", None)
    if view_class is None:
        return ("GET",)
    return [name.upper() for name in ("get", "post", "put", "patch", "delete") if hasattr(view_class, name)]


@pytest.fixture
def plane(db):
    seeded = walking.first_rows()
    other = Project.objects.create(slug="other", name="Other")
    demo = Project.objects.get(slug="demo")
    for secret, project, role, scopes in (
        (TOKENS["stranger"], other, "engineer", ["read", "data:write", "jobs:write", "runs:write", "models:write"]),
        (TOKENS["reader"], demo, "viewer", ["read"]),
    ):
        user = User.objects.create(username=secret, must_change_password=False)
        Membership.objects.create(project=project, user=user, role=role)
        ApiToken.objects.create(
            project=project,
            user=user,
            name="t",
            prefix="dso_",
            digest=sha256_hex(secret),
            scopes=scopes,
            expires_at=timezone.now() + timedelta(days=1),
        )
    return seeded


def test_who_may_not_is_refused_before_the_body_is_looked_at(plane):
    client = Client(SERVER_NAME="127.0.0.1")
    wrong, count = {}, 0
    for method, route in operations():
        address = walking.address(route, plane)
        address += ("&" if "?" in address else "?") + "no_such_parameter=1"
        allowed = {"nobody": {401}}
        if "projects/<slug:project>" in route:
            allowed["stranger"] = {403, 404}
        if route in TOKEN_IN_BODY:
            continue
        if route.startswith(OF_DEVICES):
            allowed["reader"] = {401}
        elif method != "GET" and route not in OF_ONESELF:
            allowed["reader"] = {403, 404}
        for name, statuses in allowed.items():
            for body in BODIES if name == "reader" else ["a form"]:
                content_type, data = BODIES[body]
                headers = {"authorization": f"Bearer {TOKENS[name]}"} if name in TOKENS else {}
                answer = client.generic(method, address, data, content_type=content_type, headers=headers)
                count += 1
                if answer.status_code not in statuses:
                    wrong[method, route, body, name] = answer.status_code
    assert wrong == {}
    assert count > 300
