"""Checks that `doctor` makes on the machine where it runs, or in the probe's pod inside the cluster."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from ctypes.util import find_library
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, distributions, version
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from urllib.parse import urlsplit

import requests

from k8s.doctor.bucket_trial import try_bucket
from k8s.doctor.findings import Finding, broken, clock_finding, fine, warning
from tuner import names
from tuner.bucket import is_remote, open_bucket
from tuner.errors import CifakeTuneError

CONNECT_TIMEOUT_S = 5.0
GPU_TIMEOUT_S = 180
_GOOGLE = "https://storage.googleapis.com"
# counts GPUs in the same way as tuner.training.devices
_COUNT_GPUS = "import keras; print(sum(d.startswith(('gpu', 'cuda')) for d in keras.distribution.list_devices()))"
_BACKENDS = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "jax": ("jax",)}


def check_machine() -> Iterator[Finding]:
    """Check the Keras backend and the GPUs that it finds."""
    installed = {
        name: installed_version
        for name, packages in _BACKENDS.items()
        if (installed_version := _version(packages)) and find_spec(name)
    }
    python = ".".join(map(str, sys.version_info[:3]))
    chosen = os.environ.get("KERAS_BACKEND") or next(iter(installed), "")
    if not installed:
        yield broken(
            "backend",
            f"Python {python} has neither TensorFlow nor JAX, so models cannot be trained here",
            "Install cifake-tune[tensorflow], cifake-tune[cuda] or cifake-tune[jax]. The commands status, trials and "
            "logs need no backend.",
        )
        return
    if chosen not in installed:
        yield broken(
            "backend",
            f"KERAS_BACKEND is {chosen}, which is not installed",
            f"Unset KERAS_BACKEND, or set it to one of: {', '.join(installed)}.",
        )
        return
    yield fine("backend", f"Python {python} with {chosen} {installed[chosen]}")
    yield from _check_gpus(chosen)


def _check_gpus(backend: str) -> Iterator[Finding]:
    if not (Path("/dev/nvidia0").exists() or which("nvidia-smi")):
        yield fine("GPU", "this machine has no NVIDIA GPU, so models train on the CPU")
        return
    done = subprocess.run(
        [sys.executable, "-c", _COUNT_GPUS],
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=GPU_TIMEOUT_S,
        check=False,
    )
    count = done.stdout.strip().rpartition("\n")[2]
    if count.isdecimal() and int(count):
        yield fine("GPU", f"{backend} finds {count} GPU{'' if count == '1' else 's'}")
        return
    yield warning(
        "GPU",
        f"this machine has an NVIDIA GPU, but {backend} does not find it, so models train on the CPU",
        "Install requirements/cuda.txt (TensorFlow) or requirements/jax-cuda.txt (JAX). Check that nvidia-smi works, "
        "which requires NVIDIA's driver.",
    )


def check_cuda(gpus: int, resource: str = names.GPU_RESOURCE) -> Iterator[Finding]:
    """Check that the image of workers that request NVIDIA's GPUs has CUDA's libraries. The probe itself has no GPU."""
    if not gpus:
        return
    packages = {str(part.metadata["Name"]).lower() for part in distributions()}
    has_packages = any(name.startswith(("nvidia-cuda-runtime", "jax-cuda")) for name in packages)
    if has_packages or find_library("cudart") or any(Path("/usr/local").glob("cuda*/lib64/libcudart.so*")):
        yield fine("CUDA", "the image has CUDA's libraries")
        return
    yield warning(
        "CUDA",
        f"workers request {gpus} {resource} each, but the image has no CUDA libraries, so they train on the CPU",
        "Build an image with CUDA's libraries (make image LOCK=cuda), or set workers.gpus=0.",
    )


def check_bucket(url: str, owner: str) -> Iterator[Finding]:
    """Check that the bucket can be reached, and has the rights, conditional writes and latency that a study needs.

    The clock of this machine, which `owner` names, is compared with that of the bucket's server.
    """
    if endpoint := _endpoint(url):
        proxy = _proxy(endpoint)
        first = urlsplit(proxy or endpoint)
        port = first.port or (80 if first.scheme == "http" else 443)
        if problem := _unreachable(first.hostname or "", port):
            what = f"the proxy {first.hostname}:{port} for {endpoint}" if proxy else endpoint
            yield broken("bucket", f"{url} cannot be reached: {what} {problem}", _NETWORK_FIX)
            return
        yield from _check_clock(endpoint, owner)
    try:
        bucket = open_bucket(url)
    except CifakeTuneError as error:
        yield broken("bucket", str(error).rstrip("."))
        return
    yield try_bucket(bucket)


def check_name(host: str) -> Iterator[Finding]:
    """Check that DNS resolves the name of a host."""
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        yield broken(
            "DNS",
            f"the name {host} is not resolved inside the cluster ({error.strerror or error})",
            "Check that CoreDNS runs (kubectl get pods -n kube-system), and that NetworkPolicies allow port 53.",
        )
    else:
        yield fine("DNS", f"{host} is resolved inside the cluster")


def check_chief(host: str, port: int) -> Iterator[Finding]:
    """Check that the chief's Service accepts connections."""
    problem = _unreachable(host, port)
    if problem is None:
        yield fine("chief", f"the Service {host} accepts connections on port {port}")
    else:
        yield broken("chief", f"the Service {host} on port {port} {problem}", _NETWORK_FIX)


_NETWORK_FIX = "Check the NetworkPolicies, and whether the cluster allows outgoing connections."


def _check_clock(endpoint: str, owner: str) -> Iterator[Finding]:
    with requests.Session() as session:
        session.trust_env = not _emulator()  # an emulator is reached directly
        try:
            response = session.head(endpoint, timeout=CONNECT_TIMEOUT_S, allow_redirects=False)
        except requests.RequestException:
            return  # the check of the bucket reports the problem
    if date := response.headers.get("Date"):
        yield clock_finding("clock", time.time(), parsedate_to_datetime(date).timestamp(), owner, endpoint)


def _proxy(endpoint: str) -> str | None:
    """Return the URL of the proxy that the bucket's client uses for an endpoint. An emulator is reached directly."""
    if endpoint == _emulator():
        return None
    return requests.utils.select_proxy(endpoint, requests.utils.get_environ_proxies(endpoint))


def _endpoint(url: str) -> str:
    """Return the URL of the bucket's server; "" if the bucket is a folder, or if the server is not known."""
    if not is_remote(url):
        return ""
    parts = urlsplit(url)
    if parts.scheme == "gs":
        return _emulator() or _GOOGLE
    from tuner.bucket.object_services import service_of  # imports obstore

    try:
        return service_of(parts.scheme, parts.netloc).endpoint
    except CifakeTuneError:
        return ""  # opening the bucket tells why


def _emulator() -> str:
    address = os.environ.get(names.ENV_EMULATOR, "")
    return f"http://{address}" if address and "://" not in address else address


def _unreachable(host: str, port: int) -> str | None:
    try:
        socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
    except TimeoutError:
        return f"does not respond within {CONNECT_TIMEOUT_S:g} s"
    except OSError as error:
        return f"refuses the connection ({error.strerror or error})"
    return None


def _version(packages: tuple[str, ...]) -> str | None:
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return None
