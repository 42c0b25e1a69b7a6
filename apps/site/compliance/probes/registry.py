"""Every probe by its name."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from apps.site.compliance.probes import (
    access,
    administration,
    decisions,
    identification,
    intrusion,
    protection,
    trail,
)
from apps.site.compliance.probes.context import ProbeContext
from apps.site.compliance.probes.outcomes import Mode, Probe, ProbeOutcome, run_probe

TABLES = [module.TABLE for module in (identification, access, decisions, trail, intrusion, protection, administration)]
PROBES: dict[str, Probe] = {name: probe for table in TABLES for name, probe in table.probes.items()}
MODES: dict[str, Mode] = {name: mode for table in TABLES for name, mode in table.modes.items()}


def run_probes() -> Iterator[ProbeOutcome]:
    """Run every probe, one after another; each leaves nothing behind."""
    context = ProbeContext()
    for name, probe in PROBES.items():
        with quiet_logs():
            outcome = run_probe(name, probe, context, MODES.get(name, Mode.WHOLE))
        yield outcome


@contextmanager
def quiet_logs() -> Iterator[None]:
    """What a probe provokes is no news for who reads the logs: its outcome says it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
