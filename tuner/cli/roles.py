"""The commands that run something: run, chief, worker, evaluate."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner import names
from tuner.bucket import Bucket, open_bucket
from tuner.cli.backend import choose_backend, import_keras, importing_keras
from tuner.cli.options import DEFAULT_BUCKET, BucketOption, GlobalOptions, JsonOption, StudyNameOption, study_name
from tuner.config import settings as config
from tuner.config.loading import load
from tuner.errors import ConfigError
from tuner.limits import NAME_CHARACTERS, is_name
from tuner.monitoring.log_format import begin_logging, given_format
from tuner.report.terminal.console import make_console, shown_progress

if TYPE_CHECKING:
    from tuner.rpc.tls import Files

StudyFileOption = Annotated[
    Path | None, typer.Option("--study", envvar=names.ENV_STUDY_FILE, help="study.yaml; without it, the defaults.")
]


SetOption = Annotated[list[str] | None, typer.Option("--set", help="A setting, as search.max_trials=20; repeatable.")]


def run(
    study_file: StudyFileOption = None,
    data: Annotated[
        str | None, typer.Option("--data", help="Folder, zip or gs:// of images; without it, the built-in sample.")
    ] = None,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Worker processes.")] = 1,
    settings: SetOption = None,
) -> None:
    """Do the whole job on this machine: pack the data, search, and evaluate the best model.

    While it searches, a page in the browser shows how far it is, at the address that is printed.
    """
    from tuner.local import run as job

    given = [*(settings or []), *([f"data.source={json.dumps(data)}"] if data is not None else [])]
    study = _study(study_file, given)
    job.run_job(study, _bucket(bucket_url), workers, _cache(), _encryption(), make_console())


def chief(
    context: typer.Context,
    study_file: StudyFileOption = None,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    settings: SetOption = None,
) -> None:
    """Hand out trials to workers until the search is over (address from KERASTUNER_ORACLE_IP and _PORT)."""
    _begin_process(context)
    study = _study(study_file, settings or [])
    host, port, encryption = _environment(names.ENV_ORACLE_IP), _port(), _encryption()
    with importing_keras(whole=study.search.algorithm is config.Algorithm.BAYESIAN):
        from tuner.address import Address
        from tuner.chief.evaluation_job import ChiefJob
        from tuner.chief.monitor import ChiefMonitor
        from tuner.chief.run import run_chief
        from tuner.monitoring.catalogue import Role
        from tuner.monitoring.endpoint import Monitor, serving

    shown = ChiefMonitor(_bucket(bucket_url), study.name, monitor := Monitor(Role.CHIEF))
    job = os.environ.get(names.ENV_EVALUATION_JOB)
    cluster = ChiefJob(job, _environment(names.ENV_START), _seconds(names.ENV_LINGER_S)) if job else None
    with serving(monitor):
        run_chief(study, _data_digest(study, shown.bucket), Address(host, port), encryption, cluster, shown)


def worker(context: typer.Context, bucket_url: BucketOption = DEFAULT_BUCKET) -> None:
    """Train trials for the chief until the search is over (it has the settings; who we are: KERASTUNER_TUNER_ID)."""
    _begin_process(context)
    address = f"{_environment(names.ENV_ORACLE_IP)}:{_port()}"
    name = _environment(names.ENV_TUNER_ID)
    if not is_name(name):
        raise ConfigError(
            f"{names.ENV_TUNER_ID} must be 1 to {NAME_CHARACTERS} characters that can be printed, not {name!r:.60}."
        )
    encryption = _encryption()
    with importing_keras():  # before the bucket is asked: in a cluster it starts meanwhile
        from tuner.monitoring.catalogue import Role
        from tuner.monitoring.endpoint import Monitor, serving
        from tuner.monitoring.measured_bucket import MeasuredBucket
        from tuner.training import devices
        from tuner.worker.run import run_worker

    monitor = Monitor(Role.WORKER)
    bucket = MeasuredBucket(_bucket(bucket_url), monitor.registry)
    if _search_is_over(bucket):
        return
    devices.check(os.environ)
    with serving(monitor):
        run_worker(bucket, address, encryption, name, _cache(), monitor)


def evaluate(
    context: typer.Context,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate the study's best model on the test images, once."""
    _begin_process(context)
    import_keras()  # the evaluator imports it only when there is something to do
    from tuner.evaluator.run import evaluate as run_evaluation
    from tuner.report.terminal.evaluation import summary
    from tuner.study.journal import find_study

    bucket = _bucket(bucket_url)
    with shown_progress() as progress:
        metrics = run_evaluation(bucket, find_study(bucket, study or study_name()), _cache(), progress)
    if as_json:
        print(metrics.model_dump_json(indent=2))  # noqa: T201
    else:
        make_console().print(summary(metrics, bucket.url))


def _study(file: Path | None, settings: list[str]) -> config.Study:
    return load(file, settings, os.environ)


def _data_digest(study: config.Study, bucket: Bucket) -> str | None:
    """Return the data set that the environment names, or the one that `data prepare` makes; None: the only one."""
    digest = os.environ.get(names.ENV_DATA) or None
    if digest or not os.environ.get(names.ENV_DATA_WAIT_S):
        return digest
    from tuner.data.prepare import await_prepared

    return await_prepared(study, bucket, _seconds(names.ENV_DATA_WAIT_S))


def _search_is_over(bucket: Bucket) -> bool:
    """Say whether a worker that knows its study comes too late: there may be no chief any more to tell it so."""
    file = os.environ.get(names.ENV_STUDY_FILE)
    if not file:
        return False
    from tuner.study.journal import JournalReader

    study = _study(Path(file), [])
    reader = JournalReader(bucket, study.name)
    reader.poll()
    if reader.state.is_over(study):
        logging.getLogger("tuner").info("the search of study %s is over", study.name)
        return True
    return False


def _bucket(url: str) -> Bucket:
    return open_bucket(url)


def _cache() -> Path:
    given = os.environ.get(names.ENV_CACHE)
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cifake-tune"


def _environment(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise ConfigError(f"the environment variable {variable} is not set; it must be for this command.")
    return value


def _encryption() -> "Files | None":
    from tuner.rpc.tls import Files

    return Files.given(os.environ)


def _port() -> int:
    text = _environment(names.ENV_ORACLE_PORT)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ConfigError(f"{names.ENV_ORACLE_PORT} must be a port, 1 to 65535, not {text!r}.")
    return int(text)


def _seconds(variable: str) -> int:
    text = os.environ.get(variable, "0")
    if not text.isdecimal():
        raise ConfigError(f"{variable} must be a whole number of seconds, not {text!r}.")
    return int(text)


def _begin_process(context: typer.Context) -> None:
    """Set up a process of a pod or of `run`: its end, and its log."""
    from tuner.local.children import end_with_parent

    end_with_parent()
    choose_backend()
    level = logging.DEBUG if context.ensure_object(GlobalOptions).debug else logging.INFO
    begin_logging(sys.stdout, given_format(os.environ), level)
