"""Many devices in one process, by the same code as one: what differs is the server (serving/simulated.py).

A few threads take the device whose turn is due next. A device is in one thread at a time.
"""

from __future__ import annotations

import heapq
import json
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

from deepseek.agent.agent import Agent
from deepseek.agent.log import JsonLog
from deepseek.agent.options import AgentOptions
from deepseek.agent.plane.enrolment import suggest_name
from deepseek.agent.plane.session import get_host_name
from deepseek.agent.serving.simulated import ModelCache, SimulatedFactory, SimulatedServer, load_predict, write_lines
from deepseek.agent.serving.traffic import DEFAULT_SECONDS, Traffic
from deepseek.agent.startup import DONE, FAILED, INTERRUPTED, judge_end, open_connection, open_home
from deepseek.agent.storage.identity import detect_architecture
from deepseek.agent.updating.health import Samples
from deepseek.job import EngineError

THREADS = 8
LOOK_SECONDS = 0.2
SUMMARY_SECONDS = 10.0
MOST_FAILURES = 8
"""Of requests of one device in a row: a plane that is asked by many at once may be busy."""


def simulate_devices(options: AgentOptions, count: int, *, is_once: bool, traffic: Traffic | None = None) -> int:
    """Run `count` devices until a signal says to stop, or with `is_once` until each has nothing to do any more."""
    fleet = SimulatedFleet(options, count, is_once=is_once, traffic=traffic)
    begin = time.monotonic()
    try:
        fleet.run()
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit:
        return DONE
    finally:
        fleet.close()
        print(json.dumps({**fleet.summarise(), "seconds": round(time.monotonic() - begin, 1)}))
        sys.stdout.flush()
    return FAILED if fleet.failed else DONE


class SimulatedFleet:
    """The devices of one process, and the threads that take their turns."""

    def __init__(
        self,
        options: AgentOptions,
        count: int,
        *,
        is_once: bool,
        cache: ModelCache | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self._is_once, self._cache, self._traffic = is_once, cache or ModelCache(load_predict), traffic
        self._draws = [random.Random(number) for number in range(count)]  # noqa: S311  which rows a device answers
        self.agents = [self._build(options, number) for number in range(1, count + 1)]
        self.failed: dict[int, str] = {}
        """Place of a device -> why it ended."""
        self._due = [(0.0, place) for place in range(count)]
        self._traffic_at = [0.0] * count
        self._left = count
        self._changed = threading.Condition()
        self._stopped = False

    def run(self) -> None:
        """Return when every device has ended, which without `is_once` is when a signal says so."""
        threads = [threading.Thread(target=self._work, name=f"devices-{number}") for number in range(THREADS)]
        for thread in threads:
            thread.start()
        log, logged = JsonLog(), time.monotonic()
        try:
            while any(thread.is_alive() for thread in threads):
                threads[0].join(LOOK_SECONDS)
                if time.monotonic() - logged >= SUMMARY_SECONDS:
                    logged = time.monotonic()
                    log.write("devices", "info", **self.summarise())
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            for thread in threads:
                thread.join()

    def close(self) -> None:
        for agent in self.agents:
            agent.close()
            agent.home.unlock()

    def summarise(self) -> dict[str, int]:
        """How many devices are where."""
        running = sum(1 for agent in self.agents if agent.supervisor.current is not None)
        states = Counter("enrolled" if agent.identity is not None else "not_enrolled" for agent in self.agents)
        waiting = sum(len(agent.outbox) for agent in self.agents)
        updating = sum(1 for agent in self.agents if agent.updater.journal.update is not None)
        counts = {"devices": len(self.agents), "enrolled": states["enrolled"], "updating": updating}
        return {**counts, "running": running, "messages_waiting": waiting, "failed": len(self.failed)}

    def _build(self, options: AgentOptions, number: int) -> Agent:
        name = f"{options.name or suggest_name(get_host_name())}-{number:05d}"
        home = open_home(options.home / name)
        own = replace(options, home=home.folder, name=name, is_once=self._is_once)
        log = JsonLog(device=name, least="warning")
        connection = open_connection(home, own, log)
        factory = SimulatedFactory(home.recorded, self._cache)
        return Agent(home, own, factory, connection, log, architecture=detect_architecture())

    # -- threads ------------------------------------------------------------------------------------------------------
    def _work(self) -> None:
        while (place := self._take()) is not None:
            pause = self._run_turn(place)
            with self._changed:
                if pause is None:
                    self._left -= 1
                else:
                    heapq.heappush(self._due, (time.monotonic() + pause, place))
                self._changed.notify()

    def _take(self) -> int | None:
        """The device whose turn is due, once it is; None at the end."""
        with self._changed:
            while not self._stopped and self._left:
                pause = LOOK_SECONDS
                if self._due:
                    pause = self._due[0][0] - time.monotonic()
                    if pause <= 0:
                        return heapq.heappop(self._due)[1]
                self._changed.wait(min(pause, LOOK_SECONDS))
            return None

    def _run_turn(self, place: int) -> float | None:
        """A turn of a device; None where it was the last."""
        agent = self.agents[place]
        try:
            pause = agent.run_turn()
            self._answer_samples(agent, place)
        except EngineError as error:
            self.failed[place] = error.code
            agent.log.write("device_ended", "error", code=error.code, reason=str(error.message))
            return None
        if self._is_once and (code := judge_end(agent, MOST_FAILURES)) is not None:
            if code:
                self.failed[place] = "failed"
            return None
        return pause

    def _answer_samples(self, agent: Agent, place: int) -> None:
        """What stands for the traffic of a device: rows of its own, or its samples, so that something is observed."""
        server = agent.supervisor.current
        now = time.monotonic()
        if not isinstance(server, SimulatedServer) or now < self._traffic_at[place]:
            return
        self._traffic_at[place] = now + (self._traffic.seconds if self._traffic else DEFAULT_SECONDS)
        if self._traffic is not None:
            rows, labels = self._traffic.draw(self._draws[place])
            keys, at = server.record(rows, server.predict(rows)), datetime.now(UTC)
            pairs = [(key, label) for key, label in zip(keys, labels, strict=True) if key is not None]
            lines = [json.dumps({"id": key, "at": at.isoformat(), "label": label}) for key, label in pairs]
            write_lines(agent.home.labels, lines, at)
        elif server.version.samples is not None:
            rows = Samples.read(server.version.samples).rows
            server.record(rows, server.predict(rows))
