"""What people and their programs set for stock clients: the update file of a release, the maintenance window."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.fleet.releases.queries import get_release
from apps.gateways.hawkbit import queries, services
from apps.gateways.hawkbit.schemas import UpdateFileBody, WindowBody
from apps.gateways.hawkbit.serializers import MaintenanceWindowSerializer, UpdateFileSerializer
from apps.platform.accounts.projects import get_project
from apps.platform.jobs.serializers import read_body


class UpdateFileView(APIView):
    @extend_schema(operation_id="releases_update_file", responses=UpdateFileSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """What stock update clients get of the release in place of the variant's own file; 404 where that is it."""
        release = get_release(request.actor, get_project(request.actor, project), pk)
        return Response(UpdateFileSerializer(queries.get_update_file(request.actor, release)).data)

    @extend_schema(operation_id="releases_attach_update_file", request=UpdateFileBody, responses=UpdateFileSerializer)
    def put(self, request: Request, project: str, pk: int) -> Response:
        """Attach an archive that the site has built and signed, once. By an approver who did not upload it."""
        release = get_release(request.actor, get_project(request.actor, project), pk)
        policy.require(request.actor, "release.attach_update_file", release)
        body = read_body(UpdateFileBody, request.data)
        row = services.attach_update_file(actor=request.actor, release=release, digest=body.digest, name=body.name)
        return Response(UpdateFileSerializer(row).data)


class MaintenanceWindowView(APIView):
    @extend_schema(operation_id="devices_maintenance_window", responses=MaintenanceWindowSerializer)
    def get(self, request: Request, project: str) -> Response:
        """When stock update clients of the project may install; 404: at any time."""
        window = queries.get_window(request.actor, get_project(request.actor, project))
        return Response(MaintenanceWindowSerializer(window.as_document()).data)

    @extend_schema(
        operation_id="devices_set_maintenance_window", request=WindowBody, responses=MaintenanceWindowSerializer
    )
    def put(self, request: Request, project: str) -> Response:
        """Let them install in a weekly window alone; at other times they download and wait."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "device.set_maintenance_window", where)
        window = services.set_window(actor=request.actor, project=where, body=read_body(WindowBody, request.data))
        return Response(MaintenanceWindowSerializer(window.as_document()).data)

    @extend_schema(operation_id="devices_remove_maintenance_window", responses={204: None})
    def delete(self, request: Request, project: str) -> Response:
        """Let them install at any time."""
        services.remove_window(actor=request.actor, project=get_project(request.actor, project))
        return Response(status=204)
