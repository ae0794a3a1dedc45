"""moto's server, one request at a time.

AWS serialises transactions; moto's threads do not: two at once can undo each other's writes without an error.
A lock around the application gives the embedded DynamoDB the atomicity that the product relies on.
"""

import argparse
from collections.abc import Callable, Iterable
from threading import Lock
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

WSGIApplication = Callable[[dict[str, Any], Any], Iterable[bytes]]


def serialised(application: WSGIApplication) -> WSGIApplication:
    """The same application, entered by one thread at a time; answers leave it complete."""
    lock = Lock()

    def one_at_a_time(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with lock:
            return list(application(environ, start_response))

    return one_at_a_time


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m local.moto")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    run_simple(
        arguments.host,
        arguments.port,
        serialised(DomainDispatcherApplication(create_backend_app)),
        threaded=True,
        request_handler=MotoRequestHandler,
    )


if __name__ == "__main__":
    main()
