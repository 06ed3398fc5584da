"""The command `cifake-tune`: parses, calls, and turns errors into a sentence and an exit code.

Keras and everything that imports it is imported inside the commands that need it, so that the others answer
in under a second.
"""

import json
import logging
import os
import signal
import sys
from typing import Annotated, NoReturn

import typer

import tuner
from tuner.cli import roles
from tuner.cli.data import data_app
from tuner.cli.doctor import doctor_app
from tuner.cli.logs import logs_app
from tuner.cli.options import GlobalOptions
from tuner.cli.predict import predict_app
from tuner.cli.report import report_app
from tuner.cli.status import readers_app
from tuner.config.loading import json_schema
from tuner.errors import CifakeTuneError, ConfigError, ExitCode, PreemptedError
from tuner.monitoring.log_format import error_line, given_format

app = typer.Typer(
    name="cifake-tune",
    help="Search hyperparameters of Keras models with several workers, and evaluate the best one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for role in (roles.run, roles.chief, roles.worker, roles.evaluate):
    app.command()(role)
app.add_typer(data_app, name="data", help="Pack, check and fetch data sets.")
app.add_typer(readers_app)
app.add_typer(logs_app)
app.add_typer(doctor_app)
app.add_typer(predict_app)
app.add_typer(report_app)


def _say_version(asked: bool) -> None:
    if asked:
        print(tuner.__version__)  # noqa: T201
        raise typer.Exit


@app.callback()
def _global(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, and log more.")] = False,
    version: Annotated[
        # eager: before the command is missed
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    context.ensure_object(GlobalOptions).debug = debug


@app.command()
def schema() -> None:
    """Print the JSON Schema of study.yaml."""
    print(json.dumps(json_schema(), indent=2))  # noqa: T201


def main() -> NoReturn:
    """Run the command line, and exit."""
    code = run_command()
    sys.stdout.flush()
    sys.stderr.flush()
    if "keras" in sys.modules or code == ExitCode.PREEMPTED:
        # all is written; TensorFlow takes 10 s to tear down an input pipeline that was left in the midst, and Python
        # waits for its pools' threads, which may be reading from a bucket that hangs
        os._exit(code)
    sys.exit(code)


def run_command(arguments: list[str] | None = None) -> int:
    """Run one command, by default that of this process, print its error if it fails, and return its exit code."""
    options = GlobalOptions()
    signal.signal(signal.SIGTERM, _preempted)  # the first process of a container would not even notice it
    try:
        code = app(arguments, standalone_mode=False, obj=options)
        if isinstance(code, int):  # of a command that ends with typer.Exit
            return code
    except CifakeTuneError as error:
        return _fail(str(error), error.exit_code, error if options.debug else None)
    except (typer.Abort, KeyboardInterrupt):
        return _fail("stopped.", ExitCode.PREEMPTED)
    except (BrokenPipeError, SystemExit):  # `cifake-tune trials | head`: click exits where nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if hasattr(error, "format_message"):  # click's, of wrong usage
            return _fail(error.format_message(), ExitCode.USAGE)
        what = f"{type(error).__name__}: {error}"
        text = f"a defect in cifake-tune, or something it does not expect: {what} (--debug shows where)."
        return _fail(text, ExitCode.DEFECT, error if options.debug else None)
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


def _preempted(*_: object) -> NoReturn:
    raise PreemptedError("asked to stop.")
