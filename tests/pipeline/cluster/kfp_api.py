"""KFP's REST API as the generated client describes it: operations, types, filters, cron fields."""

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import kfp_server_api

SERVICES = (
    kfp_server_api.ExperimentServiceApi,
    kfp_server_api.HealthzServiceApi,
    kfp_server_api.PipelineServiceApi,
    kfp_server_api.PipelineUploadServiceApi,
    kfp_server_api.RecurringRunServiceApi,
    kfp_server_api.RunServiceApi,
)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
# The gRPC codes in the bodies of errors, by HTTP status.
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 429: 8, 500: 13, 503: 14}


class Refusal(Exception):
    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Operation:
    """An operation of the API, from the generated client."""

    name: str
    method: str
    pattern: re.Pattern[str]
    query: frozenset[str]


def _operations() -> list[Operation]:
    operations = []
    for service in SERVICES:
        for name, function in inspect.getmembers(service, inspect.isfunction):
            if not name.endswith("_with_http_info"):
                continue
            source = inspect.getsource(function)
            path, method = re.findall(r"'(/apis/[^']*)', '([A-Z]+)',", source)[0]
            pattern = re.sub(
                r"\\\{([\w.\\]+?)\\\}",
                lambda match: f"(?P<{match[1].replace('.', '_').replace(chr(92), '')}>[^/:]+)",
                re.escape(path),
            )
            query = re.findall(r"query_params\.append\(\('(\w+)'", source)
            operations.append(
                Operation(
                    name.removesuffix("_with_http_info"),
                    method,
                    re.compile(pattern),
                    frozenset(query),
                )
            )
    # A path without parameters comes before one with: pipelines/create, pipelines/{pipeline_id}.
    return sorted(operations, key=lambda operation: "(?P" in operation.pattern.pattern)


OPERATIONS = _operations()


def check(kind: str, value: Any, where: str = "body") -> None:
    """Refuse a value of another type than the API's, like the server's JSON reader."""

    def wrong(what: str) -> Refusal:
        return Refusal(400, f"proto: syntax error: {where}: {what}")

    if match := re.fullmatch(r"list\[(.*)\]", kind):
        if not isinstance(value, list):
            raise wrong("not a list")
        for number, item in enumerate(value):
            check(match[1], item, f"{where}[{number}]")
    elif match := re.fullmatch(r"dict\(str, (.*)\)", kind):
        if not isinstance(value, dict):
            raise wrong("not an object")
        for key, item in value.items():
            check(match[1], item, f"{where}.{key}")
    elif kind == "object":
        return
    elif kind == "datetime":
        if not isinstance(value, str) or not TIME.fullmatch(value):
            raise wrong(f"{value!r} is no timestamp")
    elif kind in ("str", "bool", "int"):
        wanted = {"str": str, "bool": bool, "int": int}[kind]
        if type(value) is not wanted:
            raise wrong(f"{value!r} is no {kind}")
    else:
        model = getattr(kfp_server_api, kind)
        allowed = getattr(model, "allowable_values", None)
        if allowed is not None:
            if value not in allowed:
                raise wrong(f"{value!r} is none of {allowed}")
            return
        if not isinstance(value, dict):
            raise wrong("not an object")
        names = {model.attribute_map[attribute]: attribute for attribute in model.openapi_types}
        for key, item in value.items():
            if key not in names:
                raise wrong(f"unknown field {key!r}")
            check(model.openapi_types[names[key]], item, f"{where}.{key}")


def robfig(cron: str) -> None:
    """Refuse the expressions that robfig/cron v1 refuses."""
    fields = cron.split()
    if len(fields) not in (5, 6):
        raise Refusal(400, f"Schedule cron is not a supported format: {cron}")
    limits = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
    names = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
    days = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
    for place, (text, (low, high)) in enumerate(zip(fields, limits, strict=False)):
        table = {4: {n: i + 1 for i, n in enumerate(names)}, 5: {n: i for i, n in enumerate(days)}}
        for part in text.split(","):
            match = re.fullmatch(r"(?:[*?]|(\w+)(?:-(\w+))?)(?:/(\d+))?", part)
            ends = [match[1], match[2]] if match else []
            numbers = [
                int(end) if end.isdecimal() else table.get(place, {}).get(end.upper(), -1)
                for end in ends
                if end
            ]
            good = match and all(low <= number <= high for number in numbers)
            if not good or numbers != sorted(numbers) or (match and match[3] == "0"):
                raise Refusal(400, f"Schedule cron is not a supported format: {part} of {cron}")


def matches(text: str, item: Mapping[str, Any]) -> bool:
    """Evaluate a filter like the server, which URL-decodes it once more."""
    if not text:
        return True
    try:
        values = json.loads(unquote_plus(text))
    except ValueError as error:
        raise Refusal(400, f"failed to parse valid filter from {text}") from error
    check("V2beta1Filter", values, "filter")
    for predicate in values.get("predicates", []):
        if predicate["key"] not in ("display_name", "name", "created_at", "description"):
            raise Refusal(400, f"no support for filtering on {predicate['key']}")
        have, want = item.get(predicate["key"]), predicate.get("string_value", "")
        # MySQL ignores case.
        have, want = str(have).lower(), want.lower()
        good = {
            "EQUALS": have == want,
            "NOT_EQUALS": have != want,
            "IS_SUBSTRING": want in have,
        }.get(predicate["operation"])
        if good is None:
            raise Refusal(400, f"unsupported operation {predicate['operation']}")
        if not good:
            return False
    return True
