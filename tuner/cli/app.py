"""The command `cifake-tune`: parses, calls, and turns errors into a sentence and an exit code.

Keras and everything that imports it is imported inside the commands that need it, so that the others answer
in under a second.
"""

import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

import tuner
from tuner import names
from tuner.bucket import Bucket, open_bucket
from tuner.cli.backend import choose_backend, importing_keras
from tuner.cli.data import data_app
from tuner.cli.doctor import doctor_app
from tuner.cli.options import DEFAULT_BUCKET, BucketOption, JsonOption, StudyNameOption, study_name
from tuner.cli.predict import predict_app
from tuner.cli.report import report_app
from tuner.cli.status import readers_app
from tuner.config import settings as config
from tuner.config.loading import json_schema, load
from tuner.errors import CifakeTuneError, ConfigError, ExitCode, PreemptedError
from tuner.limits import NAME_CHARACTERS, is_name
from tuner.monitoring.log_format import begin_logging, error_line, given_format
from tuner.report.terminal.console import make_console, shown_progress

if TYPE_CHECKING:
    from tuner.rpc.tls import Files

app = typer.Typer(
    name="cifake-tune",
    help="Search hyperparameters of Keras models with several workers, and evaluate the best one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data", help="Pack, check and fetch data sets.")
app.add_typer(readers_app)
app.add_typer(doctor_app)
app.add_typer(predict_app)
app.add_typer(report_app)

StudyFileOption = Annotated[
    Path | None, typer.Option("--study", envvar=names.ENV_STUDY_FILE, help="study.yaml; without it, the defaults.")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="A setting, as search.max_trials=20; repeatable.")]


def _say_version(asked: bool) -> None:
    if asked:
        print(tuner.__version__)  # noqa: T201
        raise typer.Exit


@app.callback()
def _global(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, and log more.")] = False,
    version: Annotated[
        # eager: before the command is missed
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
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


@app.command()
def chief(
    study_file: StudyFileOption = None, bucket_url: BucketOption = DEFAULT_BUCKET, settings: SetOption = None
) -> None:
    """Hand out trials to workers until the search is over (address from KERASTUNER_ORACLE_IP and _PORT)."""
    _begin_process()
    study = _study(study_file, settings or [])
    host, port, encryption = _environment(names.ENV_ORACLE_IP), _port(), _encryption()
    with importing_keras(whole=study.search.algorithm is config.Algorithm.BAYESIAN):
        from tuner.address import Address
        from tuner.chief.evaluation_job import Cluster
        from tuner.chief.monitor import ChiefMonitor
        from tuner.chief.run import run_chief
        from tuner.monitoring.catalogue import Role
        from tuner.monitoring.endpoint import Monitor, serving

    shown = ChiefMonitor(_bucket(bucket_url), study.name, monitor := Monitor(Role.CHIEF))
    job = os.environ.get(names.ENV_EVALUATION_JOB)
    cluster = Cluster(job, _environment(names.ENV_START), _seconds(names.ENV_LINGER_S)) if job else None
    with serving(monitor):
        run_chief(study, _data_digest(study, shown.bucket), Address(host, port), encryption, cluster, shown)


@app.command()
def worker(bucket_url: BucketOption = DEFAULT_BUCKET) -> None:
    """Train trials for the chief until the search is over (it has the settings; who we are: KERASTUNER_TUNER_ID)."""
    _begin_process()
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


@app.command()
def evaluate(
    bucket_url: BucketOption = DEFAULT_BUCKET, study: StudyNameOption = None, as_json: JsonOption = False
) -> None:
    """Evaluate the study's best model on the test images, once."""
    _begin_process()
    with importing_keras():
        import keras  # noqa: F401  (the evaluator imports it only when there is something to do)
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


@app.command()
def schema() -> None:
    """Print the JSON Schema of study.yaml."""
    print(json.dumps(json_schema(), indent=2))  # noqa: T201


def main() -> NoReturn:
    """Run the command line, and exit."""
    code = _run(debug="--debug" in sys.argv)
    sys.stdout.flush()
    sys.stderr.flush()
    if "keras" in sys.modules or code == ExitCode.PREEMPTED:
        # all is written; TensorFlow takes 10 s to tear down an input pipeline that was left in the midst, and Python
        # waits for its pools' threads, which may be reading from a bucket that hangs
        os._exit(code)
    sys.exit(code)


def _run(debug: bool) -> int:
    signal.signal(signal.SIGTERM, _preempted)  # the first process of a container would not even notice it
    try:
        code = app(standalone_mode=False)
        if isinstance(code, int):  # of a command that ends with typer.Exit
            return code
    except CifakeTuneError as error:
        return _fail(str(error), error.exit_code, error if debug else None)
    except (typer.Abort, KeyboardInterrupt):
        return _fail("stopped.", ExitCode.PREEMPTED)
    except (BrokenPipeError, SystemExit):  # `cifake-tune trials | head`: click exits where nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if hasattr(error, "format_message"):  # click's, of wrong usage
            return _fail(error.format_message(), ExitCode.USAGE)
        what = f"{type(error).__name__}: {error}"
        text = f"a defect in cifake-tune, or something it does not expect: {what} (--debug shows where)."
        return _fail(text, ExitCode.DEFECT, error if debug else None)
    return ExitCode.DONE


def _fail(text: str, code: int, traceback_of: BaseException | None = None) -> int:
    if traceback_of is not None:
        logging.getLogger(__name__).error("traceback", exc_info=traceback_of)
    try:
        line = error_line(text, given_format(os.environ))
    except ConfigError:  # which is what `text` says
        line = f"error: {text}"
    print(line, file=sys.stderr)  # noqa: T201
    return code


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


def _begin_process() -> None:
    """Set up a process of a pod or of `run`: its end, and its log."""
    from tuner.local.children import end_with_parent

    end_with_parent()
    choose_backend()
    level = logging.DEBUG if "--debug" in sys.argv else logging.INFO
    begin_logging(sys.stdout, given_format(os.environ), level)


def _preempted(*_: object) -> NoReturn:
    raise PreemptedError("asked to stop.")
