"""Connections to Label Studio: what people do with them, and what a check has found."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction

from apps.core.actors import Actor
from apps.core.errors import Conflict, Invalid
from apps.core.policy import require
from apps.ml.labelling.addresses import parse_server_url, validate_server_url
from apps.ml.labelling.models import LabellingProject, LabelServer
from apps.ml.labelling.states import ServerState
from apps.ml.labelling.tokens import encrypt_token, generate_hook_secret
from apps.ml.labelling.validation import check_slug
from apps.platform.accounts.models import Project
from apps.platform.audit.services import record
from apps.platform.nodes.samples import get_database_now
from deepseek.messages import N_, Message

MAX_SERVERS = 10  # of a project
MAX_TOKEN_LENGTH = 2000  # a personal access token is a JWT
CHECK_PAUSE = {
    ServerState.HEALTHY: timedelta(minutes=5),
    ServerState.UNREACHABLE: timedelta(seconds=15),
    ServerState.REFUSED: timedelta(minutes=1),
}


def connect_server(*, actor: Actor, project: Project, name: str, url: str, token: str) -> LabelServer:
    """Add a connection; it is checked within seconds. The token is never shown again.

    Raises Invalid for a field, Conflict `labelling_off`, `name_taken` or `too_many_servers`.
    """
    require(actor, "labelling.connect", project)
    check_slug("name", name)
    url, token = validate_server_url(url), check_token(token)
    try:
        with transaction.atomic():
            if LabelServer.objects.filter(project=project).count() >= MAX_SERVERS:
                raise Conflict(
                    "This project has {limit} connections, which is the limit.",
                    limit=MAX_SERVERS,
                    code="too_many_servers",
                    field="name",
                    hint=N_("Delete one that is no longer needed."),
                )
            server = LabelServer.objects.create(
                project=project,
                name=name,
                url=url,
                token=encrypt_token(token),
                hook_secret=encrypt_token(generate_hook_secret()),
                next_check_at=get_database_now(),
                created_by=actor.label[:200],
            )
            record(actor=actor, action="labelling.connect", obj=server, after={"name": name, "url": url})
    except IntegrityError:
        raise Conflict(
            "There is a connection {name!r} already.",
            name=name,
            code="name_taken",
            field="name",
            hint=N_("Choose another name."),
        ) from None
    return server


def update_server(*, actor: Actor, server: LabelServer, url: str = "", token: str = "") -> LabelServer:
    """Change the address or the token; what is empty stays. It is checked again.

    Raises Invalid for another host without a token: the stored one is not sent to a host that it was not set for.
    """
    require(actor, "labelling.connect", server)
    fields: dict[str, Any] = {"state": ServerState.UNCHECKED, "failure": {}, "next_check_at": get_database_now()}
    if url:
        fields["url"] = validate_server_url(url)
        if not token and parse_server_url(url) != parse_server_url(server.url):
            raise Invalid(
                "Another host needs its own token.",
                field="token",
                limit=Message("a token of {url}", url=fields["url"]),
                hint=N_("Send the token with the address."),
            )
    if token:
        fields["token"] = encrypt_token(check_token(token))
    with transaction.atomic():
        LabelServer.objects.filter(pk=server.pk).update(**fields)
        after = {"url": fields.get("url", server.url), "token": "changed" if token else "as before"}
        record(actor=actor, action="labelling.update_server", obj=server, before={"url": server.url}, after=after)
        # What waited for the server goes on at once.
        waiting = LabellingProject.objects.filter(server=server, next_at__isnull=False)
        waiting.update(next_at=fields["next_check_at"])
    server.refresh_from_db()
    return server


def delete_server(*, actor: Actor, server: LabelServer) -> None:
    """Forget the connection. Raises Conflict `server_in_use` where a labelling project is on it."""
    require(actor, "labelling.connect", server)
    with transaction.atomic():
        if LabellingProject.objects.filter(server=server).exists():
            raise Conflict(
                "The connection {name!r} has labelling projects.",
                name=server.name,
                code="server_in_use",
                field="name",
                hint=N_("It stays with them: their results name it."),
            )
        record(
            actor=actor, action="labelling.delete_server", obj=server, before={"name": server.name, "url": server.url}
        )
        LabelServer.objects.filter(pk=server.pk).delete()


def check_token(token: str) -> str:
    token = token.strip()
    if not token or len(token) > MAX_TOKEN_LENGTH or not token.isascii() or not token.isprintable():
        raise Invalid(
            "This is no token of Label Studio.",
            field="token",
            limit=Message("1 to {most} ASCII characters", most=MAX_TOKEN_LENGTH),
            hint=N_("In Label Studio: Account & Settings, then Access token or Personal access token."),
        )
    return token


# -- of the driver --------------------------------------------------------------------------------------------------
def list_due_servers(*, actor: Actor) -> list[LabelServer]:
    require(actor, "labelling.drive")
    return list(LabelServer.objects.filter(next_check_at__lte=get_database_now()).order_by("next_check_at")[:20])


def record_check(
    *, actor: Actor, server: LabelServer, state: ServerState, version: str = "", failure: Message | None = None
) -> None:
    """What a check found; a change of the state is audited, so that an outage has a beginning and an end."""
    require(actor, "labelling.drive")
    now = get_database_now()
    fields: dict[str, Any] = {
        "state": state,
        "failure": failure.as_fields() if failure else {},
        "checked_at": now,
        "next_check_at": now + CHECK_PAUSE[state],
    }
    if version:
        fields["version"] = version[:60]
    with transaction.atomic():
        changed = LabelServer.objects.filter(pk=server.pk).exclude(state=state).update(**fields)
        if changed:
            after = {"state": state, "version": version or server.version}
            record(
                actor=actor, action="labelling.check_server", obj=server, before={"state": server.state}, after=after
            )
        else:
            LabelServer.objects.filter(pk=server.pk).update(**fields)
    server.refresh_from_db()
