"""Every write to the queue. A worker's writes filter on owner and attempt: zero rows means that it lost the job.

The row is the queue and `attempt` its fence; the states and who moves them are in models.py.
"""

from apps.platform.jobs.checkpoints import record_checkpoint
from apps.platform.jobs.services.attempts import (
    claim_job,
    end_cancelled,
    fail_attempt,
    release_job,
    renew_leases,
    report_events,
    ring_again,
    succeed_job,
)
from apps.platform.jobs.services.binding import bind_job
from apps.platform.jobs.services.gangs import (
    announce_member,
    claim_member,
    end_member,
    give_up_gang,
    leave_out_node,
    list_members,
    renew_member_leases,
    report_member,
    request_stacks,
    reserve_lines,
)
from apps.platform.jobs.services.recovery import (
    correct_future_times,
    free_waiting,
    list_queues_to_ring,
    recover_abandoned,
    recover_expired,
    requeue_repaired,
)
from apps.platform.jobs.services.requests import PRIORITIES, cancel_job, prioritise_job, retry_job, submit_job
from apps.platform.jobs.submission import InputSpec, Submission

__all__ = [
    "PRIORITIES",
    "InputSpec",
    "Submission",
    "announce_member",
    "bind_job",
    "cancel_job",
    "claim_job",
    "claim_member",
    "correct_future_times",
    "end_cancelled",
    "end_member",
    "fail_attempt",
    "free_waiting",
    "give_up_gang",
    "leave_out_node",
    "list_members",
    "list_queues_to_ring",
    "prioritise_job",
    "record_checkpoint",
    "recover_abandoned",
    "recover_expired",
    "release_job",
    "renew_leases",
    "renew_member_leases",
    "report_events",
    "report_member",
    "request_stacks",
    "requeue_repaired",
    "reserve_lines",
    "retry_job",
    "ring_again",
    "submit_job",
    "succeed_job",
]
