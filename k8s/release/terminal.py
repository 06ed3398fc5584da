"""The terminal output of `status --release`. It fits a width of 80 columns."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from k8s.release.status import ComponentView, ReleaseView, State, joined_titles
from tuner import names
from tuner.study.status import WorkerStatus

_STYLES = {
    State.WAITING: "dim",
    State.PULLING: "yellow",
    State.STARTING: "yellow",
    State.RUNNING: "cyan",
    State.LOST: "red",
    State.DONE: "green",
    State.FAILED: "red",
    State.STOPPED: "yellow",
    State.OUTSIDE: "dim",
}
_UNLIMITED = 1000
SILENT_S = 30.0
"""Seconds without a heartbeat after which a worker is highlighted."""


def release_view(view: ReleaseView, unit: str = "images") -> RenderableType:
    """Return tables of the components and the workers, and a sentence for each problem. Workers train on `unit`."""
    return Group(_Tables(view, unit), *_sentences(view))


@dataclass(frozen=True)
class _Tables:
    """The tables of a release. The names of pods are never wrapped or shortened, so that they can be copied.

    They are in the last columns, or in a table of their own if the terminal is too narrow.
    """

    view: ReleaseView
    unit: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        tables = _all_tables(self.view, self.unit, with_pods=True)
        if any(
            Measurement.get(console, options.update(width=_UNLIMITED), t).maximum > options.max_width for t in tables
        ):
            tables = [*_all_tables(self.view, self.unit, with_pods=False), _pods(self.view)]
        yield from tables


def _all_tables(view: ReleaseView, unit: str, with_pods: bool) -> list[Table]:
    return [_components(view, with_pods), *([_workers(view, unit, with_pods)] if view.workers else [])]


def _components(view: ReleaseView, with_pods: bool) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(min_width=9, no_wrap=True)
    table.add_column(min_width=8, no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for component in view.components:
        location = view.bucket if component.state is State.OUTSIDE else component.pod or "" if with_pods else ""
        table.add_row(component.component, _state(component), component.node or "", Text(location, style="dim"))
    if view.workers:
        running = sum(worker.state is State.RUNNING for worker in view.workers)
        done = all(worker.state is State.DONE for worker in view.workers)
        state = Text("done", style="green") if done else Text(f"{running} of {len(view.workers)}")
        table.add_row("workers", state, "", "")
    return table


def _workers(view: ReleaseView, unit: str, with_pods: bool) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("worker", "state", "node"):
        table.add_column(name, no_wrap=True)
    table.add_column(_gpu_heading(view), overflow="fold")
    for name in ("trial", "epoch", f"{unit}/s", "heard"):
        table.add_column(name, no_wrap=True, justify="left" if name == "trial" else "right")
    if with_pods:
        table.add_column("pod", no_wrap=True)
    for worker, work in _rows(view):
        busy = work is not None and work.trial is not None
        # a worker with several processes has a row for each of them
        index = str(worker.index) if work is None else work.worker.removeprefix("worker-")
        table.add_row(
            index,
            _state(worker),
            worker.node or "",
            _gpus(worker, work),
            (work.trial or ("idle" if work.heard else "")) if work else "",
            f"{work.epoch + 1} {work.progress:4.0%}" if work and busy else "",
            f"{work.images_per_s:,.0f}" if work and busy and work.images_per_s else "",
            _heard(work) if work else "",
            *([Text(worker.pod or "", style="dim")] if with_pods else []),
        )
    return table


def _gpu_heading(view: ReleaseView) -> str:
    """Return the resource by which the workers request GPUs, without the vendor for parts of NVIDIA's GPUs."""
    resources = {worker.gpu_resource for worker in view.workers} - {"", names.GPU_RESOURCE}
    return " ".join(sorted(resource.removeprefix("nvidia.com/") for resource in resources)) or "GPUs"


def _pods(view: ReleaseView) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(min_width=9, no_wrap=True)
    table.add_column(no_wrap=True, overflow="ignore")
    for component in [*view.components, *view.workers]:
        if component.pod:
            table.add_row(component.title, Text(component.pod, style="dim"))
    return table


def _state(component: ComponentView) -> Text:
    return Text(component.state.value, style="red" if component.trouble else _STYLES[component.state])


def _rows(view: ReleaseView) -> Iterator[tuple[ComponentView, WorkerStatus | None]]:
    """Yield each worker with what the chief knows of it, or of each of its processes."""
    for worker in view.workers:
        for work in worker.processes:
            yield worker, work
        if not worker.processes:
            yield worker, worker.work


def _gpus(worker: ComponentView, work: WorkerStatus | None) -> str:
    """Return the GPUs that the worker has found, else the number that it requested."""
    device = work.device if work else ""
    return worker.gpus if worker.gpus == "0" or not device else device


def _heard(work: WorkerStatus) -> Text:
    if not work.heard:
        return Text("not by this chief", style="yellow")
    silent_s = work.silent_s
    text = f"{silent_s:.0f} s ago" if silent_s < 120 else f"{silent_s / 60:.0f} min ago"
    return Text(text, style="yellow" if silent_s > SILENT_S else "")


def _sentences(view: ReleaseView) -> Iterator[Text]:
    """Yield a sentence for each problem. A problem that several workers have is shown once."""
    if view.trouble:
        yield Text.assemble(("release", "red"), f": {view.trouble}.")
    for attribute, style, prefix in (
        ("trouble", "red", ""),
        ("earlier", "yellow", "the previous pod "),
        ("risk", "yellow", ""),
    ):
        titles_by_text: dict[str, list[str]] = {}
        for component in [*view.components, *view.workers]:
            if text := getattr(component, attribute):
                titles_by_text.setdefault(text, []).append(component.title)
        for text, titles in titles_by_text.items():
            yield Text.assemble((joined_titles(titles), style), f": {prefix}{text}.")
