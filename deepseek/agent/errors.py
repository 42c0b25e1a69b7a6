"""How the agent fails. Every error names the field, the value, the limit and the remedy, and never a token."""

from __future__ import annotations

from deepseek.job import EngineError


class AgentError(EngineError):
    """Something that was given to the agent is wrong: a flag, a folder, a file of its home. Exit code 2."""


class AgentFailure(AgentError):
    """The machine, the plane or an update failed; the same again may succeed. Exit code 1."""

    exit_code = 1


class EnrolmentRefused(AgentError):
    """The plane refused the enrolment. `code` is the plane's."""


class ReleaseRefused(AgentFailure):
    """A release that this device does not install. `code` goes to the plane with the failed assignment."""
