"""Which engine function does which kind of job, and who registers what it made. Keys as in apps/jobs/kinds.py."""

from collections.abc import Callable, Mapping
from typing import Any

from apps.actors import Actor
from apps.jobs.models import Job
from workers import registration

# "module:function", imported in the child process only: the worker itself stays small.
ENGINE: dict[str, str] = {
    "noop": "deepseek.noop.run:run",
    "clean": "deepseek.clean.run:run",
}

Register = Callable[[Actor, Job, Mapping[str, Any]], None]

REGISTER: dict[str, Register] = {
    "noop": registration.nothing,
    "clean": registration.cleaned_table,
}
