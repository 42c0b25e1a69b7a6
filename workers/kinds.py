"""Which engine function does which kind of job, and who registers what it made. Keys as in apps/jobs/kinds.py."""

from collections.abc import Callable

from apps.actors import Actor
from apps.jobs.models import Job
from workers import registration

# "module:function", imported in the child process only: the worker itself stays small.
ENGINE: dict[str, str] = {
    "noop": "deepseek.noop.run:run",
    "clean": "deepseek.clean.run:run",
    "train": "deepseek.train.run:run",
    "quantize": "deepseek.quantize.run:run",
    "compile": "deepseek.compile.run:run",
    "register": "deepseek.register.run:run",
}

Register = Callable[[Actor, Job, registration.Outputs], None]

REGISTER: dict[str, Register] = {
    "noop": registration.artifacts_only,
    "clean": registration.cleaned_table,
    "train": registration.trained_model,
    "quantize": registration.derived_model,
    "compile": registration.derived_model,
    "register": registration.model_version,
}
