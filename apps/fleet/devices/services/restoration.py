"""After a restore the plane has forgotten numbers that devices remember: it must not give them out again."""

from __future__ import annotations

import secrets

from django.db import connection, models, transaction
from django.db.models import F

from apps.core import policy
from apps.core.actors import Actor
from apps.fleet.devices.models import Assignment, Device

# Stock clients of hawkBit hold the number of an action in 32 bits with a sign: room for 127 restores.
SKIPPED_IDS = 1 << 24
MAX_SKIPPED_GENERATIONS = 1 << 40


def skip_issued_numbers(*, actor: Actor) -> None:
    """Begin another epoch: no assignment, device or ETag of a poll gets a number that one had after the backup.

    A device remembers which assignments have ended and what its last poll was answered. The ids go on far above the
    last one, and the generations, which are in the ETags, grow by a random number.
    """
    policy.require(actor, "plane.restore")
    with transaction.atomic():
        for model in (Assignment, Device):
            skip_ids(model)
        Device.objects.update(generation=F("generation") + 1 + secrets.randbelow(MAX_SKIPPED_GENERATIONS))


def skip_ids(model: type[models.Model]) -> None:
    """Let the next row of the model have an id that is SKIPPED_IDS above the one that it would have had."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_get_serial_sequence(%s, 'id')", [table])
            (sequence,) = cursor.fetchone()
            cursor.execute("SELECT setval(%s, nextval(%s) + %s)", [sequence, sequence, SKIPPED_IDS])
            return
        cursor.execute("UPDATE sqlite_sequence SET seq = seq + %s WHERE name = %s", [SKIPPED_IDS, table])
        if not cursor.rowcount:  # the table never had a row
            cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, SKIPPED_IDS])
