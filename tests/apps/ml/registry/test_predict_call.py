"""The example call of a version's page."""

from apps.ml.registry.presenters import format_predict_call

SIGNATURE = {"inputs": [{"name": "features", "dtype": "float32", "shape": [-1, 2]}]}


def test_a_category_is_given_as_a_word():
    document = {"signature": SIGNATURE, "features": ["x", "colour"], "categories": {"colour": ["it's red", "blue"]}}
    assert """'{"features": [[0.0, "it'"'"'s red"]]}'""" in format_predict_call(document)


def test_numbers_are_zeros():
    assert """'{"features": [[0.0, 0.0]]}'""" in format_predict_call({"signature": SIGNATURE, "features": ["x", "y"]})


def test_an_image_is_given_as_a_file():
    signature = {"inputs": [{"name": "features", "dtype": "float32", "shape": [-1, 3, 32, 32]}]}
    call = format_predict_call({"signature": signature, "features": ["image"], "architecture": {"type": "image"}})
    assert """'{"features": "%s"}' "$(base64 -w0 image.jpg)" |""" in call
