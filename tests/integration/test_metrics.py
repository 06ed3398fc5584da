"""A chief and two workers as processes, scraped while they search: the bucket goes away, and a chief is killed."""

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.in_process import do_here
from tests.integration.support import Command, Place, place, settings, space
from tests.support.fault_proxy import FaultProxy, Faults, running_proxy
from tests.support.gcs_emulator import Emulator, free_port
from tests.support.nvidia_driver import nvidia_driver
from tests.support.prometheus import DASHBOARDS, MISSING, RULES, queries, running_prometheus, tool
from tests.support.scrape import Scraped, get, scrape, until
from tuner import names
from tuner.bucket import open_bucket
from tuner.data.pack import pack
from tuner.monitoring import catalogue
from tuner.monitoring.metric_names import Metric

TRIALS = 500
"""More than are tried here."""
TRAINING_IMAGES = 72
"""Of 80 in the folder; a tenth is for validation."""
NOT_HERE = {
    Metric.ACCURACY, Metric.ACCURACY_LOWER, Metric.ACCURACY_UPPER, Metric.EVALUATION_IMAGES,  # no evaluation
    Metric.SEARCH_ENDED,  # it goes on
    Metric.GPU_MEMORY,  # no GPU
}  # fmt: skip


@dataclass
class Searching:
    """A search under way, and where its processes listen."""

    place: Place
    proxy: FaultProxy
    chief: str
    workers: list[str]
    commands: list[Command]

    def start_chief(self) -> Command:
        study = settings(search__max_trials=TRIALS, leases__duration_s=60, data__batch_size=16)
        study += settings(training__epochs=6, search__early_stopping__min_epochs=4)
        study += settings(search__max_hours=100, cost__per_worker_hour=1)  # their metrics exist only if they are set
        command = self.place.start("chief", *space("GatedLine"), *study, **{names.ENV_HTTP: self.chief})
        self.commands.append(command)
        return command


@pytest.fixture(scope="module")
def searching(tmp_path_factory: pytest.TempPathFactory, emulator: Emulator, two_colours: str) -> Iterator[Searching]:
    environment = {
        names.ENV_BUCKET: f"gs://{emulator.new_bucket()}",
        names.ENV_ORACLE_IP: "127.0.0.1",
        names.ENV_ORACLE_PORT: str(free_port()),
    }
    folder = tmp_path_factory.mktemp("metrics")
    with (
        running_proxy(emulator.url) as proxy,
        place(folder, **environment, **{names.ENV_EMULATOR: proxy.url}) as new_place,
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(names.ENV_EMULATOR, emulator.url)
            pack(two_colours, open_bucket(environment[names.ENV_BUCKET]))
        listen = [f"127.0.0.1:{free_port()}" for _ in range(3)]
        search = Searching(new_place, proxy, listen[0], listen[1:], [])
        search.start_chief()
        readings = folder / "readings"
        readings.write_text("37 5000 80000 412000\n")
        # there is a driver, but the backend finds no GPU
        gpus = nvidia_driver(folder / "driver", "H", readings) | {"CUDA_VISIBLE_DEVICES": "0"}
        for index, address in enumerate(search.workers):
            identity = {names.ENV_TUNER_ID: f"worker-{index}", names.ENV_HTTP: address, names.ENV_GPUS: "1"}
            search.commands.append(new_place.start("worker", **identity, **gpus))
        for address in listen:
            until("readiness", partial(is_ready, address))
        until("trials", lambda: scrape(search.chief).total(Metric.ATTEMPTS) > 4)
        (new_place.gate / "slow").touch()  # most of a trial's processor time is the start of its training
        yield search


def is_ready(address: str) -> bool:
    return get(address, names.HTTP_READY).status == 200


def after_an_epoch(address: str) -> Scraped | None:
    """Return the metrics of a worker that has trained an epoch."""
    scraped = scrape(address)
    return scraped if scraped.total(Metric.WORKER_EPOCHS) else None


def family_names(scraped: Scraped) -> set[str]:
    """Return the names of the metrics that have a value."""
    return {name.removesuffix("_sum").removesuffix("_count").removesuffix("_bucket") for name in scraped.names}


def test_every_metric_of_the_reference_is_shown_by_whom_it_is_said_to_be(searching: Searching) -> None:
    ended = until("a trial", lambda: (scraped := scrape(searching.chief)).total(Metric.ATTEMPTS) > 4 and scraped)
    missing = {family.name for family in (*catalogue.BOTH, *catalogue.CHIEF)} - NOT_HERE - family_names(ended)
    assert missing == set()
    for address in searching.workers:
        worker = until("an epoch", partial(after_an_epoch, address))
        missing = {family.name for family in (*catalogue.BOTH, *catalogue.WORKER)} - NOT_HERE - family_names(worker)
        assert missing == set()


def test_no_label_has_a_trials_id_or_a_workers_name(searching: Searching) -> None:
    for address in (searching.chief, *searching.workers):
        text = scrape(address).text
        assert "worker-" not in text
        for trial in (trial["trial_id"] for trial in _trials(searching)):
            assert f'"{trial}"' not in text


def test_what_is_shown_is_what_the_journal_says(searching: Searching) -> None:
    previous, listed, after = scrape(searching.chief), _trials(searching), scrape(searching.chief)
    completed = sum(trial["state"] == "COMPLETED" for trial in listed)
    assert previous.value(Metric.TRIALS, state="completed") <= completed
    assert completed <= after.value(Metric.TRIALS, state="completed")
    scores = [trial["score"] for trial in listed if trial["score"] is not None]
    assert previous.value(Metric.BEST_SCORE) <= max(scores) <= after.value(Metric.BEST_SCORE)
    assert after.value(Metric.TRIALS_PLANNED) == TRIALS
    assert after.value(Metric.WORKERS, state="training") + after.value(Metric.WORKERS, state="idle") == 2


def test_a_workers_time_is_accounted_for_and_its_missing_gpu_told(searching: Searching) -> None:
    address = searching.workers[0]
    first = until("an epoch", lambda: (scraped := scrape(address)).total(Metric.WORKER_EPOCHS) and scraped)
    epochs = first.total(Metric.WORKER_EPOCHS)
    then = until("another", lambda: (scraped := scrape(address)).total(Metric.WORKER_EPOCHS) > epochs and scraped)
    images = then.total(Metric.WORKER_IMAGES) / then.total(Metric.WORKER_EPOCHS)
    assert images == pytest.approx(TRAINING_IMAGES, rel=0.5)  # of an epoch under way a part is counted
    for activity in ("wait", "prepare", "train", "checkpoint", "input"):
        assert then.value(Metric.WORKER_TIME, activity=activity) > 0
    assert then.value(Metric.GPUS) == 0
    assert then.value(Metric.GPUS_MISSING) == 1
    assert then.value(Metric.GPU_UTILIZATION, gpu="0") == 0.37
    assert then.value(Metric.GPU_DEVICE_MEMORY, gpu="0", kind="used") == 5000
    assert then.value(Metric.GPU_DEVICE_MEMORY, gpu="0", kind="total") == 80000
    assert then.value(Metric.GPU_POWER, gpu="0") == 412
    assert get(address, names.HTTP_READY).status == 200


@pytest.mark.skipif(tool("prometheus") is None, reason=MISSING.format("prometheus"))
def test_every_query_of_the_dashboards_has_data_in_a_real_prometheus(searching: Searching, tmp_path: Path) -> None:
    # the panel of the end shows when it will be over, too; no trial is paused without promotion
    empty = NOT_HERE - {Metric.SEARCH_ENDED} | {Metric.RUNG_PAUSED}
    non_empty = [query for dashboard in DASHBOARDS for query in queries(dashboard) if empty.isdisjoint(query.metrics)]
    with running_prometheus(tmp_path) as prometheus:
        prometheus.scrape({address: {} for address in (searching.chief, *searching.workers)})

        def without_data() -> list[tuple[str, str]]:
            return [
                (q.dashboard, q.panel) for q in non_empty if not prometheus.over_time(q.of("cifake", rate="20s"), 20)
            ]

        until("data in every panel", lambda: not without_data() or None)
        assert len(non_empty) > 40
        assert prometheus.alerts() == {
            rule["alert"] for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"] if "alert" in rule
        }


def test_a_chief_whose_bucket_is_away_is_alive_and_not_ready(searching: Searching) -> None:
    chief = searching.chief
    assert get(chief, names.HTTP_READY).text == "ok\n"
    searching.proxy.faults = Faults(unavailable=1.0)
    unready = until("unreadiness", lambda: (response := get(chief, names.HTTP_READY)).status == 503 and response, 60)
    assert "the journal cannot be written because gs://" in unready.text
    assert get(chief, names.HTTP_HEALTHY).status == 200
    stuck = scrape(chief)
    assert stuck.value(Metric.JOURNAL_WAITING) > 5
    assert stuck.value(Metric.READY, role="chief") == 0
    searching.proxy.faults = Faults()
    until("readiness", lambda: get(chief, names.HTTP_READY).status == 200, 60)


def test_a_chief_started_without_its_bucket_says_so_and_goes_on_where_the_last_one_was(searching: Searching) -> None:
    previous = until("trials", lambda: (scraped := scrape(searching.chief)).total(Metric.ATTEMPTS) > 4 and scraped)
    searching.commands[0].process.send_signal(signal.SIGKILL)
    searching.commands[0].wait()
    searching.proxy.faults = Faults(unavailable=1.0)
    searching.start_chief()
    chief = searching.chief
    stuck = until("its wait", lambda: (scraped := scrape(chief)).value(Metric.JOURNAL_WAITING) > 5 and scraped)
    assert stuck.value(Metric.READY, role="chief") == 0
    assert Metric.SEARCH not in stuck.names  # it has not recovered the study
    searching.proxy.faults = Faults()
    until("the next chief", lambda: get(searching.chief, names.HTTP_READY).status == 200)
    after = scrape(searching.chief)
    assert after.value(Metric.TERM) == previous.value(Metric.TERM) + 1
    attempts = {key: value for key, value in previous.values.items() if key[0] == Metric.ATTEMPTS}
    unwritten = len(searching.workers)
    assert [key for key, value in attempts.items() if after.values[key] < value - unwritten] == []
    assert after.value(Metric.BEST_SCORE) >= previous.value(Metric.BEST_SCORE)


def _trials(searching: Searching) -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = json.loads(do_here(searching.place, "trials", "--json").out)
    return trials
