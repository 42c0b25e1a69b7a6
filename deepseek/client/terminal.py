"""A job followed at a terminal or in a pipe: its log on standard output as it is, everything else on standard error."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from deepseek.client.packing import format_size
from deepseek.console import ConsoleReport

if TYPE_CHECKING:  # they need httpx, whose absence a command explains
    from deepseek.client.events import StreamEvent
    from deepseek.client.jobs import JobHandle

DETACHED_EXIT = 130


class JobFollower:
    """Shows the events of a job. After an interruption `show` goes on behind the last line that was printed."""

    def __init__(self, job: JobHandle, *, is_quiet: bool = False) -> None:
        self.job, self.is_quiet = job, is_quiet
        self.report = ConsoleReport()
        self.event, self.line = 0, 0

    def show(self) -> JobHandle:
        """Print until the job has ended, and return it."""
        try:
            for event in self.job.follow(self.event):
                self._show_event(event)
                self.event = event.id or self.event
        finally:
            self.report.close()
        return self.job

    def _show_event(self, event: StreamEvent) -> None:
        data = event.data
        if event.name == "log":
            self._print_lines(int(data.get("first", 1)), data.get("lines", ()))
        elif event.name == "progress" and not self.is_quiet:
            stage, unit = str(data.get("stage") or ""), str(data.get("unit") or "")
            self.report.progress(data.get("done") or 0, data.get("total"), unit, stage=stage)
        elif event.name == "metric" and not self.is_quiet and isinstance(data.get("value"), int | float):
            self.report.metric(str(data.get("name")), data["value"], int(data.get("step") or 0))
        elif event.name == "state" and not self.is_quiet:
            reason = f" ({data['reason']})" if data.get("reason") else ""
            tell(f"job {self.job.id}: {data.get('state')}{reason}", self.report)

    def _print_lines(self, first: int, rows: Sequence[Sequence[str]]) -> None:
        """Lines as they are, unwrapped. What was printed before an interruption is not printed again."""
        new = [(number, row[2]) for number, row in enumerate(rows, first) if number > self.line]
        if not new:
            return
        self.report.close()
        sys.stdout.write("".join(f"{text}\n" for _, text in new))
        sys.stdout.flush()
        self.line = new[-1][0]


def follow_until_ended(job: JobHandle) -> int:
    """Show a job until it has ended; on an interruption ask whether to cancel it. Returns its exit code."""
    follower = JobFollower(job)
    while True:
        try:
            ended = follower.show()
            break
        except KeyboardInterrupt:
            follower.report.close()
            if not ask_whether_to_cancel(job):
                tell(f"job {job.id} goes on: deepseek logs -f {job.id}")
                return DETACHED_EXIT
            job.cancel("Cancelled at the terminal that followed it")
    tell_end(ended)
    return ended.exit_code


def ask_whether_to_cancel(job: JobHandle) -> bool:
    """Whether the person wants the job cancelled. Where there is nobody to ask it goes on."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        while True:
            tell(f"\njob {job.id} is {job.state}. Cancel it (c), or detach and let it run (d)? ", end="")
            answer = sys.stdin.readline()
            if not answer or answer.strip().lower() in ("d", "detach"):
                return False
            if answer.strip().lower() in ("c", "cancel"):
                return True
    except KeyboardInterrupt:
        return False


def tell_end(job: JobHandle) -> None:
    """How it ended, why, and how to get what it made."""
    if job.state == "succeeded":
        outputs = ", ".join(f"{output['slot']} ({format_size(output['size'])})" for output in job.outputs)
        tell(f"job {job.id} succeeded{f': {outputs}' if outputs else ''}")
        if job.outputs:
            tell(f"  deepseek get {job.id} {job.outputs[0]['slot']} -o DIR")
        return
    error = job.error or {}
    reason = error.get("message") or job.data.get("cancel_reason") or ""
    tell(
        f"deepseek: job {job.id} {'failed' if job.state == 'failed' else 'was cancelled'}{f': {reason}' * bool(reason)}"
    )
    for part in ("field", "value", "limit", "hint"):
        if error.get(part) is not None:
            tell(f"  {part}: {error[part]}")


def tell(text: str, report: ConsoleReport | None = None, *, end: str = "\n") -> None:
    """A line for the person, on standard error; standard output is for what programs read."""
    if report is not None:
        report.close()
    sys.stderr.write(f"{text}{end}")
    sys.stderr.flush()


def print_table(rows: Sequence[dict[str, Any]], columns: Sequence[str], stream: TextIO | None = None) -> None:
    """Columns side by side, as wide as what stands in them; a missing value is a dash."""
    cells = [[column.replace("_", " ") for column in columns]]
    cells += [[format_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    for line in cells:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(text.rstrip(), file=stream or sys.stdout)


def format_cell(value: Any) -> str:
    """A dash for nothing, yes and no, times without fractions of a second; a space for what would break the line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = "-" if value in (None, "") else re.sub(r"(T\d\d:\d\d:\d\d)\.\d+", r"\1", str(value))
    return " ".join(text.split()) if not text.isprintable() else text
