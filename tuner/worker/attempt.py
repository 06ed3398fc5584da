"""One attempt at a trial: the epoch that it starts from, its work after each epoch, and its end."""

import errno
import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import keras

from tuner import names
from tuner.errors import ChiefUnreachableError, CifakeTuneError, EnvironmentFailure, PreemptedError
from tuner.rpc import lease_service
from tuner.scripts.training import ScriptTrainer
from tuner.spaces.checkpoint_size import checkpoint_size
from tuner.spaces.default_model import Expectations
from tuner.spaces.error_cause import LABELS, OWN_LABELS
from tuner.spaces.out_of_memory import out_of_memory
from tuner.spaces.own_data import OwnPart, OwnTrainingData
from tuner.spaces.own_methods import takes_images
from tuner.study.evidence import Evidence
from tuner.study.records import FaultScope, Outcome
from tuner.temporary_files import temporary_folder
from tuner.training import checkpoint
from tuner.training.activities import Activity
from tuner.training.faults import InvalidTrialError
from tuner.training.loop import Task, metrics_line
from tuner.training.seeding import trial_seed
from tuner.training.user_errors import check_once, fault_scope, reason_of
from tuner.worker import memory_sharing, room
from tuner.worker.call_errors import FencedAttemptError, ReportRefusedError, UnexpectedAnswerError
from tuner.worker.chief_client import Grant, Verdict
from tuner.worker.context import WorkerContext
from tuner.worker.epoch_reporter import Epoch, EpochReporter, StoppedTrialError
from tuner.worker.model_check import ModelCheck
from tuner.worker.own_model_check import OwnModelCheck
from tuner.worker.patience import Patience
from tuner.worker.resume import ResumePoint, find_resume_point
from tuner.worker.script_model_check import ScriptModelCheck
from tuner.worker.start_time import StartTime

log = logging.getLogger(__name__)

SETTLE_S = 7.0
"""Seconds for which a stopping worker waits until its last checkpoint and reports have arrived."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
PAUSE_S = 0.1
"""Seconds after which a worker that waits for its environment checks again whether it should continue."""

LAST_LINES_S = 2.0
"""Seconds for which the last lines of the log are awaited if the process ends during a long training step."""


@dataclass(frozen=True)
class _Ending:
    """How an attempt ended without finishing its trial."""

    outcome: Outcome
    reason: str
    scope: FaultScope = FaultScope.TRIAL


class Attempt:
    """An attempt at a trial. It listens to the training (`Listener`)."""

    def __init__(self, context: WorkerContext, grant: Grant) -> None:
        self._context = context
        self._grant = grant
        self._label = f"trial {grant.trial_id}, attempt {grant.attempt}"
        self._patience = Patience(context.study.retries.environment_s, context.heartbeat.waits_because)
        self._reporter = EpochReporter(
            context.bucket, context.chief, grant, context.io_threads, self._after_report, self._patience
        )
        self._task = make_task(context, grant)
        self._history: dict[int, dict[str, float]] = {}
        """Metrics of the trained epochs, including those of earlier attempts."""
        self._objects: dict[str, int] = {}
        """This trial's checkpoints in the bucket, with their epochs."""
        self._recorded: dict[int, float] = {}
        """Objective of the epochs that the chief has recorded. Only the reports' thread uses it during training."""
        self._images_per_s = 0.0
        self._start = StartTime()
        self._model_check = make_model_check(context, self._task)
        self._handing_back = threading.Lock()
        self._handed_back = False

    def run(self) -> None:
        """Train the trial and report its end to the chief. Raises only errors that end the worker."""
        logs, stop = self._context.logs, self._context.stop
        with (
            logs.recording(self._grant.trial_id, self._grant.attempt),
            stop.last_will(self._last_will),
            self._context.metrics.activities.during(Activity.PREPARE),
        ):
            values = {k: v for k, v in self._grant.trial.hyperparameters.values.items() if names.is_hyperparameter(k)}
            log.info("%s: %s", self._label, "  ".join(f"{k}={v}" for k, v in values.items()))
            self._context.heartbeat.begin(self._grant)
            try:
                self._run()
            except FencedAttemptError:
                log.warning(
                    "%s: dropped because another attempt has replaced it or the search has finished", self._label
                )
            except StoppedTrialError as stopped:
                done = "paused" if stopped.verdict is Verdict.PAUSED else "stopped early"
                log.info("%s: %s by the chief", self._label, done)
            except PreemptedError:
                self.hand_back()
                raise
            except ChiefUnreachableError:
                raise
            except UnexpectedAnswerError as error:
                self._give_back(_Ending(Outcome.LOST, str(error)))
                raise
            except EnvironmentFailure as error:  # the bucket, this worker's disk or the network kept failing
                self._give_back(_Ending(Outcome.ENVIRONMENT, str(error)))
                raise
            finally:
                self._reporter.abandon()
                self._context.heartbeat.idle()

    def hand_back(self) -> bool:
        """Wait up to SETTLE_S for uploads and reports, then return the trial to the chief because the worker must end.

        May be called from two threads. The first call returns True. The second call waits for the first and returns
        False.
        """
        with self._handing_back:
            if self._handed_back:
                return False
            self._handed_back = True
            deadline = time.monotonic() + SETTLE_S

            def check() -> None:
                if time.monotonic() > deadline or self._patience.is_waiting:
                    raise TimeoutError

            try:
                self._reporter.settle(check)
            except (FencedAttemptError, StoppedTrialError):
                return True  # the trial is no longer this worker's
            except Exception as error:
                log.warning("%s: the last epochs were not reported (%s)", self._label, str(error) or "no time was left")
            self._reporter.abandon()
            self._context.heartbeat.stop()  # a later heartbeat would suggest that the worker continues
            # a worker that stops while the environment fails costs its trial no retry
            outcome = Outcome.ENVIRONMENT if self._patience.is_waiting else Outcome.PREEMPTED
            self._give_back(_Ending(outcome, "the worker was asked to stop"), stopping=True)
            return True

    def _last_will(self) -> bool:
        if not self.hand_back():
            return False
        log.warning("%s: ended during a long training step", self._label)
        self._context.logs.flush(LAST_LINES_S)
        return True

    # ---- the training's listener ------------------------------------------------------------------

    def check(self) -> None:
        """Raise if training should not continue. While a checkpoint cannot be uploaded, wait.

        Training would continue in vain, and a second epoch would be lost if the trial must be returned.
        """
        self._start.step_done()
        self._may_continue()
        while self._patience.is_waiting:
            self._pause(PAUSE_S)

    def progress(self, epoch: int, share: float, images_per_s: float) -> None:
        """Record the progress of an epoch in the metrics and the next heartbeat."""
        self._images_per_s = images_per_s or self._images_per_s
        self._context.metrics.progress(share, self._context.data.train.count or 0)
        self._context.heartbeat.progress(epoch, share, self._images_per_s)

    def epoch_done(
        self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool = False, named: bool = False
    ) -> None:
        """Save the model. Its upload and the report of the epoch run while the next epoch trains.

        First wait until the previous epoch's checkpoint is durable, so that at most one whole epoch is ever repeated.
        """
        self._context.metrics.epoch(self._context.data.train.count or 0)
        with self._context.metrics.activities.during(Activity.CHECKPOINT):
            self._save(epoch, metrics, model, returned, named)

    # ---- inside -------------------------------------------------------------------------------------

    def _may_continue(self) -> None:
        self._context.stop.check()
        self._check_current()

    def _pause(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while (left_s := deadline - time.monotonic()) > 0:
            self._may_continue()
            time.sleep(min(left_s, PAUSE_S))
        return True

    def _require_room(self, model: keras.Model) -> None:
        """Wait until a checkpoint of the model fits on the disks, before any epoch is trained."""
        size = checkpoint_size(model)
        if size is not None:
            needed = size.total_bytes
            log.info("the model has %s parameters, and a checkpoint %.1f MB", f"{model.count_params():,}", needed / 1e6)
            folder, bucket = self._context.folder, self._context.bucket.url
            self._patience.repeat(lambda: room.require_room(needed, folder, bucket), self._pause)

    def _save(self, epoch: int, metrics: dict[str, float], model: keras.Model, returned: bool, named: bool) -> None:
        start_s = self._start.taken_s()
        self._reporter.await_upload(self.check)
        self._check_current()
        # an attempt that started again from epoch 0 repeats the epochs after this one
        self._history = {e: m for e, m in self._history.items() if e < epoch} | {epoch: metrics}
        name = names.checkpoint(self._context.study.name, self._grant.trial_id, self._grant.attempt, epoch)
        file = self._context.folder / name.replace("/", "-")
        self._patience.repeat(lambda: self._context.trainer.save(model, file), self._pause)
        evidence = Evidence(self._verified(file, metrics, returned, named), returned)
        state = checkpoint.CheckpointState(
            epoch=epoch, seed=self._task.seed, history=self._history, verified=evidence.verified, returned=returned
        )
        self._patience.repeat(lambda: checkpoint.add_state(state, file), self._pause)
        self._reporter.upload(Epoch(epoch, metrics, name, evidence=evidence, start_s=start_s), file)
        samples = "samples" if isinstance(self._context.data, OwnTrainingData) else "images"
        rate = f"  ({self._images_per_s:,.0f} {samples}/s)" if self._images_per_s else ""
        line = metrics_line(metrics, ("loss", "accuracy", "val_loss", "val_accuracy"))
        log.info("%s: epoch %d/%d  %s%s", self._label, epoch + 1, self._task.epochs, line, rate)

    def _run(self) -> None:
        ending = self._train_to_the_end()
        if ending is None:
            with self._context.metrics.activities.during(Activity.CHECKPOINT):
                self._context.chief.complete(self._grant)
            log.info("%s: completed", self._label)
            return
        if not isinstance(self._reporter.failure, ReportRefusedError):
            self._reporter.settle(self.check)  # the next attempt resumes from the last reported epoch
        if ending.outcome is Outcome.OUT_OF_MEMORY:
            ending = self._out_of_memory(ending)
        self._give_back(ending)

    def _out_of_memory(self, ending: _Ending) -> _Ending:
        """Count the error. If processes share the memory, wait until one has left; the trial may fit without it."""
        self._context.metrics.out_of_memory.inc()  # first, because the pod's supervisor reads it
        shared = memory_sharing.await_room(os.environ, self._context.stop.check)
        return _Ending(Outcome.PREEMPTED, f"{shared}: {ending.reason}") if shared else ending

    def _train_to_the_end(self) -> _Ending | None:
        """Train the trial. Return None if it was trained to its end and the chief has recorded every epoch."""
        try:
            if self._grant.attempt == 1 and self._grant.checkpoint is None:
                self._train(ResumePoint())
            else:
                made = self._patience.repeat(lambda: temporary_folder(self._context.folder), self._pause)
                with made as folder:
                    self._train(self._take_over(Path(folder)))
            with self._context.metrics.activities.during(Activity.CHECKPOINT):
                self._reporter.settle(self.check)
        except (FencedAttemptError, StoppedTrialError, CifakeTuneError):
            raise
        except InvalidTrialError as error:
            return _Ending(Outcome.INVALID, str(error), error.scope)
        except ReportRefusedError as error:
            return _Ending(Outcome.INVALID, str(error))
        except Exception as error:
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                raise EnvironmentFailure(f"the disk is full ({error}). Free some space there.") from error
            reason = reason_of(error, lease_service.REASON_CHARACTERS // 2)
            if isinstance(self._context.data, OwnTrainingData):
                reason = reason.replace(LABELS, OWN_LABELS)
            if (scope := fault_scope(error, self._context.space)) is not None:
                return _Ending(Outcome.INVALID, reason, scope)
            return _Ending(Outcome.OUT_OF_MEMORY if out_of_memory(error) else Outcome.FAILED, reason)
        return None

    def _take_over(self, folder: Path) -> ResumePoint:
        """Find the newest checkpoint of earlier attempts, and report the epochs that the chief does not know."""
        bucket, study, known = self._context.bucket, self._context.study.name, known_metrics(self._grant)
        start = self._patience.repeat(lambda: find_resume_point(bucket, study, self._grant, known, folder), self._pause)
        if start.first_epoch < self._grant.first_epoch:
            log.warning("%s: repeats training from epoch %d", self._label, start.first_epoch + 1)
        elif start.first_epoch:
            log.info("%s: resumes from epoch %d", self._label, start.first_epoch + 1)
        self._history = start.history
        self._objects = dict(start.objects)
        self._recorded = {
            e: m[self._task.objective.name] for e, m in start.history.items() if e < self._grant.first_epoch
        }
        for epoch in start.unreported:
            log.info(
                "%s: epoch %d was trained by an earlier attempt and is reported now", self._label, epoch.number + 1
            )
            self._reporter.report(epoch)
        return start

    def _train(self, start: ResumePoint) -> None:
        task, trainer = self._task.resumed(start.first_epoch, start.file, start.history), self._context.trainer
        if start.returned or trainer.is_done(task):
            return
        self._check_default_model()
        trainer.train(task, self, self._context.metrics.activities, self._require_room)

    def _check_default_model(self) -> None:
        """Raise SharedFaultError before the process's first trial if every model of the space has a fault."""
        context = self._context
        if not takes_images(context.space) or isinstance(context.data, OwnTrainingData):
            return
        images = context.data.train.images
        height, width, channels = images.shape[1:]
        expectations = Expectations((height, width, channels), context.classes, context.objective.name)
        steps = -(-len(images) // context.study.data.batch_size)
        values = {names.HP_EPOCHS: context.study.training.epochs, names.HP_STEPS: steps}
        check_once(context.space, self._task.hyperparameters, expectations, values)

    def _check_current(self) -> None:
        self._reporter.check()
        if self._context.heartbeat.fenced.is_set():
            raise FencedAttemptError
        self._context.chief.check()

    def _after_report(self, epoch: Epoch) -> None:
        """After the chief has recorded an epoch, delete the checkpoints of earlier epochs, except the best epoch's."""
        self._recorded = {e: value for e, value in self._recorded.items() if e < epoch.number}
        self._recorded[epoch.number] = epoch.metrics[self._task.objective.name]
        if epoch.checkpoint is None:
            return
        best = self._task.objective.best(self._recorded)
        if best is None:  # no objective is finite, so keep the first checkpoint in case the newest is damaged
            best = min(self._recorded)
        obsolete = [name for name, number in self._objects.items() if number < epoch.number and number != best]
        self._objects = {name: number for name, number in self._objects.items() if name not in obsolete}
        self._objects[epoch.checkpoint] = epoch.number
        self._reporter.delete(obsolete)

    def _verified(self, file: Path, metrics: dict[str, float], returned: bool, named: bool) -> bool | None:
        """Return whether the objective was recomputed with the saved model. Remove its file if it is unusable."""
        try:
            return self._model_check.verify(file, metrics, returned, self._may_continue, named=named)
        except BaseException:
            file.unlink(missing_ok=True)
            raise

    def _give_back(self, ending: _Ending, *, stopping: bool = False) -> None:
        level = logging.INFO if stopping else logging.ERROR
        log.log(level, "%s: %s: %s", self._label, ending.outcome, ending.reason)
        try:
            failing_s = self._patience.failing_s()
            self._context.chief.give_back(
                self._grant, ending.outcome, ending.reason, failing_s, stopping=stopping, scope=ending.scope
            )
        except FencedAttemptError:
            log.info("%s: the chief has already reassigned this trial", self._label)
        except ChiefUnreachableError as error:
            if not stopping:
                raise
            log.warning("%s: not returned to the chief (%s); its lease will expire", self._label, error)


def known_metrics(grant: Grant) -> dict[int, dict[str, float]]:
    """Return the metrics of the trial's epochs that the chief has recorded."""
    known: dict[int, dict[str, float]] = {}
    for name, metric in grant.trial.metrics.metrics.items():
        for observation in metric.get_history():
            known.setdefault(observation.step, {})[name] = float(observation.mean())
    return known


def make_task(context: WorkerContext, grant: Grant) -> Task:
    """Return the training task of an attempt, from the trial's first epoch."""
    hyperparameters, study = grant.trial.hyperparameters, context.study
    return Task(
        hyperparameters=hyperparameters,
        seed=trial_seed(study.seed, grant.trial_id),
        batch_size=study.data.batch_size,
        epochs=int(hyperparameters.values.get(names.HP_EPOCHS, study.training.epochs)),
        patience=study.training.patience,
        objective=context.objective,
        objective_is_set=study.search.names_objective,
        devices=study.training.devices,
        trial_id=names.TrialId(grant.trial_id),
    )


def make_model_check(context: WorkerContext, task: Task) -> ModelCheck | OwnModelCheck | ScriptModelCheck:
    """Return the check of an attempt's saved models."""
    if isinstance(context.trainer, ScriptTrainer):
        return ScriptModelCheck(context.trainer, task.hyperparameters)
    validation = context.data.validation
    if takes_images(context.space) and not isinstance(validation, OwnPart):
        return ModelCheck(validation, context.classes, task.batch_size, task.objective.name)
    if not isinstance(validation, OwnPart):
        validation = OwnPart((validation.images, validation.labels), validation.count, None)
    return OwnModelCheck(context.space, validation, context.study.evaluation.batch_size, context.metrics.activities)
