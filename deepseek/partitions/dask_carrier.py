"""Runs tasks on the workers of a Dask cluster, which see the same files. Needs the extra `scale`.

Nothing is looked up or sent elsewhere, and no dashboard is started.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepseek.code import compute_code_digest
from deepseek.job import EngineError, TransientError
from deepseek.memory import set_memory_limit
from deepseek.messages import N_, Message
from deepseek.partitions.cancellation import observe_cancellation, refuse_cancelled
from deepseek.partitions.carriers import (
    MAX_ATTEMPTS,
    CarrierObserver,
    NoObserver,
    OnDone,
    Outcome,
    attempt,
)
from deepseek.partitions.cluster_address import ClusterAddress, is_encrypted, validate_address
from deepseek.partitions.running_tasks import ANSWER_SECONDS, RunningTasks, SchedulerSilentError

CONNECT_SECONDS = 30
OTHER_VERSION = Message("its version of this package is another one")
DISCONNECTED = Message("the connection to its scheduler has ended")
OUT_OF_MEMORY = N_("Most often memory ran out: use more partitions, or have the operator give the workers more of it.")
PROBE = ".probe-"  # begins the names of files that show whether engine and workers can use those of one another
_one_task = threading.Lock()  # of this process, if it is a worker


class DaskCarrier:
    """Runs the tasks on a cluster. A lost worker's tasks run on another; a lost scheduler ends the run.

    The scheduler drops the tasks of a client that is gone: none of them begins after it, and those that run end with
    their next batch.
    """

    def __init__(
        self,
        address: ClusterAddress,
        observer: CarrierObserver | None = None,
        *,
        public_url: str = "",
        label: str = "",
    ) -> None:
        """`public_url`: the address that errors name, where this process reaches the scheduler by another one.
        `label`: of the run, in the keys of its tasks."""
        validate_address(address)
        distributed = import_distributed()
        # Of a lost scheduler it writes a stack trace into the job's log; the error that is raised here says it all.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
        self.observer = observer or NoObserver()
        self._killed, self._disconnected = distributed.KilledWorker, distributed.comm.CommClosedError
        self._lost = (self._killed, CancelledError, OSError, TimeoutError)
        self.url, self.label = public_url or address.url, label
        self.workers = 1  # how many `require_workers` has counted
        try:
            self.client = distributed.Client(
                address.url, security=build_security(address), timeout=CONNECT_SECONDS, set_as_default=False
            )
        except (OSError, TimeoutError) as error:
            raise self.build_loss(describe_silence(CONNECT_SECONDS, error)) from error

    def run(self, function: Callable[[Any], Any], items: Sequence[Any], on_done: OnDone) -> list[Outcome]:
        self.observer.begin(len(items))
        outcomes: dict[int, Outcome] = {}
        try:
            with self.client.as_current():
                for number, outcome in RunningTasks(self, function, items):
                    outcomes[number] = outcome
                    self.observer.finish(number)
                    on_done(number)
        except self._killed as error:
            raise self.build_loss(
                Message("every worker that had one of the partitions ended before it was done"), OUT_OF_MEMORY
            ) from error
        except SchedulerSilentError as error:
            raise self.build_loss(describe_silence(ANSWER_SECONDS, "TimeoutError")) from error
        except self._lost as error:
            self.check()
            if isinstance(error, self._disconnected):
                raise self.build_loss(DISCONNECTED) from error
            raise self.build_loss(f"{type(error).__name__}: {error}"[:300]) from error
        except EngineError:  # of `on_done`
            raise
        except Exception:  # while Dask connects anew it raises other errors too, such as a stream's ValueError
            self.check()
            raise
        return [outcomes[number] for number in range(len(items))]

    def submit(self, function: Callable[[Any], Any], item: Any) -> Any:
        """The future of one task. A worker that fails it, as by a disk that is away, is given another chance."""
        # A key of its own: the scheduler would give tasks of one key one result, whichever run they are of.
        key = "-".join(filter(None, [function.__name__, self.label, uuid.uuid4().hex]))
        return self.client.submit(run_alone, function, item, compute_code_digest(), key=key, retries=MAX_ATTEMPTS)

    def check(self) -> None:
        """Raise TransientError where the scheduler is gone."""
        if self.client.status != "running":
            raise self.build_loss(DISCONNECTED)

    def build_loss(self, fault: str, hint: str = "") -> TransientError:
        return TransientError(
            "cluster_lost",
            "The cluster {address} cannot go on with the job: {fault}.",
            address=self.url,
            fault=fault,
            field="/cluster",
            hint=hint or N_("Have the operator look at the scheduler and the workers, or leave the cluster out."),
        )

    def require_workers(self, folder: Path) -> int:
        """How many workers there are. Raises EngineError ``cluster_unfit`` where one has other code than this side, or
        does not share the files of `folder`; TransientError where there is none.
        """
        with tempfile.NamedTemporaryFile(dir=folder, prefix=PROBE) as probe:
            try:
                self.client.wait_for_workers(1, timeout=CONNECT_SECONDS)
                answers = self.client.run(describe_worker, str(folder), probe.name, on_error="return")
            except self._lost as error:
                self.check()
                fault = Message("no worker joined it within {seconds} s", seconds=CONNECT_SECONDS)
                raise self.build_loss(fault) from error
            except Exception:  # as in `run`
                self.check()
                raise
        # Without those that ended before they answered: a worker may be lost at any time.
        answers = {worker: answer for worker, answer in answers.items() if not isinstance(answer, self._disconnected)}
        if not answers:
            raise self.build_loss(Message("all of its workers have ended"))
        for worker, answer in answers.items():
            if isinstance(answer, TypeError | AttributeError | ImportError):  # it lacks what is called here
                raise build_unfit_error(worker, OTHER_VERSION)
            if isinstance(answer, BaseException):
                raise build_unfit_error(worker, f"{type(answer).__name__}: {answer}"[:300])
            if answer["code"] != compute_code_digest():
                raise build_unfit_error(worker, OTHER_VERSION)
            if answer["fault"]:
                raise build_foreign_error(worker, answer["user"], answer["fault"])
            if refusal := take_probe(answer["probe"]):
                raise build_foreign_error(worker, answer["user"], refusal)
        for left in folder.glob(f"{PROBE}*"):  # by a worker that ended
            left.unlink(missing_ok=True)
        self.workers = len(answers)
        return self.workers

    def close(self) -> None:
        """Disconnect; the cluster goes on. Raises nothing: the run has its result or its own error by now."""
        with suppress(Exception):  # of many types, where the client is just connecting anew to a scheduler that is lost
            self.client.close(timeout=5)


def describe_silence(seconds: float, error: object) -> Message:
    return Message(
        "its scheduler does not answer within {seconds} s ({error})", seconds=round(seconds), error=str(error)[:200]
    )


# -- in a worker ------------------------------------------------------------------------------------------------------
def describe_worker(folder: str, probe: str) -> dict[str, Any]:
    """Which code this worker has, who it is, and a file that it made in the folder; or why it cannot make one, or read
    `probe`, which the coordinator made. All such files are for their owner alone, as those of the tasks."""
    described = {"code": compute_code_digest(), "user": os.geteuid(), "probe": "", "fault": ""}
    try:
        Path(probe).read_bytes()
        handle, described["probe"] = tempfile.mkstemp(dir=folder, prefix=PROBE)
        os.close(handle)
    except OSError as error:
        described["fault"] = f"{error.strerror}: {error.filename}"
    return described


def take_probe(name: str) -> str:
    """Read the file that a worker made and remove it; why this process cannot, or nothing."""
    try:
        Path(name).read_bytes()
        os.unlink(name)
    except OSError as error:
        return f"{error.strerror}: {error.filename}"
    return ""


def run_alone(function: Callable[[Any], Any], item: Any, code: str) -> Outcome:
    """Run one task with all memory of this worker: one at a time, however many threads it has.

    `code`: the digest of the coordinator's. A worker may have joined since the run began, and with other code the
    parts of one table would not be made alike.
    """
    worker = import_distributed().get_worker()
    key = worker.get_current_task()

    def is_cancelled() -> bool:
        """Whether the scheduler has taken the task back, as when its client is gone: Dask only forgets its result."""
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    if code != compute_code_digest():
        return Outcome(error=build_unfit_error(worker.address, OTHER_VERSION))
    with _one_task, observe_cancellation(is_cancelled):
        refuse_cancelled()  # it may have waited for another one to end
        limit = worker.memory_manager.memory_limit
        if limit:
            set_memory_limit(int(limit))
        return attempt(function, item)


def build_unfit_error(worker: str, fault: str) -> EngineError:
    return EngineError(
        "cluster_unfit",
        "The worker {worker} of the cluster cannot take part: {fault}.",
        worker=worker,
        fault=fault,
        field="/cluster",
        limit="this version of the package, and the shared folder under the same path, for the same user",
        hint=N_("Have the operator mend the worker, or leave the cluster out."),
    )


def build_foreign_error(worker: str, user: int, fault: str) -> EngineError:
    """`user`: the user id of the worker."""
    return EngineError(
        "cluster_unfit",
        "The worker {worker} of the cluster, which runs as user {user}, and this job, which runs as user {own}, cannot "
        "use the files of one another: {fault}.",
        worker=worker,
        user=user,
        own=os.geteuid(),
        fault=fault,
        field="/cluster",
        limit="the shared folder under the same path, for the same user",
        hint=N_(
            "Have the operator run the workers of the cluster as the owner of CLUSTER_FOLDER, which they mount under "
            "the same path."
        ),
    )


def build_security(address: ClusterAddress) -> Any:
    """What a client shows, and demands of the other side."""
    security: Any = import_distributed().Security
    if not is_encrypted(address.url):
        return security()
    return security(
        require_encryption=True,
        tls_ca_file=str(address.ca_file),
        tls_client_cert=str(address.cert_file),
        tls_client_key=str(address.key_file),
    )


def import_distributed() -> Any:
    """The package. Raises EngineError ``extra_missing`` where it is not installed."""
    try:
        import dask
        import distributed
    except ImportError as error:
        raise EngineError(
            "extra_missing",
            "This installation has no Dask.",
            field="cluster",
            limit="the extra scale",
            hint=N_("Install deepseek-offline[scale], or leave the cluster out."),
        ) from error
    # A state of many columns is large on purpose, and the advice for it is not for the reader of a job's log.
    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})
    return distributed
