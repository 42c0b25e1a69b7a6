from importlib import import_module

import pytest

from apps.platform.jobs.kinds import KINDS
from workers.kinds import ENGINE, REGISTER


def test_worker_and_app_know_the_same_kinds():
    assert set(KINDS) == set(ENGINE) == set(REGISTER)


@pytest.mark.parametrize("kind", KINDS)
def test_every_engine_function_is_there(kind):
    module, _, name = ENGINE[kind].partition(":")
    assert callable(getattr(import_module(module), name))
