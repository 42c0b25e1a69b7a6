"""What the end of a bounded child means, and that it goes first where memory runs out."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from apps.data.datasets import bounded_process
from apps.data.datasets.bounded_process import ProcessFault, parse_answer


@pytest.mark.parametrize(
    ("code", "out", "said", "fault"),
    [
        (-signal.SIGALRM, b"", b"", ProcessFault.TIME),
        (-signal.SIGXCPU, b"", b"", ProcessFault.TIME),
        (-signal.SIGKILL, b"", b"", ProcessFault.MEMORY),
        (1, b"", b"deepseek: ArrowMemoryError: malloc of size 9 failed", ProcessFault.MEMORY),
        (1, b"", b"deepseek: OSError: no space left", ProcessFault.FAILED),
        (0, b"no JSON", b"", ProcessFault.FAILED),
        (2, b'{"errors": []}', b"", ProcessFault.FAILED),
        (0, b'{"a": 1}', b"", None),
        (2, b'{"errors": [{}]}', b"", None),
    ],
)
def test_every_end_has_a_meaning(code, out, said, fault):
    assert parse_answer(code, out, said).fault is fault


def test_a_table_that_takes_more_memory_than_it_may(settings, tmp_path):
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    with tempfile.TemporaryFile() as file:
        file.write(b"a\n" + b"1\n" * 1000)
        file.flush()
        words = ["profile", bounded_process.get_child_path(file), "--check", "--json", "--spec", "/dev/stdin"]
        answer = bounded_process.run_engine(words, "{}", file, limits=bounded_process.ProcessLimits(30, 2**27, 2**20))
    assert answer.fault in (ProcessFault.MEMORY, ProcessFault.FAILED)  # as far as the imports come
    assert os.listdir(tmp_path) == []


def test_it_goes_first_where_memory_runs_out():
    told = f"import runpy, sys; sys.argv = ['x']; runpy.run_path({str(bounded_process.CHILD)!r})['bind'](9, 2**31, 9)"
    told += "; print(open('/proc/self/oom_score_adj').read())"
    child = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "1000"
