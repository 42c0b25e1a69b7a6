"""What a study may be, and what its digest covers."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from deepseek.federated.spec import FederationServerSpec, StudySpec, compute_study_digest

BATCH = {"kind": "mlp", "hidden": [4], "normalization": "batch"}


def test_the_digest_covers_every_field_and_default(build_study):
    study = build_study()
    again = StudySpec.model_validate_json(study.to_json())
    assert compute_study_digest(again) == compute_study_digest(study)
    others = [build_study(rounds=11), build_study(privacy={"epsilon": 1}), build_study(egress={"max_norm": 1})]
    assert len({compute_study_digest(each) for each in (study, *others)}) == 4


def test_sizes_follow_from_schema_and_model(build_study):
    assert (build_study().schema_.inputs, build_study().parameters) == (4, 5)
    mlp = build_study(model={"kind": "mlp", "hidden": [8], "normalization": "group"})
    assert mlp.parameters == 4 * 8 + 8 + 2 * 8 + 8 + 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"algorithm": "fedprox"}, "bad_mu"),
        ({"mu": 0.1}, "bad_mu"),
        ({"aggregation": "trimmed_mean"}, "bad_trim"),
        ({"aggregation": "trimmed_mean", "trim": 0.2, "minimum_sites": 4}, "bad_trim"),
        ({"model": BATCH}, "literal_error"),  # batch normalization is not offered
        ({"model": {"kind": "mlp"}}, "bad_model"),
        ({"egress": {"max_bytes_per_update": 100}}, "egress_too_small"),
        ({"egress": {"max_updates": 3}}, "egress_too_small"),
        ({"model": {"kind": "mlp", "hidden": [4096] * 8}}, "model_too_large"),
        ({"code_digest": "x"}, "string_pattern_mismatch"),
        ({"schema": {"columns": [], "target": "ill"}}, "too_short"),
        ({"privacy": {"epsilon": float("inf")}}, "finite_number"),
        ({"filters": ["svt"]}, "extra_forbidden"),  # nor are filters that are no privacy
    ],
)
def test_what_is_no_study_is_refused(build_study, changes, code):
    with pytest.raises(ValidationError) as caught:
        build_study(**changes)
    assert code in {error["type"] for error in caught.value.errors()}


def test_a_server_needs_its_sites_once_each_and_enough(build_study):
    sites = [{"name": name, "public_key": letter * 43 + "="} for name, letter in (("a", "A"), ("b", "B"))]
    FederationServerSpec(study=build_study(), sites=sites)
    for wrong in (sites[:1], [sites[0], sites[0]], [sites[0], sites[1] | {"name": "server"}]):
        with pytest.raises(ValidationError):
            FederationServerSpec(study=build_study(), sites=wrong)
    with pytest.raises(ValidationError, match="needs 3 sites"):
        FederationServerSpec(study=build_study(minimum_sites=3), sites=sites)
