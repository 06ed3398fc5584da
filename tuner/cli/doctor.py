"""The command `doctor`, which finds problems of a release or of a run on this machine."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner import names
from tuner.cli.options import ContextOption, JsonOption, NamespaceOption, ReleaseOption, refuse
from tuner.cli.release import workers_of
from tuner.errors import ExitCode, UsageError
from tuner.report.terminal.console import make_console, print_json, shown_wait, waited_for

if TYPE_CHECKING:
    from k8s.doctor.findings import Finding

doctor_app = typer.Typer()
BEFORE = "Before an install"


@doctor_app.command()
def doctor(
    invocation: typer.Context,
    bucket_url: Annotated[
        str | None,
        typer.Option("--bucket", envvar=names.ENV_BUCKET, help="Bucket to check, in the cluster or on this machine."),
    ] = None,
    release: ReleaseOption = None,
    namespace: NamespaceOption = None,
    context: ContextOption = None,
    values: Annotated[
        list[Path] | None,
        typer.Option("--values", "-f", help="Values file for the chart. Requires helm.", rich_help_panel=BEFORE),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A value for the chart, written as for helm.", rich_help_panel=BEFORE),
    ] = None,
    chart: Annotated[Path, typer.Option(help="Path of the chart.", rich_help_panel=BEFORE)] = Path("charts"),
    image: Annotated[str, typer.Option(help="Image to check.", rich_help_panel=BEFORE)] = "",
    workers: Annotated[int | None, typer.Option(min=1, help="Number of workers.", rich_help_panel=BEFORE)] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="Number of GPUs per worker.", rich_help_panel=BEFORE)] = None,
    gpu_resource: Annotated[
        str | None,
        typer.Option(help="Resource of these GPUs. Default: nvidia.com/gpu.", rich_help_panel=BEFORE),
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Run the image once in the cluster.", rich_help_panel="Cluster")
    ] = True,
    as_json: JsonOption = False,
    inside: Annotated[bool, typer.Option("--inside", hidden=True)] = False,
    service: Annotated[str | None, typer.Option("--service", hidden=True)] = None,
    chief: Annotated[str | None, typer.Option("--chief", hidden=True)] = None,
) -> None:
    """Find problems of a release in its cluster, or of a run on this machine.

    The exit code is 3 if something is broken.
    """
    from k8s.doctor import requirements
    from k8s.doctor import run as examinations

    flags = bool(image) or workers is not None or gpus is not None
    if sum((release is not None, bool(values or settings), flags)) > 1:
        raise UsageError(
            "only one of these groups of options is allowed: --release (for an installed release); --values or --set "
            "(before an installation); --image, --workers or --gpus (without the chart). Remove the other options."
        )
    if not inside:
        _refuse_unused(invocation, release is not None, bool(values or settings), flags, bool(namespace or context))
    resource = gpu_resource or names.GPU_RESOURCE
    if inside:
        _show(examinations.examine_inside(bucket_url, service, chief, gpus or 0, resource), as_json)
        return
    if release is None and not values and not settings and not flags and namespace is None and context is None:
        _show(examinations.examine_machine(bucket_url), as_json)
        return
    from k8s.cluster.client import connect
    from k8s.release.release import load

    cluster = connect(namespace, context)
    installed = load(cluster, release) if release else None
    if installed:
        required = requirements.of_release(installed)
    elif values or settings:
        required = requirements.of_chart(
            chart, values or [], settings or [], names.APPLICATION, cluster.namespace, context
        )
    else:
        required = requirements.of_flags(image, workers or 1, gpus or 0, bucket_url or "", resource)
    with shown_wait("asking the chief"):
        status = workers_of(installed)[0] if installed else []
    _show(examinations.examine_cluster(cluster, required, installed, probe, status), as_json)


def _refuse_unused(invocation: typer.Context, release: bool, chart: bool, flags: bool, cluster: bool) -> None:
    """Raise UsageError if an option is given that has no effect on this check."""
    if not invocation.params["gpus"]:
        refuse(invocation, {"gpu_resource": "--gpu-resource"}, "without --gpus. Add it")
    if not chart:
        refuse(invocation, {"chart": "--chart"}, "without --values or --set. Add one of them")
    if release:
        refuse(
            invocation, {"bucket_url": "--bucket"}, "with --release, because the release has its own bucket. Remove it"
        )
    elif chart:
        refuse(invocation, {"bucket_url": "--bucket"}, "with --values and --set. Use --set bucket.url=URL instead")
    if not (release or chart or flags or cluster):
        refuse(
            invocation, {"probe": "--probe and --no-probe"}, "on this machine. Add --release, --namespace or --context"
        )


def _show(findings: Iterable["Finding"], as_json: bool) -> None:
    """Print the findings (without `as_json`, each as soon as it is made). Exit with code 3 if one is BROKEN."""
    from k8s.doctor.findings import FINDINGS, Severity

    if as_json:
        with shown_wait("checking"):
            complete = list(findings)
        print_json(FINDINGS.dump_json(complete, indent=2).decode())
    else:
        complete = _print_findings(findings)
    if any(finding.severity is Severity.BROKEN for finding in complete):
        raise typer.Exit(ExitCode.ENVIRONMENT)


def _print_findings(findings: Iterable["Finding"]) -> list["Finding"]:
    from rich.padding import Padding
    from rich.text import Text

    from k8s.doctor.findings import Severity

    styles = {Severity.FINE: "green", Severity.WARNING: "yellow", Severity.BROKEN: "bold red"}
    console, complete = make_console(), []
    for finding in waited_for(findings, "checking"):  # a pod may have to start, or a bucket to time out
        complete.append(finding)
        head = Text.assemble((f"{finding.severity:<8}", styles[finding.severity]), f"{finding.check:<10}")
        text = Text(f"{finding.what}.")
        if finding.fix:
            text.append(f" {finding.fix}", style="bold")
        console.print(head, end="")
        lines = text.wrap(console, max(30, console.width - 18)) if console.is_terminal else [text]
        for number, line in enumerate(lines):
            console.print(Padding(line, (0, 0, 0, 18 if number else 0)) if number else line, soft_wrap=True)
    counts = {s: sum(finding.severity is s for finding in complete) for s in (Severity.BROKEN, Severity.WARNING)}
    warnings = counts[Severity.WARNING]
    summary = [f"{counts[Severity.BROKEN]} broken"] * bool(counts[Severity.BROKEN])
    summary += [f"{warnings} warning{'' if warnings == 1 else 's'}"] * bool(warnings)
    console.print(", ".join(summary) or "all checks passed", style="bold")
    return complete
