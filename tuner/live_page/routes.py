"""The HTTP routes of the live page: its files, and its data as JSON. All of them are read-only."""

import hashlib
import threading
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from importlib import resources

from pydantic import BaseModel, ValidationError

from tuner import names
from tuner.live_page.access import PageAccess
from tuner.live_page.live_state import LiveState, LiveStateCache
from tuner.live_page.overview import Overview, overview
from tuner.live_page.trial_rows import TrialQuery, trial_details, trial_page
from tuner.monitoring.http_server import Handler, Request, Response, plain
from tuner.printable import printable, printable_json

SCRIPTS = ("page", "top", "parts", "trials", "trial", "charts", "states", "dom")
STATIC = {
    names.HTTP_PAGE: ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/favicon.svg": ("favicon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript; charset=utf-8") for name in SCRIPTS},
}
HEADERS = {
    # Trusted Types: a browser that supports them refuses to parse strings as HTML
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
Answer = Callable[[LiveState, Request], Response]


class LivePage:
    """The page of one study in one bucket. `take` returns the state to show, as for LiveStateCache."""

    def __init__(self, bucket: str, take: Callable[[], LiveState | None]) -> None:
        self.latest = LiveStateCache(take)
        self.problem = ""
        """Why the chief ends, as a sentence. If it is set, every request for data is answered with it."""
        self._bucket = bucket
        self._lock = threading.Lock()
        self._newest: tuple[LiveState, Overview] | None = None

    def routes(self, access: PageAccess) -> dict[str, Handler]:
        """Return the handlers by path, which check every request."""
        answers: dict[str, Answer] = {
            names.HTTP_OVERVIEW: lambda live, request: _json(request, self._overview(live)),
            names.HTTP_TRIALS: _trials,
            names.HTTP_TRIAL: _trial,
        }
        handlers = {path: _file(*STATIC[path]) for path in STATIC} | {
            path: self._with_live_state(answer) for path, answer in answers.items()
        }
        return {path: _with_headers(access.guarded(path, handler)) for path, handler in handlers.items()}

    def _overview(self, live: LiveState) -> Overview:
        """Return the overview, computed once for all open pages."""
        with self._lock:
            if self._newest is None or self._newest[0] is not live:
                self._newest = live, overview(live, self._bucket)
            return self._newest[1]

    def _with_live_state(self, answer: Answer) -> Handler:
        def handler(request: Request) -> Response:
            if self.problem:
                self.latest.mark_last_read()
                return plain(printable(self.problem).removesuffix("."), HTTPStatus.SERVICE_UNAVAILABLE)
            try:
                live = self.latest.get()
            except TimeoutError:
                return plain("the chief is too busy to answer", HTTPStatus.SERVICE_UNAVAILABLE)
            if live is None:
                return plain("the chief is starting and reading the study", HTTPStatus.SERVICE_UNAVAILABLE)
            return answer(live, request)

        return handler


def _trials(live: LiveState, request: Request) -> Response:
    try:
        query = TrialQuery.model_validate(request.query)
    except ValidationError as error:
        first = error.errors()[0]
        return plain(f"{'.'.join(map(str, first['loc'])):.100}: {first['msg']:.200}", HTTPStatus.BAD_REQUEST)
    return _json(request, trial_page(live.state, query))


def _trial(live: LiveState, request: Request) -> Response:
    trial = live.state.trials.get(names.TrialId(request.query.get("trial", "")))
    if trial is None:
        return plain("the study has no trial with this id", HTTPStatus.NOT_FOUND)
    return _json(request, trial_details(live.state, trial))


def _json(request: Request, answer: BaseModel) -> Response:
    text = printable_json(answer.model_dump_json())
    return _versioned(request, text.encode("utf-8", "backslashreplace"), "application/json")


def _file(name: str, content_type: str) -> Handler:
    body = resources.files(__package__).joinpath("static", name).read_bytes()
    return lambda request: _versioned(request, body, content_type)


def _versioned(request: Request, body: bytes, content_type: str) -> Response:
    """Return the body, or 304 if the client has it already."""
    version = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    if request.if_none_match == version:
        return Response(b"", content_type, HTTPStatus.NOT_MODIFIED, {"ETag": version})
    return Response(body, content_type, headers={"ETag": version})


def _with_headers(handler: Handler) -> Handler:
    """Add the headers that restrict what a browser does with an answer."""

    def answered(request: Request) -> Response:
        response = handler(request)
        return replace(response, headers={**HEADERS, **response.headers})

    return answered
