"""A Label Studio on this machine, which `manage.py up --with labelling` starts: its account, its data, no telemetry."""

from __future__ import annotations

import json
import os
import secrets
import socket
from pathlib import Path

from controlplane.env import BASE_DIR
from controlplane.startup_checks import CannotStart

PORTS = range(8080, 8180)
ACCOUNT = "plane@localhost.localdomain"
QUIET = {
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "SSRF_PROTECTION_ENABLED": "false",  # else it refuses webhooks to an address of this network: the plane's
}
"""Switches that keep it inside the building."""


class LabelStudio:
    """Its account and port are drawn once and kept in PLANE_HOME/label-studio/account.json, readable by its owner."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "label-studio"
        self.program = Path(os.environ.get("LABELLING_ENV", BASE_DIR / ".label-studio")).absolute() / "bin/label-studio"
        self.account: dict[str, str | int] = {}

    def prepare(self) -> None:
        """Read or draw the account. CannotStart where the program is not installed."""
        if not self.program.exists():
            raise CannotStart(
                f"There is no Label Studio at {self.program}: run `make labelling`, or set LABELLING_ENV."
            )
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / "account.json"
        if path.exists():
            self.account = json.loads(path.read_text())
            return
        self.account = {
            "user": ACCOUNT,
            "password": secrets.token_urlsafe(18),
            "token": secrets.token_hex(20),
            "port": find_free_port(),
        }
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(self.account, file)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.account['port']}"

    @property
    def command(self) -> list[str]:
        port = str(self.account["port"])
        return [str(self.program), "start", "--no-browser", "--port", port, "--internal-host", "127.0.0.1"]

    def build_environment(self) -> dict[str, str]:
        """Built from nothing: it is given none of the plane's secrets."""
        return {
            **QUIET,
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.folder / "data"),
            "LABEL_STUDIO_USERNAME": str(self.account["user"]),
            "LABEL_STUDIO_PASSWORD": str(self.account["password"]),
            "LABEL_STUDIO_USER_TOKEN": str(self.account["token"]),
        }

    def describe(self) -> str:
        return (
            f"Label Studio answers at http://{self.host} in about a minute (account in {self.folder / 'account.json'})"
        )


def find_free_port() -> int:
    for port in PORTS:
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise CannotStart(f"No free port in {PORTS.start} to {PORTS.stop - 1} for Label Studio.")
