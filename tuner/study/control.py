"""What users have requested while a search runs, as the journal records it."""

from dataclasses import dataclass, replace

from tuner.study.records import Action, Controlled, Value


@dataclass(frozen=True)
class Control:
    """The requests that the chief has handled, and their lasting effects."""

    paused_since: float | None = None
    """When a user paused the search, in seconds since 1970; None if it is not paused."""
    enqueued: tuple[dict[str, Value], ...] = ()
    """The configurations that users have enqueued, in order, whether or not they have been suggested yet."""
    handled: tuple[str, ...] = ()
    """Ids of the requests."""

    @property
    def is_paused(self) -> bool:
        """Whether the search is paused."""
        return self.paused_since is not None

    def resumed(self) -> "Control":
        """Return the control without a pause."""
        return replace(self, paused_since=None)

    def after(self, record: Controlled) -> "Control":
        """Return the control after another request."""
        control = replace(self, handled=(*self.handled, record.request))
        match record.action:
            case _ if record.refusal:
                return control
            case Action.PAUSE:
                return control if self.is_paused else replace(control, paused_since=record.at)
            case Action.RESUME:
                return control.resumed()
            case Action.ENQUEUE:
                return replace(control, enqueued=(*self.enqueued, dict(record.hyperparameters)))
            case _:
                return control
