"""manage.py node: cordon, drain, release, label and measure a node, on a host of the plane."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.core.actors import PlaneRole, build_plane_actor
from apps.core.errors import Conflict, PlaneError
from apps.platform.nodes import services
from apps.platform.nodes.disk_speed import REFERENCE_BYTES_PER_SECOND, measure_disk_speed
from apps.platform.nodes.models import Node

LOOK_SECONDS = 2.0
ACTIONS = ("cordon", "drain", "release", "label", "measure-disk")


class Command(BaseCommand):
    help = "Cordon (no new jobs), drain (and wait until none runs), release, label or measure the disk of a node."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=ACTIONS, help="what to do")
        parser.add_argument("name", help="name of the node")
        parser.add_argument("labels", nargs="*", metavar="LABEL", help="label: its labels, in place of what it has")
        parser.add_argument("--reason", default="", help="cordon, drain: why; whoever waits reads it")
        parser.add_argument("--timeout", type=int, default=3600, help="drain: seconds to wait (default: 3600)")
        parser.add_argument("--folder", type=Path, help="measure-disk: where (default: scratch of PLANE_HOME)")

    def handle(self, *args: Any, action: str, name: str, **options: Any) -> None:
        self.actor = build_plane_actor(PlaneRole.OPERATOR)
        try:
            getattr(self, action.replace("-", "_"))(self.get_node(name), options)
        except PlaneError as error:
            raise CommandError(f"{error.message} {error.hint or ''}".strip(), returncode=2) from None

    def get_node(self, name: str) -> Node:
        node = Node.objects.with_status().with_use().filter(name=name).first()
        if node is None:
            names = ", ".join(Node.objects.order_by("name").values_list("name", flat=True)[:20])
            raise CommandError(f"There is no node {name!r}. There are: {names or 'none'}.", returncode=2)
        return node

    def cordon(self, node: Node, options: dict[str, Any]) -> None:
        """No new jobs; those that run there go on."""
        services.hold_node(actor=self.actor, node=node, reason=options["reason"])
        self.print_left(node.name)

    def drain(self, node: Node, options: dict[str, Any]) -> None:
        """No new jobs, and wait until the last one has ended."""
        try:
            services.hold_node(actor=self.actor, node=node, reason=options["reason"])
        except Conflict:
            self.stdout.write(f"{node.name} takes no new jobs already")
        deadline, left = time.monotonic() + options["timeout"], -1
        while time.monotonic() < deadline:
            count = self.get_node(node.name).running_jobs
            if count != left:
                left = self.print_left(node.name)
            if not count:
                return
            time.sleep(LOOK_SECONDS)
        raise CommandError(f"{node.name} still runs {left} jobs after {options['timeout']} s.", returncode=1)

    def print_left(self, name: str) -> int:
        count = int(self.get_node(name).running_jobs)
        self.stdout.write(f"{name} takes no new jobs; {count} left to end")
        return count

    def release(self, node: Node, options: dict[str, Any]) -> None:
        services.release_node(actor=self.actor, node=node)
        self.stdout.write(f"{node.name} takes jobs again")

    def label(self, node: Node, options: dict[str, Any]) -> None:
        labelled = services.set_labels(actor=self.actor, node=node, labels=",".join(options["labels"]))
        self.stdout.write(f"{node.name}: {', '.join(labelled.labels) or 'no labels'}")

    def measure_disk(self, node: Node, options: dict[str, Any]) -> None:
        """Run on the node itself: it is this machine's disk."""
        folder = options["folder"] or Path(settings.PLANE_HOME) / "scratch"
        try:
            speed = measure_disk_speed(folder)
        except OSError as error:
            raise CommandError(f"The disk under {folder} cannot be measured: {error.strerror or error}.") from None
        services.record_disk_speed(actor=self.actor, node=node, speed=speed)
        read, write = speed["read_bytes_per_second"], speed["write_bytes_per_second"]
        share = read / REFERENCE_BYTES_PER_SECOND
        self.stdout.write(
            f"{node.name}: reads {read / 1e9:.2f} GB/s ({share:.0%} of the reference,"
            f" {REFERENCE_BYTES_PER_SECOND / 1e9:g} GB/s), writes {write / 1e9:.2f} GB/s"
        )
