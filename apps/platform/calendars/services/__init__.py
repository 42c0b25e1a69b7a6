"""Every write of schedules: create, change, pause, resume, delete; submit what is due."""

from apps.platform.calendars.services.firing import fire_due_schedules
from apps.platform.calendars.services.schedules import (
    create_schedule,
    delete_schedule,
    pause_schedule,
    resume_schedule,
    update_schedule,
)

__all__ = [
    "create_schedule",
    "delete_schedule",
    "fire_due_schedules",
    "pause_schedule",
    "resume_schedule",
    "update_schedule",
]
