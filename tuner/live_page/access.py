"""Who may read the live page: anyone who can reach it under a local name, or anyone who has its token."""

import ipaddress
import re
from base64 import b64encode
from dataclasses import dataclass, field, replace
from hashlib import blake2b, sha256
from hmac import compare_digest
from http import HTTPStatus

from tuner import names
from tuner.errors import ConfigError
from tuner.monitoring.http_server import Handler, Request, Response, plain

LOCAL_SUFFIXES = (".localhost", ".svc", ".cluster.local")
"""Suffixes of host names that only this machine or its cluster resolves."""
_PARAMETER = "token"
_TOKEN = re.compile(r"[!-~]{16,512}")
_UNAUTHORIZED = {"WWW-Authenticate": 'Bearer realm="cifake-tune"', "Cache-Control": "no-store"}
_FORM = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>cifake-tune</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>cifake-tune</h1>
<p role="status">{sentence}</p>
<form action="./" method="get">
<p>
<label>Token <input type="password" name="token" autocomplete="off" required autofocus></label>
<button>Open</button>
</p>
</form>
</main>
</body>
</html>
"""
_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;margin:0}main{max-width:24rem;margin:12vh auto;padding:0 1rem}"
    "h1{font-size:1.25rem}label{display:block}input{box-sizing:border-box;width:100%;margin:.25rem 0 1rem}"
    "input,button{font:inherit;padding:.4rem .6rem}"
)
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
_FORM_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class PageAccess:
    """What a request must have to be answered."""

    token: str = field(default="", repr=False)
    """The token of the page; empty if it asks for none."""
    is_encrypted: bool = False
    """Whether the page is served with https."""

    def guarded(self, path: str, handler: Handler) -> Handler:
        """Return the handler of a path, which first checks the request."""

        def checked(request: Request) -> Response:
            if not self.token:
                return handler(request) if self.is_encrypted or is_local_name(request.host) else _misdirected()
            if path == names.HTTP_PAGE and _PARAMETER in request.query:
                return self._login(request.query[_PARAMETER])
            if self._is_known(request):
                return handler(request)
            return _form("Enter the token of the live page.") if path == names.HTTP_PAGE else _refused()

        return checked

    def _login(self, token: str) -> Response:
        """Exchange the token in the address for a cookie, and lead to the address without the token.

        The answer is a page that refreshes to the other one. After a redirect, the browser would not send the cookie
        if the user had followed a link on another site (SameSite=Strict).
        """
        if not _is_same(token, self.token):
            return _form("This is not the token of the live page.")
        attributes = "; Path=/; HttpOnly; SameSite=Strict" + ("; Secure" if self.is_encrypted else "")
        cookie = f"{self._cookie_name}={self._cookie}{attributes}"
        headers = {"Set-Cookie": cookie, "Refresh": "0; url=./", "Cache-Control": "no-store"}
        return replace(plain("The token is right. Opening the live page ..."), headers=headers)

    def _is_known(self, request: Request) -> bool:
        scheme, _, credentials = request.authorization.partition(" ")
        if scheme.lower() == "bearer" and _is_same(credentials.strip(), self.token):
            return True
        pairs = (part.strip().partition("=") for part in request.cookie.split(";"))
        return any(name == self._cookie_name and _is_same(value, self._cookie) for name, _, value in pairs)

    @property
    def _cookie_name(self) -> str:
        """Name of the cookie. Pages with other tokens at other ports of the same host have cookies of other names."""
        return f"cifake-tune-{self._derived(b'name')[:8]}"

    @property
    def _cookie(self) -> str:
        """Value of the cookie. It does not tell the token, because browsers send cookies to all ports of a host."""
        return self._derived(b"value")

    def _derived(self, purpose: bytes) -> str:
        return blake2b(self.token.encode(), digest_size=32, person=b"live page " + purpose).hexdigest()


def check_token(token: str) -> None:
    """Raise ConfigError if the text cannot be a token. The error does not contain the text."""
    if not _TOKEN.fullmatch(token):
        raise ConfigError(
            f"{names.ENV_LIVE_PAGE_TOKEN} must have 16 to 512 characters without spaces, got {len(token)} characters. "
            "Set it to the output of `openssl rand -hex 32`, or unset it."
        )


def is_local_name(host: str) -> bool:
    """Return whether a Host header has an IP address, or a name that the public DNS does not resolve.

    Another site could let its own name resolve to this machine (DNS rebinding). A page with a token needs no such
    check, because a browser does not send the cookie under the other name. Neither does a page with a certificate,
    because it is not valid for the other name.
    """
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return bool(name) and ("." not in name or name.lower().endswith(LOCAL_SUFFIXES))
    return True


def _is_same(one: str, other: str) -> bool:
    """Compare in a time that depends on neither text."""
    first, second = (blake2b(text.encode("utf-8", "replace")).digest() for text in (one, other))
    return compare_digest(first, second)


def _misdirected() -> Response:
    return plain(
        "open this page as localhost or by an IP address, not by a public name", HTTPStatus.MISDIRECTED_REQUEST
    )


def _form(sentence: str) -> Response:
    headers = {**_UNAUTHORIZED, "Content-Security-Policy": _FORM_POLICY}
    body = _FORM.format(style=_STYLE, sentence=sentence).encode()
    return Response(body, "text/html; charset=utf-8", HTTPStatus.UNAUTHORIZED, headers)


def _refused() -> Response:
    sentence = "the live page needs its token: open it again, or send the header Authorization: Bearer TOKEN"
    return replace(plain(sentence, HTTPStatus.UNAUTHORIZED), headers=_UNAUTHORIZED)
