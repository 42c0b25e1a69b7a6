"""The environments for scripts of a node, as its worker reported them in `hardware["environments"]`."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from apps.platform.nodes.extras import SCRIPTS
from apps.platform.nodes.models import Node

DIGEST_CHARACTERS = 12  # shown of a digest


@dataclass(frozen=True, slots=True)
class EnvironmentRow:
    """One environment. `reason`: why scripts cannot name it; empty: they can."""

    name: str
    kind: str
    digest: str = ""
    reason: str = ""

    @property
    def short_digest(self) -> str:
        return self.digest.removeprefix("sha256:")[:DIGEST_CHARACTERS]


def list_environments(node: Node) -> list[EnvironmentRow]:
    """That of the node first, then those that the operator has named; none where no script may run."""
    if SCRIPTS not in node.extras:
        return []
    kinds = {"venv": _("virtual environment"), "image": _("image")}
    reported = (node.hardware or {}).get("environments") or []
    return [EnvironmentRow(_("(empty)"), _("Python of the node"))] + [
        EnvironmentRow(
            str(row.get("name", "")),
            kinds.get(row.get("kind", ""), str(row.get("kind", ""))),
            str(row.get("digest", "")),
            str(row.get("reason", "")),
        )
        for row in reported
    ]
