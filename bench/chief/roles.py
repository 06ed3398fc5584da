"""Roles of the chief's benchmarks that run in separate processes.

usage: python -m bench.chief.roles NAME ARGUMENTS, with ARGUMENTS as JSON
"""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable


def bare_chief(folder: str, trials: int, port: int) -> None:
    """Run Keras Tuner's oracle behind its own server, as its distributed mode does."""
    import keras_tuner
    from keras_tuner.src.distribute import oracle_chief

    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("val_accuracy", "max"), max_trials=trials, seed=1
    )
    oracle.verbose = 0
    oracle._set_project_dir(folder, "bare")
    oracle.update_space(_seed_space())
    os.environ["KERASTUNER_ORACLE_PORT"] = str(port)
    oracle_chief.start_server(oracle)


def clients(address: str, count: int) -> None:
    """Run the clients of the comparison."""
    import grpc

    from bench.chief.clients import threads

    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result(120)
    _print_times(threads(address, count))


def workers(address: str, count: int, train_s: float) -> None:
    """Run the swarm of workers."""
    from bench.chief.clients import swarm as run_swarm

    _print_times(asyncio.run(run_swarm(address, count, train_s)))


def servicer(trials: int, port: int) -> None:
    """Run a server that only answers."""
    from bench.chief.servicer import serve

    serve(_seed_space(), trials, port)


def proxy(target: str, port: int, keep_host: bool = False) -> None:
    """Run the proxy that simulates the network in front of the bucket."""
    from tests.support.fault_proxy import _main

    options = ["--keep-host"] if keep_host else []
    asyncio.run(_main(["--target", target, "--port", str(port), "--latency-ms", "50", *options]))


def restarted_chief(bucket: str, study: list[str], digest: str, port: int) -> None:
    """Run a chief on an existing study, and print the seconds from its imports until it serves."""
    from tuner import spaces
    from tuner.address import Address
    from tuner.bucket import open_bucket
    from tuner.bucket.gcs import GcsBucket  # noqa: F401  (an import too)
    from tuner.chief.context import ChiefContext
    from tuner.chief.monitor import ChiefMonitor
    from tuner.chief.run import run_chief
    from tuner.config.loading import load
    from tuner.monitoring.catalogue import Role
    from tuner.monitoring.endpoint import Monitor

    spaces.load_space(load().space, (32, 32, 3), 2).build(
        _hyperparameters()
    )  # imports Keras, and builds its first model
    began = time.perf_counter()

    class Announce(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "listens" in record.getMessage():
                print(json.dumps({"serving_s": time.perf_counter() - began}), flush=True)

    logging.getLogger("tuner.chief.server").addHandler(Announce())
    logging.getLogger("tuner.chief.server").setLevel(logging.INFO)
    address = Address("127.0.0.1", port)
    settings = load(settings=study)
    monitor = ChiefMonitor(open_bucket(bucket), settings.name, Monitor(Role.CHIEF))
    run_chief(ChiefContext(monitor.bucket, settings, digest, address, None, None, monitor))


def _seed_space():
    from tuner import spaces
    from tuner.config.loading import load
    from tuner.spaces.exploration import explore

    return explore(spaces.load_space(load().space, (32, 32, 3), 2), (32, 32, 3))


def _hyperparameters():
    import keras_tuner

    return keras_tuner.HyperParameters()


def _print_times(times) -> None:
    began = min(ended - s for ended, s in zip(times.ended, times.create_s, strict=True))
    print(json.dumps({**vars(times), "ended": [ended - began for ended in times.ended]}), flush=True)


ROLES: dict[str, Callable[..., None]] = {
    "bare": bare_chief,
    "clients": clients,
    "workers": workers,
    "servicer": servicer,
    "proxy": proxy,
    "restarted": restarted_chief,
}


if __name__ == "__main__":
    ROLES[sys.argv[1]](**json.loads(sys.argv[2]))
