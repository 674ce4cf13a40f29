"""Promises of the wire formats: every allowed spelling means the same request, and everything else is named and refused."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everloop.errors import InvalidInput
from everloop.models.compiled import CompiledSignature
from everloop.records.models import Datatype, Field, Signature
from everloop.records.serving import Arm
from everloop.serving.dialects import v1, v2
from everloop.serving.errors import TooLarge
from everloop.serving.labels import read_labels
from everloop.serving.protocol import MOST_ROWS, InferenceRequest, InferenceResponse

SIGNATURE = Signature(
    inputs=(
        Field(name="hour", datatype=Datatype.INT64),
        Field(name="temp", datatype=Datatype.FP64, nullable=True),
        Field(name="carrier", datatype=Datatype.BYTES),
        Field(name="holiday", datatype=Datatype.BOOL),
    ),
    outputs=(Field(name="late", datatype=Datatype.FP64),),
)
COMPILED = CompiledSignature(SIGNATURE)
NOON = datetime(2013, 1, 31, 12, tzinfo=UTC)
Row = tuple[int, float | None, str, bool]
ROWS = st.lists(
    st.tuples(
        st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=8),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)
GOOD: Row = (7, 1.5, "UA", False)


def tensors(rows: list[Row], *, shape: int = 1, nested: bool = False) -> list[dict[str, Any]]:
    """The inputs of a version 2 request."""
    kinds = ["INT64", "FP64", "BYTES", "BOOL"]
    return [
        {
            "name": field.name,
            "datatype": kind,
            "shape": [len(rows)] if shape == 1 else [len(rows), 1],
            "data": [[row[place]] if nested else row[place] for row in rows],
        }
        for place, (field, kind) in enumerate(zip(SIGNATURE.inputs, kinds, strict=True))
    ]


def read_v2(body: object) -> InferenceRequest:
    """Read a version 2 request."""
    return v2.read(json.dumps(body).encode(), COMPILED)


def read_v1(body: object) -> InferenceRequest:
    """Read a version 1 request."""
    return v1.read(json.dumps(body).encode(), COMPILED)


@given(ROWS)
def test_all_spellings_of_the_same_rows_are_the_same_request(rows: list[Row]) -> None:
    """Flat or nested data in either shape, in any order of inputs; objects or arrays in version 1."""
    expected = {field.name: [row[place] for row in rows] for place, field in enumerate(SIGNATURE.inputs)}
    names = COMPILED.names
    requests = [
        read_v2({"inputs": tensors(rows)}),
        read_v2({"inputs": tensors(rows, shape=2)[::-1], "model_name": "late"}),
        read_v2({"inputs": tensors(rows, shape=2, nested=True), "outputs": [{"name": "late"}]}),
        read_v1({"instances": [list(row) for row in rows]}),
        read_v1(
            {
                "instances": [dict(zip(names, row, strict=True)) for row in rows],
                "signature_name": "serving_default",
            }
        ),
    ]
    for request in requests:
        assert request.columns == expected
        assert request.rows == len(rows)


@given(st.integers(-(2**70), 2**70))
def test_a_whole_number_stands_for_fp64_only_when_it_is_exact(number: int) -> None:
    """An INT64 tensor may fill an FP64 input when no digit is lost."""
    inputs = tensors([GOOD])
    inputs[1] |= {"datatype": "INT64", "data": [number]}
    exact = -(2**63) <= number < 2**63 and int(float(number)) == number
    if exact:
        assert read_v2({"inputs": inputs}).columns["temp"] == [float(number)]
    else:
        with pytest.raises(InvalidInput, match=r"input 'temp', row 0 is .* expected a whole number"):
            read_v2({"inputs": inputs})


@pytest.mark.parametrize(
    ("place", "datatype", "value", "told"),
    [
        (0, "INT64", 7.5, "'hour', row 0 is 7.5; expected a whole number in the range of INT64"),
        (
            0,
            "INT64",
            2**63,
            "'hour', row 0 is 9223372036854775808; expected a whole number in the range of INT64",
        ),
        (0, "INT8", 200, "'hour', row 0 is 200; expected a whole number in the range of INT8"),
        (0, "UINT64", 2**63, "'hour', row 0 is 9223372036854775808; expected a whole number"),
        (0, "INT64", True, "'hour', row 0 is True; expected a whole number"),
        (0, "INT64", None, "'hour', row 0 is null; expected a whole number in the range of INT64."),
        (0, "FP64", 7.0, "'hour' has datatype 'FP64'; the model takes INT64 and accepts INT64, UINT64"),
        (1, "FP64", "1.5", "'temp', row 0 is '1.5'; expected a finite number or null."),
        (1, "FP64", True, "'temp', row 0 is True; expected a finite number or null."),
        (1, "FP64", 10**400, "'temp', row 0 is 1000"),
        (1, "FP32", 1e39, "'temp', row 0 is 1e.39; expected a finite number in the range of FP32"),
        (1, "FP16", 1.0, "'temp' has datatype 'FP16'; the model takes FP64 and accepts FP64, FP32"),
        (1, "BF16", 1.0, "'temp' has datatype 'BF16'"),
        (2, "BYTES", 7, "'carrier', row 0 is 7; expected a string."),
        (2, "BYTES", None, "'carrier', row 0 is null; expected a string."),
        (2, "FP64", 7.0, "'carrier' has datatype 'FP64'; the model takes BYTES"),
        (3, "BOOL", 1, "'holiday', row 0 is 1; expected true or false."),
        (3, "BOOL", "true", "'holiday', row 0 is 'true'; expected true or false."),
    ],
)
def test_a_wrong_value_is_named_with_its_input_row_and_what_is_expected(
    place: int, datatype: str, value: object, told: str
) -> None:
    """The message is enough to mend the request."""
    inputs = tensors([GOOD])
    inputs[place] |= {"datatype": datatype, "data": [value]}
    with pytest.raises(InvalidInput, match=told):
        read_v2({"inputs": inputs})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"shape": [2]}, "'hour' has 1 values for shape .2."),
        ({"shape": [1, 2]}, "'hour' has shape .1, 2.; expected .n. or .n, 1. for n rows"),
        ({"shape": []}, "'hour' has shape ..; expected"),
        ({"shape": [-1]}, "'hour' has shape .-1.; expected"),
        ({"shape": [0], "data": []}, "no rows; expected at least one"),
        ({"shape": ["1"]}, "Expected `int`, got `str` - at `..inputs.0..shape.0."),
        ({"data": [[7]]}, "'hour', row 0 does not fit shape .1."),
        ({"data": [[7, 8]], "shape": [1, 1]}, "'hour', row 0 does not fit shape .1, 1."),
        ({"data": None, "parameters": {"binary_data_size": 8}}, "no data; binary tensors are not supported"),
        ({"data": None}, "'hour' has no data; expected its values in row order"),
        ({"data": {"b64": "AA=="}}, "Expected `array . null`, got `object`"),
        ({"name": "tempp"}, "input 'tempp' is unknown; expected hour, temp, carrier, holiday."),
        ({"name": "temp", "datatype": "FP64", "data": [1.0]}, "input 'temp' is sent twice"),
        ({"parameters": {"a": [1]}}, "Expected `bool . int . float . str`, got `array`"),
    ],
)
def test_a_tensor_that_is_not_right_is_named(change: dict[str, object], told: str) -> None:
    """Shape, data and name are held against each other and against the signature."""
    inputs = tensors([GOOD])
    inputs[0] |= change
    with pytest.raises(InvalidInput, match=told):
        read_v2({"inputs": inputs})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"inputs": []}, "inputs is empty"),
        ({}, "missing required field `inputs`"),
        (
            {"inputs": tensors([GOOD])[1:]},
            "input 'hour' is missing; expected hour, temp, carrier, holiday, null",
        ),
        (
            {"inputs": tensors([GOOD])[:1] + tensors([GOOD, GOOD])[1:]},
            "'temp' has shape .2.; expected .1. or .1, 1.",
        ),
        (
            {"inputs": tensors([GOOD]), "outputs": [{"name": "early"}]},
            "output 'early' is unknown; expected late",
        ),
        ({"inputs": tensors([GOOD]), "parameters": {"binary_data_output": True}}, "only JSON is supported"),
        (
            {"inputs": tensors([GOOD]), "outputs": [{"name": "late", "parameters": {"binary_data": True}}]},
            "only JSON is supported",
        ),
        (
            {"inputs": tensors([GOOD]), "outputs": [{"name": "late", "parameters": {"classification": 3}}]},
            "'classification' is not supported",
        ),
        (
            {"inputs": tensors([GOOD]), "id": "x" * 201},
            "id 'xxx.*cannot be kept; expected at most 200 characters",
        ),
        ({"inputs": tensors([GOOD]), "id": "a\x00"}, "none of them control characters"),
        ({"inputs": tensors([GOOD]), "id": 7}, "Expected `str . null`, got `int` - at `..id`"),
    ],
)
def test_a_version_2_request_that_is_not_right_is_named(body: object, told: str) -> None:
    """The first thing that is wrong is told, with what is expected."""
    with pytest.raises(InvalidInput, match=told):
        read_v2(body)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"instances": []}, "no rows"),
        ({"inputs": {"hour": [7]}}, "unknown field `inputs`"),
        (
            {"instances": [[7, 1.5, "UA"]]},
            "instance 0 has 3 values; expected 4: hour, temp, carrier, holiday",
        ),
        ({"instances": [GOOD, {"hour": 7}]}, "instance 1: input 'temp' is missing"),
        (
            {"instances": [{**dict(zip(COMPILED.names, GOOD, strict=True)), "x": 1}]},
            "instance 0: input 'x' is unknown",
        ),
        ({"instances": [7]}, "Expected `object . array`, got `int`"),
        ({"instances": [[7, {"b64": "AA=="}, "UA", True]]}, "got `object` - at `..instances.0..1."),
        ({"instances": [[7, 1.5, "UA", True]], "signature_name": "other"}, "signature_name is 'other'"),
        ({"instances": "all"}, "Expected `array`, got `str`"),
    ],
)
def test_a_version_1_request_that_is_not_right_is_named(body: object, told: str) -> None:
    """The first thing that is wrong is told, with what is expected."""
    with pytest.raises(InvalidInput, match=told):
        read_v1(body)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "empty; expected a JSON object"),
        (b"not json", "not JSON"),
        (b"[1, 2]", "Expected `object`, got `array`"),
        (b'{"inputs": [', "not JSON: Input data was truncated"),
        (b'{"inputs": NaN}', "not JSON"),
        (b'{"inputs": ["\xff"]}', "does not fit|not UTF-8"),
        (b'{"id": "\xff"}', "not UTF-8"),
        (b'{"x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
        (b'{"inputs": ' + b"[" * 100_000, "Expected `object`, got `array`"),
        (
            b'{"inputs": [{"name": "temp", "shape": [1], "datatype": "FP64", "data": [1e999]}]}',
            "out of range",
        ),
        (b'{"inputs": [{"name": "temp", "shape": [1], "datatype": "FP64", "data": [Infinity]}]}', "not JSON"),
        (
            b'{"inputs": [{"name": "temp", "shape": [1], "datatype": "FP64", "data": [%s]}]}' % (b"9" * 9000),
            "out of range",
        ),
    ],
)
def test_bytes_that_are_no_request_are_refused(body: bytes, told: str) -> None:
    """Whatever arrives, the answer is InvalidInput."""
    with pytest.raises(InvalidInput, match=told):
        v2.read(body, COMPILED)


@given(st.binary(max_size=300))
def test_no_bytes_do_worse_than_being_refused(body: bytes) -> None:
    """Decoding raises InvalidInput and nothing else."""
    for read in (
        lambda: v1.read(body, COMPILED),
        lambda: v2.read(body, COMPILED),
        lambda: read_labels(body, lambda: NOON),
    ):
        with pytest.raises(InvalidInput):
            read()


def test_more_rows_than_one_request_may_have_are_refused() -> None:
    """The limit is told, so that the client can split its rows."""
    with pytest.raises(TooLarge, match="10001 rows; expected at most 10000"):
        read_v1({"instances": [[7, 1.5, "UA", True]] * (MOST_ROWS + 1)})


def test_unit_and_time_come_from_the_parameters() -> None:
    """The unit is the parameter, else the id; the time must carry its zone."""
    inputs = tensors([GOOD])
    assert read_v2({"inputs": inputs, "id": "r"}).unit == "r"
    assert read_v2({"inputs": inputs, "id": ""}).unit is None
    assert read_v2({"inputs": inputs, "id": "r", "parameters": {"unit": 7}}).unit == "7"
    assert read_v2({"inputs": inputs, "id": "r", "parameters": {"unit": ""}}).unit == "r"
    given_time = {"time": "2013-01-31T13:00:00+01:00", "other": 1.5}
    assert read_v2({"inputs": inputs, "parameters": given_time}).time == NOON
    for wrong in (
        "2013-01-31T12:00:00",
        "yesterday",
        7,
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-01:00",
    ):
        request = read_v2({"inputs": inputs, "parameters": {"time": wrong}})
        with pytest.raises(InvalidInput, match="parameter 'time'"):
            _ = request.time


def test_answers_name_model_version_and_prediction() -> None:
    """Both protocols say what answered, and which id a label must name."""
    response = InferenceResponse(
        id="r",
        prediction_id="p",
        model="late",
        version=3,
        arm=Arm.CANARY,
        outputs=SIGNATURE.outputs,
        values={"late": [0.25, 1.0]},
    )
    assert json.loads(v2.write(response)) == {
        "model_name": "late",
        "model_version": "3",
        "id": "r",
        "parameters": {"prediction_id": "p", "arm": "canary"},
        "outputs": [{"name": "late", "shape": [2], "datatype": "FP64", "data": [0.25, 1.0]}],
    }
    assert json.loads(v1.write(response)) == {
        "predictions": [0.25, 1.0],
        "prediction_id": "p",
        "model_name": "late",
        "model_version": "3",
    }


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{}", "missing required field `prediction_id`"),
        (b'{"prediction_id": "p"}', "missing required field `label`"),
        (b'{"prediction_id": "p", "label": "1"}', "Expected `bool . int . float`, got `str`"),
        (b'{"prediction_id": "p", "label": null}', "Expected `bool . int . float`, got `null`"),
        (b'{"prediction_id": "p", "label": NaN}', "not JSON"),
        (b'{"prediction_id": "p", "label": 1, "score": 2}', "unknown field `score`"),
        (b'{"prediction_id": "", "label": 1}', "1 to 120 characters"),
        (b'{"prediction_id": "p\\u0000", "label": 1}', "control characters"),
        (b'{"prediction_id": "p", "label": 1, "time": "noon"}', "label 0: time: 'noon' is not a time"),
        (b'{"prediction_id": "p", "label": %s}' % (b"9" * 400), "too large; expected a number"),
        (b'{"labels": [{"prediction_id": "p", "label": 1}, {}]}', r"at `\$.labels\[1\]`"),
        (b'{"labels": [], "label": 1}', "unknown field `label`"),
        (b'{"labels": 1}', "Expected `array`, got `int`"),
    ],
)
def test_labels_that_are_not_right_are_named(body: bytes, told: str) -> None:
    """A label that cannot be kept says which one it is and why."""
    with pytest.raises(InvalidInput, match=told):
        read_labels(body, lambda: NOON)


def test_labels_come_one_by_one_or_many_at_once() -> None:
    """Booleans and numbers are labels; the time is now unless it is sent."""
    (one,) = read_labels(b'{"prediction_id": "p", "label": true}', lambda: NOON)
    assert (one.prediction_id, one.value, one.time) == ("p", 1.0, NOON)
    many = read_labels(
        b'{"labels": [{"prediction_id": "p", "label": 0},'
        b' {"prediction_id": "q", "label": 2.5, "time": "2013-01-01T00:00:00Z"}]}',
        lambda: NOON,
    )
    assert [(label.prediction_id, label.value) for label in many] == [("p", 0.0), ("q", 2.5)]
    assert many[1].time == datetime(2013, 1, 1, tzinfo=UTC)
