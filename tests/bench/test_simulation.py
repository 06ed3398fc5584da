"""The simulator of searches: its clock, its preemptions, and what it computes from the searches."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from bench.simulation.catalogue import entry
from bench.simulation.clock import Cluster, Run, simulate
from bench.simulation.contender import Job
from bench.simulation.contest import estimate, geometric_mean, median, p90
from bench.simulation.results import Goal, Row, Setting, ratios, scores
from bench.simulation.table import EPOCH_S, Recording, Table, load_table, save_table
from tests.bench.tables import EPOCHS, of_curves, ten_configurations


@dataclass
class InOrder:
    """Hands out the configurations in the order of their numbers, and notes what happens."""

    jobs: list[Job]
    reports: list[tuple[float, int, int]] = field(default_factory=list)
    """Time, configuration and epoch."""
    asked: list[tuple[float, int]] = field(default_factory=list)
    lost: list[tuple[Job, int]] = field(default_factory=list)
    stops: Callable[[int, int], bool] = lambda configuration, epoch: False

    def ask(self, worker: int, now: float) -> Job | None:
        self.asked.append((now, worker))
        return self.jobs.pop(0) if self.jobs else None

    def report(self, job: Job, epoch: int, value: float, now: float) -> bool:
        self.reports.append((now, job.configuration, epoch))
        return not self.stops(job.configuration, epoch)

    def completed(self, job: Job, now: float) -> None:
        pass

    def preempted(self, job: Job, epochs: int, now: float) -> None:
        self.lost.append((job, epochs))
        self.jobs.insert(0, Job(job.trial, job.configuration, job.epochs, first_epoch=epochs))


def whole(table: Table) -> InOrder:
    return InOrder([Job(number, number, table.epochs) for number in range(len(table.grid))])


def test_events_happen_in_the_order_of_their_times() -> None:
    table = of_curves([0.1, 0.2], [0.3, 0.4], [0.5, 0.6], seconds=[2.0, 1.0, 1.0])
    contender = whole(table)
    simulate(table, contender, Cluster(workers=2), budget_s=1e6)
    slow, fast = 2 * EPOCH_S, EPOCH_S
    assert contender.reports == [
        (fast, 1, 0), (slow, 0, 0), (2 * fast, 1, 1), (3 * fast, 2, 0), (2 * slow, 0, 1), (4 * fast, 2, 1),
    ]  # fmt: skip


def test_a_start_and_a_resumption_cost_their_seconds_and_further_epochs_do_not() -> None:
    table = of_curves([0.1, 0.2, 0.3])
    contender = InOrder([Job(0, 0, 1), Job(0, 0, 3, first_epoch=1)])
    run = simulate(table, contender, Cluster(workers=1, start_s=20), budget_s=1e6)
    assert contender.reports == [(20 + EPOCH_S, 0, 0), (40 + 2 * EPOCH_S, 0, 1), (40 + 3 * EPOCH_S, 0, 2)]
    assert (run.epochs, run.starts, run.trials) == (3, 2, {0})


def test_an_epoch_that_ends_after_the_budget_does_not_count() -> None:
    table = of_curves([0.1, 0.2, 0.3])
    assert simulate(table, whole(table), Cluster(workers=1), budget_s=2.5 * EPOCH_S).epochs == 2


def test_a_stopped_trial_frees_its_worker_at_once() -> None:
    table = of_curves([0.1, 0.2], [0.3, 0.4])
    contender = whole(table)
    contender.stops = lambda configuration, epoch: configuration == 0
    simulate(table, contender, Cluster(workers=1), budget_s=1e6)
    assert contender.reports == [(EPOCH_S, 0, 0), (2 * EPOCH_S, 1, 0), (3 * EPOCH_S, 1, 1)]


def test_a_waiting_worker_asks_again_when_something_has_happened() -> None:
    table = of_curves([0.1, 0.2])
    contender = whole(table)
    simulate(table, contender, Cluster(workers=2), budget_s=1e6)
    assert (EPOCH_S, 1) in contender.asked


def test_a_preempted_trial_resumes_at_its_epoch_and_repeats_nothing() -> None:
    table = ten_configurations()
    contender = whole(table)
    run = simulate(table, contender, Cluster(2, preemptions_per_hour=20), budget_s=1e6, seed=3)
    assert any(0 < epochs < EPOCHS for _, epochs in contender.lost), "some were lost in the middle"
    assert run.preemptions >= len(contender.lost)
    trained = [(configuration, epoch) for _, configuration, epoch in contender.reports]
    assert sorted(trained) == [(number, epoch) for number in range(10) for epoch in range(EPOCHS)]


@pytest.mark.parametrize("settings", ["", ":policy=none", ":algorithm=hyperband"])
def test_this_project_s_preempted_trials_repeat_nothing(settings: str) -> None:
    table = ten_configurations()
    contender = entry("ours" + settings).factory()(table, workers=3, seed=1)
    noted: list[tuple[str, int]] = []
    report = contender.report

    def noting(job: Job, epoch: int, value: float, now: float) -> bool:
        noted.append((job.trial.trial, epoch))
        return report(job, epoch, value, now)

    contender.report = noting  # type: ignore[method-assign]
    run = simulate(table, contender, Cluster(3, preemptions_per_hour=80), budget_s=1e6, seed=2)
    assert run.preemptions > 3
    assert run.epochs == len(noted)
    assert len(noted) == len(set(noted))


@pytest.mark.parametrize("name", ["ours", "keras-tuner-random", "keras-tuner-hyperband"])
def test_the_same_seed_gives_the_same_run_and_another_seed_another_one(name: str) -> None:
    table = ten_configurations()

    def run(seed: int) -> Run:
        contender = entry(name).factory()(table, workers=2, seed=seed)
        return simulate(table, contender, Cluster(2, start_s=5, preemptions_per_hour=2), budget_s=4000, seed=seed)

    assert run(1) == run(1)
    assert len({tuple(run(seed).improvements) for seed in range(4)}) > 1


def test_this_project_s_early_stopping_decides_in_the_simulation() -> None:
    table = ten_configurations()
    budget_s = 1e6

    def epochs(settings: str) -> int:
        contender = entry(f"ours{settings}").factory()(table, workers=2, seed=1)
        return simulate(table, contender, Cluster(2), budget_s).epochs

    assert epochs(":policy=none") == 10 * EPOCHS
    assert epochs("") < 10 * EPOCHS


def test_the_time_to_a_target_is_that_of_the_first_epoch_that_is_as_good() -> None:
    table = of_curves([0.1, 0.5], [0.7, 0.6], [0.8, 0.9])
    run = simulate(table, whole(table), Cluster(workers=1), budget_s=1e6)
    assert [run.time_to(target) for target in (0.1, 0.65, 0.7, 0.9, 0.91)] == [
        EPOCH_S, 3 * EPOCH_S, 3 * EPOCH_S, 6 * EPOCH_S, None,
    ]  # fmt: skip
    assert [run.best_at(epochs * EPOCH_S) for epochs in (0.5, 1, 3.5)] == [0.0, 0.1, 0.7]


def test_a_target_is_the_score_of_the_best_configurations_and_a_score_that_of_the_best_epoch() -> None:
    table = of_curves(*[[number / 100, 0.0] for number in range(100)])
    assert [table.target(share) for share in (0.10, 0.03, 0.01)] == [0.90, 0.97, 0.99]


def test_a_search_may_end_with_the_last_target_but_not_before_the_last_fixed_budget() -> None:
    table = of_curves([0.1, 0.5], [0.7, 0.6], [0.8, 0.9])
    cluster = Cluster(workers=1)
    assert simulate(table, whole(table), cluster, 1e6, enough=0.5).epochs == 2
    assert simulate(table, whole(table), cluster, 1e6, enough=0.5, at_least_s=4 * EPOCH_S).epochs == 4


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = ten_configurations()
    right = np.rint(table.curves * 1000).astype(int)
    seconds = [0.5 + number for number in range(10)]
    save_table(tmp_path / "ten.npz", table.grid, Recording(right.tolist(), seconds, [7] * 10), 1000, "a command")
    loaded = load_table("ten", tmp_path)
    assert loaded.grid == table.grid
    assert (loaded.curves == right / 1000).all()
    assert loaded.seconds.tolist() == seconds
    assert loaded.recorded_by == "a command"


def test_configurations_are_numbered_in_the_order_of_their_product() -> None:
    grid = ten_configurations().grid
    assert [grid.number(configuration) for configuration in grid.configurations()] == list(range(10))
    assert grid.number({"units": 63.99999, "activation": "tanh", "other": 1}) == 7


def row(contender: str, *times: list[float], table: str = "a") -> Row:
    setting = Setting(table, 2, 0.0)
    return Row(setting, contender, list(times), [0] * 3, [[0.5]] * 3, 1, 1, 1)


def test_a_score_is_the_geometric_mean_of_the_time_divided_by_the_best_competitor_s() -> None:
    rows = [
        row("ours", [10.0], [30.0], [80.0]),
        row("ray-asha", [20.0], [30.0], [80.0]),
        row("syne-asha", [40.0], [60.0], [40.0]),
    ]
    found = scores(rows)
    assert found["ours"] == pytest.approx(geometric_mean([0.5, 1.0, 2.0]))
    assert found["ray-asha"] == pytest.approx(geometric_mean([1.0, 1.0, 2.0]))


def test_a_contender_that_lacks_a_setting_has_no_score() -> None:
    rows = [row("ours", [1.0], [1.0], [1.0]), row("ray-asha", [1.0], [1.0], [1.0])]
    rows.append(row("ray-asha", [1.0], [1.0], [1.0], table="b"))
    assert set(scores(rows)) == {"ray-asha"}


def test_this_project_is_compared_with_the_best_competitor_and_with_bare_keras_tuner() -> None:
    rows = [
        row("ours", [10.0], [10.0], [10.0]),
        row("ray-asha", [5.0], [20.0], [20.0]),
        row("keras-tuner-random", [30.0], [30.0], [30.0]),
    ]
    found = {(of.target, of.than): of.ratio for of in ratios(rows) if of.statistic == "median"}
    assert found == {
        (0, "ray-asha"): 0.5, (1, "ray-asha"): 2, (2, "ray-asha"): 2,
        (0, "keras-tuner-random"): 3, (1, "keras-tuner-random"): 3, (2, "keras-tuner-random"): 3,
    }  # fmt: skip
    assert {(of.target, of.goal) for of in ratios(rows) if not of.is_reached} == {(0, Goal.NOT_SLOWER)}


def test_the_interval_of_a_statistic_contains_it_and_narrows_with_more_searches() -> None:
    few, many = (estimate([float(n % 10) for n in range(count)], median) for count in (20, 300))
    assert few.low <= few.value <= few.high
    assert many.high - many.low < few.high - few.low
    assert p90([float(n) for n in range(1, 101)]) == 90


def test_settings_of_this_project_are_contenders_too() -> None:
    settings = entry("ours:policy=none,algorithm=bayesian,training.patience=3").settings
    assert settings == ("search.early_stopping.policy=none", "search.algorithm=bayesian", "training.patience=3")
    with pytest.raises(SystemExit, match="there is no contender 'mine'"):
        entry("mine")


def test_outcomes_survive_a_simulation_that_was_killed_within_a_line(tmp_path: Path) -> None:
    from bench.simulate import Turns

    turns = Turns(Setting("ten", 2, 0.0), "ours", 2, tmp_path, tmp_path)
    (tmp_path / "ten").mkdir()
    lines = [json.dumps({"seed": seed}) for seed in range(2)]
    (tmp_path / "ten" / "2-0-0-ours.jsonl").write_text("\n".join(lines) + "\n" + '{"seed": 2, "rea')
    assert [outcome["seed"] for outcome in turns.run()] == [0, 1]
