"""A Label Studio on this machine, which `manage.py up --with labelling` starts: its account, its data, no telemetry."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
from pathlib import Path

from controlplane.env import BASE_DIR
from controlplane.startup_checks import CannotStart

PORTS = range(8080, 8180)
DATABASE = "label_studio.sqlite3"
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
        self.environment = Path(os.environ.get("LABELLING_ENV", BASE_DIR / ".label-studio")).absolute()
        self.program = self.environment / "bin/label-studio"
        self.account: dict[str, str | int] = {}

    def prepare(self) -> None:
        """Read or draw the account, and copy the tables of a new server. CannotStart where it is not installed."""
        if not self.program.exists():
            raise CannotStart(
                f"There is no Label Studio at {self.program}: run `make labelling`, or set LABELLING_ENV."
            )
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.copy_tables()
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

    def copy_tables(self) -> None:
        """Begin with the tables that `make labelling` has made, if they are of this version: it takes minutes else."""
        template, database = self.environment / "template", self.folder / "data" / DATABASE
        if database.exists() or not self.has_template(template):
            return
        database.parent.mkdir(exist_ok=True, mode=0o700)
        staged = database.with_suffix(".staged")
        shutil.copyfile(template / DATABASE, staged)
        staged.chmod(0o600)
        staged.rename(database)

    def has_template(self, template: Path) -> bool:
        try:
            version = (template / "version").read_text().strip()
        except OSError:
            return False
        installed = self.environment.glob(f"lib/python*/site-packages/label_studio-{version}.dist-info")
        return bool(version) and (template / DATABASE).exists() and any(installed)

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
        return f"Label Studio answers at http://{self.host} in some seconds (account in {self.folder / 'account.json'})"


def find_free_port() -> int:
    for port in PORTS:
        with socket.socket() as candidate:
            try:
                candidate.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise CannotStart(f"No free port in {PORTS.start} to {PORTS.stop - 1} for Label Studio.")
