"""The plane's own schedules for programs: the same operations, by addresses without a project."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema, extend_schema_view

from apps.platform.calendars import api


@extend_schema_view(
    get=extend_schema(operation_id="plane_schedules_list"), post=extend_schema(operation_id="plane_schedules_create")
)
class PlaneScheduleList(api.ScheduleList):
    pass


@extend_schema_view(get=extend_schema(operation_id="plane_schedules_preview"))
class PlaneSchedulePreview(api.SchedulePreview):
    pass


@extend_schema_view(
    get=extend_schema(operation_id="plane_schedules_retrieve"),
    patch=extend_schema(operation_id="plane_schedules_update"),
    delete=extend_schema(operation_id="plane_schedules_delete"),
)
class PlaneScheduleDetail(api.ScheduleDetail):
    pass


@extend_schema_view(post=extend_schema(operation_id="plane_schedule_pause_create"))
class PlaneSchedulePause(api.SchedulePause):
    pass


@extend_schema_view(post=extend_schema(operation_id="plane_schedule_resume_create"))
class PlaneScheduleResume(api.ScheduleResume):
    pass


@extend_schema_view(get=extend_schema(operation_id="plane_schedule_occurrences_list"))
class PlaneOccurrenceList(api.OccurrenceList):
    pass
