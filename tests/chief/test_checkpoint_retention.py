"""Which saved models stay in the bucket."""

import random
from pathlib import Path

from tests.search.test_oracle import A, B, add, at, oracle, take
from tests.search.test_promotion import promoting
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.chief.checkpoint_retention import SavedModels
from tuner.search.claims import AttemptClaim
from tuner.search.leases import Worker
from tuner.search.oracle import Oracle
from tuner.search.promotion import NEXT_IN_LINE
from tuner.study.records import Outcome, TrialState


def save(chief: Oracle, bucket: LocalBucket, attempt: AttemptClaim, epoch: int, value: float) -> str:
    name = names.checkpoint(chief.state.settings.name, attempt.trial, attempt.number, epoch)
    bucket.write(name, b"model")
    chief.report(attempt, epoch, {"val_accuracy": value}, name, at(0))
    return name


def search(tmp_path: Path, *settings: str) -> tuple[Oracle, LocalBucket]:
    chief = oracle("retries.failure=0", *settings)
    for number in range(5):
        add(chief, number)
    return chief, LocalBucket(tmp_path)


def test_models_of_trials_that_cannot_win_any_more_are_obsolete_once(tmp_path: Path) -> None:
    chief, bucket = search(tmp_path)
    models = SavedModels(bucket, chief.state)
    saved = []
    for value in (0.5, 0.7, 0.6):
        attempt = take(chief, A)
        saved.append(save(chief, bucket, attempt, 0, value))
        chief.complete(attempt, at(1))
    assert models.obsolete() == [saved[0]]
    assert models.obsolete() == []
    failed = take(chief, A)
    saved.append(save(chief, bucket, failed, 0, 0.9))
    chief.give_back(failed, Outcome.FAILED, "", at(2))
    assert models.obsolete() == [saved[3]]


def test_what_lost_attempts_left_of_a_trial_that_cannot_win_is_deleted_with_it(tmp_path: Path) -> None:
    chief, bucket = search(tmp_path)
    models = SavedModels(bucket, chief.state)
    lost = take(chief, A)
    unreported = names.checkpoint(chief.state.settings.name, lost.trial, lost.number, 0)
    bucket.write(unreported, b"of an attempt that died before its report")
    chief.expire(at(30))
    retry = take(chief, A, 30)
    assert retry.trial == lost.trial
    save(chief, bucket, retry, 0, 0.1)
    chief.complete(retry, at(31))
    kept = []
    for value in (0.6, 0.7):
        attempt = take(chief, A, 31)
        kept.append(save(chief, bucket, attempt, 0, value))
        chief.complete(attempt, at(31))
    models.delete(models.obsolete())
    assert list(bucket.list(names.trials_prefix(chief.state.settings.name))) == sorted(kept)


def test_hyperband_may_go_on_from_any_trial_so_all_models_stay_until_the_end(tmp_path: Path) -> None:
    chief, bucket = search(tmp_path, "search.algorithm=hyperband")
    models = SavedModels(bucket, chief.state)
    for value in (0.5, 0.7, 0.6):
        attempt = take(chief, A)
        save(chief, bucket, attempt, 0, value)
        chief.complete(attempt, at(1))
    assert models.obsolete() == []
    assert len(models.stale()) == 1


def test_at_the_end_the_best_two_keep_their_best_epoch_and_unfinished_trials_all_they_need(tmp_path: Path) -> None:
    chief, bucket = search(tmp_path)
    first = take(chief, A)
    kept = [save(chief, bucket, first, 0, 0.8)]
    gone = [save(chief, bucket, first, 1, 0.7)]
    chief.complete(first, at(1))
    running = take(chief, B)
    kept += [save(chief, bucket, running, epoch, 0.1) for epoch in range(2)]
    orphan = names.checkpoint(chief.state.settings.name, first.trial, 3, 9)
    bucket.write(orphan, b"of an upload that nobody reported")
    models = SavedModels(bucket, chief.state)
    assert sorted(models.stale()) == sorted([*gone, orphan])
    models.delete(models.stale())
    assert list(bucket.list(names.trials_prefix(chief.state.settings.name))) == sorted(kept)


def test_models_of_trials_that_only_a_newer_chief_knows_stay(tmp_path: Path) -> None:
    chief, bucket = search(tmp_path)
    gone = []
    for value in (0.8, 0.7, 0.6):
        attempt = take(chief, A)
        gone.append(save(chief, bucket, attempt, 0, value))
        chief.complete(attempt, at(1))
    newer = names.checkpoint(chief.state.settings.name, "00005", 1, 0)
    bucket.write(newer, b"of a trial of the next term, which this chief has not heard of yet")
    assert SavedModels(bucket, chief.state).stale() == gone[2:]


def test_a_paused_trial_keeps_its_models_as_long_as_it_can_be_promoted(tmp_path: Path) -> None:
    chief = promoting("search.early_stopping.reduction_factor=4", epochs=4, trials=24)
    bucket = LocalBucket(tmp_path)
    models = SavedModels(bucket, chief.state)
    obsolete: list[str] = []
    for number in range(24):  # each is worse than the one before, so a quarter of 24 can be promoted
        add(chief, number)
        attempt = next(iter([take(chief, Worker(f"w{number}", "1"))]))
        while attempt.number > 1:  # the promoted trial stays with its worker
            attempt = take(chief, Worker(f"w{number}-{attempt.trial}", "1"))
        save(chief, bucket, attempt, 0, 1 - number / 100)
        obsolete += models.obsolete()
    trials = [names.parse_checkpoint(name) for name in obsolete]
    assert [trial.trial_id for trial in trials if trial] == [f"{number:05d}" for number in range(6, 24)]
    assert len(set(obsolete)) == 18


def test_the_paused_trials_that_keep_models_are_bounded_if_any_number_of_trials_may_follow(tmp_path: Path) -> None:
    chief = promoting("search.max_trials=null", "search.patience_trials=1000", epochs=4)
    bucket = LocalBucket(tmp_path)
    models, numbers, kept = SavedModels(bucket, chief.state), random.Random(1), []
    for number in range(120):
        add(chief, number)
        worker = Worker(f"w{number}", "1")
        while (attempt := take(chief, worker)).number > 1:  # the promoted trial stays with its worker
            worker = Worker(f"w{number}-{attempt.trial}", "1")
        save(chief, bucket, attempt, 0, numbers.random())
        models.delete(models.obsolete())
        paused = [trial for trial in chief.state.trials.values() if trial.state is TrialState.PAUSED]
        kept.append(sum(all(map(bucket.exists, trial.checkpoints.values())) for trial in paused))
    assert len(paused) > 60
    assert max(kept) <= NEXT_IN_LINE + 4
    assert kept[-1] >= NEXT_IN_LINE / 2, "those that are promoted next"


def test_models_of_paused_trials_stay_if_more_may_be_promoted_because_trials_fail(tmp_path: Path) -> None:
    chief, bucket = promoting("retries.failure=0", epochs=4, trials=12), LocalBucket(tmp_path)
    models = SavedModels(bucket, chief.state)
    for number in range(12):
        add(chief, number)
    attempts = [take(chief, Worker(f"w{number}", "1")) for number in range(12)]
    for attempt in attempts[:4]:
        chief.give_back(attempt, Outcome.FAILED, "", at(1))
    for number, attempt in enumerate(attempts[4:]):
        save(chief, bucket, attempt, 0, 1 - number / 100)
    kept = 12 - len({model.trial_id for name in models.obsolete() if (model := names.parse_checkpoint(name))})
    assert kept > 12 // 3 + 4, "not only a third of those that are left"


def test_stopped_at_the_end_a_paused_trial_is_one_of_the_best_two_and_keeps_its_model(tmp_path: Path) -> None:
    chief, bucket = promoting(epochs=4, trials=3), LocalBucket(tmp_path)
    models = SavedModels(bucket, chief.state)
    add(chief, 0)
    second = take(chief, A)
    kept = [save(chief, bucket, second, 0, 0.5)]
    add(chief, 1)
    save(chief, bucket, take(chief, A), 0, 0.1)
    add(chief, 2)
    best = take(chief, A)
    saved = [save(chief, bucket, best, epoch, 0.9 - epoch / 10) for epoch in range(4)]
    chief.complete(best, at(9))
    chief.exhausted = True
    assert chief.finish(at(9))
    models.delete([*models.obsolete(), *models.stale()])
    assert list(bucket.list(names.trials_prefix(chief.state.settings.name))) == sorted([*kept, saved[0]])


def test_models_of_all_trials_that_may_win_are_kept_until_their_repetitions_have_decided(tmp_path: Path) -> None:
    chief, bucket = search(tmp_path, "search.confirm.best=3", "search.confirm.seeds=1", "search.max_trials=5")
    models = SavedModels(bucket, chief.state)

    def train(value: float) -> str:
        attempt = take(chief, A)
        name = save(chief, bucket, attempt, 0, value)
        chief.complete(attempt, at(1))
        return name

    worst, second, best, third, fourth = (train(value) for value in (0.5, 0.8, 0.9, 0.7, 0.6))
    obsolete = models.obsolete()
    assert sorted(obsolete) == sorted([worst, fourth])
    models.delete(obsolete)
    chief.exhausted = True
    chief.finish(at(2))
    repeated = [train(value) for value in (0.4, 0.85, 0.65)]  # in turn of the best, the second and the third
    assert models.obsolete() == []
    chief.finish(at(3))
    assert chief.state.finished
    models.delete(models.stale())
    # the second wins with its repetition's model; one model is kept of each that more trials may be compared with
    assert chief.state.best()[0].checkpoint == repeated[1]
    left = list(bucket.list(names.trials_prefix(chief.state.settings.name)))
    assert left == sorted([repeated[1], best, third])
    assert second not in left
