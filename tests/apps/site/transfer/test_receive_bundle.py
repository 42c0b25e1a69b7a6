"""What the signed manifest alone tells is refused before a volume is taken: who signed, for whom, and how old it is."""

import io
import json

import pytest

from apps.core.errors import Conflict, PlaneError, Refused
from apps.data.datasets.services import add_files
from apps.site.transfer import services
from apps.site.transfer.models import BundleSigner, IncomingBundle
from deepseek.bundles.spec import BundleManifest
from deepseek.signing.documents import encode_canonical
from deepseek.signing.dsse import MAX_ENVELOPE_BYTES
from tests.apps.site.transfer.conftest import TARGET, become, sign, trust


@pytest.fixture
def manifest(site, project, held, build):
    """Of a built bundle, which this plane, the target now, has not seen yet."""
    artifact = held(b"rows")
    add_files(actor=site.builder, project=project, dataset_name="wti", files=[("a", artifact.pk, "text/plain")])
    _, built = build("data/wti:v1")
    become(TARGET)
    return built


@pytest.fixture
def offer(site, other_project):
    """offer(document) -> the code of the refusal, "" where it is taken."""

    def receive(document):
        try:
            services.receive_envelope(actor=site.receiver, project=other_project, document=document)
        except PlaneError as error:
            return error.code
        return ""

    return receive


def edit(manifest, **changes):
    return BundleManifest.parse(encode_canonical({**json.loads(manifest.text), **changes}))


def test_signatures_decide(manifest, offer, other_project):
    """The table of docs/transfer.md: one signer, one person with two keys, strangers, edited, revoked."""
    both = sign(manifest, "Ada", "Bo")
    found = {"nobody is trusted": offer(both)}
    trust(other_project, "Ada", "Bo")
    BundleSigner.objects.filter(person="Bo").update(source_id="e" * 32)
    found["trusted for another source"] = offer(both)
    BundleSigner.objects.filter(person="Bo").update(source_id="a" * 32, person="Ada")
    found["one person with two keys"] = offer(both)
    BundleSigner.objects.filter(fingerprint=BundleSigner.objects.last().fingerprint).update(person=" ada")
    found["one person, spelt in two ways"] = offer(both)
    BundleSigner.objects.filter(fingerprint=BundleSigner.objects.last().fingerprint).update(person="Bo")
    found["one signer"] = offer(sign(manifest, "Ada"))
    found["a stranger beside"] = offer(sign(manifest, "Ada", "Bo", "Cy"))
    edited = {**both, "payload": sign(edit(manifest, sequence=9), "Cy")["payload"]}
    found["edited"] = offer(edited)
    found["another kind of payload"] = offer({**both, "payloadType": "application/json"})
    found["nonsense"] = offer({"payload": "x"})
    BundleSigner.objects.filter(person="Bo").update(state="revoked")
    found["revoked"] = offer(both)
    BundleSigner.objects.filter(person="Bo").update(state="proposed")
    found["not approved yet"] = offer(both)
    BundleSigner.objects.filter(person="Bo").update(state="trusted")
    found["in order"] = offer(both)
    found["again"] = offer(both)
    assert found == {
        "nobody is trusted": "key_unknown",
        "trusted for another source": "key_unknown",
        "one person with two keys": "too_few_signers",
        "one person, spelt in two ways": "too_few_signers",
        "one signer": "too_few_signers",
        "a stranger beside": "key_unknown",
        "edited": "signature_wrong",
        "another kind of payload": "payload_type_wrong",
        "nonsense": "document_malformed",
        "revoked": "key_unknown",
        "not approved yet": "key_unknown",
        "in order": "",
        "again": "bundle_received",
    }


def test_an_envelope_of_the_longest_manifest_is_taken(site, manifest, other_project, api, django_user_model):
    """1 MiB of contents is 1.4 MiB in base64, more than other bodies have; above it a 413 says the limit."""
    trust(other_project, "Ada", "Bo")
    document = json.loads(manifest.text)
    content = {**document["contents"][0], "name": "x" * 390}
    document["contents"] = [content] * 2000
    long = BundleManifest.parse(encode_canonical(document))
    signed = json.dumps(sign(long, "Ada", "Bo"))
    assert len(long.text) > 1_000_000
    assert len(signed) > 1 << 20
    receiver = api(django_user_model.objects.get(username="receiver"))
    path = "/api/v1/projects/other/received-bundles"
    taken = receiver.post(path, signed, content_type="application/json")
    assert taken.status_code == 201, taken.content
    refused = receiver.post(path, signed + " " * MAX_ENVELOPE_BYTES, content_type="application/json")
    assert (refused.status_code, refused.json()["error"]["limit"]) == (413, MAX_ENVELOPE_BYTES)


def test_volumes_are_taken_by_their_number_and_length(site, manifest, offer, other_project, worker_actor):
    trust(other_project, "Ada", "Bo")
    assert offer(sign(manifest, "Ada", "Bo")) == ""
    bundle = IncomingBundle.objects.get()

    def send(number, data):
        with pytest.raises(PlaneError) as caught:
            services.receive_volume(actor=site.receiver, bundle=bundle, number=number, stream=[data])
        return caught.value.code

    size = manifest.volumes[0].size
    assert send(2, b"") == "volume_unknown"
    assert send(1, b"x") == "body_cut_off"
    assert send(1, b"x" * (size + 1)) == "body_cut_off"
    with pytest.raises(Conflict) as caught:
        services.request_check(actor=site.receiver, bundle=bundle)
    assert caught.value.code == "volume_missing"
    with pytest.raises(Refused):
        services.receive_volume(actor=site.decider, bundle=bundle, number=1, stream=io.BytesIO(b""))
    with pytest.raises(Refused):
        services.receive_envelope(actor=site.decider, project=other_project, document={})
