"""manage.py release_keys: the keys that sign releases; run it as the user and on the machine of the web process."""

from __future__ import annotations

import socket
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.core.actors import Actor, PlaneRole, build_plane_actor
from apps.core.errors import PlaneError
from apps.fleet.releases import queries, services
from apps.fleet.releases.key_storage import FILE, find_fault, get_key_path
from apps.fleet.releases.models import ReleaseKey
from apps.fleet.releases.states import KeyState
from deepseek.signing.errors import SigningError


class Command(BaseCommand):
    help = "List, create, rotate and revoke the keys that sign releases (docs/releases.md)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="what", required=True)
        actions.add_parser("list", help="every key, and the fingerprint that devices compare")
        for name, about in (
            ("create", "the first key; a further one goes on standby"),
            ("rotate", "let the key on standby, or a new one, sign from now on"),
        ):
            action = actions.add_parser(name, help=about)
            action.add_argument("--uri", default="", help="a key in a token: pkcs11:token=NAME;object=NAME")
        revoke = actions.add_parser("revoke", help="let nothing count that a key has signed")
        revoke.add_argument("key", help="its id, of 16 hex digits")
        revoke.add_argument("--reason", required=True, help="stands in the list of keys, which everybody reads")
        revoke.add_argument("--uri", default="", help="of the key in a token that takes over, if it was active")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = build_plane_actor(PlaneRole.OPERATOR, host=socket.gethostname())
        try:
            self.run(actor, options)
        except PlaneError as error:
            cause = error.__cause__ if isinstance(error.__cause__, SigningError) else error
            raise CommandError(f"{cause.message} {cause.hint or ''}".strip(), returncode=2) from None

    def run(self, actor: Actor, options: dict[str, Any]) -> None:
        what = options["what"]
        if what == "list":
            self.list_keys(actor)
        elif what == "create":
            self.describe(services.create_key(actor=actor, uri=options["uri"]))
        elif what == "rotate":
            self.describe(services.rotate_key(actor=actor, uri=options["uri"]))
        else:
            key = ReleaseKey.objects.filter(key_id=options["key"]).first()
            if key is None:
                raise CommandError(f"There is no release key {options['key']!r}: release_keys list", returncode=2)
            services.revoke_key(actor=actor, key=key, reason=options["reason"], uri=options["uri"])
            self.stdout.write(f"{key.key_id} is revoked. Issue again what it had signed and devices are to install.")
        if what != "list":
            self.stdout.write(f"The list of keys is of version {queries.get_key_list_version()} now.")

    def list_keys(self, actor: Actor) -> None:
        for key in queries.list_keys(actor):
            place = get_key_path(key.key_id) if key.location == FILE else key.location
            self.stdout.write(f"{key.key_id}  {key.state:<8}  {key.created_at:%Y-%m-%d}  {place}")
            if key.state in (KeyState.ACTIVE, KeyState.STANDBY) and (fault := find_fault(key)):
                self.stdout.write(f"  {fault}")
        version = queries.get_key_list_version()
        self.stdout.write(
            f"List of version {version}, fingerprint {queries.get_fingerprint()}" if version else "There is no key yet."
        )

    def describe(self, key: ReleaseKey) -> None:
        self.stdout.write(f"{key.key_id} is {key.state}.")
        if key.location == FILE:
            self.stdout.write(f"Back up {get_key_path(key.key_id)}: nobody else has it.")
