"""Bundles for programs: the inventory, building and downloading, receiving and applying; and signers."""

from __future__ import annotations

from typing import Any

from django.http import FileResponse, HttpResponse, HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.errors import NotFound
from apps.platform.accounts.projects import get_project
from apps.platform.artifacts.request_body import open_body, prevent_form_parsing, refuse_forms
from apps.platform.artifacts.verification import release_connection
from apps.platform.audit.services import record
from apps.platform.jobs.serializers import read_body
from apps.site.transfer import queries, services
from apps.site.transfer.facts import parse_manifest
from apps.site.transfer.folders import get_outgoing_folder
from apps.site.transfer.identity import get_identity
from apps.site.transfer.models import BundleSigner, IncomingBundle, OutgoingBundle
from apps.site.transfer.schemas import ApplicationBody, OutgoingBody, ReasonBody, SignerBody
from apps.site.transfer.serializers import (
    BundleSignerSerializer,
    IncomingBundleSerializer,
    IncomingDetailSerializer,
    OutgoingBundleSerializer,
    OutgoingDetailSerializer,
    ProposedSignerSerializer,
    RequestedApplicationSerializer,
)
from apps.site.transfer.services.incoming import list_missing_volumes
from apps.site.transfer.states import IncomingState, OutgoingState
from deepseek.bundles.spec import MANIFEST_FILE, BundleManifest, PlaneRef, encode_inventory
from deepseek.signing.dsse import MAX_ENVELOPE_BYTES

TAR = (200, "application/x-tar")


class InventoryDetail(APIView):
    @extend_schema(operation_id="bundle_inventory", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, project: str) -> HttpResponseBase:
        """What this project, and the mirror of the plane, hold: a bundle that is built against it carries the rest."""
        where = get_project(request.actor, project)
        digests = queries.list_inventory_digests(request.actor, where)
        created = timezone.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        content = encode_inventory(get_identity(), created, digests)
        record(actor=request.actor, action="bundle.export_inventory", obj=where, after={"digests": len(digests)})
        disposition = {"Content-Disposition": 'attachment; filename="inventory.json"'}
        return HttpResponse(content, content_type="application/json", headers=disposition)


# -- outgoing -------------------------------------------------------------------------------------------------------
def render_outgoing(bundle: OutgoingBundle) -> dict[str, Any]:
    manifest = BundleManifest.parse(bundle.manifest.encode()) if bundle.manifest else None
    bundle.volumes = list(manifest.volumes) if manifest else []  # type: ignore[attr-defined]
    return dict(OutgoingDetailSerializer(bundle).data)


class OutgoingList(GenericAPIView[OutgoingBundle]):
    serializer_class = OutgoingBundleSerializer
    queryset = OutgoingBundle.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="bundles_list", responses=OutgoingBundleSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """Bundles that are built here, newest first."""
        rows = queries.list_outgoing(request.actor, get_project(request.actor, project)).defer("manifest")
        return self.get_paginated_response(OutgoingBundleSerializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(operation_id="bundles_build", request=OutgoingBody, responses={201: OutgoingDetailSerializer})
    def post(self, request: Request, project: str) -> Response:
        """Build a bundle for the plane of an inventory; a worker writes it. 422 names what cannot be carried."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "bundle.build", where)
        body = read_body(OutgoingBody, request.data)
        bundle = services.request_bundle(actor=request.actor, project=where, **body.model_dump())
        return Response(render_outgoing(bundle), status=status.HTTP_201_CREATED)


class OutgoingDetail(APIView):
    @extend_schema(operation_id="bundles_retrieve", responses=OutgoingDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """One bundle, and its volumes once it is built."""
        return Response(render_outgoing(queries.get_outgoing(request.actor, get_project(request.actor, project), pk)))

    @extend_schema(operation_id="bundles_remove", responses={204: None})
    def delete(self, request: Request, project: str, pk: int) -> Response:
        """Remove its files from here. The row, with what was carried, stays."""
        bundle = queries.get_outgoing(request.actor, get_project(request.actor, project), pk)
        services.remove_bundle(actor=request.actor, bundle=bundle)
        return Response(status=status.HTTP_204_NO_CONTENT)


class OutgoingRetry(APIView):
    @extend_schema(operation_id="bundles_retry", request=None, responses=OutgoingDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Build a failed or cancelled one again; it goes on behind the last whole volume."""
        bundle = queries.get_outgoing(request.actor, get_project(request.actor, project), pk)
        services.retry_bundle(actor=request.actor, bundle=bundle)
        return Response(render_outgoing(bundle))


class OutgoingCancel(APIView):
    @extend_schema(operation_id="bundles_cancel", request=None, responses=OutgoingDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """End a build that waits or runs. Its whole volumes stay, so that it may go on by `retry`."""
        bundle = queries.get_outgoing(request.actor, get_project(request.actor, project), pk)
        services.cancel_build(actor=request.actor, bundle=bundle)
        return Response(render_outgoing(bundle))


class OutgoingManifest(APIView):
    @extend_schema(operation_id="bundles_manifest", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, project: str, pk: int) -> HttpResponseBase:
        """bundle.json, byte for byte: what two people sign."""
        bundle = require_built(queries.get_outgoing(request.actor, get_project(request.actor, project), pk))
        disposition = {"Content-Disposition": f'attachment; filename="{MANIFEST_FILE}"'}
        return HttpResponse(bundle.manifest.encode(), content_type="application/json", headers=disposition)


class OutgoingVolume(APIView):
    @extend_schema(operation_id="bundles_volume", responses={TAR: OpenApiTypes.BINARY})
    def get(self, request: Request, project: str, pk: int, number: int) -> HttpResponseBase:
        """The bytes of a volume, for whoever may read the project's files."""
        bundle = require_built(queries.get_outgoing(request.actor, get_project(request.actor, project), pk))
        policy.require(request.actor, "artifact.view", bundle)  # an auditor sees what was carried, and not its bytes
        volumes = BundleManifest.parse(bundle.manifest.encode()).volumes
        path = get_outgoing_folder(bundle) / (volumes[number - 1].name if 1 <= number <= len(volumes) else "none")
        if not path.is_file():
            raise NotFound("The bundle has no volume {number}.", number=number, code="volume_unknown", field="number")
        digests = {"manifest": bundle.manifest_digest}
        record(actor=request.actor, action="bundle.download", obj=bundle, after={"volume": number}, digests=digests)
        release_connection()
        return FileResponse(path.open("rb"), as_attachment=True, filename=path.name, content_type="application/x-tar")


def require_built(bundle: OutgoingBundle) -> OutgoingBundle:
    if bundle.state != OutgoingState.BUILT:
        raise NotFound("The bundle has no files here.", code="bundle_not_built", field="state", limit="built")
    return bundle


# -- incoming -------------------------------------------------------------------------------------------------------
def render_incoming(bundle: IncomingBundle) -> dict[str, Any]:
    manifest = parse_manifest(bundle)
    bundle.volumes = list(manifest.volumes)  # type: ignore[attr-defined]
    waits = bundle.state in (IncomingState.RECEIVING, IncomingState.REFUSED)
    bundle.missing = list_missing_volumes(bundle, manifest) if waits else []  # type: ignore[attr-defined]
    return dict(IncomingDetailSerializer(bundle).data)


class IncomingList(GenericAPIView[IncomingBundle]):
    serializer_class = IncomingBundleSerializer
    queryset = IncomingBundle.objects.none()  # for the schema alone
    body_limit_bytes = MAX_ENVELOPE_BYTES  # more than other bodies: a manifest of 1 MiB, in base64, with its signatures
    page_order = ("-id",)

    @extend_schema(operation_id="received_bundles_list", responses=IncomingBundleSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """Bundles that came in, newest first."""
        rows = queries.list_incoming(request.actor, get_project(request.actor, project))
        rows = rows.defer("manifest", "envelope", "preview")  # megabytes each
        return self.get_paginated_response(IncomingBundleSerializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(
        operation_id="received_bundles_create",
        request=OpenApiTypes.OBJECT,
        responses={201: IncomingDetailSerializer},
    )
    def post(self, request: Request, project: str) -> Response:
        """Begin to receive a bundle: the body is its bundle.dsse.json. Refused where the signatures do not count, where
        it is for another plane, or not newer than what was applied."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "bundle.receive", where)  # before the body: who may not, learns nothing of it
        bundle = services.receive_envelope(actor=request.actor, project=where, document=request.data)
        return Response(render_incoming(bundle), status=status.HTTP_201_CREATED)


class IncomingDetail(APIView):
    @extend_schema(operation_id="received_bundles_retrieve", responses=IncomingDetailSerializer)
    def get(self, request: Request, project: str, pk: int) -> Response:
        """One bundle: the volumes that are missing, what the scanner said, and what it will change."""
        return Response(render_incoming(queries.get_incoming(request.actor, get_project(request.actor, project), pk)))


class IncomingVolume(APIView):
    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        prevent_form_parsing(request._request)
        super().initial(request, *args, **kwargs)

    @extend_schema(
        operation_id="received_bundles_volume",
        request={"application/octet-stream": OpenApiTypes.BINARY},
        responses=IncomingDetailSerializer,
    )
    def put(self, request: Request, project: str, pk: int, number: int) -> Response:
        """Send a volume into quarantine. Sent again, it replaces the one before."""
        bundle = queries.get_incoming(request.actor, get_project(request.actor, project), pk)
        policy.require(request.actor, "bundle.receive", bundle)
        refuse_forms(request._request)
        body = open_body(request._request)
        release_connection()
        services.receive_volume(actor=request.actor, bundle=bundle, number=number, stream=body.chunks)
        return Response(render_incoming(bundle))


class IncomingCheck(APIView):
    @extend_schema(operation_id="received_bundles_check", request=None, responses=IncomingDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Have it verified, scanned and compared with what is here; a worker does."""
        bundle = queries.get_incoming(request.actor, get_project(request.actor, project), pk)
        services.request_check(actor=request.actor, bundle=bundle)
        return Response(render_incoming(bundle))


class IncomingCancel(APIView):
    @extend_schema(operation_id="received_bundles_cancel", request=None, responses=IncomingDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """End a check or a load that waits or runs. The approval of a load is spent."""
        bundle = queries.get_incoming(request.actor, get_project(request.actor, project), pk)
        services.cancel_step(actor=request.actor, bundle=bundle)
        return Response(render_incoming(bundle))


class IncomingRetry(APIView):
    @extend_schema(operation_id="received_bundles_retry", request=None, responses=IncomingDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Do a check or a load at once that waits for its next try, after a full disk for instance."""
        bundle = queries.get_incoming(request.actor, get_project(request.actor, project), pk)
        services.retry_step(actor=request.actor, bundle=bundle)
        return Response(render_incoming(bundle))


class IncomingAccept(APIView):
    @extend_schema(operation_id="received_bundles_accept", request=ReasonBody, responses=IncomingDetailSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """A system administrator answers for images, packages and advisories in it. No token may."""
        bundle = queries.get_incoming(request.actor, get_project(request.actor, project), pk)
        policy.require(request.actor, "bundle.accept_plane_contents", bundle)
        reason = read_body(ReasonBody, request.data).reason
        services.accept_plane_contents(actor=request.actor, bundle=bundle, reason=reason)
        return Response(render_incoming(bundle))


class IncomingApply(APIView):
    @extend_schema(
        operation_id="received_bundles_apply", request=ApplicationBody, responses=RequestedApplicationSerializer
    )
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Ask the approvers to apply it. Once enough approve, a worker loads it."""
        bundle = queries.get_incoming(request.actor, get_project(request.actor, project), pk)
        policy.require(request.actor, "bundle.request_application", bundle)
        comment = read_body(ApplicationBody, request.data).comment
        approval = services.request_application(actor=request.actor, bundle=bundle, comment=comment)
        return Response(RequestedApplicationSerializer({"approval": approval.pk}).data)


class IncomingDiscard(APIView):
    @extend_schema(operation_id="received_bundles_discard", request=ReasonBody, responses=IncomingBundleSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """Remove it from quarantine."""
        bundle = queries.get_incoming(request.actor, get_project(request.actor, project), pk)
        policy.require(request.actor, "bundle.discard", bundle)
        reason = read_body(ReasonBody, request.data).reason
        services.discard_bundle(actor=request.actor, bundle=bundle, reason=reason)
        return Response(IncomingBundleSerializer(bundle).data)


# -- signers --------------------------------------------------------------------------------------------------------
class SignerList(GenericAPIView[BundleSigner]):
    serializer_class = BundleSignerSerializer
    queryset = BundleSigner.objects.none()  # for the schema alone
    page_order = ("-id",)

    @extend_schema(operation_id="bundle_signers_list", responses=BundleSignerSerializer(many=True))
    def get(self, request: Request, project: str) -> Response:
        """Whose signatures count, whose are proposed and whose were revoked."""
        rows = queries.list_signers(request.actor, get_project(request.actor, project))
        return self.get_paginated_response(BundleSignerSerializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(operation_id="bundle_signers_propose", request=SignerBody, responses={201: ProposedSignerSerializer})
    def post(self, request: Request, project: str) -> Response:
        """Ask the approvers to trust a person's key for the bundles of a source."""
        where = get_project(request.actor, project)
        policy.require(request.actor, "bundle_signer.propose", where)
        body = read_body(SignerBody, request.data)
        row, approval = services.propose_signer(
            actor=request.actor,
            project=where,
            source=PlaneRef(body.source.id, body.source.name),
            document=body.signer,
            comment=body.comment,
            valid_days=body.valid_days,
            replaces=queries.get_signer(request.actor, where, body.replaces) if body.replaces is not None else None,
        )
        row.approval = approval.pk  # type: ignore[attr-defined]
        return Response(ProposedSignerSerializer(row).data, status=status.HTTP_201_CREATED)


class SignerRevoke(APIView):
    @extend_schema(operation_id="bundle_signers_revoke", request=ReasonBody, responses=BundleSignerSerializer)
    def post(self, request: Request, project: str, pk: int) -> Response:
        """The key counts no more, at once, also for bundles in quarantine."""
        signer = queries.get_signer(request.actor, get_project(request.actor, project), pk)
        policy.require(request.actor, "bundle_signer.revoke", signer)
        reason = read_body(ReasonBody, request.data).reason
        return Response(
            BundleSignerSerializer(services.revoke_signer(actor=request.actor, signer=signer, reason=reason)).data
        )
