"""Workers and chief killed in the middle of a search, under an open live page: nothing is lost, nothing done twice."""

import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import playwright.sync_api
import pytest

from tests.integration.support import Done, Place, place, settings, space
from tests.support.browser import OpenPage, chromium, open_page
from tests.support.scrape import until
from tuner import names
from tuner.study.records import Ended, Leased, TrialState
from tuner.study.state import StudyState
from tuner.study.trial import Trial

TRIALS = 5
EPOCHS = 4
PAGE = re.compile(r"Live page: (http://\S+/)")


@dataclass
class Watched:
    """The live page of a search, opened before anything was killed."""

    view: OpenPage | None = None
    """None without a browser."""
    missed: list[str] = field(default_factory=list)
    """What it should have shown and did not."""
    rows: dict[str, str] = field(default_factory=dict)
    """The texts of its trials at the end."""

    def shows(self, *selectors: str) -> None:
        """Wait until the page shows all this."""
        for selector in selectors:
            if self.view is None or self.missed:
                return
            try:
                self.view.page.wait_for_selector(selector, timeout=120_000)
            except playwright.sync_api.TimeoutError:
                self.missed.append(selector)

    def keep_rows(self) -> None:
        """Keep the texts of the trials, and a picture."""
        if self.view:
            rows = self.view.page.locator("#table tbody tr").all()
            self.rows = {str(row.get_attribute("data-trial")): row.inner_text() for row in rows}
            self.view.screenshot("live-real")


@contextmanager
def watched(address: str) -> Iterator[Watched]:
    """Open a live page, if there is a browser."""
    try:
        with chromium() as browser, open_page(browser, address) as view:
            yield Watched(view)
    except pytest.skip.Exception:
        yield Watched()


@dataclass
class Night:
    """A search of two workers, both held in a trial's third epoch while one was killed, and then the chief."""

    place: Place
    run: tuple[str, ...]
    done: Done
    killed: Trial
    """The killed worker's trial, as it was before."""
    other: Trial
    """The other worker's."""
    survivors: set[int]
    """The workers that were there when the chief was killed."""
    afterwards: set[int]
    """The workers that were there when the next chief had opened its term."""
    page: Watched


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, two_colours: str) -> Iterator[Night]:
    with place(tmp_path_factory.mktemp("night")) as new_place:
        hold = new_place.gate / "hold-2"
        hold.touch()
        run = (
            *("run", "--data", two_colours, "--workers", "2", *space("GatedLine")),
            *settings(search__algorithm="bayesian", search__max_trials=TRIALS, training__epochs=EPOCHS),
            *settings(data__batch_size=16, search__early_stopping__policy="none", evaluation__robustness_images=0),
        )
        command = new_place.start(*run)

        def both_held(state: StudyState) -> list[Trial]:
            held_trials = [trial for trial in state.trials.values() if max(trial.epochs, default=0) == 1]
            return held_trials if len(held_trials) == 2 else []

        trials = {t.worker: t for t in new_place.wait_for(both_held, "two trials in their third epoch", command)}
        address = PAGE.search(command.printed())
        assert address is not None
        training = [f"#workers tr:has-text('worker-{number}'):has-text('training')" for number in (0, 1)]
        with watched(address[1]) as page:
            page.shows(*(f"{worker}:has-text('3 / {EPOCHS}')" for worker in training), "#search:text-is('running')")
            victim = next(pid for pid in new_place.processes("worker") if worker_name(pid) == "worker-0")
            os.kill(victim, signal.SIGKILL)
            new_place.wait_for(
                lambda state: state.trials[trials["worker-0"].trial_id].attempts == 2, "the second attempt", command
            )
            survivors = set(new_place.processes("worker"))
            new_place.kill(signal.SIGSTOP, "chief")  # the next chief may answer before the page asks again
            page.shows("#notice:has-text('The chief has not answered')")
            new_place.kill(signal.SIGKILL, "chief")
            new_place.wait_for(lambda state: state.term == 2, "the second chief", command)
            afterwards = set(new_place.processes("worker"))
            page.shows("#about:has-text('chief number 2')")
            page.shows("body:has(#notice[hidden])", *training)
            hold.unlink()
            page.shows("#notice:has-text('The search has finished')")
            page.shows("#notice:has-text('The best model is being evaluated')")
            page.shows("#notice:has-text('The best model has been evaluated')")
            page.keep_rows()
        done = command.wait()
        yield Night(new_place, run, done, trials["worker-0"], trials["worker-1"], survivors, afterwards, page)


def worker_name(process: int) -> str:
    with open(f"/proc/{process}/environ", "rb") as file:
        variables = dict(pair.partition(b"=")[::2] for pair in file.read().split(b"\0"))
    return variables[b"KERASTUNER_TUNER_ID"].decode()


def test_the_search_ends_with_an_evaluation_and_every_trial_completed_once(night: Night) -> None:
    assert night.done.code == 0, night.done.err
    ended = Counter(record.trial for record in night.place.records() if isinstance(record, Ended))
    assert len(ended) == TRIALS
    assert set(ended.values()) == {1}
    assert {trial.state for trial in night.place.state().trials.values()} == {TrialState.COMPLETED}


def test_a_killed_workers_trial_goes_on_at_its_last_epoch_as_the_next_attempt(night: Night) -> None:
    trial = night.place.state().trials[night.killed.trial_id]
    assert trial.attempts == 2
    assert {epoch: trial.epochs[epoch] for epoch in (0, 1)} == night.killed.epochs
    assert {name.split("/")[-2] for epoch, name in trial.checkpoints.items() if epoch < 2} == {"1"}
    assert {name.split("/")[-2] for epoch, name in trial.checkpoints.items() if epoch >= 2} == {"2"}


def test_workers_go_on_with_their_trials_while_the_chief_is_replaced(night: Night) -> None:
    assert night.place.state().term == 2
    assert night.survivors == night.afterwards
    assert len(night.survivors) == 2
    assert night.place.state().trials[night.other.trial_id].attempts == 1


def test_no_epoch_is_trained_twice(night: Night) -> None:
    assert sorted(night.place.reports()) == [(f"{trial:05d}", epoch) for trial in range(TRIALS) for epoch in range(4)]


def test_only_the_killed_workers_trial_was_leased_twice(night: Night) -> None:
    leases = Counter(record.trial for record in night.place.records() if isinstance(record, Leased))
    assert {trial: count for trial, count in leases.items() if count > 1} == {night.killed.trial_id: 2}


def test_bayesian_search_reaches_its_gaussian_process_and_repeats_no_suggestion(night: Night) -> None:
    rates = [trial.hyperparameters["learning_rate"] for trial in night.place.state().trials.values()]
    assert len(set(rates)) == TRIALS > 3  # of one hyperparameter, three are random
    assert all(1e-3 <= float(rate) <= 1e-1 for rate in rates)


def test_an_open_page_goes_on_with_the_next_chief_and_sees_the_search_to_its_end(night: Night) -> None:
    if night.page.view is None:
        pytest.skip("no Chromium is installed")
    assert night.page.missed == []
    trials = night.place.state().trials
    assert set(night.page.rows) == set(trials)
    for trial_id, trial in trials.items():
        assert night.page.rows[trial_id].split("\t")[0] == trial_id
        assert trial.state is TrialState.COMPLETED
        assert f"{EPOCHS} / {EPOCHS}" in night.page.rows[trial_id]
        assert f"{trial.score:.4f}" in night.page.rows[trial_id]


def test_an_open_page_hears_that_the_evaluation_failed(night: Night, place: Place) -> None:
    shutil.copytree(night.place.bucket_folder, place.bucket_folder)
    shutil.rmtree(place.bucket_folder / names.evaluation(place.study, ""))
    with chromium() as browser:
        command = place.start(*night.run)
        until("the evaluator", lambda: place.kill(signal.SIGSTOP, "evaluate"))  # not before the page is open
        address = until("its page", lambda: PAGE.search(command.printed()))
        with open_page(browser, address[1]) as view:
            view.page.wait_for_selector("#notice:has-text('The best model is being evaluated')")
            place.kill(signal.SIGKILL, "evaluate")
            view.page.wait_for_selector("#notice:has-text('The evaluation failed')")
    done = command.wait()
    assert done.code == 3
    assert "evaluate: the process was killed by signal 9" in done.err
