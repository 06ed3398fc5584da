"""Optuna: a study in a database behind its gRPC proxy, and clients that ask, report and tell. Prints a JSON line.

usage: optuna_proxy.py FOLDER rates TRIALS CLIENTS… | restart TRIALS
"""

import json
import logging
import multiprocessing
import resource
import socket
import statistics
import sys
import threading
import time
from pathlib import Path

import grpc
import optuna
from optuna.storages import GrpcStorageProxy, RDBStorage, get_storage, run_grpc_proxy_server

SPACE = {"units": (1, 1000), "learning_rate": (1e-4, 1e-1)}


def serve(url: str, port: int) -> None:
    """Run the proxy as in its documentation, which says that RDBStorage alone has no cache."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.disable()
    run_grpc_proxy_server(get_storage(url), host="127.0.0.1", port=port)


def trial_of(study: optuna.Study) -> None:
    """Run one trial: two hyperparameters, one report, the end."""
    trial = study.ask()
    trial.suggest_int("units", *SPACE["units"])
    trial.suggest_float("learning_rate", *SPACE["learning_rate"], log=True)
    trial.report(0.5, 0)
    study.tell(trial, 0.5)


def rate(port: int, name: str, trials: int, clients: int) -> dict[str, float]:
    """Return the trials per second of `clients` threads, each with a separate connection."""
    left = iter(range(trials))
    took: list[float] = []
    lock = threading.Lock()

    def work() -> None:
        storage = GrpcStorageProxy(host="127.0.0.1", port=port)
        study = optuna.load_study(study_name=name, storage=storage, sampler=optuna.samplers.RandomSampler())
        while True:
            with lock:
                if next(left, None) is None:
                    return
            began = time.monotonic()
            trial_of(study)
            took.append(time.monotonic() - began)

    optuna.create_study(study_name=name, storage=GrpcStorageProxy(host="127.0.0.1", port=port), direction="maximize")
    threads = [threading.Thread(target=work) for _ in range(clients)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"trials_per_s": trials / (time.monotonic() - began), "trial_ms": 1000 * statistics.median(took)}


def main() -> None:
    """Run the measurement given on the command line."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder, measurement, trials, *clients = sys.argv[1:]
    url = f"sqlite:///{Path(folder) / 'optuna.db'}"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(url, port), daemon=True)
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(60)
    if measurement == "rates":
        rows = {count: rate(port, f"study-{count}", int(trials), int(count)) for count in clients}
        print(json.dumps(rows), flush=True)
    else:
        study = optuna.create_study(study_name="large", storage=RDBStorage(url), direction="maximize")
        study.add_trials(
            [
                optuna.trial.create_trial(
                    params={"units": 1 + n % 1000, "learning_rate": 1e-3},
                    distributions={
                        "units": optuna.distributions.IntDistribution(1, 1000),
                        "learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True),
                    },
                    value=0.5,
                )
                for n in range(int(trials))
            ]
        )
        server.terminate()
        server.join()
        began = time.monotonic()
        restarted = multiprocessing.get_context("spawn").Process(target=serve, args=(url, port + 1), daemon=True)
        restarted.start()
        with grpc.insecure_channel(f"127.0.0.1:{port + 1}") as channel:
            grpc.channel_ready_future(channel).result(60)
        listening_s = time.monotonic() - began
        loaded = optuna.load_study(study_name="large", storage=GrpcStorageProxy(host="127.0.0.1", port=port + 1))
        trial_of(loaded)
        serving_s = time.monotonic() - began
        memory = Path(f"/proc/{restarted.pid}/statm").read_text().split()[1]
        mib = int(memory) * resource.getpagesize() / 2**20
        print(json.dumps({"listening_s": listening_s, "serving_s": serving_s, "rss_mib": mib}), flush=True)
        restarted.terminate()
    server.terminate()


if __name__ == "__main__":
    main()
