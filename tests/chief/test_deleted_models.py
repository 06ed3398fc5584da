"""The chief's loop records which models it deletes before it deletes them."""

import asyncio
from pathlib import Path

from tests.support.service import Chief
from tuner import names
from tuner.bucket.local import LocalBucket
from tuner.chief.checkpoint_retention import SavedModels
from tuner.chief.clock import now
from tuner.chief.server import _delete_models
from tuner.config.loading import load
from tuner.names import TrialId
from tuner.search.claims import AttemptClaim
from tuner.search.leases import Worker
from tuner.search.suggester import Suggestion
from tuner.study.journal import JournalReader
from tuner.study.records import Record


def test_models_are_deleted_once_the_journal_says_so(tmp_path: Path) -> None:
    study = load(settings=["search.max_trials=24", "search.early_stopping.policy=promotion", "training.epochs=4"])
    deletions: list[tuple[str, set[str]]] = []

    class Bucket(LocalBucket):
        def delete(self, name: str) -> None:
            reader = JournalReader(self, study.name)
            reader.poll()
            named = {name for trial in reader.state.trials.values() for name in trial.checkpoints.values()}
            deletions.append((name, named))
            super().delete(name)

    async def main() -> None:
        chief = Chief(tmp_path, study)
        await chief.start()
        oracle, models = chief.service.oracle, SavedModels(Bucket(tmp_path / "bucket"), chief.state)
        records: list[Record] = []
        for number in range(24):
            records += oracle.add(Suggestion(TrialId(f"{number:05d}"), {"units": number}, {}), now())
            while True:
                worker = Worker(f"w{len(records)}", "1")
                trial, leased = oracle.grant(worker, now())
                records += leased
                assert trial is not None
                if trial.attempts == 1:  # a promoted trial stays with its worker
                    break
            name = names.checkpoint(study.name, trial.trial_id, 1, 0)
            chief.bucket.write(name, b"model")
            attempt = AttemptClaim(worker, trial.trial_id, 1)
            records += oracle.report(attempt, 0, {"val_accuracy": 1 - number / 100}, name, now())
        await chief.journal.commit(records)
        deleting = asyncio.create_task(_delete_models(chief.service, models))
        while len(deletions) < 12:
            await asyncio.sleep(0.01)
        deleting.cancel()
        await chief.stop()

    asyncio.run(asyncio.wait_for(main(), 30))
    assert all(name not in named for name, named in deletions)
    assert deletions[0][1], "those of the other trials"
