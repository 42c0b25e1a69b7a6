from django.apps import AppConfig


class LabellingConfig(AppConfig):
    name = "apps.ml.labelling"

    def ready(self) -> None:
        """Register the kinds of notices that labelling projects queue."""
        from apps.ml.labelling.notices import KINDS
        from apps.platform.notices.kinds import NOTICE_KINDS

        for key, kind in KINDS.items():
            NOTICE_KINDS.register(key, kind)
