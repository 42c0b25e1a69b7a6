import json

import pytest
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer
from openapi_spec_validator import OpenAPIV31SpecValidator

from apps.platform.jobs.kinds import KINDS
from apps.platform.jobs.openapi import collect_components, merge_schemas

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def schema():
    """The document of `/api/v1/schema`, generated once: no test changes it and it reads no database."""
    GENERATOR_STATS.reset()
    document = SchemaGenerator().get_schema(request=None, public=True)
    assert not GENERATOR_STATS  # such as two components of one name: `check --deploy` refuses them
    return json.loads(OpenApiJsonRenderer().render(document, renderer_context={}))


def test_the_whole_schema_is_valid_and_has_no_loose_ends(schema):
    assert schema["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(schema).validate()
    text = json.dumps(schema)
    loose = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]} - set(
        schema["components"]["schemas"]
    )
    assert not loose


def test_the_body_of_a_job_is_decided_by_its_kind(schema):
    schemas = schema["components"]["schemas"]
    body = schema["paths"]["/api/v1/projects/{project}/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/JobSubmission"}
    mapping = schemas["JobSubmission"]["discriminator"]["mapping"]
    assert set(mapping) == set(KINDS)
    for kind, ref in mapping.items():
        properties = schemas[ref.rpartition("/")[2]]["properties"]
        assert properties["kind"]["const"] == kind
        assert properties["spec"]["$ref"].endswith(f"/{KINDS[kind].spec.__name__}")
        assert {"inputs", "after", "register", "priority"} <= set(properties)


def test_lists_document_their_date_filters(schema):
    filters = {
        "jobs": "ended",
        "pipelines": "made",
        "runs": "started",
        "datasets": "changed",
        "datasets/{name}/versions": "made",
        "models": "registered",
        "models/{name}/versions": "made",
        "approvals": "asked",
    }
    missing = {}
    for path, name in filters.items():
        parameters = schema["paths"][f"/api/v1/projects/{{project}}/{path}"]["get"]["parameters"]
        if absent := {f"{name}_after", f"{name}_before"} - {one["name"] for one in parameters}:
            missing[path] = absent
    assert missing == {}


def test_class_names_are_unique_over_all_specs():
    found: dict[str, dict] = {}
    for kind in KINDS.values():
        merge_schemas(found, collect_components(kind.spec))
    with pytest.raises(ValueError, match="CleanSpec"):
        merge_schemas(found, {"CleanSpec": {"type": "object"}})


@pytest.mark.parametrize("address", ["/api/v1/schema", "/api/v1/docs"])
def test_schema_and_docs_require_a_login(client, web, viewer, address):
    assert client.get(address).status_code == 401
    assert web(viewer).get(address).status_code == 200


def test_a_token_reads_the_schema(api, viewer, schema):
    assert json.loads(api(viewer).get("/api/v1/schema").content) == schema


def test_the_page_holds_nothing_that_its_policy_forbids(web, viewer):
    client = web(viewer)
    answer = client.get("/api/v1/docs")
    html = answer.content.decode()
    assert "<style" not in html
    assert "script-src" not in answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    sources = [part.split('"')[0] for part in html.split(' src="')[1:]]
    assert len(sources) == html.count("<script") == 3
    assert all(source.startswith("/") for source in sources)
    script = client.get(sources[-1].replace("&amp;", "&"))
    assert script.headers["Content-Type"].startswith("application/javascript")
    assert b"/api/v1/schema" in script.content
