"""A local S3 server, and the types of this folder's fixtures."""

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

Race = Callable[[str, list[dict[str, Any]]], list[Any]]
MakeFolder = Callable[[str], Path]


class S3App:
    """moto's S3, with features of S3 that moto lacks.

    It answers one request at a time: moto 5 checks If-None-Match and writes in two steps,
    which are a single one on S3.

    Args:
        denied: Buckets without access.
        answers_lost: Parts of paths. A PUT there is executed, but its first answer is an error.
    """

    def __init__(self) -> None:
        self.denied: set[str] = set()
        self.answers_lost: list[str] = []
        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        with self._lock:
            if path.split("/")[1] in self.denied:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                return _error(start_response, method, "403 Forbidden", "AccessDenied")
            for part in self.answers_lost if method == "PUT" else []:
                if part in path:
                    self.answers_lost.remove(part)
                    list(self._app(environ, lambda *_: None))
                    return _error(start_response, method, "500 Internal Error", "InternalError")
            return self._app(environ, start_response)


def _error(start_response: Callable[..., Any], method: str, status: str, code: str) -> list[bytes]:
    content = f"<Error><Code>{code}</Code><Message>{code}, says the server</Message></Error>"
    start_response(
        status, [("Content-Type", "application/xml"), ("Content-Length", str(len(content)))]
    )
    return [] if method == "HEAD" else [content.encode()]


@dataclasses.dataclass(frozen=True)
class S3:
    """A bucket on the server.

    Args:
        app: The server's application.
        endpoint: The server's address.
        bucket: The bucket's name.
    """

    app: S3App
    endpoint: str
    bucket: str
