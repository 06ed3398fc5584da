"""Asking an injected sidecar, such as the proxy of a service mesh, to end together with a pod's main process."""

import http.client
import sys
import urllib.request
from urllib.parse import urlsplit

from tuner import names

TIMEOUT_S = 3.0
"""Seconds to wait for the sidecar. A pod that was asked to stop has only its grace period."""


def quit_sidecar(url: str) -> None:
    """Ask a sidecar to end, with a POST to its URL. A failure is only printed."""
    if urlsplit(url).scheme not in ("http", "https"):
        print(f"warning: {names.ENV_QUIT_URL} must be an http:// or https:// URL, got {url!r:.200}.", file=sys.stderr)  # noqa: T201
        return
    request = urllib.request.Request(url, data=b"", method="POST")  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the sidecar is in this pod
    try:
        opener.open(request, timeout=TIMEOUT_S).close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        print(f"warning: the sidecar was not asked to end, because {url} did not answer ({reason}).", file=sys.stderr)  # noqa: T201
