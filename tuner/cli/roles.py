"""The commands that run a study: run, chief, worker, evaluate."""

import json
import logging
import os
import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from tuner import limits, names
from tuner.bucket import Bucket, open_bucket
from tuner.cli.backend import choose_backend, import_keras, importing_keras
from tuner.cli.cache import cache_folder
from tuner.cli.data_options import (
    ColumnsOption,
    ConvertOption,
    LabelsOption,
    ResizeOption,
    TestOption,
    packing_settings,
)
from tuner.cli.options import (
    DEFAULT_BUCKET,
    BucketOption,
    GlobalOptions,
    JsonOption,
    StudyFileOption,
    StudyNameOption,
    loaded_settings,
    named_study,
)
from tuner.cli.script_options import ScriptArguments, ScriptOption, TunerOption, script_settings, study_name_of
from tuner.cli.system_limits import check_limits
from tuner.config import settings as config
from tuner.config.loading import Loaded, dump
from tuner.errors import ConfigError, UsageError
from tuner.limits import NAME_CHARACTERS, is_name
from tuner.monitoring.log_format import begin_logging, read_format
from tuner.printable import printable
from tuner.report.terminal.console import make_console, print_json, print_line, shown_progress, shown_wait

if TYPE_CHECKING:
    from tuner.chief.own_job import OwnJobEnd
    from tuner.rpc.tls import Files

SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="A setting, such as search.max_trials=20. Can be repeated.")
]


AUTO = "auto"
MAX_WORKERS = 256
_SECONDS_DIGITS = 7


def run(
    study_file: StudyFileOption = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Folder, archive (zip, tar), or gs://, s3:// or az:// URL of images, or the digest of a packed data "
            "set. Default: data.source, else the only data set of the bucket, else the built-in sample.",
        ),
    ] = None,
    resize: ResizeOption = None,
    convert: ConvertOption = False,
    labels: LabelsOption = None,
    columns: ColumnsOption = None,
    test: TestOption = None,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    workers: Annotated[
        str,
        typer.Option(
            metavar="N|auto",
            help="Number of worker processes, from 1 to 256. auto: one for each GPU, or one without GPUs. Each worker "
            "uses one GPU; several may share one.",
        ),
    ] = AUTO,
    spare: Annotated[
        int,
        typer.Option(
            envvar=names.ENV_SPARE,
            min=0,
            max=MAX_WORKERS,
            help="Number of idle workers that stay while the last trials are trained. The others end.",
        ),
    ] = 1,
    settings: SetOption = None,
    script: ScriptOption = None,
    tuner: TunerOption = None,
    arguments: ScriptArguments = None,
) -> None:
    """Run a study on this machine: pack the data, search, and evaluate the best model.

    A live page shows the progress of the search at the printed address.
    """
    from tuner.export.mlflow_server import check_tracking
    from tuner.local.crew import Crew
    from tuner.local.gpu_inventory import find_gpus
    from tuner.local.gpus import gpu_problems, workers_for
    from tuner.local.run import run_study

    number = _number_of_workers(workers)
    source = [f"data.source={json.dumps(data)}"] if data is not None else []
    packing = packing_settings(resize, convert, labels, columns, test)
    options = [*(settings or []), *source, *packing, *script_settings(script, tuner, arguments)]
    loaded = loaded_settings(study_file, options, bucket_url, study_name_of(script) if script else "")
    study = loaded.study
    check_tracking(study)
    check_limits()
    backend = choose_backend()  # the processes of the study would repeat its error, but only after the data is packed
    cache, console = cache_folder(os.environ), make_console()
    gpus = find_gpus(os.environ)
    for problem in gpu_problems(gpus, backend, is_auto=number is None):
        print_line(console, f"Warning: {problem}", style="yellow")
    count = workers_for(gpus, backend) if number is None else number
    crew = Crew(count, gpus, spare)
    given = dump(study) if study.space.script is None else loaded.given
    # this process, which evaluates, reports the end
    values = {section: value for section, value in given.items() if section != "notify"}
    run_study(study, values, _bucket(bucket_url), crew, cache, _encryption(), console)


def _number_of_workers(text: str, option: str = "--workers") -> int | None:
    """Return the number that an option gives; None for auto. Raises UsageError if it is neither."""
    if text == AUTO:
        return None
    if not (
        text.isdecimal() and text.isascii() and len(text) <= len(str(MAX_WORKERS)) and 0 < int(text) <= MAX_WORKERS
    ):
        raise UsageError(f"{option} must be auto or a number from 1 to {MAX_WORKERS}, got {printable(text)!r:.60}.")
    return int(text)


def chief(
    context: typer.Context,
    study_file: StudyFileOption = None,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    settings: SetOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only check whether a chief can continue the study with these settings.")
    ] = False,
) -> None:
    """Assign trials to workers until the search has finished.

    The chief listens at the host KERASTUNER_ORACLE_IP and the port KERASTUNER_ORACLE_PORT.
    """
    _begin_process(context)
    if check:
        from tuner.cli import early_checks

        loaded = loaded_settings(study_file, settings or [], bucket_url)
        early_checks.check_continues(_bucket(bucket_url), loaded, os.environ.get(names.ENV_DATA) or None)
        return
    from tuner.chief.own_job import ended_by_lasting_errors

    with ended_by_lasting_errors(os.environ) as own:
        _run_chief(loaded_settings(study_file, settings or [], bucket_url), _bucket(bucket_url), own)


def _run_chief(loaded: Loaded, its_bucket: Bucket, own: "OwnJobEnd") -> None:
    study = loaded.study
    _check_own_data(study)
    host, port, encryption, spare = _environment(names.ENV_ORACLE_IP), _port(), _encryption(), _spare()
    from tuner.live_page.serving import PageServing, serving_page

    how = PageServing.from_environment(os.environ)
    from tuner.address import Address
    from tuner.chief.evaluation_job import ChiefJob
    from tuner.chief.monitor import ChiefMonitor
    from tuner.cli import early_checks
    from tuner.data.manifest import find_data_set
    from tuner.export.mlflow_server import check_tracking
    from tuner.monitoring.catalogue import Role
    from tuner.monitoring.endpoint import Monitor, serving

    check_tracking(study)
    chief_monitor = ChiefMonitor(its_bucket, study.name, monitor := Monitor(Role.CHIEF))
    bucket = chief_monitor.bucket
    job = os.environ.get(names.ENV_EVALUATION_JOB)
    cluster = ChiefJob(job, _environment(names.ENV_START), own.release, _seconds(names.ENV_LINGER_S)) if job else None
    # before the bucket is read, so that a chief that waits for its bucket is visible
    with serving(monitor), serving_page(chief_monitor.page, monitor, how):
        own.begin(bucket, study.name)
        # a data set for which the chief waits may be packed while Keras is imported
        if _data_wait_s() is None and not study.data.own:
            early_checks.check_chief_data(bucket, study, os.environ.get(names.ENV_DATA))
        with importing_keras(
            whole=study.search.algorithm is config.Algorithm.BAYESIAN or study.space.script is not None
        ):
            from tuner.chief.context import ChiefContext
            from tuner.chief.run import run_chief, run_chief_of_script
        digest = names.OWN_DATA if study.data.own else find_data_set(bucket, _data_digest(study, bucket))
        address = Address(host, port)
        context = ChiefContext(bucket, study, digest, address, encryption, cluster, chief_monitor, spare=spare)
        if study.space.script is None:
            run_chief(context)
        else:
            run_chief_of_script(context, loaded.given)


def worker(
    context: typer.Context,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    processes: Annotated[
        str,
        typer.Option(
            envvar=names.ENV_PROCESSES,
            metavar="N|auto",
            help="Number of worker processes to run and supervise, called NAME-0, NAME-1 and so on. auto: as many as "
            "the memory of the GPU allows.",
        ),
    ] = "",
) -> None:
    """Train trials for the chief until the search has finished. KERASTUNER_TUNER_ID is the worker's name."""
    _begin_process(context)
    if processes:
        _run_processes(processes)
        return
    address = f"{_environment(names.ENV_ORACLE_IP)}:{_port()}"
    name = _environment(names.ENV_TUNER_ID)
    if not is_name(name):
        raise ConfigError(
            f"{names.ENV_TUNER_ID} must have 1 to {NAME_CHARACTERS} printable characters, got {name!r:.60}."
        )
    encryption = _encryption()
    file = os.environ.get(names.ENV_STUDY_FILE)
    loaded = loaded_settings(file, [], bucket_url) if file else None
    study = loaded.study if loaded else None
    script = study.space if study and study.space.script else None
    # before the bucket is read, which in a cluster may still be starting
    with importing_keras(whole=script is not None):
        from tuner.cli import early_checks
        from tuner.monitoring.catalogue import Role
        from tuner.monitoring.endpoint import Monitor, serving
        from tuner.monitoring.measured_bucket import MeasuredBucket
        from tuner.scripts.session import ScriptSearch, run_to_search
        from tuner.scripts.settings import study_of
        from tuner.training import devices
        from tuner.worker.chief_absence import ChiefAbsence
        from tuner.worker.run import run_worker

    monitor = Monitor(Role.WORKER, study.name if study else "")
    bucket = MeasuredBucket(_bucket(bucket_url), monitor.registry)
    release = names.parse_release(os.environ)
    with serving(monitor):  # before the bucket and the chief are reached: the alerts need to see a worker that waits
        if study and script is None and early_checks.has_finished(bucket, study):
            return
        absence = ChiefAbsence(bucket, study.name, release) if study and release else None
        devices.check(os.environ)
        work = partial(
            run_worker, bucket, address, encryption, name, cache_folder(os.environ), monitor, absence=absence
        )

        def work_for(search: ScriptSearch) -> None:
            if loaded and not early_checks.has_finished(bucket, study_of(search, loaded.given).study):
                work(script=search)

        if script is None:
            work()
        else:
            run_to_search(script, work_for)


def _run_processes(processes: str) -> None:
    from tuner.local.gpu_inventory import find_gpus
    from tuner.local.gpu_room import GpuRoom
    from tuner.local.pod_workers import PodWorkers
    from tuner.monitoring.catalogue import Role
    from tuner.monitoring.endpoint import Monitor, serving

    name, gpus = _environment(names.ENV_TUNER_ID), find_gpus(os.environ)
    number = _number_of_workers(processes, "--processes")
    if number is None and len(gpus.gpus) > 1:
        raise ConfigError(f"--processes auto needs a single GPU, found {len(gpus.gpus)}. Give a number of processes.")
    token = gpus.gpus[0].token if gpus.gpus else ""
    workers = PodWorkers(name, GpuRoom(token) if number is None else number, gpus, read_format(os.environ))
    with serving(monitor := Monitor(Role.WORKER)):
        workers.run(monitor)


def evaluate(
    context: typer.Context,
    bucket_url: BucketOption = DEFAULT_BUCKET,
    study: StudyNameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate the study's best model on the test images. A study is evaluated only once."""
    _begin_process(context)
    from tuner.cli import early_checks
    from tuner.evaluation.result_json import metrics_json
    from tuner.evaluator.run import evaluate as run_evaluation
    from tuner.report.terminal.evaluation import summary
    from tuner.study.journal import find_study

    bucket = _bucket(bucket_url)
    name = find_study(bucket, named_study(study))
    with shown_wait("reading the study"):
        settings = early_checks.study_to_evaluate(bucket, name)
    if settings is not None:
        with shown_wait("importing Keras", stderr_is_hidden=True):
            # here, because the evaluator's own import would show messages and load all packages
            import_keras(whole=settings.space.script is not None)
    with shown_progress("preparing the evaluation") as progress:
        metrics = run_evaluation(bucket, name, cache_folder(os.environ), progress)
    if as_json:
        print_json(metrics_json(metrics))
    else:
        make_console().print(summary(metrics, bucket.url))


def _check_own_data(study: config.Study) -> None:
    """Raise ConfigError if the environment and the settings contradict each other about the data."""
    digest = os.environ.get(names.ENV_DATA)
    if digest and (digest == names.OWN_DATA) != study.data.own:
        own = "that the space brings its own data" if study.data.own else "no such thing"
        raise ConfigError(
            f"{names.ENV_DATA} is {digest!r:.70}, but data.own of the study says {own}. Unset the variable, or change "
            "data.own."
        )


def _data_digest(study: config.Study, bucket: Bucket) -> str | None:
    """Return the digest from the environment, `data prepare` or the study; None for the bucket's only data set."""
    wait_s = _data_wait_s()
    if wait_s is None:
        from tuner.cli import early_checks

        return os.environ.get(names.ENV_DATA) or early_checks.recorded_data(bucket, study)
    from tuner.data.prepare import await_prepared

    return await_prepared(study, bucket, wait_s)


def _data_wait_s() -> int | None:
    """Return the number of seconds that the chief waits for its data set, or None if it does not wait."""
    if os.environ.get(names.ENV_DATA) or not os.environ.get(names.ENV_DATA_WAIT_S):
        return None
    return _seconds(names.ENV_DATA_WAIT_S)


def _bucket(url: str) -> Bucket:
    return open_bucket(url)


def _environment(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise ConfigError(f"the environment variable {variable} must be set for this command.")
    return value


def _encryption() -> "Files | None":
    from tuner.rpc.tls import Files

    return Files.from_environment(os.environ)


def _port() -> int:
    text = _environment(names.ENV_ORACLE_PORT)
    if not text.isdecimal() or len(text) > 5 or not 0 < int(text) < 65536:
        raise ConfigError(f"{names.ENV_ORACLE_PORT} must be a port from 1 to 65535, got {text!r:.60}.")
    return int(text)


def _spare() -> int:
    text = os.environ.get(names.ENV_SPARE, "1")
    if not text.isdecimal() or not text.isascii() or len(text) > len(str(limits.WORKERS)):
        raise ConfigError(f"{names.ENV_SPARE} must be a number of workers, got {text!r:.60}.")
    return int(text)


def _seconds(variable: str) -> int:
    text = os.environ.get(variable, "0")
    if not text.isdecimal() or len(text) > _SECONDS_DIGITS:
        raise ConfigError(f"{variable} must be a whole number of seconds below a year, got {text!r:.60}.")
    return int(text)


def _begin_process(context: typer.Context) -> None:
    """Set up a process of a pod or of `run`: its end with its parent, its backend and its log."""
    from tuner.local.children import end_with_parent

    end_with_parent()
    check_limits()
    choose_backend()
    context.ensure_object(GlobalOptions).quit_url = os.environ.get(names.ENV_QUIT_URL, "")
    level = logging.DEBUG if context.ensure_object(GlobalOptions).debug else logging.INFO
    begin_logging(sys.stdout, read_format(os.environ), level)
