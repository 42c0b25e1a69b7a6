"""Engines that end their process instead of returning, or refuse."""

import sys

from deepseek.job import EngineError


def run(spec, **_):
    sys.exit(3)


def refuse(spec, **_):
    raise EngineError("asked_to_fail", "It was asked to fail.")
