"""pause --scale-down removes the pods of a release's workers, and resume brings them back, whatever is upgraded."""

from collections.abc import Iterator

import pytest

from tests.e2e.cluster import Namespace, Release, cifake_tune, until


@pytest.fixture(scope="module")
def paused(namespace: Namespace, image: str) -> Iterator[Release]:
    """A study of long trials that is paused without pods."""
    release = Release(namespace, "control", image)
    release.install(
        study={
            "search": {"max_trials": 100, "early_stopping": {"policy": "none"}},
            "training": {"epochs": 1000},
            "evaluation": {"robustness_images": 0},
        },
        workers__replicas=2,
    )
    until("both workers' first epochs", lambda: sum(trial["epochs"] > 0 for trial in release.trials()) >= 2)
    control(release, "pause", "--scale-down")
    yield release
    release.uninstall()


def control(release: Release, *arguments: str) -> str:
    code, output = cifake_tune(*arguments, "--release", release.name, "--namespace", release.namespace.name)
    assert code == 0, output
    return output


def test_the_pods_end_and_their_trials_wait_without_a_lost_attempt(paused: Release) -> None:
    until("no pods of workers", lambda: not paused.running("worker"))
    assert paused.status()["paused_since"]
    trials = [trial for trial in paused.trials() if trial["epochs"]]
    assert [trial["state"] for trial in trials] == ["QUEUED"] * 2
    assert {trial["reason"] for trial in trials} == {"the search is paused"}


def test_an_upgrade_brings_no_pods_back(paused: Release) -> None:
    paused.upgrade(workers__replicas=3)
    assert paused.job("worker")["spec"]["parallelism"] == 0
    assert not paused.running("worker")


def test_resume_brings_the_pods_back_and_the_trials_continue_where_they_were(paused: Release) -> None:
    before = {trial["trial_id"]: trial["epochs"] for trial in paused.trials() if trial["epochs"]}
    control(paused, "resume")
    until("two workers", lambda: len(paused.running("worker")) == 2)

    def have_continued() -> bool:
        epochs = {trial["trial_id"]: trial["epochs"] for trial in paused.trials()}
        return all(epochs[trial] > count for trial, count in before.items())

    until("the trials to continue", have_continued)


def test_afterwards_an_upgrade_may_change_the_number_of_workers(paused: Release) -> None:
    paused.upgrade(workers__replicas=1)
    until("one worker", lambda: len(paused.running("worker")) == 1)


def test_stop_ends_the_search_and_the_best_trial_is_evaluated(paused: Release) -> None:
    control(paused, "stop")
    paused.await_evaluation()
    assert paused.status()["reason"].startswith("ended by cifake-tune stop")
