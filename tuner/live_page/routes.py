"""What the chief answers to the live page's browser: the page itself, and JSON. It only reads."""

import hashlib
import ipaddress
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib import resources

from pydantic import BaseModel, ValidationError

from tuner import names
from tuner.live_page.live_state import LiveState, LiveStateCache
from tuner.live_page.overview import Overview, overview
from tuner.live_page.trial_rows import Wanted, one_trial, page_of
from tuner.monitoring.http_server import Handler, Request, Response, plain

SCRIPTS = ("page", "top", "parts", "trials", "trial", "charts", "states", "dom")
STATIC = {
    names.HTTP_PAGE: ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/favicon.svg": ("favicon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in SCRIPTS},
}
HEADERS = {
    # Trusted Types: a browser that knows them refuses to parse a string as HTML, whatever the scripts do
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
OUR_NAMES = (".localhost", ".svc", ".cluster.local")
"""Ends of names that only this machine, or a cluster, resolves."""
Answer = Callable[[LiveState, Request], Response]


class LivePage:
    """The page and its JSON for one study in one bucket; `take` returns what they show, as LiveStateCache's does."""

    def __init__(self, bucket: str, take: Callable[[], LiveState | None]) -> None:
        self.latest = LiveStateCache(take)
        self._bucket = bucket
        self._lock = threading.Lock()
        self._made: tuple[LiveState, Overview] | None = None

    def routes(self) -> dict[str, Handler]:
        """Return what is answered, by path."""
        answers: dict[str, Answer] = {
            names.HTTP_OVERVIEW: lambda moment, request: _json(request, self._overview(moment)),
            names.HTTP_TRIALS: _trials,
            names.HTTP_TRIAL: _trial,
        }
        files = {path: _file(*STATIC[path]) for path in STATIC}
        return {path: _ours(handler) for path, handler in files.items()} | {
            path: _ours(self._of_moment(answer)) for path, answer in answers.items()
        }

    def _overview(self, moment: LiveState) -> Overview:
        """Return a moment's overview, made once however many pages are open."""
        with self._lock:
            if self._made is None or self._made[0] is not moment:
                self._made = moment, overview(moment, self._bucket)
            return self._made[1]

    def _of_moment(self, answer: Answer) -> Handler:
        def handler(request: Request) -> Response:
            try:
                moment = self.latest.get()
            except TimeoutError:
                return plain("the chief is too busy to answer", HTTPStatus.SERVICE_UNAVAILABLE)
            if moment is None:
                return plain("the chief is starting: it reads the study", HTTPStatus.SERVICE_UNAVAILABLE)
            return answer(moment, request)

        return handler


def _trials(moment: LiveState, request: Request) -> Response:
    try:
        wanted = Wanted.model_validate(request.query)
    except ValidationError as error:
        first = error.errors()[0]
        return plain(f"{'.'.join(map(str, first['loc'])):.100}: {first['msg']:.200}", HTTPStatus.BAD_REQUEST)
    return _json(request, page_of(moment.state, wanted))


def _trial(moment: LiveState, request: Request) -> Response:
    trial = moment.state.trials.get(names.TrialId(request.query.get("trial", "")))
    if trial is None:
        return plain("there is no such trial", HTTPStatus.NOT_FOUND)
    return _json(request, one_trial(moment.state, trial))


def _json(request: Request, answer: BaseModel) -> Response:
    return _versioned(request, answer.model_dump_json().encode("utf-8", "backslashreplace"), "application/json")


def _file(name: str, content_type: str) -> Handler:
    body = resources.files(__package__).joinpath("static", name).read_bytes()
    return lambda request: _versioned(request, body, content_type)


def _versioned(request: Request, body: bytes, content_type: str) -> Response:
    """Answer with the body, or that the client has it already."""
    version = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    if request.known == version:
        return Response(b"", content_type, HTTPStatus.NOT_MODIFIED, {"ETag": version})
    return Response(body, content_type, headers={"ETag": version})


def _ours(handler: Handler) -> Handler:
    """Refuse who found us under a name that anyone may own: a page elsewhere can have one that means this machine."""

    def checked(request: Request) -> Response:
        response = (
            handler(request)
            if is_our_name(request.host)
            else plain("open this page as localhost, or by an IP address", HTTPStatus.MISDIRECTED_REQUEST)
        )
        return Response(response.body, response.content_type, response.status, _with(response.headers))

    return checked


def is_our_name(host: str) -> bool:
    """Say whether a Host header has an address, or a name that the public DNS does not resolve."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return bool(name) and ("." not in name or name.lower().endswith(OUR_NAMES))
    return True


def _with(headers: Mapping[str, str]) -> dict[str, str]:
    return {**HEADERS, **headers}
