"""manage.py show_code < SECRET: the code of an authenticator app, for a machine without a phone beside it."""

from __future__ import annotations

import base64
import binascii
import sys
import time
from typing import Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core.management.base import BaseCommand, CommandError

PERIOD = 30  # seconds, of RFC 6238 as allauth has it


class Command(BaseCommand):
    help = (
        "Read the secret of an authenticator app (base32) from standard input, so that it stands in no list of "
        "processes, and print the code of now (RFC 6238: SHA-1, 6 digits, 30 s)."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        secret = sys.stdin.readline().strip().replace(" ", "").upper()
        try:
            base64.b32decode(secret, casefold=True)
        except binascii.Error:
            raise CommandError("standard input: no secret in base32 (A to Z, 2 to 7).", returncode=2) from None
        if not secret:
            raise CommandError("standard input: the secret is missing. Type it, or pipe it in.", returncode=2)
        now = time.time()
        self.stdout.write(format_hotp_value(hotp_value(secret, int(now) // PERIOD)))
        self.stderr.write(f"{PERIOD - int(now) % PERIOD} s left")
