"""Makes text from servers and runs safe to print: one line, no secrets, no control characters."""

import logging
import re

from components.shared.runtime.clean_text import one_line, printable

_HIDDEN = "***"
# Shared by all connections: a log record does not tell which connection it belongs to.
_SECRETS: set[str] = set()
# A server or a proxy may repeat a request's headers in its error page.
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
    """Return a text on one line, without secrets and control characters.

    Args:
        text: Text from a server, a run or a file.
        limit: Maximum number of characters.
    """
    # `printable` first: escape sequences may split a secret.
    return one_line(hide(printable(text)), limit)


def never_show(*secrets: str | None) -> None:
    """Keep tokens and Cookie headers out of messages and logs from now on.

    Args:
        *secrets: The tokens and headers; None and empty ones are ignored.
    """
    for secret in secrets:
        for part in [secret or "", *(secret or "").split(";")]:
            value = re.sub(r"(?i)^(bearer|basic)\s+", "", part.strip())
            # A cookie's value is secret, its name is not.
            _SECRETS.update(text for text in (value, value.partition("=")[2]) if len(text) > 3)


def hide(text: str) -> str:
    """Return the text with `***` in place of secrets."""
    for secret in sorted(_SECRETS, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return _CREDENTIALS.sub(
        lambda match: f"{match['header'] or match['scheme'] + ' '}{_HIDDEN}", text
    )


def hide_in_logs() -> None:
    """Hide secrets in the log records of the libraries that send requests."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_hide_in_record)


def _hide_in_record(record: logging.LogRecord) -> bool:
    record.msg, record.args = hide(record.getMessage()), ()
    return True
