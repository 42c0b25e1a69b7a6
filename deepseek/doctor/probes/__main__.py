"""``python -m deepseek.doctor.probes NAME ...``: one measurement as a JSON object on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from deepseek.doctor.probes import gpu, machine, network, software, storage, tools

MODULES = (machine, storage, network, software, gpu, tools)


def get_probe(name: str) -> Callable[..., dict[str, Any]]:
    for module in MODULES:
        if name in module.PROBES:
            probe: Callable[..., dict[str, Any]] = module.PROBES[name]
            return probe
    raise SystemExit(f"no probe is called {name}")


def main(words: list[str]) -> int:
    sys.stdout.write(json.dumps(get_probe(words[0])(*words[1:])) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
