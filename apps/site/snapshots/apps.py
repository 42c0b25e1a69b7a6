from django.apps import AppConfig


class SnapshotsConfig(AppConfig):
    name = "apps.site.snapshots"

    def ready(self) -> None:
        """Register what a schedule of the plane can submit, and the notice of damage."""
        from apps.platform.calendars.targets import SCHEDULE_TARGETS
        from apps.platform.notices.kinds import NOTICE_KINDS
        from apps.site.snapshots.notices import DAMAGED, DAMAGED_KIND
        from apps.site.snapshots.schedule_targets import TARGETS

        for key, target in TARGETS.items():
            SCHEDULE_TARGETS.register(key, target)
        NOTICE_KINDS.register(DAMAGED, DAMAGED_KIND)
