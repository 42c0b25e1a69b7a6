"""Addresses of Label Studio servers that the operator allows, and of pages of this app."""

from __future__ import annotations

from urllib.parse import urlsplit

from django.conf import settings
from django.urls import reverse

from apps.core.errors import Conflict, Invalid
from apps.ml.labelling.models import LabellingProject
from deepseek.collect.spec import find_uncovered
from deepseek.messages import N_, Message

HOSTS_SETTING = "LABELLING_HOSTS"
MAX_URL_LENGTH = 500
PORTS = {"http": 80, "https": 443}


def validate_server_url(url: str) -> str:
    """The address of a server on the operator's list. Raises Conflict while the list is empty, else Invalid."""
    if not settings.LABELLING_HOSTS:
        raise Conflict(
            "Labelling is off on this plane: {setting} names no host.",
            setting=HOSTS_SETTING,
            code="labelling_off",
            field="/url",
            hint=Message("Have the operator set {setting} to the host of Label Studio.", setting=HOSTS_SETTING),
        )
    url = url.strip().rstrip("/")
    host, port = parse_server_url(url)
    if not is_listed_server(host, port):
        raise Invalid(
            "The host {host} is not on the list of allowed hosts.",
            host=f"{host}:{port}",
            code="labelling_host_not_allowed",
            field="/url",
            limit=", ".join(settings.LABELLING_HOSTS),
            hint=Message("Take a host of the list, or have the operator add it to {setting}.", setting=HOSTS_SETTING),
        )
    return url


def parse_server_url(url: str) -> tuple[str, int]:
    """(host, port); Invalid for what is no address of http or https."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", (parts.port or PORTS[parts.scheme]) if parts.scheme in PORTS else 0
    except ValueError:
        parts, host, port = urlsplit(""), "", 0
    printable = url.isascii() and url.isprintable() and " " not in url and "\\" not in url
    if (
        not (host and port and printable)
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
        or len(url) > MAX_URL_LENGTH
    ):
        raise Invalid(
            "This is not the address of a server.",  # which is not repeated: it may hold a password
            code="labelling_url",
            field="/url",
            limit=Message("http or https, {most} ASCII characters at most", most=MAX_URL_LENGTH),
            hint=N_("Write http(s)://host[:port][/path], without user name and password."),
        )
    return host, port


def is_listed_server(host: str, port: int) -> bool:
    """Whether the operator's list names this host with this port."""
    written = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        return find_uncovered([written], settings.LABELLING_HOSTS) == []
    except ValueError:
        return False


def build_labelling_path(labelling: LabellingProject) -> str:
    return reverse("labelling:project", args=[labelling.project.slug, labelling.pk])
