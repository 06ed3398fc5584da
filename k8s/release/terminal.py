"""What `status --release` looks like on a terminal of 100 columns."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from k8s.release.status import ComponentView, ReleaseView, State

_STYLES = {
    State.WAITING: "dim",
    State.STARTING: "yellow",
    State.RUNNING: "cyan",
    State.DONE: "green",
    State.FAILED: "red",
    State.OUTSIDE: "dim",
}
SILENT_S = 30.0
"""A worker that has been silent for longer is worth a colour."""


def release_view(view: ReleaseView) -> RenderableType:
    """Return the components, the workers, and a line for each that is in trouble."""
    parts: list[RenderableType] = [_components(view)]
    if view.workers:
        parts.append(_workers(view))
    return Group(*parts, *_sentences(view))


def _components(view: ReleaseView) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(min_width=9, no_wrap=True)
    table.add_column(min_width=8, no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for each in view.components:
        where = view.bucket if each.state is State.OUTSIDE else each.pod or ""
        table.add_row(each.component, _state(each), each.node or "", Text(where, style="dim"))
    if view.workers:
        running = sum(worker.state is State.RUNNING for worker in view.workers)
        done = all(worker.state is State.DONE for worker in view.workers)
        how = Text("done", style="green") if done else Text(f"{running} of {len(view.workers)}")
        table.add_row("workers", how, "", Text(f"{view.worker_job}…", style="dim"))
    return table


def _workers(view: ReleaseView) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, right in (("worker", False), ("state", False), ("node", False), ("GPUs", True)):
        table.add_column(name, no_wrap=True, justify="right" if right else "left")
    for name in ("trial", "epoch", "images/s", "heard"):
        table.add_column(name, no_wrap=True, justify="left" if name == "trial" else "right")
    table.add_column("pod", overflow="fold")
    for each in view.workers:
        work = each.work
        busy = work is not None and work.trial is not None
        table.add_row(
            str(each.index),
            _state(each),
            each.node or "",
            each.gpus,
            (work.trial or "idle") if work else "",
            f"{work.epoch + 1} {work.progress:4.0%}" if work and busy else "",
            f"{work.images_per_s:,.0f}" if work and busy and work.images_per_s else "",
            _heard(work.silent_s) if work else "",
            Text((each.pod or "").replace(view.worker_job, "…", 1), style="dim"),
        )
    return table


def _state(each: ComponentView) -> Text:
    return Text(each.state.value, style="red" if each.trouble else _STYLES[each.state])


def _heard(silent_s: float) -> Text:
    text = f"{silent_s:.0f} s ago" if silent_s < 120 else f"{silent_s / 60:.0f} min ago"
    return Text(text, style="yellow" if silent_s > SILENT_S else "")


def _sentences(view: ReleaseView) -> Iterator[Text]:
    """Yield what is wrong; what is wrong with many workers is said once."""
    everyone = [*view.components, *view.workers]
    for attribute, style, prefix in (
        ("trouble", "red", ""),
        ("earlier", "yellow", "the pod before "),
        ("risk", "yellow", ""),
    ):
        said: dict[str, list[str]] = {}
        for each in everyone:
            if text := getattr(each, attribute):
                said.setdefault(text, []).append(each.title)
        for text, who in said.items():
            yield Text.assemble((_together(who), style), f": {prefix}{text}.")


def _together(who: Sequence[str]) -> str:
    """worker 0, worker 1, worker 2 -> workers 0, 1, 2"""
    if len(who) == 1:
        return who[0]
    numbers = [title.removeprefix("worker ") for title in who]
    return f"workers {', '.join(numbers)}" if all(t.startswith("worker ") for t in who) else ", ".join(who)
