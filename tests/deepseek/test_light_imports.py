"""Specs are read by the web process: importing them must load nothing heavy."""

import json
import subprocess
import sys

import pytest

HEAVY = {"numpy", "scipy", "pandas", "pandera", "pyarrow", "torch", "tvm", "django", "celery", "redis"}
HEAVY |= {"lxml", "scrapy", "selenium", "twisted"}
PROBE = """
import importlib, json, sys
loaded = {}
for module in sys.argv[1:]:
    before = set(sys.modules)
    importlib.import_module(module)
    loaded[module] = sorted(name for name in set(sys.modules) - before if "." not in name)
print(json.dumps(loaded))
"""
LIGHT = [
    "deepseek.agent.command",
    "deepseek.canary.evidence_spec",
    "deepseek.canary.run",
    "deepseek.canary.spec",
    "deepseek.clean",
    "deepseek.clean.plan",
    "deepseek.clean.spec",
    "deepseek.collect.run",
    "deepseek.collect.spec",
    "deepseek.cli",
    "deepseek.client",
    "deepseek.client.commands",
    "deepseek.client.plane",
    "deepseek.client.run_command",
    "deepseek.code",
    "deepseek.distributed",
    "deepseek.distributed.parameter_server",
    "deepseek.evaluate.document",
    "deepseek.evaluate.spec",
    "deepseek.federated.code",
    "deepseek.federated.credentials",
    "deepseek.federated.ledger",
    "deepseek.federated.spec",
    "deepseek.fit.architectures",
    "deepseek.fit.families",
    "deepseek.fit.remedies",
    "deepseek.flags",
    "deepseek.job",
    "deepseek.models.folder",
    "deepseek.noop.run",
    "deepseek.profile.spec",
    "deepseek.quality.drift_spec",
    "deepseek.quality.expectations_spec",
    "deepseek.signing.key_lists",
    "deepseek.signing.statements",
    "deepseek.tables.spec",
    "deepseek.train",
    "deepseek.train.plan",
    "deepseek.train.spec",
]


def import_in_turn(*modules):
    """Import the modules in a fresh process, one after the other: what each loads that none before it did."""
    words = [sys.executable, "-c", PROBE, *modules]
    loaded = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    return {module: set(names) for module, names in loaded.items()}


def test_nothing_heavy_is_loaded():
    loaded = import_in_turn(*LIGHT)
    assert list(loaded) == LIGHT
    assert {module: names & HEAVY for module, names in loaded.items() if names & HEAVY} == {}


def test_the_engine_loads_no_web_framework():
    modules = import_in_turn("deepseek.clean.run")["deepseek.clean.run"]
    assert {"numpy", "pyarrow"} <= modules
    assert not modules & {"django", "celery", "redis", "rest_framework"}


def test_the_function_arrives_when_asked_for():
    code = "import deepseek.clean as c; print(c.sliding_median_fill([1, None, 3], 3))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[1, 2.0, 3]\n"


def test_an_unknown_name_is_an_attribute_error():
    import deepseek.clean

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = deepseek.clean.nothing
