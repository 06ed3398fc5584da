"""What is known of the objective of an epoch beside its value: whether it was recomputed, and where it is from."""

from collections.abc import Mapping
from dataclasses import dataclass

from tuner import names


@dataclass(frozen=True)
class Evidence:
    """Evidence for the objective of a reported epoch. A worker sends it as gRPC metadata."""

    verified: bool | None = None
    """Whether the worker recomputed the objective with the saved model and got the same value. False if it cannot be
    recomputed. None if that was not tried after this epoch."""

    returned: bool = False
    """Whether the space's own `fit` returned the objective, which is then the trial's score."""

    def metadata(self) -> dict[str, str]:
        """Return the metadata of a report, without what is unknown."""
        verified = {} if self.verified is None else {names.METADATA_VERIFIED: _YES if self.verified else _NO}
        return verified | ({names.METADATA_RETURNED: _YES} if self.returned else {})

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "Evidence":
        """Return the evidence that a report carries. Values of other versions count as unknown."""
        verified = {_YES: True, _NO: False}.get(metadata.get(names.METADATA_VERIFIED, ""))
        return cls(verified, metadata.get(names.METADATA_RETURNED) == _YES)


_YES, _NO = "yes", "no"
NO_EVIDENCE = Evidence()
