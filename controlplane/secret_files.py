"""Secrets of the launcher's environment on their way to its children: in memory that has no name, not in theirs.

An environment can be read through /proc from the moment a program starts until it forbids that; a file that only an
open descriptor leads to cannot. A child reads it as it reads any NAME_FILE (controlplane/env.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from controlplane.secret_source import FROM_FILE


class SecretFiles:
    """`environment` for the children, who must be given the `descriptors` too, under the same numbers."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self.descriptors: list[int] = []
        for name in map(str.upper, FROM_FILE):
            if value := self.environment.pop(name, ""):
                descriptor = os.memfd_create(name.lower())
                os.write(descriptor, value.encode())
                self.descriptors.append(descriptor)
                self.environment[f"{name}_FILE"] = f"/dev/fd/{descriptor}"
