"""What endpoints need of the registry: the versions that they serve, or compare with in shadow."""

from django.db.models import Q, QuerySet

from apps.ml.endpoints.models import Endpoint
from apps.ml.endpoints.states import EndpointState
from apps.ml.registry.models import ModelVersion
from deepseek.messages import Message


def find_version_use(versions: QuerySet[ModelVersion]) -> Message | None:
    """The first endpoint that serves one of the versions or has it in shadow. Registered in VERSION_USES."""
    rows = Endpoint.objects.exclude(state=EndpointState.DELETED)
    endpoint = rows.filter(Q(version__in=versions) | Q(shadow_version__in=versions)).order_by("pk").first()
    return Message("The endpoint {name} serves it.", name=endpoint.name) if endpoint else None
