"""Posts a message to a webhook, if the environment names one."""

import http.client
import json
import logging
import os
import time
import urllib.request
from collections.abc import Mapping
from urllib.parse import urlsplit

from components.shared.runtime.bounded_http import exchange
from components.shared.runtime.clean_text import one_line

logger = logging.getLogger(__name__)

# The address comes from the environment, as it is a secret: whoever knows it can post there.
WEBHOOK = "DEEP_RETRIEVAL_WEBHOOK"
_ATTEMPTS = 3
_SECONDS = 10.0
# Nothing in the answer matters.
_LIMIT = 64 * 2**10


def post(message: Mapping[str, str], *, seconds_between: float = 2.0) -> bool:
    """Posts a JSON object to the webhook, up to three times.

    Args:
        message: The object.
        seconds_between: The wait before a further attempt.

    Returns:
        Whether the webhook took it; also false if there is none.
    """
    # Only where the address leads is shown, never its path, which is the secret part.
    address = os.environ.get(WEBHOOK, "").strip()
    if not address:
        return False
    host = _host(address)
    if not host:
        logger.warning(f"{WEBHOOK} is no http:// or https:// address")
        return False
    request = urllib.request.Request(
        address,
        json.dumps(message).encode(),
        {"Content-Type": "application/json"},
        method="POST",
    )
    reason = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(seconds_between)
        try:
            status = exchange(request, seconds=_SECONDS, limit=_LIMIT).status
        except http.client.HTTPException:
            reason = "does not answer in HTTP"
        except OSError as error:
            reason = f"cannot be reached: {one_line(str(getattr(error, 'reason', error)), 120)}"
        else:
            if 200 <= status < 300:
                logger.info(f"the webhook at {host} answered {status}")
                return True
            reason = f"answered {status}"
            if status < 500 and status != 429:
                break
    logger.warning(f"the webhook at {host} {reason}")
    return False


def _host(address: str) -> str:
    """The host that an address leads to; empty if it is no address."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError:
        return ""
    usable = parts.scheme in ("http", "https") and not parts.username
    if not usable or any(character.isspace() for character in address):
        return ""
    return one_line(parts.hostname or "", 120)
