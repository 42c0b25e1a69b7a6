"""Every check by its id: the function that measures it, beside its row of the table (rules.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deepseek.doctor.findings import Finding
from deepseek.doctor.groups import (
    cpu,
    gpu,
    gpu_health,
    isolation,
    links,
    memory,
    network,
    python,
    services,
    storage,
    system,
    tools,
)
from deepseek.doctor.host import Host
from deepseek.doctor.rules import Rule

Check = Callable[[Host, Rule], Finding]

CHECKS: Mapping[str, Check] = {
    **cpu.CHECKS,
    **memory.CHECKS,
    **storage.CHECKS,
    **gpu.CHECKS,
    **gpu_health.CHECKS,
    **links.CHECKS,
    **network.CHECKS,
    **isolation.CHECKS,
    **system.CHECKS,
    **python.CHECKS,
    **tools.CHECKS,
    **services.CHECKS,
}
