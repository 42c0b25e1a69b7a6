"""What this process knows of the job's nodes: its part among them, the certificates, and which files all of them have.

Whoever starts the engine says so in its environment (deepseek/torchrun/placement.py), and lays three files into the
folder that PARTITION_CREDENTIALS names: the attempt's authority, and the certificate and key of this node.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deepseek.torchrun.placement import Placement, read_placement

CREDENTIALS = "PARTITION_CREDENTIALS"
AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE = "authority.pem", "node.pem", "node.key"


@dataclass(frozen=True)
class Credentials:
    """Files of certificates: both sides of each connection show one that the authority has signed."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / AUTHORITY_FILE

    @property
    def certificate(self) -> Path:
        return self.folder / CERTIFICATE_FILE

    @property
    def key(self) -> Path:
        return self.folder / KEY_FILE

    def build_context(self, purpose: ssl.Purpose) -> ssl.SSLContext:
        """TLS 1.3 with certificates of both sides. The authority signs for one attempt alone, so no name is checked."""
        context = ssl.create_default_context(purpose, cafile=str(self.authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(str(self.certificate), str(self.key))
        return context


@dataclass(frozen=True)
class Membership:
    """This node's part in a job over several nodes."""

    placement: Placement
    credentials: Credentials

    @property
    def scheduler_url(self) -> str:
        return f"tls://{self.placement.address}:{self.placement.port}"

    def is_listening(self, seconds: float) -> bool:
        """Whether something takes connections where the scheduler does, tried for so long."""
        try:
            socket.create_connection((self.placement.address, self.placement.port), timeout=seconds).close()
        except OSError:
            return False
        return True

    def find_own_address(self) -> str:
        """The address by which this node reaches the first one, and so the others. Sends nothing."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((self.placement.address, self.placement.port))
            return str(probe.getsockname()[0])


def read_membership(environment: Mapping[str, str] = os.environ) -> Membership | None:
    """The part that the environment gives this process; None on a single node."""
    placement = read_placement(environment)
    if placement.nodes == 1:
        return None
    if not environment.get(CREDENTIALS):
        raise RuntimeError(f"a job over several nodes needs certificates: {CREDENTIALS} is not set")
    return Membership(placement, Credentials(Path(environment[CREDENTIALS])))
