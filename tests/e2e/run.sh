#!/usr/bin/env bash
# Bring up a cluster, build the image and push it there, and run the tests of this folder: `run.sh [PYTEST ARGUMENT]...`.
#
# Where ../shared/cluster exists, the cluster is that one, and it is stopped again if it was started here. Elsewhere it
# is the one that KUBECONFIG names, and CIFAKE_TUNE_E2E_IMAGE an image that it can pull.
set -euo pipefail
cd "$(dirname "$0")/../.."
cluster=${CLUSTER_SCRIPTS:-../shared/cluster}
python=${PYTHON:-.venv/bin/python}

if [ -z "${CIFAKE_TUNE_E2E_IMAGE:-}" ]; then
    if [ ! -x "$cluster/up" ]; then
        echo "make e2e needs a cluster: set KUBECONFIG, and CIFAKE_TUNE_E2E_IMAGE to an image that it can pull" \
            "(make image builds one; kind load docker-image brings it into kind)." >&2
        exit 2
    fi
    . "$cluster/env"
    if ! kubectl get --raw /readyz >/dev/null 2>&1; then trap '"$cluster/down"' EXIT; fi
    "$cluster/up"
    # each of its 20 volumes is used once, and all tests together take 17; a cluster that is up may be in use elsewhere
    free=$(kubectl get persistentvolumes --no-headers | grep -c Available || true)
    if [ "$free" -lt 17 ]; then
        echo "make e2e needs 17 free volumes, and the cluster has $free: unless it is used elsewhere, stop it with" \
            "$cluster/down, and try again." >&2
        exit 2
    fi
    "$cluster/chart-tools"
    charts/check.sh
    # JAX by default: a process starts in a third of the time. `make e2e-full` uses TensorFlow, like a default install.
    lock=${LOCK:-jax}
    # named by its content: nodes keep an image of a name that they have
    files=$(git ls-files --cached --others --exclude-standard .dockerignore cifake_tune.py docker k8s requirements tuner LICENSE)
    export CIFAKE_TUNE_E2E_IMAGE=localhost:5000/cifake-tune:$lock-$(cat $files | sha256sum | cut -c1-12)
    if ! kubectl get --raw /readyz >/dev/null || ! curl -sf -o /dev/null \
        "http://localhost:5000/v2/cifake-tune/manifests/${CIFAKE_TUNE_E2E_IMAGE##*:}"; then
        "$cluster/image" build . docker/Dockerfile "$CIFAKE_TUNE_E2E_IMAGE" \
            --build-arg BASE_IMAGE=localhost/python:3.11-slim --build-arg LOCK="$lock" \
            --build-arg VERSION="$(sed -n 's/^__version__ = "\(.*\)"/\1/p' tuner/__init__.py)" \
            --build-arg REVISION="$(git rev-parse HEAD)"
    fi
    # the release before this one, from which test_release_upgrade.py upgrades
    export CIFAKE_TUNE_E2E_EARLIER_IMAGE=localhost:5000/cifake-tune:0.1.0-$lock
    if [[ " $* " != *"not full"* ]] && ! curl -sf -o /dev/null "http://localhost:5000/v2/cifake-tune/manifests/0.1.0-$lock"; then
        earlier=$(mktemp -d)
        tar -xJf tests/compatibility/release-0.1.0.tar.xz -C "$earlier"
        "$cluster/image" build "$earlier" docker/Dockerfile "$CIFAKE_TUNE_E2E_EARLIER_IMAGE" \
            --build-arg BASE_IMAGE=localhost/python:3.11-slim --build-arg LOCK="$lock" --build-arg VERSION=0.1.0
        rm -r "$earlier"
    fi
fi
tests/support/prometheus-tools >/dev/null || echo "the tests with Prometheus are skipped"
"$python" -m pytest -n 0 tests/e2e "$@"
