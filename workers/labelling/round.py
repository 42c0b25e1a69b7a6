"""One round of one labelling project, as what works on it shares it: the lease, the schema, the server."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property

from apps.core.actors import Actor
from apps.ml.labelling.models import LabellingProject, LabelServer
from apps.ml.labelling.services import importing
from deepseek.labelling.schema import LabellingSchema
from workers.labelling.remote import RemoteServer

Stopping = Callable[[], bool]
OpenRemote = Callable[[LabelServer], RemoteServer]


class Round:
    """Whoever has it holds the lease of the labelling project; the server is connected when it is first needed."""

    def __init__(
        self,
        actor: Actor,
        labelling: LabellingProject,
        *,
        stopping: Stopping = lambda: False,
        open_remote: OpenRemote = RemoteServer,
    ) -> None:
        self.actor, self.labelling, self.stopping, self.open_remote = actor, labelling, stopping, open_remote
        self.schema = LabellingSchema.model_validate(labelling.schema.document)
        self.renewed_at = time.monotonic()

    def __enter__(self) -> Round:
        return self

    def __exit__(self, *_: object) -> None:
        if "remote" in self.__dict__:
            self.remote.close()

    @cached_property
    def remote(self) -> RemoteServer:
        return self.open_remote(self.labelling.server)

    @cached_property
    def users(self) -> dict[int, str]:
        """{id on the server: e-mail} of annotators."""
        return self.remote.list_users()

    def keep_lease(self) -> None:
        """Renew the lease once a quarter of it is over. Raises StaleState where it is lost or the project closed."""
        if time.monotonic() - self.renewed_at > importing.LEASE.total_seconds() / 4:
            self.renew_lease()

    def renew_lease(self) -> None:
        importing.renew_lease(actor=self.actor, labelling=self.labelling)
        self.renewed_at = time.monotonic()
