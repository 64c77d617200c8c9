"""The work of notify: one line for the log, and the same for a webhook."""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from components.step import log

# The address comes from the environment, as it is a secret: whoever knows it can post there.
WEBHOOK = "DEEP_RETRIEVAL_WEBHOOK"
_ATTEMPTS = 3


def notify(*, name: str, run: str, state: str, error: str) -> dict[str, Any]:
    """Says how a run ended.

    Where the environment variable DEEP_RETRIEVAL_WEBHOOK has an address, it gets
    a JSON object by POST: `text`, a sentence as Slack and others show it, and
    `name`, `run`, `state` and `error`. A webhook that does not answer does not
    fail the run.

    Args:
        name: The config's name.
        run: The run's name.
        state: `SUCCEEDED`, `FAILED` or `CANCELLED`.
        error: Why it failed, if Kubeflow knows.

    Returns:
        `notified`: whether the webhook took it.
    """
    text = f"{name}: run {run} {state.lower()}" + (f": {error}" if error else "")
    log("notify", text)
    address = os.environ.get(WEBHOOK, "")
    if not address:
        return {"state": state, "notified": False}
    message = {"text": text, "name": name, "run": run, "state": state, "error": error}
    return {"state": state, "notified": _post(address, message)}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: urllib would follow it with a GET, without the message."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _post(address: str, message: dict[str, str], seconds_between: float = 2.0) -> bool:
    # Only where the address leads is shown, never its path, which is the secret part.
    address = address.strip()
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError:
        usable = False
    if not usable or parts.username or any(c.isspace() for c in address):
        log("notify", f"warning: {WEBHOOK} is no http:// or https:// address")
        return False
    host = parts.hostname
    request = urllib.request.Request(
        address,
        json.dumps(message).encode(),
        {"Content-Type": "application/json"},
        method="POST",
    )
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(seconds_between)
        try:
            with _OPENER.open(request, timeout=10) as response:
                log("notify", f"the webhook at {host} answered {response.status}")
                return True
        except urllib.error.HTTPError as error:
            reason = f"answered {error.code}"
            if error.code < 500 and error.code != 429:
                break
        except http.client.HTTPException:
            reason = "does not answer in HTTP"
        except OSError as error:
            reason = f"cannot be reached: {getattr(error, 'reason', error)}"
    log("notify", f"warning: the webhook at {host} {reason}")
    return False
