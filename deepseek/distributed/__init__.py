"""Training over several processes or hosts by parameter servers. Importing this loads nothing heavy."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deepseek.distributed.errors import ArgumentError, FitError
    from deepseek.distributed.parameter_server import ParameterServer
    from deepseek.distributed.report import FitReport

__all__ = ["ArgumentError", "FitError", "FitReport", "ParameterServer"]

_MODULES = {
    "ArgumentError": "errors",
    "FitError": "errors",
    "FitReport": "report",
    "ParameterServer": "parameter_server",
}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
