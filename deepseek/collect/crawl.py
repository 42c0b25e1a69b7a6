"""The order of a collection: round after round, so that what comes out does not hang on which answer came first.

A round is every page that the round before has led to, in the order of its links; its pages are fetched at the same
time and taken in their order. A page's number is its place in that order.
"""

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from deepseek.collect.extract import Extracted, decode_body, extract, find_page_spec
from deepseek.collect.fetch import AT_ONCE, Failed, Fetched, OneByOne
from deepseek.collect.gate import Gate, Refused
from deepseek.collect.spec import CollectSpec
from deepseek.collect.urls import normalize_url
from deepseek.job import JSON, EngineError
from deepseek.messages import N_

EXAMPLES = 5
"""Addresses told in the report for each kind of failure."""
FETCHES = 10_000
"""Pages of which the report tells one by one; of more, the first that were asked for."""
URL_CHARACTERS, MESSAGE_CHARACTERS = 2000, 300
HTML = ("html", "xml", "text/plain")
Say = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Task:
    """One address to fetch. `number` counts from 1 in the order of discovery, `depth` links from a start address."""

    number: int
    url: str
    depth: int


@dataclass(slots=True)
class Outcome:
    """What became of a task: the place of its records in the round's file, and the links that they came with."""

    url: str = ""
    offset: int = 0
    length: int = 0
    records: int = 0
    links: list[str] = field(default_factory=list)
    next: str | None = None


class Crawl:
    """One collection; `work` runs it within Scrapy. Writes ``records.jsonl`` and, if asked, ``bodies/`` in `folder`."""

    def __init__(self, spec: CollectSpec, gate: Gate, folder: Path, say: Say) -> None:
        self.spec, self.gate, self.folder, self.say = spec, gate, folder, say
        self.began = time.monotonic()
        self.stopped = ""  # which limit ended it
        self.seen: set[str] = set()
        self.found: set[str] = set()  # final addresses whose records were taken
        self.numbered = 0
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.examples: dict[str, list[JSON]] = {}
        self.off_list: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.unreadable: Counter[str] = Counter()
        self.received = 0  # bytes
        self.fetches: list[dict[str, JSON]] = []
        self._round = (folder / "round").open("w+b")
        self._records = (folder / "records.jsonl").open("wb")
        if spec.keep_bodies:
            (folder / "bodies").mkdir()

    async def fetch_all(self, spider: OneByOne) -> None:
        """Fetch until nothing is left or a limit is reached."""
        tasks = self._create_tasks((url, 0) for url in self.spec.start_urls)
        while tasks and not self.stopped:
            outcomes: dict[int, Outcome] = {}
            await self._fetch_round(spider, tasks, outcomes)
            tasks = self._take_round(tasks, outcomes)
        self._records.close()
        self._round.close()

    # -- one round --------------------------------------------------------------------------------------------------
    async def _fetch_round(self, spider: OneByOne, tasks: list[Task], outcomes: dict[int, Outcome]) -> None:
        """Fetch every task, AT_ONCE at most; Scrapy keeps the rate of each host."""
        self._round.seek(0)
        self._round.truncate()
        waiting = iter(tasks)

        async def take_tasks() -> None:
            for task in waiting:
                if self.stopped:
                    return
                outcome = await self._fetch_page(spider, task)
                if outcome is not None:
                    outcomes[task.number] = outcome
                self._report_progress()

        hands = [asyncio.ensure_future(take_tasks()) for _ in range(min(AT_ONCE, len(tasks)))]
        left = self.spec.limits.max_seconds - (time.monotonic() - self.began)
        done, late = await asyncio.wait(hands, timeout=max(0.0, left))
        if late:
            self.stopped = "max_seconds"
            for hand in late:
                hand.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for hand in done:
            hand.result()

    async def _fetch_page(self, spider: OneByOne, task: Task) -> Outcome | None:
        page = find_page_spec(self.spec, task.url)
        wait_for = page.wait_for if page is not None and page.render == "browser" else None
        try:
            fetched = await spider.fetch(task.url, wait_for=wait_for)
            if len(fetched.body) > self.spec.limits.max_page_bytes:
                raise Failed("too_large", f"The page has {len(fetched.body):,} bytes.")
        except Failed as failure:
            self._record_failure(task, failure)
            return None
        self.counts["fetched"] += 1
        self.received += len(fetched.body)
        self._record_fetch(task, status=fetched.status, bytes=len(fetched.body))
        if self.received >= self.spec.limits.max_total_bytes:
            self.stopped = self.stopped or "max_total_bytes"
        return self._read(task, fetched)

    def _record_failure(self, task: Task, failure: Failed) -> None:
        counted = {"robots": "robots_denied", "refused": "refused"}.get(failure.kind, "failed")
        self.counts[counted] += 1
        self.errors[failure.kind] += 1
        self._record_fetch(
            task, status=get_status(failure), why=failure.kind, message=failure.message[:MESSAGE_CHARACTERS]
        )
        examples = self.examples.setdefault(failure.kind, [])
        if len(examples) < EXAMPLES:
            examples.append({"url": task.url, "message": failure.message})
        self._log(f"{failure.kind} {task.url}: {failure.message}", "warning")
        most = self.spec.limits.max_failed
        if most is not None and self.counts["failed"] > most:
            raise EngineError(
                "too_many_failed",
                "{failed} pages could not be fetched; the last: {url}: {failure_message}",
                failed=self.counts["failed"],
                url=task.url,
                failure_message=failure.message,
                field="/limits/max_failed",
                value=str(self.counts["failed"]),
                limit=f"at most {most}",
                hint=N_("Look at the log for the pages, or allow more."),
            )

    def _record_fetch(self, task: Task, **facts: JSON) -> None:
        """What became of one page, for the report; of more than FETCHES pages the first by number."""
        if task.number > FETCHES:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        row: dict[str, JSON] = {"page": task.number, "url": task.url[:URL_CHARACTERS], "at": at}
        self.fetches.append(row | {"status": None, "bytes": None, "why": "", "message": ""} | facts)

    def _read(self, task: Task, fetched: Fetched) -> Outcome:
        """Records and links of a page, its records written behind those of the pages that came before."""
        now = datetime.now(UTC).timestamp()
        digest = hashlib.sha256(fetched.body).hexdigest()
        extracted = self._extract(fetched)
        self.dropped.update(extracted.dropped)
        self.unreadable.update(extracted.unreadable)
        head = {"source_url": fetched.url, "fetched_at": now, "status": fetched.status, "digest": digest}
        lines = [
            json.dumps({**head, "page": task.number, "item": index, **item}, ensure_ascii=False)
            for index, item in enumerate(extracted.items, start=1)
        ]
        data = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
        offset = self._round.seek(0, 2)
        self._round.write(data)
        if self.spec.keep_bodies:
            (self.folder / "bodies" / f"{task.number:07d}").write_bytes(fetched.body)
        self._log(f"{fetched.status} {fetched.url}: {len(lines)} records, {len(fetched.body):,} bytes")
        ahead = self._select_new_urls([extracted.next] if extracted.next else [])
        return Outcome(
            fetched.url, offset, len(data), len(lines), self._select_new_urls(extracted.links), next(iter(ahead), None)
        )

    def _select_new_urls(self, urls: list[str]) -> list[str]:
        """Those that are allowed and that no earlier round has had: the same whichever answer is first."""
        new_urls = []
        for url in urls:
            try:
                self.gate.check(url)
            except Refused as refused:
                self.off_list[refused.what] += 1
                continue
            if normalize_url(url) not in self.seen:
                new_urls.append(url)
        return new_urls

    def _extract(self, fetched: Fetched) -> Extracted:
        kind = fetched.content_type.lower()
        if kind and not any(word in kind for word in HTML):
            self.counts["not_html"] += 1
            return Extracted()
        text = decode_body(fetched.body, fetched.content_type)
        return extract(self.spec, find_page_spec(self.spec, fetched.url), fetched.url, text)

    # -- between rounds ---------------------------------------------------------------------------------------------
    def _take_round(self, tasks: list[Task], outcomes: dict[int, Outcome]) -> list[Task]:
        """Take the records in the order of the tasks; returns what their links lead to, in that order."""
        return self._create_tasks(
            link
            for task in tasks
            if (outcome := outcomes.get(task.number)) is not None and self._take(outcome)
            for link in self._iterate_next_urls(task, outcome)
        )

    def _take(self, outcome: Outcome) -> bool:
        """Take the records of a page, unless a redirect has led where another address was: then False."""
        key = normalize_url(outcome.url)
        if key in self.found:
            self.counts["duplicates"] += 1
            return False
        self.found.add(key)
        self.seen.add(key)
        self._take_records(outcome)
        return True

    def _iterate_next_urls(self, task: Task, outcome: Outcome) -> Iterator[tuple[str, int]]:
        if outcome.next is not None:
            yield outcome.next, task.depth
        if task.depth < self.spec.follow.max_depth:
            yield from ((url, task.depth + 1) for url in outcome.links)

    def _take_records(self, outcome: Outcome) -> None:
        self._round.seek(outcome.offset)
        most = self.spec.limits.max_records
        left = outcome.records if most is None else most - self.counts["records"]
        lines = self._round.read(outcome.length).splitlines(keepends=True)[: max(0, left)]
        self._records.writelines(lines)
        self.counts["records"] += len(lines)
        if most is not None and self.counts["records"] >= most:
            self.stopped = self.stopped or "max_records"

    def _create_tasks(self, urls: Iterable[tuple[str, int]]) -> list[Task]:
        """Tasks for those addresses that are new, as far as the number of pages reaches; reads `urls` to its end."""
        tasks = []
        for url, depth in urls:
            key = normalize_url(url)
            if key in self.seen:
                continue
            if self.numbered >= self.spec.limits.max_pages:
                self.counts["left"] += 1
                continue
            self.seen.add(key)
            self.numbered += 1
            tasks.append(Task(self.numbered, url, depth))
        return tasks

    # -- telling ----------------------------------------------------------------------------------------------------
    def _report_progress(self) -> None:
        done = sum(self.counts[name] for name in ("fetched", "failed", "robots_denied", "refused"))
        self.say({"event": "progress", "done": done, "total": self.numbered})

    def _log(self, text: str, level: str = "info") -> None:
        self.say({"event": "log", "text": text, "level": level})

    def report(self, browser_bytes: int) -> dict[str, JSON]:
        """What was done, for people and programs. No order but that of the counts; times only as a length."""
        refused: list[JSON] = [
            {"code": code, "what": what, "count": count} for (code, what), count in sorted(self.gate.refused.items())
        ]
        errors: list[JSON] = [
            {"kind": kind, "count": count, "examples": self.examples[kind]}
            for kind, count in sorted(self.errors.items(), key=lambda pair: (-pair[1], pair[0]))
        ]
        names = ("fetched", "failed", "robots_denied", "refused", "duplicates", "not_html", "left")
        done = sum(self.counts[name] for name in names[:4])
        fetches: list[JSON] = [*sorted(self.fetches, key=lambda row: cast(int, row["page"]))]
        return {
            "pages": {"asked": self.numbered, **{name: self.counts[name] for name in names}},
            "records": self.counts["records"],
            "errors": errors,
            "refused": refused,
            "links_off_list": dict(sorted(self.off_list.items(), key=lambda pair: -pair[1])[:100]),
            "dropped": dict(self.dropped),
            "unreadable": dict(self.unreadable),
            "bytes": self.received,
            "browser_bytes": browser_bytes,
            "seconds": round(time.monotonic() - self.began, 3),
            "stopped": self.stopped,
            "fetches": fetches,
            "fetches_left_out": done - len(fetches),
        }


def get_status(failure: Failed) -> int | None:
    """The answer of the host, where that was the failure."""
    number = failure.kind.removeprefix("http_")
    return int(number) if number.isdigit() else None
