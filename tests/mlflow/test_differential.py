"""The same requests, right and wrong, to a real `mlflow server` and to the plane; what may differ is in a table."""

import pytest

from tests.mlflow.conversation import spoken, steps_of, topics
from tests.mlflow.likeness import compared, known


@pytest.mark.parametrize("topic", topics())
def test_both_answer_the_same(topic, reference, plane):
    told, heard = spoken(reference.address, topic), spoken(plane.address, topic, plane.fresh_headers)
    unmeant = compared(topic, told, heard)
    assert not unmeant, f"{len(unmeant)} differences that nobody meant\n" + "\n".join(unmeant)


def test_there_are_many_requests_and_few_differences():
    assert sum(len(steps_of(topic)) for topic in topics()) >= 900
    assert all(entry.why for topic in topics() for entry in known(topic))
