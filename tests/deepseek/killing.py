"""A training in a process of its own that is killed in the middle, as the loss of a node would end it."""

import os
import signal

from tests.deepseek.train.test_train_resume import Stops


class Kills(Stops):
    """Kills its process where `Stops` raises: nothing is unwound, nothing tidied up."""

    def stop(self):
        os.kill(os.getpid(), signal.SIGKILL)


def train_until_killed(train, at, later=0):
    """Call `train(report)` in a fork, which is killed at the checkpoint of step `at`, or `later` steps after it."""
    child = os.fork()
    if not child:
        try:
            train(Kills(at, later))
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
