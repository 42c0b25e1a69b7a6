"""How a distributed fit fails."""


class ArgumentError(ValueError):
    """An argument that cannot be used: its name, the value, what is allowed, and what to do."""

    def __init__(self, field: str, value: object, limit: str, hint: str) -> None:
        super().__init__(f"{field} is {value!r}, but must be {limit}. {hint}")
        self.field, self.value, self.limit, self.hint = field, value, limit, hint


class FitError(RuntimeError):
    """A fit that cannot go on: a function of the caller failed, or processes were lost and not replaced."""


class SessionReplacedError(FitError):
    """Another process has taken over the rank of this one."""
