"""The filters of the KFP API's lists."""

import json
from collections.abc import Mapping


def name_filter(name: str, key: str = "display_name") -> str:
    """Return the API's filter for a name.

    Args:
        name: The name.
        key: The field that holds the name.
    """
    predicate: Mapping[str, str] = {"key": key, "operation": "EQUALS", "string_value": name}
    text = json.dumps({"predicates": [predicate]})
    # KFP's server URL-decodes the text once more; JSON's escapes are not affected.
    return text.replace("%", "\\u0025").replace("+", "\\u002b")
