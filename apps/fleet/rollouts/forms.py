"""The form of a new rollout. It only parses text; the services validate, and errors stand beside their fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_naive, make_aware
from django.utils.translation import gettext as _

from apps.core.actors import Actor
from apps.core.request_values import parse_int
from apps.data.datasets.forms import FieldsForm
from apps.fleet.devices.queries import list_groups
from apps.fleet.rollouts import queries, services
from apps.fleet.rollouts.models import Rollout
from apps.fleet.rollouts.schemas import RolloutBody
from apps.platform.accounts.models import Project
from apps.platform.jobs.serializers import read_body
from apps.platform.jobs.specforms.fields import FormItem

MAX_GROUPS = 200
METRICS = (1, 2, 3)  # gates of figures that the form has room for; REST takes more
ARCHITECTURES = ("x86_64", "aarch64")
WAVE = re.compile(r"(?P<share>[0-9.]+) ?%|(?P<count>[0-9]+)|group (?P<group>\S+)")
WINDOW = re.compile(r"(?P<days>[a-z, ]+) (?P<start>[0-9:]+) (?P<minutes>[0-9]+)")
SECONDS_OF_HOUR, SECONDS_OF_MINUTE = 3600, 60
DEFAULTS = {
    "waves": "10 %\n50 %\n100 %",
    "install_limit": "10",
    "silence": "true",
    "soak_hours": "24",
    "wave_hours": "72",
    "look_minutes": "15",
    "approve_after": "first",
    "automatic": "true",
    "time_zone": "UTC",
    "attempts": "2",
    "deadline_hours": "24",
    "covers_new": "true",
}


class RolloutForm(FieldsForm):
    field_names = (
        "version",
        "title",
        "variant_x86_64",
        "variant_aarch64",
        "group",
        "query",
        "stratify_by",
        "waves",
        "approve_after",
        "install_limit",
        "silence",
        *(f"{part}_{number}" for number in METRICS for part in ("metric", "better", "margin")),
        "soak_hours",
        "wave_hours",
        "look_minutes",
        "automatic",
        "start_at",
        "windows",
        "time_zone",
        "attempts",
        "deadline_hours",
        "covers_new",
        "without_samples",
    )
    renamed_fields = {
        "model": "version",
        "canary": "soak_hours",
        "canary/soak_seconds": "soak_hours",
        "variants/x86_64": "variant_x86_64",
        "variants/aarch64": "variant_aarch64",
        "variants": "variant_x86_64",
        "wave_deadline_seconds": "wave_hours",
        "look_seconds": "look_minutes",
        "deadline_seconds": "deadline_hours",
        "schedule": "windows",
        "schedule/start_at": "start_at",
        "schedule/time_zone": "time_zone",
        "retry/attempts": "attempts",
    }

    def __init__(self, actor: Actor, project: Project, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(DEFAULTS if data is None else data)
        self.actor, self.project = actor, project
        self.version_choices = [
            (f"{version.model.name}:{version.number}", f"{version.model.name} v{version.number}")
            for version in queries.list_deployable_versions(actor, project)
        ]

    # -- parse ------------------------------------------------------------------------------------------------------
    def read_number(self, name: str, factor: float = 1.0) -> float | int | str:
        """The number that was typed times `factor`; the text itself where it is none, for the service to refuse."""
        text = self.values[name].strip()
        try:
            number = float(text) * factor
        except ValueError:
            return text
        return int(number) if number == number // 1 and abs(number) < 1e15 else number

    def build_document(self) -> dict[str, Any]:
        """The body as a program would send it."""
        values = {name: text.strip() for name, text in self.values.items()}
        model, _separator, number = values["version"].rpartition(":")
        document: dict[str, Any] = {
            "title": values["title"],
            "model": model,
            "version": parse_int(number) if parse_int(number) is not None else number,
            "group": values["group"],
            "query": values["query"],
            "variants": {name: values[f"variant_{name}"] for name in ARCHITECTURES if values[f"variant_{name}"]},
            "stratify_by": [part.strip() for part in values["stratify_by"].split(",") if part.strip()],
            "waves": [self.parse_wave(line) for line in values["waves"].splitlines() if line.strip()],
            "canary": {"gates": self.build_gates(), "soak_seconds": self.read_number("soak_hours", SECONDS_OF_HOUR)},
            "approve_after": values["approve_after"],
            "schedule": self.build_schedule(values),
            "retry": {"attempts": self.read_number("attempts")},
            "deadline_seconds": self.read_number("deadline_hours", SECONDS_OF_HOUR),
            "wave_deadline_seconds": self.read_number("wave_hours", SECONDS_OF_HOUR),
            "look_seconds": self.read_number("look_minutes", SECONDS_OF_MINUTE),
            "covers_new": values["covers_new"] == "true",
            "without_samples": values["without_samples"] == "true",
        }
        return document

    def parse_wave(self, line: str) -> dict[str, Any]:
        """`10 %`, `20` devices, or `group berlin`; a line that is none of them is refused by the schema."""
        match = WAVE.fullmatch(line.strip().lower().removesuffix("devices").removesuffix("device").strip())
        if match is None:
            return {}
        if match["share"]:
            try:
                return {"share": float(match["share"]) / 100}
            except ValueError:
                return {}
        return {"count": int(match["count"][:9])} if match["count"] else {"group": match["group"]}

    def build_gates(self) -> list[dict[str, Any]]:
        gates: list[dict[str, Any]] = []
        self.gate_fields: list[str] = []
        if self.values["install_limit"].strip():
            limit = self.read_number("install_limit", 0.01)
            gates.append(
                {
                    "name": "install",
                    "measure": "install_failure",
                    "scale": "binary",
                    "reference": "limit",
                    "limit": limit,
                }
            )
            self.gate_fields.append("install_limit")
        if self.values["silence"] == "true":
            gates.append({"name": "silence", "measure": "silence", "scale": "binary"})
            self.gate_fields.append("silence")
        for number in METRICS:
            name, margin = self.values[f"metric_{number}"].strip(), self.values[f"margin_{number}"].strip()
            if name:
                tests = {"tests": ["harm", "non_inferiority"], "margin": self.read_number(f"margin_{number}")}
                better = self.values[f"better_{number}"] or "lower"
                gates.append({"name": name, "better": better, **(tests if margin else {})})
                self.gate_fields.append(f"margin_{number}")
        return gates

    def build_schedule(self, values: Mapping[str, str]) -> dict[str, Any]:
        schedule: dict[str, Any] = {
            "automatic": values["automatic"] == "true",
            "time_zone": values["time_zone"] or "UTC",
            "windows": [self.parse_window(line) for line in values["windows"].splitlines() if line.strip()],
        }
        if values["start_at"]:
            schedule["start_at"] = self.parse_start(values["start_at"])
        return schedule

    def parse_window(self, line: str) -> dict[str, Any]:
        """`mon, tue 22:00 360`: days, when it begins, and minutes."""
        match = WINDOW.fullmatch(line.strip().lower())
        if match is None:
            return {"days": [line.strip()[:40]], "start": "", "minutes": 0}
        days = [day for day in re.split(r"[, ]+", match["days"]) if day]
        return {"days": days, "start": match["start"], "minutes": int(match["minutes"][:9])}

    def parse_start(self, text: str) -> str:
        """A moment in the reader's zone, with its offset; the text itself where it is none."""
        try:
            moment = parse_datetime(text)
        except ValueError:
            moment = None
        if moment is None:
            return text
        return (make_aware(moment) if is_naive(moment) else moment).isoformat()

    def refuse(self, failure: Any) -> None:
        """Errors of a gate stand beside the field that it came from."""
        for each in failure.errors:
            field = str(each.get("field") or "").strip("/")
            parts = field.split("/")
            if parts[:2] == ["canary", "gates"] and len(parts) > 2 and parts[2].isdigit():
                each["field"] = self.gate_fields[int(parts[2])]
            elif parts[0] == "schedule" and parts[1:2] == ["windows"]:
                each["field"] = "windows"
        super().refuse(failure)

    # -- write ------------------------------------------------------------------------------------------------------
    def save(self) -> Rollout | None:
        rollout: Rollout | None = self.attempt(
            lambda: services.create_rollout(
                actor=self.actor, project=self.project, body=read_body(RolloutBody, self.build_document())
            )
        )
        return rollout

    def compute_preview(self) -> dict[str, Any] | None:
        """The blast radius of what is typed; None with `errors` where something is wrong."""
        preview: dict[str, Any] | None = self.attempt(
            lambda: services.preview_rollout(
                actor=self.actor, project=self.project, body=read_body(RolloutBody, self.build_document())
            )
        )
        return preview

    # -- draw -------------------------------------------------------------------------------------------------------
    @property
    def items(self) -> list[FormItem]:
        return [
            self.build_group("what", _("What"), self.list_what_items()),
            self.build_group("whom", _("Which devices"), self.list_device_items()),
            self.build_group("waves-of", _("Waves"), self.list_wave_items()),
            self.build_group(
                "gates",
                _("Gates"),
                self.list_gate_items(),
                doc=_(
                    "Canary devices are compared with devices that do not have the version yet. Harm that is shown"
                    " rolls back by itself; what cannot be decided waits for people."
                ),
            ),
            self.build_group("when", _("When"), self.list_schedule_items()),
            self.build_group("more", _("Advanced"), self.list_advanced_items(), folded=True),
        ]

    @property
    def problems(self) -> list[FormItem]:
        items = [item for group in self.items for item in group.items]
        items += [field for item in items for field in item.items]
        return [item for item in items if item.error]

    def build_group(
        self, pointer: str, label: str, items: list[FormItem], *, folded: bool = False, **more: Any
    ) -> FormItem:
        is_open = any(item.error or (item.kind == "field" and folded and self.is_typed(item)) for item in items)
        return FormItem(kind="group", pointer=pointer, label=label, items=items, folded=folded, open=is_open, **more)

    def is_typed(self, item: FormItem) -> bool:
        """Whether a field differs from what a new form has."""
        return item.control != "select" and str(item.value) not in ("", DEFAULTS.get(item.pointer, ""))

    def list_what_items(self) -> list[FormItem]:
        return [
            self.build_item(
                "version",
                _("Version"),
                control="select",
                required=True,
                choices=[("", _("choose one")), *self.version_choices],
                doc=_("With a variant that a device serves without PyTorch."),
            ),
            self.build_item(
                "title", _("Title"), limit=_("at most 120 characters"), doc=_("What lists call it beside its number.")
            ),
            *(
                self.build_item(
                    f"variant_{name}",
                    _("Variant for %(architecture)s") % {"architecture": name},
                    doc=_("Its name. Empty: the first that fits, its own form before ONNX."),
                )
                for name in ARCHITECTURES
            ),
        ]

    def list_device_items(self) -> list[FormItem]:
        groups = list_groups(self.actor, self.project).order_by("name").values_list("name", flat=True)[:MAX_GROUPS]
        return [
            self.build_item(
                "group",
                _("Group"),
                control="select",
                choices=[("", _("every device")), *((name, name) for name in groups)],
                doc=_("A copy of its query: a group that changes changes no rollout."),
            ),
            self.build_item(
                "query",
                _("Query"),
                limit=_("instead of a group; at most 2,000 characters"),
                doc="tag.site = 'berlin' AND architecture = 'aarch64'",
            ),
            self.build_item(
                "stratify_by",
                _("Stratified by"),
                limit=_("up to five labels with commas between: tag.KEY, attribute.KEY"),
                doc=_("Each wave has of each of their values what the fleet has; besides architecture and version."),
            ),
        ]

    def list_wave_items(self) -> list[FormItem]:
        return [
            self.build_item(
                "waves",
                _("Waves"),
                control="textarea",
                required=True,
                limit=_("one a line: 10 % (of all, with the waves before), 20 (devices), group berlin"),
            ),
            self.build_item(
                "approve_after",
                _("Approvers decide"),
                control="select",
                required=True,
                choices=[
                    ("first", _("before the start, and after the first wave")),
                    ("every", _("before the start, and after every wave")),
                    ("none", _("before the start only")),
                ],
            ),
        ]

    def list_gate_items(self) -> list[FormItem]:
        items = [
            self.build_item(
                "install_limit",
                _("Failed installations"),
                control="number",
                unit="%",
                doc=_("Roll back where more of them fail, beyond chance. Empty: not compared."),
            ),
            self.build_item(
                "silence",
                _("Silence"),
                control="checkbox",
                doc=_("Roll back where more canary devices fall silent than control devices."),
            ),
        ]
        more = [item for number in METRICS[1:] for item in self.list_metric_items(number)]
        items += [
            *self.list_metric_items(METRICS[0]),
            self.build_group("more-figures", _("More figures"), more, folded=True),
        ]
        return [
            *items,
            self.build_item(
                "soak_hours",
                _("Soak time"),
                control="number",
                required=True,
                unit=_("hours"),
                doc=_("How long each device is observed after its installation."),
            ),
            self.build_item(
                "wave_hours",
                _("Deadline of a wave"),
                control="number",
                required=True,
                unit=_("hours"),
                doc=_("Then its last look is taken. After the soak time."),
            ),
        ]

    def list_metric_items(self, number: int) -> list[FormItem]:
        """The fields of one gate of a figure that devices send."""
        better, values = [("lower", _("lower is better")), ("higher", _("higher is better"))], {"number": number}
        return [
            self.build_item(
                f"metric_{number}",
                _("Figure %(number)s") % values,
                limit=_("as devices send it: request_milliseconds_mean, accuracy"),
            ),
            self.build_item(
                f"better_{number}", _("Figure %(number)s: better") % values, control="select", choices=better
            ),
            self.build_item(
                f"margin_{number}",
                _("Figure %(number)s: margin") % values,
                control="number",
                doc=_("It has to be shown to be worse by less than this. Empty: it only rolls back."),
            ),
        ]

    def list_schedule_items(self) -> list[FormItem]:
        return [
            self.build_item(
                "automatic",
                _("Start when approved"),
                control="checkbox",
                doc=_("Otherwise an engineer starts it."),
            ),
            self.build_item("start_at", _("Not before"), limit="2026-11-30 22:00"),
            self.build_item(
                "windows",
                _("Maintenance windows"),
                control="textarea",
                limit=_("one a line: mon, tue 22:00 360 (days, begin, minutes). Empty: at any time"),
            ),
            self.build_item("time_zone", _("Time zone"), limit="UTC, Europe/Berlin, Asia/Shanghai"),
        ]

    def list_advanced_items(self) -> list[FormItem]:
        return [
            self.build_item(
                "look_minutes", _("Interval between looks"), control="number", required=True, unit=_("minutes")
            ),
            self.build_item(
                "deadline_hours",
                _("Deadline of a device"),
                control="number",
                required=True,
                unit=_("hours"),
                doc=_("Without a receipt until then it has failed."),
            ),
            self.build_item(
                "attempts",
                _("Attempts"),
                control="number",
                required=True,
                doc=_("Of failures that may pass: silent, download_failed, disk_full."),
            ),
            self.build_item("covers_new", _("Devices that enrol later get it too"), control="checkbox"),
            self.build_item(
                "without_samples",
                _("Release variants without samples"),
                control="checkbox",
                doc=_("Devices then only open the model before they switch."),
            ),
        ]
