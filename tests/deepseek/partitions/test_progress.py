"""The state of the partitions as a job's page has it: which run, which are done, which run again."""

import os
import signal
from pathlib import Path

from deepseek.job import Silent
from deepseek.partitions.carriers import open_carrier
from deepseek.partitions.progress import PartitionProgress


class Recorder(Silent):
    def __init__(self):
        self.states, self.lines, self.stages = [], [], []

    def partitions(self, state):
        self.states.append(state)

    def log(self, text, *, level="info"):
        self.lines.append(str(text))

    def progress(self, done, total, unit, *, stage=""):
        self.stages.append((stage, done, total, unit))


def work(item):
    number, folder = item
    lost = Path(folder, "lost")
    if number == 1 and not lost.exists():
        lost.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_lost_process_shows_as_run_again(tmp_path):
    report = Recorder()
    progress = PartitionProgress(report, [10, 20, 30])
    progress.begin_stage("write")
    with open_carrier(2, observer=progress) as carrier:
        carrier.run(work, [(number, str(tmp_path)) for number in range(3)], lambda _: None)
    assert any(2 in state["again"] for state in report.states)
    assert any(line.startswith("a process was lost; run again: partition") for line in report.lines)
    assert max(len(state["running"]) for state in report.states) == 2
    last = {"done": 3, "total": 3, "rows": 60, "total_rows": 60, "running": [], "again": []}
    assert report.states[-1] == last
    assert report.stages[-1] == ("write", 3, 3, "parts")
    progress.end()
    assert report.states[-1] is None


def test_a_run_of_other_tasks_has_no_partitions():
    report = Recorder()
    with open_carrier(1, observer=PartitionProgress(report, [10, 20])) as carrier:
        carrier.run(abs, [1, 2, 3], lambda _: None)
    assert set(map(str, report.states)) == {"None"}
