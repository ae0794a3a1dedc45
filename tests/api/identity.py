"""A small identity provider: real RSA keys, a real JWKS endpoint, and tokens in every state of wrongness."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

SECRET = "a-development-secret-of-more-than-32-bytes"
WEBHOOK_SECRET = "what-the-gateway-signs-with"
ISSUER = "huntaze"
AUDIENCE = "huntaze-api"


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a good token; ``changes`` replace them, ``None`` removes one."""
    good = {
        "sub": "user-1",
        "role": "creator",
        "accounts": [],
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": int(time.time()) + 600,
    }
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(user: str = "user-1", role: str = "creator", accounts: tuple[str, ...] = (), *, secret: str = SECRET) -> str:
    """A good HS256 token."""
    return jwt.encode(claims(sub=user, role=role, accounts=list(accounts)), secret, algorithm="HS256")


def bearer(user: str = "user-1", role: str = "creator", accounts: tuple[str, ...] = ()) -> dict[str, str]:
    """The header of a caller with a good HS256 token."""
    return {"Authorization": f"Bearer {token(user, role, accounts)}"}


class IdentityProvider:
    """Signs with RSA keys that it publishes; counts how often they are fetched."""

    def __init__(self) -> None:
        self.fetches = 0
        self._private: dict[str, rsa.RSAPrivateKey] = {}
        self.url = ""

    def rotate(self, kid: str) -> None:
        """Publish one more key."""
        self._private[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def sign(self, payload: dict[str, Any], kid: str, *, published_as: str | None = None) -> str:
        """A token signed with the key ``kid``; ``published_as`` lies about which."""
        return jwt.encode(payload, self._private[kid], algorithm="RS256", headers={"kid": published_as or kid})

    def jwks(self) -> bytes:
        """The public keys as the endpoint answers them."""
        self.fetches += 1
        algorithm = jwt.algorithms.RSAAlgorithm
        keys = [
            {**algorithm.to_jwk(private.public_key(), as_dict=True), "kid": kid, "use": "sig", "alg": "RS256"}
            for kid, private in self._private.items()
        ]
        return json.dumps({"keys": keys}).encode()


@contextmanager
def identity_provider() -> Iterator[IdentityProvider]:
    """An identity provider that answers on a local port, with the key ``first``."""
    provider = IdentityProvider()
    provider.rotate("first")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = provider.jwks()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    provider.url = f"http://127.0.0.1:{server.server_port}/jwks.json"
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
