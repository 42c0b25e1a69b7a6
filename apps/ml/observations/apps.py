from django.apps import AppConfig


class ObservationsConfig(AppConfig):
    name = "apps.ml.observations"

    def ready(self) -> None:
        """Register what the apps below cannot import: that a source can be held, whose parts then stay."""
        from django.utils.translation import gettext_lazy

        from apps.ml.observations.models import ObservationSource
        from apps.platform.holds.objects import HOLD_OBJECTS, HoldObject

        HOLD_OBJECTS.register(
            "observationsource",
            HoldObject(
                model=ObservationSource,
                project_path="project",
                label=gettext_lazy("Observation source"),
                view_permission="observation.view",
            ),
        )
