"""Access to a release's bucket and chief, for the commands that read a release of the chart.

Both are accessed through forwarded ports. Port forwarding requires a single permission (create pods/portforward), works
without the chief, and lets this version of the program read the data. It also starts no process in the pods. Running
`cifake-tune status` in a pod instead would start Python there each time, which takes seconds beside a training worker.

The functions that need the Kubernetes client and gRPC import them, because commands that read a bucket need neither.
"""

import base64
import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from tuner import names
from tuner.bucket import Bucket, open_bucket
from tuner.cli.options import named_study
from tuner.errors import CifakeTuneError, EnvironmentFailure
from tuner.temporary_files import temporary_folder

if TYPE_CHECKING:
    from k8s.release.release import Release
    from tuner.rpc.tls import Files
    from tuner.study.status import WorkerStatus
    from tuner.study.views import StudyView

CHIEF_TIMEOUT_S = 5.0


@contextlib.contextmanager
def bucket_and_study(
    bucket_url: str, study: str | None, release: str | None, namespace: str | None, context: str | None
) -> Iterator[tuple[Bucket, str | None]]:
    """Yield the bucket that a command reads, and the name of the study (None if no name is given)."""
    if release is None:
        yield open_bucket(bucket_url), named_study(study)
        return
    opened = load_release(release, namespace, context)
    with open_release_bucket(opened) as bucket:
        yield bucket, named_study(study) if study else opened.study_name()


def load_release(release: str, namespace: str | None, context: str | None) -> "Release":
    """Return a release of the chart.

    Raises UsageError if there is no such release or no cluster is configured, and EnvironmentFailure if the cluster
    cannot be reached.
    """
    from k8s.cluster.client import connect
    from k8s.release.release import load

    return load(connect(namespace, context), release)


@contextlib.contextmanager
def open_release_bucket(release: "Release") -> Iterator[Bucket]:
    """Open the release's bucket, through a forwarded port if the bucket is in the cluster, else with local credentials.

    Raises EnvironmentFailure if the bucket's pod does not exist or cannot be reached now, or if the bucket is on a
    volume that only pods can read, and BucketError.
    """
    from k8s.cluster.port_forward import forwarded
    from k8s.release import release as releases

    port = release.emulator_port
    if release.lacks_bucket:  # the bucket's URL is that of the pods, so credentials of this machine are of no use
        reason = "its namespace is being deleted" if release.deleted else "it was uninstalled"
        raise EnvironmentFailure(f"the bucket of release {release.name} does not exist, because {reason}.")
    release.require_readable_bucket()
    if port is None:
        with contextlib.ExitStack() as stack:
            for variable, value in release.bucket_variables.items():
                stack.enter_context(_environment(variable, os.environ.get(variable) or value))
            yield open_bucket(release.bucket_url)
        return
    pod = release.running(releases.BUCKET)
    with (
        forwarded(release.cluster, pod.name, port) as local_port,
        _environment(names.ENV_EMULATOR, f"http://127.0.0.1:{local_port}"),
    ):
        yield open_bucket(release.bucket_url)


def ask_chief(release: "Release") -> "list[WorkerStatus]":
    """Return the workers' status from the chief. Raises EnvironmentFailure, grpc.RpcError."""
    from k8s.cluster.port_forward import forwarded
    from k8s.release import release as releases
    from tuner.rpc import lease_service, tls

    pod = release.running(releases.CHIEF)
    with contextlib.ExitStack() as stack:
        files = stack.enter_context(_certificates(release))
        port = stack.enter_context(forwarded(release.cluster, pod.name, release.chief_port))
        channel = stack.enter_context(tls.open_channel(f"127.0.0.1:{port}", files, lease_service.OPTIONS))
        return list(lease_service.LeaseStub(channel).status(CHIEF_TIMEOUT_S).workers)


def workers_of(
    release: "Release", progress: "Callable[[], StudyView | None]" = lambda: None
) -> "tuple[list[WorkerStatus], str]":
    """Return the workers' status from the chief, or why it is unknown.

    `progress` returns the study, if it can be read. Called only if the chief does not answer.
    """
    import grpc

    from k8s.release import release as releases

    if not any(pod.status.phase == "Running" for pod in release.pods_of(releases.CHIEF)):
        return [], ""  # the chief's line in the output gives the reason
    try:
        return ask_chief(release), ""
    except CifakeTuneError as error:
        return [], f"The status of the workers is unknown: {error}"
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            return [], _silent_chief(release, progress())
        return [], f"The status of the workers is unknown: the chief answered {error.code().name} ({error.details()})."


def _silent_chief(release: "Release", view: "StudyView | None") -> str:
    """Return why the chief's pod runs, but does not answer. It serves no worker after the search."""
    from k8s.release import release as releases

    finished = f"The chief has finished, and ends within {release.linger_s + CHIEF_TIMEOUT_S:.0f} s."
    is_over = view is not None and view.state != "unfinished"
    since = release.running_since(releases.CHIEF)
    age_s = (datetime.now(UTC) - since).total_seconds() if since else 0.0
    is_newer = is_over and view is not None and view.last_record_s is not None and age_s < view.last_record_s
    if not (is_newer and view is not None and view.gave_up):  # such a chief continues the search
        if release.has_evaluated or (is_over and not is_newer and not release.evaluates):
            return finished
        if is_over and release.evaluates:
            return "The search has finished, so the chief serves no workers. It waits for the evaluation."
    return "The chief's pod runs, but the chief does not answer yet. It is starting, or waiting for data."


def ask_for_progress(release: "Release") -> "StudyView":
    """Return the progress of the study from the chief's live page. Raises EnvironmentFailure if it does not answer."""
    import requests
    from pydantic import ValidationError
    from urllib3.exceptions import InsecureRequestWarning

    from k8s.cluster.port_forward import forwarded
    from k8s.release import release as releases
    from tuner.live_page.overview import Overview, study_view

    pod = release.running(releases.CHIEF)
    if release.page_port is None:
        raise EnvironmentFailure("the chief serves no live page.")
    token = release.page_token()
    scheme = "https" if release.page_is_encrypted else "http"
    with forwarded(release.cluster, pod.name, release.page_port) as port, requests.Session() as session:
        session.trust_env = False  # no proxy reaches a port of this machine
        # the API server, whose certificate is verified, forwards the port, and the page's own is for another name
        session.verify = False
        if token:
            session.headers["Authorization"] = f"Bearer {token}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InsecureRequestWarning)
                answer = session.get(f"{scheme}://127.0.0.1:{port}{names.HTTP_OVERVIEW}", timeout=CHIEF_TIMEOUT_S)
        except requests.RequestException as error:
            raise EnvironmentFailure(f"the chief's live page does not answer ({type(error).__name__}).") from None
    if answer.status_code != HTTPStatus.OK:
        raise EnvironmentFailure(f"the chief's live page answered: {answer.text[:200].strip()}.")
    try:
        return study_view(Overview.model_validate_json(answer.content))
    except ValidationError:
        raise EnvironmentFailure("the chief has another version of cifake-tune, so its page cannot be read.") from None


@contextlib.contextmanager
def _certificates(release: "Release") -> "Iterator[Files | None]":
    """Yield the release's certificates as files that only this user can read, or None without TLS."""
    if not release.tls_secret:
        yield None
        return
    from k8s.cluster.objects import Secret
    from tuner.rpc import tls

    data = release.cluster.get(Secret, release.tls_secret).data
    with temporary_folder() as folder:
        for name in ("tls.crt", "tls.key", "ca.crt"):
            (Path(folder) / name).write_bytes(base64.b64decode(data.get(name, "")))
        certificate, key, authority = (Path(folder) / name for name in ("tls.crt", "tls.key", "ca.crt"))
        yield tls.Files(certificate, key, authority, release.chief_host)


@contextlib.contextmanager
def _environment(variable: str, value: str) -> Iterator[None]:
    previous = os.environ.get(variable)
    os.environ[variable] = value
    try:
        yield
    finally:
        if previous is None:
            del os.environ[variable]
        else:
            os.environ[variable] = previous
