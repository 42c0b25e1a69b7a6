"""Packages for programs; installers speak to /simple/ (index_views.py)."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.core import policy
from apps.core.actors import Actor
from apps.platform.accounts.api import parse_body
from apps.site.mirror import queries, services
from apps.site.mirror.images.queries import list_tags
from apps.site.mirror.models import ImageTag, Package, PackageQuerySet
from apps.site.mirror.serializers import (
    ImageTagSerializer,
    PackageDetailSerializer,
    PackageSerializer,
    YankSerializer,
)

FILTERS = [
    OpenApiParameter("q", str, description="A part of the name or of the summary."),
    OpenApiParameter("advisories", str, enum=["any", "none"], description="Of the newest version."),
    OpenApiParameter("owner", str, enum=list(queries.OWNERS)),
]


class PackageList(ListAPIView[Package]):
    serializer_class = PackageSerializer
    queryset = Package.objects.none()  # for the schema alone
    page_order = ("name",)

    def get_queryset(self) -> PackageQuerySet:
        params = self.request.query_params
        filters = {name: params.get(name, "") for name in queries.FILTERS}
        return queries.list_packages(self.request.actor, **filters)

    @extend_schema(operation_id="packages_list", parameters=FILTERS)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The packages of the index by name."""
        return super().get(request, *args, **kwargs)


class ImageList(ListAPIView[ImageTag]):
    serializer_class = ImageTagSerializer
    queryset = ImageTag.objects.none()  # for the schema alone
    page_order = ("repository", "tag")

    def get_queryset(self) -> QuerySet[ImageTag]:
        return list_tags(self.request.actor, q=self.request.query_params.get("q", ""))

    @extend_schema(
        operation_id="images_list", parameters=[OpenApiParameter("q", str, description="A part of the repository.")]
    )
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """The container images by name; they are pulled from /v2/."""
        return super().get(request, *args, **kwargs)


class PackageDetail(APIView):
    @extend_schema(operation_id="packages_detail", responses=PackageDetailSerializer)
    def get(self, request: Request, name: str) -> Response:
        """A package with its versions, their files and advisories, and the packages that need it."""
        return Response(serialize_package(request.actor, name))


class PackageYank(APIView):
    @extend_schema(operation_id="packages_yank", request=YankSerializer, responses=PackageDetailSerializer)
    def post(self, request: Request, name: str, version: str) -> Response:
        """Withdraw a version: installers no longer choose it, who pins it still gets it."""
        row = queries.get_package_version(request.actor, name, version)
        policy.require(request.actor, "package.yank", row)
        services.yank_version(actor=request.actor, version=row, **parse_body(YankSerializer, request))
        return Response(serialize_package(request.actor, name))


class PackageUnyank(APIView):
    @extend_schema(operation_id="packages_unyank", request=None, responses=PackageDetailSerializer)
    def post(self, request: Request, name: str, version: str) -> Response:
        """Offer a yanked version again."""
        row = queries.get_package_version(request.actor, name, version)
        services.unyank_version(actor=request.actor, version=row)
        return Response(serialize_package(request.actor, name))


def serialize_package(actor: Actor, name: str) -> dict[str, Any]:
    package: Any = queries.get_package(actor, name)
    feed = queries.get_feed()
    serializer = PackageDetailSerializer(package)
    document = dict(PackageSerializer(package).data)
    document["versions"] = serializer.fields["versions"].to_representation(queries.list_versions(package))
    document["dependents"] = queries.list_dependents(package)
    document["advisories_dated_at"] = feed.dated_at if feed else None
    return document
