"""An error carries what a person needs, across processes too."""

import json
import pickle

from deepseek.job import EngineError

ERROR = EngineError("too_wide", "Too wide.", field="/window_size", value="7", limit="at most 5", hint="Take 5.")


def test_error_as_a_json_object():
    assert json.loads(json.dumps(ERROR.as_dict())) == {
        "code": "too_wide",
        "message": "Too wide.",
        "field": "/window_size",
        "value": "7",
        "limit": "at most 5",
        "hint": "Take 5.",
        "msgid": "Too wide.",
        "params": {},
        "hint_msgid": "Take 5.",
        "hint_params": {},
    }


def test_error_survives_pickling():
    twin = pickle.loads(pickle.dumps(ERROR))
    assert twin.as_dict() == ERROR.as_dict()
    assert str(twin) == "Too wide."
