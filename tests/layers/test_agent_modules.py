"""What a device has of the engine: nothing heavy is loaded there, and nothing that it needs is left out."""

from __future__ import annotations

import re
import sys

from deploy.agent_modules import ENGINE, list_imports, list_modules
from deploy.agent_package import list_requirements

MODULES = list_modules()
DISTRIBUTIONS = {"PIL": "pillow", "pydantic_core": "pydantic"}
"""Import name -> the package that brings it, where they differ."""
RUNTIMES = {"httptools", "onnxruntime"}
"""Packages that no module imports at its top: the server takes one by itself, and models bring in the other."""
ABSENT = {
    "deepseek.entities.torch_network",
    "deepseek.flags",
    "deepseek.language.serving",
    "deepseek.models.torch_predictor",
    "deepseek.serve.language",
    "torch",
    "tvm",
    "tvm_ffi",  # beside the wheel of TVM's runtime
}
"""What functions import that no device has, or that comes with a package of its own."""


def test_a_device_installs_just_what_its_modules_load():
    loaded = {name.partition(".")[0] for path in MODULES.values() for name in list_imports(path)}
    packages = {DISTRIBUTIONS.get(name, name) for name in loaded - set(sys.stdlib_module_names) - {ENGINE}}
    required = {re.split("[<>=!~]", line)[0] for line in list_requirements()}
    assert packages | RUNTIMES == required


def test_what_functions_load_is_there_or_known_to_be_absent():
    absent = {
        name
        for path in MODULES.values()
        for name in list_imports(path, lazy=True)
        if name not in MODULES and name.partition(".")[0] not in sys.stdlib_module_names
    }
    required = {re.split("[<>=!~]", line)[0] for line in list_requirements()}
    assert {name for name in absent if name not in required} == ABSENT


def test_commands_of_jobs_are_not_there():
    assert {"deepseek.cli", "deepseek.serve.command", "deepseek.signing.dsse"} <= set(MODULES)
    assert not any(name.startswith(("deepseek.train", "deepseek.clean", "deepseek.language")) for name in MODULES)
