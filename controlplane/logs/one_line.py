"""How a log line is written: one event begins one line, whatever a request put into it."""

from __future__ import annotations

import logging

CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {10: "\\n", 13: "\\r", 9: "\t"}


class OneLine(logging.Formatter):
    """Line ends and control characters of the message are escaped; the lines of a trace are marked as what they are.

    A user name or a path with a line end would otherwise write lines of its own.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).translate(CONTROL)

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", "\n| ")
