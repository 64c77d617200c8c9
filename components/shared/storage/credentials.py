"""Credentials in URLs are detected and refused, and never repeated.

The config's URLs appear in the compiled pipeline, in logs and in the lineage of
every model, so `s3://key:secret@bucket` would show the secret to everybody who can
read one of them.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from components.shared.runtime.errors import InputError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_OBJECT_STORES = ("s3://", "gs://", "gcs://")
_PARAMETER = re.compile(r"([?&;])([A-Za-z0-9_.%-]+)=([^&;\s]+)")
_SECRET_PARAMETER = re.compile(
    "token(?!iz)|secret|passw|pwd|signature|credential|access_?key|api_?key|^(sig|key)$",
    re.IGNORECASE,
)
_BEFORE_HOST = "in front of the bucket or host"


def credentials_in(text: str) -> str | None:
    """Return where a URL in a text contains credentials.

    An `@` in the name of an object is allowed: `s3://bucket/a@b`.

    Args:
        text: A URL, or any text.

    Returns:
        The place, without the credentials; None if there are none.
    """
    for word in text.split():
        for scheme in _SCHEME.finditer(word):
            found = _in_url(scheme.group().lower(), word[scheme.end() :])
            if found:
                return found
    return None


def _in_url(scheme: str, rest: str) -> str | None:
    authority = re.split(r'[/?#"<>{}|\\^`]', rest, maxsplit=1)[0]
    host, _, port = re.sub(r"^\[[0-9A-Fa-f:.]*\]", "ip", authority).partition(":")
    # An AWS secret key may contain slashes, which puts the @ in the path: s3://key:se/cret@bucket.
    # A colon is allowed before a port, and in an ARN of S3: s3://arn:aws:s3:…:accesspoint/name.
    is_port = port.isdigit() and scheme not in _OBJECT_STORES
    if "@" in authority or (port and host != "arn" and not is_port):
        return _BEFORE_HOST
    for _, name, _ in _PARAMETER.findall(rest[rest.find("?") :] if "?" in rest else ""):
        if _SECRET_PARAMETER.search(unquote(name)):
            return f"the parameter {name}"
    return None


def masked(text: str) -> str:
    """Replace the credentials in a text's URLs by `***`."""
    return re.sub(r"\S*://\S*", lambda word: _masked(word.group()), text)


def _masked(word: str) -> str:
    if credentials_in(word) == _BEFORE_HOST:
        # Up to the last @, because a secret may contain one.
        word = re.sub("://.*@", "://***@", word) if "@" in word else re.sub("://.*", "://***", word)
    return _PARAMETER.sub(
        lambda pair: (
            f"{pair[1]}{pair[2]}=***" if _SECRET_PARAMETER.search(unquote(pair[2])) else pair[0]
        ),
        word,
    )


def refusal(found: Mapping[str, str]) -> str:
    """Return the message that refuses credentials.

    Args:
        found: Config keys or masked URLs, each with the place of its credentials.
    """
    places = ", ".join(f"{place} ({where})" for place, where in found.items())
    return (
        f"{places}: a URL must not contain credentials, because everybody who can read the "
        "compiled pipeline, its logs or the lineage of a model could read them. Remove them from "
        "the URL, and set them in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for "
        "S3, GOOGLE_APPLICATION_CREDENTIALS for Google Cloud Storage); on a cluster, put them in a "
        "Kubernetes secret and name it under cluster.defaults.secrets."
    )


def refuse_credentials(values: Any, key: str = "") -> None:
    """Refuse URLs with credentials anywhere in a part of the config.

    Args:
        values: Mappings, lists and values from YAML.
        key: The key of that part; empty for the whole config.

    Raises:
        InputError: If there are credentials. The message names their keys.
    """
    found: dict[str, str] = {}
    seen: set[int] = set()  # a YAML list may occur in many places, even in itself

    def look(value: Any, key: str) -> None:
        if isinstance(value, str):
            where = credentials_in(value)
            if where:
                found[key or "the config"] = where
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for name, item in pairs:
                look(name, key)
                below = masked(str(name))
                look(item, f"{key}.{below}" if key else below)

    look(values, key)
    if found:
        raise InputError(refusal(found))


def refuse_in_address(option: str, address: str, reason: str, advice: str) -> None:
    """Refuse the address of a host or a registry if it contains credentials.

    Args:
        option: The option that gives the address, for the message.
        address: A URL, or a host and a path without a scheme.
        reason: Who could read the credentials, as a clause that follows "as".
        advice: Where credentials belong instead, as sentences.

    Raises:
        InputError: If the address contains credentials. The message does not repeat them.

    Example:
    ```python
    refuse_in_address("--host", "localhost:8080", "logs show it", "Use a token.")
    ```
    """
    url = "".join(address.split())
    url = url if "://" in url else f"https://{url}"
    # Without these two, text after a colon is a port, or the address is not valid.
    where = credentials_in(url) if "@" in url or "?" in url else None
    if where:
        raise InputError(
            f"{option} ({where}): a URL must not contain credentials, as {reason}. Remove them "
            f"from the URL. {advice}"
        )
