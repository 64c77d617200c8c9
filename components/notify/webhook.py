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

# The address is a secret, so it comes from the environment: anyone who has it can post there.
WEBHOOK = "DEEP_RETRIEVAL_WEBHOOK"
_ATTEMPTS = 3
_SECONDS = 10.0
# The answer's content is ignored.
_LIMIT = 64 * 2**10


def post(message: Mapping[str, str], *, seconds_between: float = 2.0) -> bool:
    """Post a JSON object to the webhook, in up to three attempts.

    Args:
        message: The object.
        seconds_between: The wait before another attempt, in seconds.

    Returns:
        Whether the webhook accepted it; False without a webhook.
    """
    # Messages show only the host, never the path, which is the secret part.
    address = os.environ.get(WEBHOOK, "").strip()
    if not address:
        return False
    host = _host(address)
    if not host:
        logger.warning(f"{WEBHOOK} is not an http:// or https:// address")
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
    """Return the host of an address; an empty string if the address cannot be used."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - raises if it is not a number
    except ValueError:
        return ""
    usable = parts.scheme in ("http", "https") and not parts.username
    if not usable or any(character.isspace() for character in address):
        return ""
    return one_line(parts.hostname or "", 120)
