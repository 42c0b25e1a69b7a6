"""The images as a registry that docker, podman and skopeo pull from (Distribution API v2): `/v2/`.

Nothing is pushed to it: images come by `manage.py import_image`, which checks every hash.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus

from django.contrib.auth.decorators import login_not_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from apps.core.actors import ANONYMOUS
from apps.core.errors import NotFound, PlaneError, Refused, WrongMethod
from apps.platform.artifacts.downloads import download
from apps.platform.artifacts.models import Artifact, Holding
from apps.platform.audit.faults import translate_fault
from apps.platform.audit.services import record_refusal
from apps.site.mirror.access import REALM, require_reader
from apps.site.mirror.models import ContainerImage, ImageTag

MAX_NAMES = 1000  # of a list
CODES = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NAME_UNKNOWN", 405: "UNSUPPORTED", 429: "TOOMANYREQUESTS"}
View = Callable[..., HttpResponseBase]


def answer_registry(view: View) -> View:
    """Decorator: no log-in page, no CSRF, reading alone, and errors in the shape of the Distribution API."""

    @csrf_exempt
    @login_not_required
    @wraps(view)
    def respond(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponseBase:
        try:
            require_reader(request, "image.view")
            if request.method not in ("GET", "HEAD"):
                raise WrongMethod("Images are imported by the operator: nothing is pushed here.", limit="GET, HEAD")
            response = view(request, *args, **kwargs)
        except Exception as failure:
            error = failure if isinstance(failure, PlaneError) else translate_fault(failure)
            if error is None:
                raise
            response = render_registry_error(request, error)
        response.headers["Docker-Distribution-API-Version"] = "registry/2.0"
        return response

    return respond


def render_registry_error(request: HttpRequest, error: PlaneError) -> HttpResponse:
    if isinstance(error, Refused):
        record_refusal(getattr(request, "actor", ANONYMOUS), error, request)
    body = {
        "errors": [
            {"code": CODES.get(error.status, "UNKNOWN"), "message": str(error.message), "detail": str(error.hint or "")}
        ]
    }
    response = JsonResponse(body, status=error.status, headers={"Cache-Control": "no-store"})
    if error.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = REALM
    return response


@answer_registry
def show_root(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse({})


@answer_registry
def refuse_address(request: HttpRequest, rest: str) -> HttpResponseBase:
    raise NotFound("The registry has no address {rest!r}.", rest=rest[:100])


@answer_registry
def list_repositories(request: HttpRequest) -> HttpResponseBase:
    names = ImageTag.objects.order_by("repository").values_list("repository", flat=True).distinct()
    return JsonResponse({"repositories": list(names[:MAX_NAMES])})


@answer_registry
def list_repository_tags(request: HttpRequest, name: str) -> HttpResponseBase:
    tags = list(ImageTag.objects.filter(repository=name).order_by("tag").values_list("tag", flat=True)[:MAX_NAMES])
    if not tags:
        raise NotFound("There is no repository {name!r}.", name=name[:100])
    return JsonResponse({"name": name, "tags": tags})


@answer_registry
def get_manifest(request: HttpRequest, name: str, reference: str) -> HttpResponseBase:
    """By tag or by digest: the bytes of the manifest under its own media type."""
    rows = ContainerImage.objects.filter(tags__repository=name)
    if reference.startswith("sha256:"):
        image = rows.filter(manifest_digest=reference.removeprefix("sha256:")).first()
    else:
        tag = ImageTag.objects.filter(repository=name, tag=reference).select_related("image").first()
        image = tag.image if tag else None
    if image is None:
        raise NotFound("There is no image {name}:{reference}.", name=name[:100], reference=reference[:100])
    digest = f"sha256:{image.manifest_digest}"
    headers = {"Docker-Content-Digest": digest, "ETag": f'"{digest}"', "Cache-Control": "private, no-cache"}
    return HttpResponse(bytes(image.manifest), content_type=image.media_type, headers=headers)


@answer_registry
def get_blob(request: HttpRequest, name: str, digest: str) -> HttpResponseBase:
    """A layer or config of an image of this repository; whole or a range, each chunk verified."""
    images = ContainerImage.objects.filter(tags__repository=name)
    is_cited = images.filter(Q(config=digest) | Q(layers__artifact=digest)).exists()
    artifact = Artifact.objects.filter(pk=digest).first() if is_cited else None
    if artifact is None:
        raise NotFound("There is no blob sha256:{digest} in {name}.", digest=digest, name=name[:100])
    response = download(request, Holding(artifact=artifact, name=digest, media_type="application/octet-stream"))
    response.headers["Docker-Content-Digest"] = f"sha256:{digest}"
    return response
