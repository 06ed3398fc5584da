"""What the records of a journal must hold to; the checker's own bookkeeping, not the program's `StudyState`."""

from collections import Counter
from collections.abc import Iterable
from math import nan
from statistics import fmean

from tests.chaos.account import Account
from tests.chaos.evidence import Segment
from tests.chaos.findings import Findings, Rule
from tuner.config.settings import Algorithm, Policy, Study
from tuner.names import TrialId
from tuner.study.records import (
    AttemptEnded,
    BudgetEnded,
    Controlled,
    Created,
    Ended,
    Finished,
    Learned,
    Leased,
    ModelsDeleted,
    Opened,
    Outcome,
    Paused,
    Record,
    Reported,
    Retried,
    Served,
    TrialState,
    Withdrawn,
)

_PREEMPTION = frozenset({Outcome.PREEMPTED, Outcome.LOST})
_SUGGESTED_ONE_BY_ONE = (Algorithm.RANDOM, Algorithm.BAYESIAN, Algorithm.TPE)


class Books:
    """Follows a journal, record by record, and finds what must not be."""

    def __init__(self, findings: Findings) -> None:
        self.accounts: dict[TrialId, Account] = {}
        self.opened: Opened | None = None
        self.finished: Finished | None = None
        self.terms = 0
        self._findings = findings
        self._number = 0
        self._where = ""

    @property
    def study(self) -> Study:
        """The newest chief's settings."""
        assert self.opened is not None
        return self.opened.study

    def take(self, segment: Segment) -> None:
        """Take one segment."""
        self._where = f"segment {segment.number}"
        self._expect(Rule.SEGMENTS, segment.number == self._number + 1, f"follows segment {self._number}")
        self._number = segment.number
        for record in segment.records:
            if isinstance(record, Opened):
                self._open(record)
            elif self._expect(Rule.TERMS, self.opened is not None, f"{record.kind} before any chief opened a term"):
                assert self.opened is not None
                self._expect(
                    Rule.NEWEST_CHIEF,
                    segment.writer == self.opened.writer,
                    f"{record.kind} by chief {segment.writer}, after {self.opened.writer} opened term {self.terms}",
                )
                self._expect(Rule.FINISHED, self.finished is None, f"{record.kind} after the search was over")
                self._take(record)

    def close(self) -> None:
        """Judge the end."""
        self._where = "the journal's end"
        self._expect(Rule.FINISHED, self.finished is not None, "the search is not over")
        if self.finished is None or self.finished.failed:
            return
        for account in self.accounts.values():
            waits = bool(self.finished.budget) and not account.running and account.best_epoch("max") is None
            self._expect(Rule.FINISHED, account.ended is not None or waits, f"trial {account.trial} has not ended")
        if self.study.search.early_stopping.policy is Policy.PROMOTION and not self.finished.budget:
            ends = Counter(account.ended.state for account in self._searched() if isinstance(account.ended, Ended))
            wanted = min(self.study.search.finalists, ends.total() - ends[TrialState.FAILED])
            completed = ends[TrialState.COMPLETED]
            self._expect(Rule.PROMOTED, completed >= wanted, f"{completed} trials are complete, of {wanted} finalists")
        self._judge_repetitions()
        search = self.study.search
        if search.algorithm in _SUGGESTED_ONE_BY_ONE and search.max_trials is not None:
            count = len(self._searched())
            self._expect(Rule.FINISHED, count <= search.max_trials, f"{count} trials of {search.max_trials}")

    def _searched(self) -> list[Account]:
        """Return the trials of the search itself."""
        return [account for account in self.accounts.values() if account.repeats is None]

    def _repetitions(self, trial: TrialId) -> list[Account]:
        """Return the repetitions of a trial, without those that a budget has stopped."""
        repetitions = (account for account in self.accounts.values() if account.repeats == trial)
        return [account for account in repetitions if not _is_stopped(account)]

    def _judge_repetitions(self) -> None:
        """Look whether the best trials were trained again, and as often as each other, unless hours ended that."""
        search = self.study.search
        assert self.finished is not None
        if not search.confirm.is_on or self.finished.budget in ("search.max_hours", "search.max_worker_hours"):
            return
        for account in self._usable(self._searched())[: search.confirm.best]:
            count = len(self._repetitions(account.trial))
            self._expect(
                Rule.REPEATED,
                count == search.confirm.seeds,
                f"trial {account.trial}, one of the best, has {count} repetitions of {search.confirm.seeds}",
            )

    def _usable(self, accounts: Iterable[Account]) -> list[Account]:
        """Return the trials that have a score and a saved model, best first."""
        sign = -1 if self.opened is None or self.opened.direction == "max" else 1
        usable = [
            account
            for account in accounts
            if account.ended and account.ended.score is not None and account.ended.best_epoch in account.checkpoints
        ]
        # ended and its score are there, as they were asked for
        return sorted(usable, key=lambda a: (sign * (a.ended.score or 0.0), a.trial))  # type: ignore[union-attr]

    def best(self, count: int) -> list[Account]:
        """Return the best trials that have a score and a saved model, best first."""
        sign = -1 if self.opened is None or self.opened.direction == "max" else 1
        trials, confirmed = self._searched(), list[tuple[float, Account]]()
        for account in trials:
            repetitions = self._repetitions(account.trial)
            whole = [a for a in repetitions if isinstance(a.ended, Ended) and a.ended.state is TrialState.COMPLETED]
            scores = [a.ended.score for a in whole if a.ended and a.ended.score is not None]
            if scores and self._usable([account, *repetitions]):
                confirmed.append((sign * fmean(scores), account))
        confirmed.sort(key=lambda pair: pair[0])
        first = [self._usable([account, *self._repetitions(account.trial)])[0] for _, account in confirmed]
        known = {account.trial for _, account in confirmed}
        return [*first, *self._usable(account for account in trials if account.trial not in known)][:count]

    # ---- records ----------------------------------------------------------------------------------

    def _expect(self, rule: Rule, holds: bool, what: str) -> bool:
        return self._findings.expect(rule, holds, self._where, what)

    def _open(self, record: Opened) -> None:
        self._expect(Rule.TERMS, record.term > self.terms, f"term {record.term} follows term {self.terms}")
        self.opened, self.terms, self.finished = record, max(self.terms, record.term), None

    def _retry(self, trial: TrialId) -> None:
        account = self.accounts.get(trial)
        failed = account is not None and isinstance(account.ended, Ended) and account.ended.state is TrialState.FAILED
        if self._expect(Rule.ONCE, failed, f"trial {trial} is retried, and has not failed"):
            assert account is not None
            account.ended = None
            account.rungs.clear()
            account.values.clear()
            account.checkpoints.clear()
            account.spent.clear()

    def _take(self, record: Record) -> None:
        if isinstance(record, Created):
            self._expect(Rule.CREATED, record.trial not in self.accounts, f"trial {record.trial} is created again")
            self.accounts[record.trial] = Account(record.trial, dict(record.hyperparameters), record.repeats)
            if record.repeats is not None:
                self._repeat(record.repeats, record)
            return
        if isinstance(record, Finished | Opened):
            self.finished = record if isinstance(record, Finished) else None
            return
        if isinstance(record, Learned):
            return
        if isinstance(record, Retried):
            for trial in record.trials:
                self._retry(trial)
        elif isinstance(record, ModelsDeleted):
            for trial in record.trials:
                self._delete_models(trial)
        elif not isinstance(record, Served | BudgetEnded | Controlled):
            self._take_of_trial(record)

    def _delete_models(self, trial: TrialId) -> None:
        account = self.accounts.get(trial)
        if self._expect(Rule.STALE, account is not None and account.paused, f"trial {trial} loses its models"):
            assert account is not None
            account.checkpoints.clear()
            account.hopeless_after = len(self._failed())

    def _failed(self) -> set[TrialId]:
        ends = ((account.trial, account.ended) for account in self._searched())
        return {trial for trial, end in ends if isinstance(end, Ended) and end.state is TrialState.FAILED}

    def _repeat(self, trial: TrialId, record: Created) -> None:
        """Look whether a trial may be trained again: it has ended, and the search itself is over."""
        original, limit = self.accounts.get(trial), self.study.search.confirm.seeds
        self._expect(
            Rule.REPEATED,
            original is not None
            and original.repeats is None
            and original.ended is not None
            and {**original.hyperparameters, **record.hyperparameters} == original.hyperparameters
            and len(self._repetitions(trial)) <= limit,
            f"trial {record.trial} repeats {trial}, which has not ended, is another one, or was repeated {limit} times",
        )
        self._expect(
            Rule.REPEATED,
            not any(account.running or account.paused for account in self._searched()),
            f"trial {record.trial} repeats {trial} before the search itself is over",
        )

    def _take_of_trial(self, record: Leased | Reported | AttemptEnded | Paused | Ended | Withdrawn) -> None:
        account = self.accounts.get(record.trial)
        if not self._expect(Rule.CREATED, account is not None, f"{record.kind} of trial {record.trial}, not created"):
            return
        assert account is not None
        self._expect(Rule.ONCE, account.ended is None, f"{record.kind} of trial {record.trial}, which had ended")
        if isinstance(record, Leased):
            self._lease(account, record)
            return
        if isinstance(record, Withdrawn):
            self._expect(Rule.STALE, not account.running, f"trial {record.trial} is withdrawn from its worker")
            account.ended = record
            return
        ends_paused = account.paused and isinstance(record, Ended) and record.state is TrialState.STOPPED
        self._expect(
            Rule.STALE,
            (account.running or ends_paused) and record.attempt == account.attempts,
            f"{record.kind} of trial {record.trial} by attempt {record.attempt}, and "
            f"{f'attempt {account.attempts}' if account.running else 'none'} is running",
        )
        match record:
            case Reported():
                self._report(account, record)
            case AttemptEnded():
                account.running = False
                account.spent[record.cause] += 1
                spent, budget = self._budget(account, record.cause)
                self._expect(
                    Rule.BUDGETS,
                    spent <= budget,
                    f"trial {record.trial} is tried again after {spent} x {record.outcome}, and the budget is {budget}",
                )
            case Paused():
                self._pause(account, record)
            case Ended():
                self._end(account, record)

    def _lease(self, account: Account, record: Leased) -> None:
        number = account.attempts + 1
        self._expect(
            Rule.ATTEMPTS,
            record.attempt == number and not account.running,
            f"trial {record.trial}: attempt {record.attempt} follows attempt {account.attempts}"
            f"{', which is still running' if account.running else ''}",
        )
        if account.paused:
            self._promote(account)
        account.attempts, account.running, account.reported_by_attempt = record.attempt, True, 0
        account.paused = False
        # what was reported without a saved model is to be done again
        last = max(account.checkpoints, default=account.first_epoch - 1)
        account.values = {epoch: value for epoch, value in account.values.items() if epoch <= last}

    def _promote(self, account: Account) -> None:
        """Look whether a paused trial may go on."""
        stopping, sign = self.study.search.early_stopping, 1 if self.opened and self.opened.direction == "max" else -1
        epochs = max(account.rungs, default=0)
        failed = self._failed()
        reached = [a for a in self._searched() if epochs in a.rungs and a.trial not in failed]
        better = [a for a in reached if sign * a.rungs[epochs] > sign * account.rungs.get(epochs, nan)]
        is_first = epochs == stopping.min_epochs
        is_best = len(better) < max(len(reached) // stopping.reduction_factor, 0 if is_first else 1)
        search = self.study.search
        if search.max_trials is not None and account.hopeless_after is not None:
            what = f"trial {account.trial} goes on, whose models were deleted although it might"
            self._expect(Rule.PROMOTED, len(failed) > account.hopeless_after, what)
        account.hopeless_after = None
        is_last = search.max_trials is not None and len(self._searched()) >= search.max_trials
        # in time before the end of such a budget, the best trials are trained to their end
        has_hours = search.max_hours is not None or search.max_worker_hours is not None
        self._expect(
            Rule.PROMOTED,
            is_best or is_last or has_hours,
            f"trial {account.trial} goes on after {epochs} epochs, and {len(better)} of {len(reached)} were better",
        )

    def _pause(self, account: Account, record: Paused) -> None:
        account.running, account.paused = False, True
        assert self.opened is not None
        best = account.best_epoch(self.opened.direction)
        score = None if best is None else account.values[best]
        self._expect(
            Rule.SCORES,
            best is not None and (record.score, record.best_epoch) == (score, best),
            f"trial {record.trial} is paused with {record.score} (epoch {record.best_epoch}); the reports say {score}",
        )
        self._expect(
            Rule.PROMOTED,
            self.study.search.early_stopping.policy is Policy.PROMOTION
            and account.newest is not None
            and account.repeats is None,
            f"trial {record.trial} is paused, and is a repetition, has no saved model, or its study pauses none",
        )

    def _report(self, account: Account, record: Reported) -> None:
        expected = max(account.values, default=account.first_epoch - 1) + 1
        began = account.reported_by_attempt == 0
        earliest = expected - 1 if began and account.attempts > 1 and account.values else expected
        self._expect(
            Rule.EPOCHS,
            earliest <= record.epoch <= expected,
            f"trial {record.trial}, attempt {record.attempt} reports epoch {record.epoch}, expected was {expected}",
        )
        account.reported_by_attempt += 1
        account.values = {epoch: value for epoch, value in account.values.items() if epoch < record.epoch}
        account.checkpoints = {epoch: name for epoch, name in account.checkpoints.items() if epoch < record.epoch}
        account.values[record.epoch] = record.metrics.get(self.study.search.objective, nan)
        if record.checkpoint is not None:
            account.checkpoints[record.epoch] = record.checkpoint
        epochs, stopping = record.epoch + 1, self.study.search.early_stopping
        rungs = {stopping.min_epochs * stopping.reduction_factor**power for power in range(20)}
        assert self.opened is not None
        best = account.best_epoch(self.opened.direction)
        if epochs in rungs and best is not None:
            account.rungs.setdefault(epochs, account.values[best])

    def _end(self, account: Account, record: Ended) -> None:
        account.running, account.paused, account.ended = False, False, record
        if record.state is TrialState.FAILED:
            outcome = record.outcome or Outcome.INVALID
            spent, budget = self._budget(account, outcome)
            self._expect(
                Rule.BUDGETS,
                record.outcome is not None and spent >= budget,
                f"trial {record.trial} failed ({record.outcome}) after {spent} tries of a budget of {budget}",
            )
            return
        assert self.opened is not None
        best = account.best_epoch(self.opened.direction)
        score = None if best is None else account.values[best]
        self._expect(
            Rule.SCORES,
            best is not None and (record.score, record.best_epoch) == (score, best),
            f"trial {record.trial} scores {record.score} (epoch {record.best_epoch}); the reports say {score} ({best})",
        )
        self._expect(
            Rule.SCORES,
            sorted(account.values) == list(range(account.first_epoch, account.first_epoch + len(account.values))),
            f"trial {record.trial} ended with gaps in its epochs: {sorted(account.values)}",
        )
        if record.state is TrialState.COMPLETED and self.study.training.patience is None:
            wanted = int(account.hyperparameters.get("tuner/epochs", self.study.training.epochs))
            last = max(account.values, default=-1)
            self._expect(
                Rule.SCORES, last + 1 == wanted, f"trial {record.trial} completed after epoch {last}, of {wanted}"
            )

    def _budget(self, account: Account, outcome: Outcome) -> tuple[int, int]:
        """Return how often the trial was tried again for such an outcome, and how often it may be."""
        retries = self.study.retries
        match outcome:
            case Outcome.PREEMPTED | Outcome.LOST:
                return sum(account.spent[outcome] for outcome in _PREEMPTION), retries.preemption
            case Outcome.FAILED:
                return account.spent[outcome], retries.failure
            case Outcome.OUT_OF_MEMORY:
                return account.spent[outcome], retries.out_of_memory
            case Outcome.INVALID:
                return account.spent[outcome], 0
            case Outcome.ENVIRONMENT:  # of bucket, disk or network: no trial is given up for it
                return 0, 1


def _is_stopped(account: Account) -> bool:
    ended = account.ended
    return isinstance(ended, Withdrawn) or (isinstance(ended, Ended) and ended.state is TrialState.STOPPED)
