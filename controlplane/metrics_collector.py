"""What `/metrics` tells of the plane itself, read anew at each scrape: a dozen queries, none of which reads what has
ended. Ended jobs are counted as they end (apps/platform/jobs/scheduling/ended_job_counters.py).
"""

from __future__ import annotations

import logging
import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import django
from django.conf import settings
from django.core.cache import cache
from django.db import Error as DatabaseError
from django.db import connection
from django.utils import timezone
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from apps.platform.approvals.models import Approval
from apps.platform.approvals.states import ApprovalState
from apps.platform.artifacts.models import Artifact
from apps.platform.artifacts.stores import get_store_folder
from apps.platform.audit.models import AuditRecord, ChainHead, Result
from apps.platform.audit.verification import get_unsealed_state
from apps.platform.jobs.models import Job, JobTally
from apps.platform.jobs.scheduling.ended_job_counters import BUCKET_BOUNDS
from apps.platform.jobs.scheduling.queues import count_open_jobs
from apps.platform.jobs.states import JobState
from apps.platform.nodes.disks import read_disk
from apps.platform.nodes.models import Node
from apps.platform.nodes.presenters import build_row
from apps.platform.nodes.queries import STATUSES

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 3.0  # for a database that does not answer: Prometheus itself waits for ten
PARTS = ("dispatcher", "sealer", "sampler")


class PlaneCollector(Collector):
    """Collect all metric families. During a database outage: `plane_database_up 0` and those that need no database."""

    def collect(self) -> Iterable[Metric]:
        began = time.monotonic()
        yield collect_build()
        yield from collect_disk()
        up, errors = (
            is_database_up(),
            GaugeMetricFamily("plane_scrape_errors", "1 for a section that failed.", labels=["section"]),
        )
        for section in SECTIONS if up else ():
            try:
                metrics = list(section())
            except DatabaseError as failure:
                log.warning("metrics: %s", failure)
                connection.close()
                up = False
                break
            except Exception:  # a defect in one section must not hide the others
                log.exception("metrics: %s", section.__name__.removeprefix("collect_"))
                errors.add_metric([section.__name__.removeprefix("collect_")], 1)
                continue
            yield from metrics
        yield errors
        yield GaugeMetricFamily("plane_database_up", "1 if the database answers, else 0.", value=float(up))
        took = time.monotonic() - began
        yield GaugeMetricFamily("plane_scrape_seconds", "Seconds that this scrape took.", value=took)


def is_database_up() -> bool:
    """Whether the database answers. On SQLite it is a file; elsewhere a thread asks, which may hang for longer than
    anybody wants to wait.
    """
    if connection.vendor == "sqlite":
        return probe_database()
    answer: list[bool] = []
    asking = threading.Thread(
        target=lambda: answer.append(probe_database(close=True)), name="metrics-probe", daemon=True
    )
    asking.start()
    asking.join(PATIENCE_SECONDS)
    return bool(answer and answer[0])


def probe_database(*, close: bool = False) -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as failure:
        log.warning("metrics: %s", failure)
        return False
    finally:
        if close:
            connection.close()
    return True


def collect_build() -> Metric:
    labels = {
        "version": version("deepseek-offline"),
        "python": platform.python_version(),
        "django": django.get_version(),
        "database": connection.vendor,
    }
    family = GaugeMetricFamily("plane_build_info", "What runs here; always 1.", labels=list(labels))
    family.add_metric(list(labels.values()), 1)
    return family


def collect_disk() -> Iterator[Metric]:
    """Of the artifacts, where they are a folder on this host, and of the home."""
    free = GaugeMetricFamily("plane_disk_free_bytes", "Bytes free for the plane on this host.", labels=["of"])
    total = GaugeMetricFamily("plane_disk_size_bytes", "Bytes of that file system.", labels=["of"])
    short = GaugeMetricFamily(
        "plane_disk_short", "1 if less is free than DISK_SHORT_BYTES and _PERCENT.", labels=["of"]
    )
    for name, folder in (("home", settings.PLANE_HOME), ("store", get_store_folder())):
        with suppress(OSError):
            if folder:
                state = read_disk(name, Path(folder))
                free.add_metric([name], state.free_bytes)
                total.add_metric([name], state.total_bytes)
                short.add_metric([name], state.is_short)
    return iter([free, total, short])


# -- sections that ask the database ---------------------------------------------------------------------------------
def collect_jobs() -> Iterator[Metric]:
    family = GaugeMetricFamily("plane_jobs", "Jobs that have not ended.", labels=["state", "queue", "kind"])
    oldest = GaugeMetricFamily(
        "plane_queue_oldest_seconds", "Seconds that the job queued longest has waited; 0: none waits.", labels=["queue"]
    )
    now, waited = timezone.now(), dict.fromkeys(list_served_queues(), 0.0)
    for row in count_open_jobs():
        family.add_metric([row.state, row.queue, row.kind], row.jobs)
        age = (now - row.oldest).total_seconds() if row.oldest and row.state == JobState.QUEUED else 0.0
        waited[row.queue] = max(waited.get(row.queue, 0.0), age)
    for queue, seconds in waited.items():
        oldest.add_metric([queue], max(0.0, seconds))
    stalled = GaugeMetricFamily("plane_jobs_stalled", "Queued jobs that a full disk or the like has stopped.")
    stalled.add_metric([], Job.objects.filter(state=JobState.QUEUED, stalled_since__isnull=False).count())
    return iter([family, oldest, stalled])


def list_served_queues() -> set[str]:
    return {queue for queues in Node.objects.values_list("queues", flat=True) for queue in queues}


def collect_ended() -> Iterator[Metric]:
    total = CounterMetricFamily("plane_jobs_ended", "Jobs that have ended.", labels=["state", "queue", "kind"])
    took = HistogramMetricFamily(
        "plane_job_seconds", "Seconds that the last attempt of an ended job ran.", labels=["state", "queue", "kind"]
    )
    for row in JobTally.objects.all():
        labels = [row.state, row.queue, row.kind]
        total.add_metric(labels, row.ended)
        counts = row.buckets if len(row.buckets) == len(BUCKET_BOUNDS) else [0] * len(BUCKET_BOUNDS)
        buckets = [(str(float(bound)), count) for bound, count in zip(BUCKET_BOUNDS, counts, strict=True)]
        took.add_metric(labels, [*buckets, ("+Inf", row.ran)], row.seconds)
    return iter([total, took])


def collect_nodes() -> Iterator[Metric]:
    rows = [build_row(node) for node in Node.objects.with_status().with_use().order_by("name")]
    status = GaugeMetricFamily("plane_nodes", "Nodes by status.", labels=["status"])
    for name in STATUSES:
        status.add_metric([name], sum(row.node.status == name for row in rows))
    yield status
    now = timezone.now()
    for name, text, value in OF_NODE:
        family = GaugeMetricFamily(name, text, labels=["node"])
        for row in rows:
            number = value(row, now)
            if number is not None:
                family.add_metric([row.node.name], number)
        yield family
    yield from collect_gpus(rows)


OF_NODE: tuple[tuple[str, str, Callable[..., float | None]], ...] = (
    ("plane_node_up", "1 if the node was heard of in the last 15 s.", lambda row, now: float(row.node.online)),
    ("plane_node_held", "1 if the node takes no new jobs.", lambda row, now: float(row.node.held_at is not None)),
    (
        "plane_node_heartbeat_age_seconds",
        "Seconds since the last heartbeat.",
        lambda row, now: max(0.0, (now - row.node.heartbeat_at).total_seconds()) if row.node.heartbeat_at else None,
    ),
    ("plane_node_jobs_running", "Jobs that run there.", lambda row, now: row.node.running_jobs),
    ("plane_node_cpus", "CPUs that jobs may use together.", lambda row, now: row.cpus.total),
    ("plane_node_cpus_claimed", "CPUs that running jobs have claimed.", lambda row, now: row.cpus.used),
    ("plane_node_cpu_busy_ratio", "CPU time in use, whoever uses it, 0 to 1.", lambda row, now: row.cpus.measured),
    ("plane_node_memory_bytes", "Memory that jobs may use together.", lambda row, now: row.memory.total),
    ("plane_node_memory_claimed_bytes", "Memory that running jobs have claimed.", lambda row, now: row.memory.used),
    ("plane_node_memory_busy_ratio", "Memory in use, whoever uses it, 0 to 1.", lambda row, now: row.memory.measured),
    ("plane_node_disk_free_bytes", "Bytes free where the jobs' scratch lies.", lambda row, now: row.disk_free),
    (
        "plane_node_disk_short",
        "1 if the node claims no jobs, as a disk there is short.",
        lambda row, now: float(bool(row.short_disks)),
    ),
    ("plane_node_gpus", "GPUs of the node.", lambda row, now: row.gpus.total),
    ("plane_node_gpus_claimed", "GPUs that running jobs have claimed.", lambda row, now: row.gpus.used),
)
OF_GPU = (
    ("plane_node_gpu_busy_ratio", "Time in which the GPU computed, 0 to 1.", "busy"),
    ("plane_node_gpu_memory_bytes", "Memory of the GPU.", "memory_bytes"),
    ("plane_node_gpu_memory_free_bytes", "Memory of the GPU that nobody uses.", "memory_free_bytes"),
    ("plane_node_gpu_temperature_celsius", "Temperature of the GPU.", "temperature"),
)


def collect_gpus(rows: Iterable[object]) -> Iterator[Metric]:
    for name, text, key in OF_GPU:
        family = GaugeMetricFamily(name, text, labels=["node", "gpu"])
        for row in rows:
            node = row.node  # type: ignore[attr-defined]
            for card in (node.load or {}).get("gpus", []):
                if card.get(key) is not None:
                    family.add_metric([node.name, str(card["index"])], card[key])
        yield family


def collect_trail() -> Iterator[Metric]:
    head = ChainHead.objects.filter(pk=1).first()
    waiting = get_unsealed_state()
    verified = AuditRecord.objects.filter(action="audit.verify", result__in=(Result.DONE, Result.FAILED))
    last = verified.order_by("-id").values_list("result", "at").first()
    gauges = [
        ("plane_audit_head_seq", "Records that are sealed into the chain.", head.seq if head else 0),
        ("plane_audit_unsealed_records", "Records that wait for the sealer.", waiting.count),
        ("plane_audit_unsealed_oldest_seconds", "Age of the oldest of these.", waiting.oldest_seconds),
        (
            "plane_audit_verified_ok",
            "1 if the last verification found the chain whole.",
            last and last[0] == Result.DONE,
        ),
        ("plane_audit_verified_timestamp_seconds", "When that was.", last and last[1].timestamp()),
        (
            "plane_audit_checkpoint_timestamp_seconds",
            "When the last checkpoint was signed.",
            head.checkpoint_at.timestamp() if head and head.checkpoint_at else None,
        ),
    ]
    for name, text, value in gauges:
        family = GaugeMetricFamily(name, text)
        if value is not None:
            family.add_metric([], float(value))
        yield family


def collect_people() -> Iterator[Metric]:
    pending = Approval.objects.filter(state=ApprovalState.PENDING).count()
    yield GaugeMetricFamily("plane_approvals_pending", "Approvals that wait for a decision.", value=pending)


def collect_artifacts() -> Iterator[Metric]:
    damaged = Artifact.objects.filter(damaged_at__isnull=False).count()
    yield GaugeMetricFamily(
        "plane_artifacts_damaged", "Artifacts whose stored bytes are damaged or gone.", value=damaged
    )


def collect_parts() -> Iterator[Metric]:
    """One look into the shared cache for all of them."""
    family = GaugeMetricFamily(
        "plane_part_age_seconds", "Seconds since a part of the dispatcher's process was last done.", labels=["part"]
    )
    beaten = cache.get_many([f"pulse:{part}" for part in PARTS])
    for part in PARTS:
        if f"pulse:{part}" in beaten:
            family.add_metric([part], max(0.0, time.time() - float(beaten[f"pulse:{part}"])))
    yield family


SECTIONS: tuple[Callable[[], Iterator[Metric]], ...] = (
    collect_jobs,
    collect_ended,
    collect_nodes,
    collect_trail,
    collect_people,
    collect_artifacts,
    collect_parts,
)
