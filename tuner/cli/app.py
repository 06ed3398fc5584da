"""The command `cifake-tune`. It parses the command line, runs a command, and reports an error with an exit code.

Commands that need Keras import it and the modules that depend on it inside their functions, so that all other commands
answer within a second.
"""

import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

import tuner
from tuner import names
from tuner.cli import roles
from tuner.cli.control import control_app
from tuner.cli.data import data_app
from tuner.cli.doctor import doctor_app
from tuner.cli.environment_errors import explain
from tuner.cli.export import export_app
from tuner.cli.logs import logs_app
from tuner.cli.options import GlobalOptions
from tuner.cli.plan import plan_app
from tuner.cli.predict import predict_app
from tuner.cli.report import report_app
from tuner.cli.status import readers_app
from tuner.cli.streams import close_output, discard_output, open_streams
from tuner.cli.studies import studies_app
from tuner.config.loading import json_schema
from tuner.config.variables import check_variables
from tuner.errors import CifakeTuneError, ConfigError, ExitCode, PreemptedError
from tuner.monitoring.log_format import LogFormat, error_line, mask_unconfigured_logging, read_format, stop_line
from tuner.sidecar import quit_sidecar

INTERRUPTED = 128 + signal.SIGINT
"""Exit code with which typer ends a command after Ctrl-C. Others of its versions raise an exception."""

app = typer.Typer(
    name="cifake-tune",
    help="Search for the best hyperparameters of Keras models with several workers, and evaluate the best model.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for role in (roles.run, roles.chief, roles.worker, roles.evaluate):
    app.command()(role)
app.add_typer(data_app, name="data", help="Pack, check and fetch data sets.")
app.add_typer(readers_app)
app.add_typer(logs_app)
app.add_typer(control_app)
app.add_typer(doctor_app)
app.add_typer(plan_app)
app.add_typer(predict_app)
app.add_typer(report_app)
app.add_typer(export_app, name="export", help="Write results in the formats of other programs.")
app.add_typer(studies_app)


def _print_version(requested: bool) -> None:
    if requested:
        print(tuner.__version__)  # noqa: T201
        raise typer.Exit


@app.callback()
def _global(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Print tracebacks, and log at debug level.")] = False,
    version: Annotated[
        # eager, so that `--version` is valid without a command
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    context.ensure_object(GlobalOptions).debug = debug


@app.command()
def schema() -> None:
    """Print the JSON Schema of study.yaml."""
    print(json.dumps(json_schema(), indent=2))  # noqa: T201


def main() -> NoReturn:
    """Run the command line and exit."""
    open_streams()
    logging.raiseExceptions = False  # a log that cannot be written, on a full disk, is no reason to print a traceback
    code = run_command()
    if (problem := close_output()) and code == ExitCode.DONE:
        code = _fail(str(problem), problem.exit_code)
    if "keras" in sys.modules or code == ExitCode.PREEMPTED:
        # All output has been written. A regular exit can take long: TensorFlow takes 10 s to tear down an unfinished
        # input pipeline, and Python waits for threads of its pools, which may hang while they read from the bucket.
        os._exit(code)
    sys.exit(code)


def run_command(arguments: list[str] | None = None) -> int:
    """Run one command, print its error if it fails, and return its exit code.

    `arguments` are the command and its options. Default: the arguments of this process.
    """
    options = GlobalOptions()
    try:
        return _run(arguments, options)
    finally:
        if options.quit_url:
            quit_sidecar(options.quit_url)


def _run(arguments: list[str] | None, options: GlobalOptions) -> int:
    mask_unconfigured_logging()
    signal.signal(signal.SIGTERM, _preempted)  # by default, the first process of a container ignores SIGTERM
    try:
        _check_environment(sys.argv[1:] if arguments is None else arguments, options)
        code = app(arguments, standalone_mode=False, obj=options)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
        if isinstance(code, int):  # the command ended with typer.Exit
            return code
    except PreemptedError as stop:
        return _stopped(str(stop), stop if options.debug else None)
    except CifakeTuneError as error:
        return _fail(str(error), error.exit_code, error if options.debug else None)
    except (typer.Abort, KeyboardInterrupt):
        return _stopped("the command was stopped.")
    except SystemExit as end:
        if end.code:  # click ends so if the output was closed
            discard_output()
        # otherwise, the shell's completion has been printed
    except BrokenPipeError:  # the output was closed, as in `cifake-tune trials | head`
        discard_output()
    except Exception as error:
        return _fail_unexpectedly(error, options.debug)
    return ExitCode.DONE


def _fail_unexpectedly(error: Exception, debug: bool) -> int:
    if hasattr(error, "format_message"):  # an error of click, which means wrong usage
        return _fail(error.format_message(), ExitCode.USAGE)
    if known := explain(error):
        return _fail(str(known), known.exit_code, error if debug else None)
    problem = f"{type(error).__name__}: {error}".rstrip(".")
    text = f"internal error: {problem}. Run again with --debug for a traceback."
    return _fail(text, ExitCode.INTERNAL, error if debug else None)


def _check_environment(arguments: list[str], options: GlobalOptions) -> None:
    """Raise ConfigError if an environment variable is unknown, but do not refuse to print a help text."""
    if not {"-h", "--help", "--version"} & set(arguments):
        try:
            check_variables(os.environ)
        except ConfigError:  # the command, which would set the URL, is not run
            options.quit_url = os.environ.get(names.ENV_QUIT_URL, "")
            raise


def _stopped(text: str, traceback_of: BaseException | None = None) -> int:
    """Report that the command ends because a user or the system asked it to, which is not an error."""
    return _fail(text, ExitCode.PREEMPTED, traceback_of, stop_line)


def _fail(
    text: str,
    code: int,
    traceback_of: BaseException | None = None,
    line_of: Callable[[str, LogFormat], str] = error_line,
) -> int:
    if traceback_of is not None:
        logging.getLogger(__name__).error("traceback", exc_info=traceback_of)
    try:
        line = line_of(text, read_format(os.environ))
    except ConfigError:  # `text` reports the same error
        line = line_of(text, LogFormat.TEXT)
    with contextlib.suppress(OSError):  # the exit code remains if standard error cannot be written
        print(line, file=sys.stderr, flush=True)  # noqa: T201
    return code


def _preempted(*_: object) -> NoReturn:
    raise PreemptedError("the command was asked to stop.")
