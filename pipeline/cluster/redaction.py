"""Makes text from outside fit to print: no secrets, one line, nothing that steers a terminal."""

import logging
import re

from components.shared.runtime.clean_text import one_line, printable

_HIDDEN = "***"
# Shared by all connections: a log record does not say whose it is.
_SECRETS: set[str] = set()
# A server or proxy may send a request's headers back in its error page.
_CREDENTIALS = re.compile(
    r"""(?ix) (?P<header> \b (?:authorization | (?:set-)?cookie) \b ["']? \s* [:=] \s* )
              (?: \[? " [^"]{0,9999} " | \[? ' [^']{0,9999} ' | [^\r\n,}<"']+ )
            | \b (?P<scheme> bearer | basic ) \s+ [\w.~+/=-]{8,}"""
)
_LOGGERS = (
    "kfp_server_api.rest",
    "urllib3.connectionpool",
    "urllib3.poolmanager",
    "urllib3.util.retry",
    "google.auth.transport.requests",
    "requests_oauthlib.oauth2_session",
)


def clean(text: str, limit: int = 300) -> str:
    """Makes one line of a text from outside, without secrets and control characters.

    Args:
        text: What a server, a run or a file says.
        limit: The most characters to keep.
    """
    # Hidden after that: escape sequences may cut a secret into pieces.
    return one_line(hide(printable(text)), limit)


def never_show(*secrets: str | None) -> None:
    """Keeps tokens and Cookie headers out of messages and logs from now on."""
    for secret in secrets:
        for part in [secret or "", *(secret or "").split(";")]:
            value = re.sub(r"(?i)^(bearer|basic)\s+", "", part.strip())
            # The name of a cookie is no secret; its value is.
            _SECRETS.update(text for text in (value, value.partition("=")[2]) if len(text) > 3)


def hide(text: str) -> str:
    """The text without any secret."""
    for secret in sorted(_SECRETS, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return _CREDENTIALS.sub(
        lambda match: f"{match['header'] or match['scheme'] + ' '}{_HIDDEN}", text
    )


def hide_in_logs() -> None:
    """Hides secrets in what the libraries that send requests log."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_hide_in_record)


def _hide_in_record(record: logging.LogRecord) -> bool:
    record.msg, record.args = hide(record.getMessage()), ()
    return True
