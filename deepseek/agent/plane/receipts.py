"""Receipts: what the device signs about the version that answers its own samples at its own address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deepseek.agent.storage.identity import Identity, get_agent_version, read_boot_id
from deepseek.agent.updating.versions import InstalledVersion
from deepseek.signing.keys import Signer
from deepseek.signing.statements import HealthCheck, Receipt, sign_receipt


@dataclass(frozen=True)
class ReceiptWriter:
    """Signs the receipts of one device."""

    identity: Identity
    signer: Signer

    def sign(
        self, version: InstalledVersion, health: HealthCheck, *, assignment: str, counter: int, started_at: str
    ) -> dict[str, Any]:
        """The envelope of a receipt for the version whose server began at `started_at`."""
        receipt = Receipt(
            device=self.identity.device,
            project=self.identity.project,
            assignment=assignment,
            release=version.release,
            variant=version.statement.model_file.sha256,
            counter=counter,
            boot_id=read_boot_id(),
            started_at=started_at,
            agent_version=get_agent_version(),
            health=health,
        )
        return sign_receipt(receipt, self.signer).to_document()
