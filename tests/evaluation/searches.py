"""Made-up searches of any size, as the records of their journals: curves, rungs, interruptions, failures."""

import math

import numpy as np

from tuner.config.loading import parse
from tuner.config.settings import Study
from tuner.names import TrialId
from tuner.search.early_stopping import Rungs
from tuner.study.objective import Objective
from tuner.study.records import (
    AttemptEnded,
    Created,
    Ended,
    Finished,
    Leased,
    Opened,
    Outcome,
    Record,
    Reported,
    TrialState,
    Value,
)
from tuner.study.rungs import rung_at

BEGAN = 1_790_000_000.0
HOSTILE = "<script>document.title='owned'</script>"
HOSTILE_NUMBERS: tuple[tuple[Value, ...], ...] = (
    (0.1, 1.0, math.inf), (1, 10**30, 10**400, 1e39), (math.nan, -math.inf, 1e-320, 5),
)  # fmt: skip


def search(trials: int, workers: int = 4, epochs: int = 9, hostile: bool = False, seed: int = 0) -> list[Record]:
    """Return the records of a search over five hyperparameters; the learning rate and the optimizer matter."""
    rng = np.random.default_rng(seed)
    study = parse({"search": {"max_trials": trials}, "training": {"epochs": epochs}}, "a search")
    opened = {"study": study, "data": "ab" * 32, "direction": "max", "writer": "w"}
    records: list[Record] = [Opened(at=BEGAN, term=1, **opened)]
    free = [BEGAN + 2.0] * workers
    rungs = Rungs(study.search.early_stopping, Objective("val_accuracy"))
    for number in range(trials):
        worker = int(np.argmin(free))
        name = HOSTILE if hostile and worker == 0 else f"worker-{worker}"
        records += (trial_records := _trial(TrialId(f"{number:05d}"), name, free[worker], study, rungs, hostile, rng))
        free[worker] = trial_records[-1].at + 0.5
    records = records[:1] + sorted(records[1:], key=lambda record: record.at)
    middle = len(records) // 2
    if trials > 20:
        records.insert(middle, Opened(at=records[middle].at, term=2, **opened))
    return [*records, Finished(at=max(free), reason="all trials have ended")]


def _one_of(values: tuple[Value, ...], rng: np.random.Generator) -> Value:
    """Return one of them as it is: numpy's own choice would make them all of one type."""
    return values[int(rng.integers(len(values)))]


def _trial(
    trial: TrialId, worker: str, at: float, study: Study, rungs: Rungs, hostile: bool, rng: np.random.Generator
) -> list[Record]:
    rate, optimizer = float(10 ** rng.uniform(-4, -2)), str(rng.choice(["adam", "sgd"]))
    values: dict[str, Value] = {
        "learning_rate": rate,
        "optimizer": HOSTILE if hostile and optimizer == "sgd" else optimizer,
        "filters": int(rng.integers(1, 6)) * 20,
        HOSTILE if hostile else "activation": str(rng.choice(["relu", "tanh", "gelu"])),
        "batch_norm": bool(rng.integers(2)),
    }
    if hostile:
        values |= dict(zip(("cap", "huge", "odd"), (_one_of(choices, rng) for choices in HOSTILE_NUMBERS), strict=True))
    epoch_s = float(rng.uniform(3, 9))
    best = 0.93 - 0.02 * abs(math.log10(rate) + 3) - 0.05 * (optimizer == "sgd") + float(rng.normal(0, 0.006))
    records: list[Record] = [Created(at=at, trial=trial, hyperparameters=values, algorithm={})]
    attempt, score, best_epoch = 1, -1.0, 0
    records.append(Leased(at=at, trial=trial, attempt=1, worker=worker, incarnation="i"))
    if rng.random() < 0.04:
        why = f"ValueError: shapes differ {HOSTILE if hostile else ''}\nTraceback"
        ended = Ended(
            at=at + epoch_s, trial=trial, attempt=1, state=TrialState.FAILED, outcome=Outcome.FAILED, reason=why
        )
        return [*records, ended]
    epochs, state = study.training.epochs, TrialState.COMPLETED
    for epoch in range(epochs):
        at += epoch_s
        if epoch and rng.random() < 0.06:
            outcome = Outcome.PREEMPTED if rng.random() < 0.7 else Outcome.LOST
            records.append(
                AttemptEnded(at=at, trial=trial, attempt=attempt, outcome=outcome, reason="the node went away")
            )
            attempt, at = attempt + 1, at + 2.0
            records.append(Leased(at=at, trial=trial, attempt=attempt, worker=worker, incarnation="j"))
            at += epoch_s
        value = best - 0.18 * math.exp(-epoch / 2.2) + float(rng.normal(0, 0.003))
        if hostile and rng.random() < 0.1:
            value = float(_one_of((1.7e308, -1.7e308, 1e20, 0.0), rng))
        if epoch == 0 or value > score:
            score, best_epoch = value, epoch
        loss = 2 * (1 - value)
        metrics = {
            "loss": loss - 0.05 * epoch / epochs, "accuracy": value + 0.01,
            "val_loss": loss + 0.02 * epoch / epochs, "val_accuracy": value,
        }  # fmt: skip
        if hostile:
            metrics |= {"val_loss": float(_one_of((math.nan, math.inf, -math.inf, 1.7e308, loss), rng))}
        name = f"studies/cifake/trials/{trial}/{attempt}/{epoch:05d}.keras"
        records.append(Reported(at=at, trial=trial, attempt=attempt, epoch=epoch, metrics=metrics, checkpoint=name))
        rung = rung_at(study.search.early_stopping, epoch + 1)
        if rung is not None:
            rungs.add(rung, score)
            if epoch + 1 < epochs and rungs.judge(rung, score):
                state = TrialState.STOPPED
                break
    records.append(Ended(at=at + 0.1, trial=trial, attempt=attempt, state=state, score=score, best_epoch=best_epoch))
    return records
