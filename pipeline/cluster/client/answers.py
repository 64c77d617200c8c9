"""Checks a KFP API server's answers against the API's types, and reads its errors."""

import email.utils
import html
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import kfp_server_api  # type: ignore[import-untyped]

from pipeline.cluster.client.transport import Unanswered

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_PLAIN: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "str": (str, "a string"),
    "bool": (bool, "true or false"),
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "datetime": (str, "a time"),
}
# KFP sends these ids even for objects that it cannot read itself.
_IDS = {
    "V2beta1Experiment": "experiment_id",
    "V2beta1Pipeline": "pipeline_id",
    "V2beta1PipelineVersion": "pipeline_version_id",
    "V2beta1RecurringRun": "recurring_run_id",
    "V2beta1Run": "run_id",
}
# Types that describe only a part of the answer.
_FREE = ("object", "ProtobufAny", "V2beta1GetHealthzResponse")
# Lasting errors, whatever the HTTP status: gRPC's codes INVALID_ARGUMENT, NOT_FOUND,
# ALREADY_EXISTS, PERMISSION_DENIED, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED and
# UNAUTHENTICATED. NewUserError (backend/src/common/util/error.go) uses HTTP's codes as well.
_LASTING_CODES = frozenset({3, 5, 6, 7, 9, 11, 12, 16, *range(400, 500)})
# KFP answers 500 if it wraps one of its own errors (error.go), if it cannot compile a run
# (backend/src/v2/compiler/argocompiler/container.go) and, in 2.14, for every refused upload
# (backend/src/apiserver/server/pipeline_upload_server.go).
_LASTING_TEXT = re.compile(
    r"json: cannot unmarshal|proto:\s*\(line|unknown field|failed to unmarshal|error unmarshalling"
    r"|Invalid ?Input ?Error|BadRequestError|NotFoundError|Already exist error"
    r"|FailedPreconditionError|UnknownApiVersionError",
    re.IGNORECASE,
)


def check(value: Any, kind: str, where: str = "") -> None:
    """Refuse an answer that does not have a type of the API.

    kfp_server_api 2.17 accepts everything: it reads each letter of a string as an experiment,
    "false" as true, null as an empty list.

    Args:
        value: The parsed JSON.
        kind: The type, as named by `openapi_types` of kfp_server_api's classes.
        where: The value's place in the answer.

    Raises:
        Unanswered: If the value has another type. Unknown fields are allowed.
    """

    def want(good: Any, name: str) -> None:
        if not good:
            raise not_as_kfp(f"{where or 'it'} is not {name}")

    inner = re.fullmatch(r"(list\[|dict\(str, )(.*)[\])]", kind)
    if inner and inner[1] == "list[":
        want(isinstance(value, list), "a list")
        for place, item in enumerate(value):
            check(item, inner[2], f"{where}[{place}]")
    elif kind == "dict":  # google.protobuf.Empty, which kfp_server_api calls an object
        want(value == {}, "empty")
    elif value is None or kind in _FREE:
        return
    elif inner:
        want(isinstance(value, dict), "an object")
        for key, item in value.items():
            check(item, inner[2], f"{where}.{key}")
    elif kind in _PLAIN:
        of, name = _PLAIN[kind]
        want(isinstance(value, of) and (kind == "bool" or not isinstance(value, bool)), name)
        want(kind != "datetime" or _TIME.fullmatch(value), name)
    elif not (model := getattr(kfp_server_api, kind)).openapi_types:
        want(isinstance(value, str), "a string")  # an enumeration, which may have new values
    else:
        want(isinstance(value, dict), "an object")
        fields = {model.attribute_map[name]: of for name, of in model.openapi_types.items()}
        # An empty object is an empty list. Some fields may be unknown, but not all of them.
        want(not value or not fields.keys().isdisjoint(value), f"a {kind}")
        want(kind not in _IDS or value.get(_IDS[kind]), f"a {kind}")
        for key in fields.keys() & value.keys():
            check(value[key], fields[key], f"{where}.{key}" if where else key)


def not_as_kfp(problem: str) -> Unanswered:
    """Return the error for an answer in JSON that is not the KFP API's.

    Args:
        problem: What is wrong with the answer.
    """
    return Unanswered(
        f"did not answer as the KFP API does: {problem}",
        "Check --host, and whether a proxy changes or truncates answers.",
    )


class Said(NamedTuple):
    """The content of an error's body.

    Args:
        text: The message, of any length.
        missing: Whether KFP says that the object does not exist.
        lasting: Whether the same request would be refused again.
    """

    text: str
    missing: bool
    lasting: bool


def read_error(status: int, body: str) -> Said:
    """Read the body of an error: KFP's JSON, a web page, or plain text.

    Args:
        status: The HTTP status.
        body: The body.
    """
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        values = {"message": _page(body)}
    values = values if isinstance(values, dict) else {}
    texts = (values.get(key) for key in ("error_message", "message", "error"))
    text = next((text for text in texts if text and isinstance(text, str)), body)
    code = values.get("code")
    lasting = isinstance(code, int) and code in _LASTING_CODES
    lasting = lasting or (status == 500 and _LASTING_TEXT.search(text) is not None)
    return Said(text, status == 404 and code == 5, lasting)


def _page(body: str) -> str:
    """Return the title of a web page; without a title, its text."""
    lower = body.lower()
    begin = lower.find("<title")
    end = lower.find("</title", begin)
    if 0 <= begin < end:
        body = body[begin:end]
    return html.unescape(re.sub(r"<[^<>]*>", " ", body))


def parse_date(text: str | None) -> datetime | None:
    """Return the time in an HTTP header; None if it cannot be read."""
    try:
        time = email.utils.parsedate_to_datetime(text or "")
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
    return time if time.tzinfo else None
