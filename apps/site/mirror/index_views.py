"""The package index as pip, uv and twine speak to it: `/simple/` and `/legacy/`.

A wrong spelling of an address is redirected; every refusal is a line of text, which the clients print.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from pathlib import Path

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponsePermanentRedirect
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from apps.core import policy
from apps.core.actors import ANONYMOUS
from apps.core.errors import Invalid, NotFound, PlaneError, Refused, Unauthenticated
from apps.platform.accounts.authentication import find_token, get_token_actor
from apps.platform.accounts.models import ApiToken
from apps.platform.artifacts.downloads import download
from apps.platform.artifacts.models import Holding
from apps.platform.audit.faults import translate_fault
from apps.platform.audit.services import record_refusal
from apps.site.mirror import services
from apps.site.mirror.access import REALM, require_reader
from apps.site.mirror.models import PackageFile
from apps.site.mirror.names import normalize_name
from apps.site.mirror.negotiation import choose_form
from apps.site.mirror.simple_pages import SimplePage, get_project_page, get_root_page
from deepseek.messages import N_

View = Callable[..., HttpResponseBase]
METADATA = ".metadata"
BYTES = "application/octet-stream"
PAGE_CACHING = "private, no-cache"  # whether the client may still read it is checked each time
FILE_CACHING = "private, max-age=31536000, immutable"
MAX_REASON = 200  # characters of the reason phrase, which is all that twine prints


# -- refusals -------------------------------------------------------------------------------------------------------
def answer_with_text(view: View) -> View:
    """Decorator: no log-in page, no CSRF, and every named error as a line of text under its status."""

    @csrf_exempt
    @login_not_required
    @wraps(view)
    def respond(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except Exception as failure:
            error = failure if isinstance(failure, PlaneError) else translate_fault(failure)
            if error is None:
                raise
            return render_refusal(request, error)

    return respond


def render_refusal(request: HttpRequest, error: PlaneError) -> HttpResponse:
    if isinstance(error, Refused):
        record_refusal(getattr(request, "actor", ANONYMOUS), error, request)
    text = f"{error.message} {error.hint or ''}".strip()
    # An invalid file is 400 in the upload API; twine --skip-existing passes over a 409.
    status = HTTPStatus.BAD_REQUEST if isinstance(error, Invalid) else error.status
    response = HttpResponse(f"{text}\n", "text/plain; charset=utf-8", status=status)
    response.reason_phrase = "".join(character if " " <= character <= "~" else "?" for character in text)[:MAX_REASON]
    response.headers["Cache-Control"] = "no-store"
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = REALM
    elif status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        response.headers["Retry-After"] = "5"
    return response


# -- reading --------------------------------------------------------------------------------------------------------
@answer_with_text
@require_safe
def show_index(request: HttpRequest) -> HttpResponseBase:
    """/simple/: the names of all packages."""
    require_reader(request, "package.view")
    form = choose_form(request.headers.get("Accept", ""))
    return render_page(request, get_root_page(form), form)


@answer_with_text
@require_safe
def show_project(request: HttpRequest, name: str) -> HttpResponseBase:
    """/simple/<name>/: the files of a package."""
    require_reader(request, "package.view")
    normalized = normalize_or_404(name)
    if normalized != name:
        return HttpResponsePermanentRedirect(reverse("index:project", args=[normalized]))
    form = choose_form(request.headers.get("Accept", ""))
    page = get_project_page(name, form)
    if page is None:
        raise build_absent_error(name)
    return render_page(request, page, form)


@answer_with_text
@require_safe
def redirect_to_index(request: HttpRequest) -> HttpResponseBase:
    return HttpResponsePermanentRedirect(reverse("index:root"))


@answer_with_text
@require_safe
def redirect_to_project(request: HttpRequest, name: str) -> HttpResponseBase:
    return HttpResponsePermanentRedirect(reverse("index:project", args=[normalize_or_404(name)]))


def render_page(request: HttpRequest, page: SimplePage, form: str) -> HttpResponse:
    headers = {"ETag": page.etag, "Vary": "Accept", "Cache-Control": PAGE_CACHING}
    if page.etag in request.headers.get("If-None-Match", ""):
        return HttpResponse(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    content_type = form if form.endswith("+json") else f"{form}; charset=utf-8"
    return HttpResponse(page.body, content_type=content_type, headers=headers)


@answer_with_text
@require_safe
def download_file(request: HttpRequest, name: str, filename: str) -> HttpResponseBase:
    """/simple/<name>/<file>, or its metadata: bytes by their digest, whole or a range."""
    require_reader(request, "package.view")
    is_metadata = filename.endswith(METADATA)
    rows = PackageFile.objects.select_related("metadata" if is_metadata else "artifact")
    file = rows.filter(filename=filename.removesuffix(METADATA), version__package__name=name).first()
    if file is None:
        raise build_absent_error(filename)
    artifact = file.metadata if is_metadata else file.artifact
    if artifact is None:
        raise build_absent_error(filename)
    response = download(request, Holding(artifact=artifact, name=filename, media_type=BYTES))
    if response.status_code in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.NOT_MODIFIED):
        response.headers["Cache-Control"] = FILE_CACHING
    return response


def normalize_or_404(name: str) -> str:
    try:
        return normalize_name(name)
    except Invalid:
        raise build_absent_error(name) from None


def build_absent_error(name: str) -> NotFound:
    return NotFound("The index has no {name!r}.", name=name[:100], hint=N_("It holds what was published or imported."))


# -- publishing -----------------------------------------------------------------------------------------------------
@answer_with_text
@require_POST
def upload(request: HttpRequest) -> HttpResponseBase:
    """/legacy/: the upload API of PyPI, by a token with the scope packages:write."""
    token = find_token(request)
    if token is None:
        raise Unauthenticated(
            "Publishing takes a token.",
            hint=N_("Send one with the scope packages:write as the password of the user __token__."),
        )
    project = ApiToken.objects.select_related("project").get(pk=token.pk).project
    actor = get_token_actor(request, token)
    request.actor = actor  # type: ignore[attr-defined]  # before the body is read: it bounds an upload by who sends it
    policy.require(actor, "package.publish", project)
    content = request.FILES.get("content")
    if request.POST.get(":action") != "file_upload" or content is None:
        raise Invalid(
            "This is no upload of a package.",
            code="package_form_mismatch",
            field=":action",
            limit="file_upload, with a part `content`",
            hint=N_("Use twine or uv publish."),
        )
    publication = services.publish_distribution(
        actor=actor,
        project=project,
        path=Path(content.temporary_file_path()),  # type: ignore[attr-defined]  # of controlplane/uploads.py
        filename=str(content.name),
        fields={key: str(value) for key, value in request.POST.items()},
    )
    text = "published" if publication.is_new else "published before, with the same bytes"
    return HttpResponse(f"{publication.file.filename}: {text}\n", "text/plain; charset=utf-8")
