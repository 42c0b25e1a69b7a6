"""The Python client of a control plane. Importing this loads nothing heavy: what is below arrives when first asked for.

from deepseek.client import Plane

plane = Plane("https://plane.example", token)      # or Plane(), after `deepseek login`
job = plane.run("train.py", args=["--lr", "0.1"], data=["wti-clean:v1"])
job.wait(check=True).download("model.pt", "out")
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.client.errors import ClientError, JobNotSucceeded, PlaneRefusal, PlaneUnreachable
    from deepseek.client.jobs import JobHandle
    from deepseek.client.plane import Plane

__all__ = ["ClientError", "JobHandle", "JobNotSucceeded", "Plane", "PlaneRefusal", "PlaneUnreachable"]

_MODULES = {"Plane": "plane", "JobHandle": "jobs"}


def __getattr__(name: str) -> object:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(f"deepseek.client.{_MODULES.get(name, 'errors')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
