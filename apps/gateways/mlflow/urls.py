"""MLflow's addresses for those who come through Django's urls; controlplane/wsgi.py leads past them."""

from __future__ import annotations

import re

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponseBase
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt

from apps.gateways.mlflow.dispatcher import dispatch_request
from apps.gateways.mlflow.links import open_experiment, open_logged_model, open_run

PREFIXES = ("api/2.0/", "ajax-api/2.0/", "api/3.0/")
ALONE = ("version", "health", "get-artifact")


def is_mlflow_address(path: str) -> bool:
    """Whether this path, without its leading slash, is one of the protocol's."""
    return path.startswith(PREFIXES) or path in ALONE


@csrf_exempt
@login_not_required
def mlflow(request: HttpRequest) -> HttpResponseBase:
    return dispatch_request(request, request.path_info[1:])


urlpatterns = [
    re_path(rf"^(?:{'|'.join(map(re.escape, PREFIXES))}|(?:{'|'.join(ALONE)})\Z)", mlflow, name="mlflow"),
    # For browsers, by static/js/mlflow_link.js.
    path("tracked/experiments/<int:number>", open_experiment, name="tracked_experiment"),
    path("tracked/experiments/<int:number>/runs/<slug:run>", open_run, name="tracked_run"),
    path("tracked/experiments/<int:number>/models/<slug:model>", open_logged_model, name="tracked_logged_model"),
]
