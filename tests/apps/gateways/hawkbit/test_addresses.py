"""The addresses of devices begin with a project's name, and take nothing from the plane's own."""

from __future__ import annotations

from django.test import RequestFactory
from django.urls import resolve

from apps.gateways.hawkbit.addresses import OWN_NAMES, build_root, is_device_address
from controlplane.fast_path.protocols import find_protocol
from controlplane.urls import urlpatterns


def list_first_names() -> set[str]:
    """The first part of every address that the plane's urls know, where it is a plain name."""
    names = set()
    pending = [("", list(urlpatterns))]
    while pending:
        prefix, patterns = pending.pop()
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            first = route.removeprefix("^").partition("/")[0]
            if hasattr(pattern, "url_patterns") and not first:
                pending.append((route, pattern.url_patterns))
            elif first.replace("-", "").isalnum():
                names.add(first)
    return names


def test_no_address_of_the_plane_is_taken():
    names = list_first_names()
    assert {"p", "api", "accounts", "git", "search"} <= names
    taken = {}
    for name in sorted(names | set(OWN_NAMES)):
        path = f"{name}/controller/v1/pump-7"
        protocol = find_protocol(path)
        if protocol is not None and protocol.view == "hawkbit":
            view = resolve(f"/{path}").func
            if view.__name__ != "hawkbit":
                taken[name] = view
    assert taken == {}


def test_addresses():
    cells = {
        "DEFAULT/controller/v1/pump-7": True,
        "demo/controller/v1/pump-7/deploymentBase/3": True,
        "demo/controller/v1/": False,
        "demo/controller/v2/pump-7": False,
        "p/controller/v1/pump-7": False,
        "api/controller/v1/pump-7": False,
        "static/controller/v1/pump-7": False,
        "a/demo/controller/v1/pump-7": False,
        "/controller/v1/pump-7": False,
    }
    assert {path: is_device_address(path) for path in cells} == cells


def test_root_is_absolute_quoted_and_below_the_proxys_path():
    request = RequestFactory().get("/DEFAULT/controller/v1/a b", HTTP_HOST="localhost:8000")
    assert build_root(request, "DEFAULT", "a b") == "http://localhost:8000/DEFAULT/controller/v1/a%20b"
    below = RequestFactory().get("/DEFAULT/controller/v1/x", SCRIPT_NAME="/plane", HTTP_HOST="localhost")
    assert build_root(below, "DEFAULT", "x") == "http://localhost/plane/DEFAULT/controller/v1/x"
