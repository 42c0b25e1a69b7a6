"""The verdict on an attempt: packets that left are believed before any error."""

from __future__ import annotations

import errno

from deepseek.isolation.probes import Probe, judge_attempt

TCP, NAME = Probe("tcp", "192.0.2.1", "tcp", 443), Probe("dns", "example.com", "resolver")
CASES = [
    # attempt, error, answered, packets that left, rule -> verdict, who refused
    (TCP, None, True, 3, "", ("passed", "")),
    (TCP, errno.ETIMEDOUT, False, 3, "", ("passed", "")),
    (TCP, errno.EHOSTUNREACH, False, 0, "tcp", ("refused", "rule")),
    (TCP, errno.EPERM, False, 0, "", ("refused", "error")),
    (TCP, errno.ENETUNREACH, False, 0, "", ("refused", "no_route")),
    (TCP, errno.ETIMEDOUT, False, None, "", ("unknown", "")),
    (TCP, errno.EHOSTUNREACH, False, None, "", ("unknown", "")),  # of a router outside, perhaps
    (TCP, errno.ECONNREFUSED, True, None, "", ("passed", "")),
    (TCP, errno.EPERM, False, None, "", ("refused", "error")),
    (TCP, errno.ENETUNREACH, False, None, "", ("refused", "no_route")),
    (NAME, None, True, None, "", ("passed", "")),
    (NAME, None, False, None, "dns", ("refused", "rule")),
    (NAME, errno.ETIMEDOUT, False, None, "", ("refused", "resolver")),
]


def test_verdicts():
    results = [
        judge_attempt(probe, number, is_answered=answered, left=left, rule=rule)
        for probe, number, answered, left, rule, _ in CASES
    ]
    assert results == [case[-1] for case in CASES]
