"""The lease service, which adds what Keras Tuner's own protocol lacks. Both use the same port.

Keras Tuner's `Oracle` service carries trials and metrics, in the same messages as with Keras Tuner's own workers. gRPC
metadata adds which process of a worker makes the call, and for which attempt (`names.METADATA_*`). This second service
carries heartbeats, returned trials and the state of the workers. Its messages are JSON, and contain the version of
their format (`tuner.config.formats`). Those that begin or keep up a connection also contain the version of the program,
because chief and workers may differ by one minor version (`tuner.rpc.program_version`).
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeVar

import grpc
from pydantic import AfterValidator, Field

import tuner
from tuner import limits, names
from tuner.config.formats import ABSENT, FORMAT, Versioned
from tuner.config.recorded import RecordedStudy
from tuner.errors import IncompatibleVersionError, NewerFormatError
from tuner.rpc.program_version import ProgramVersion, require_compatible
from tuner.study.records import AttemptEnd, FaultScope
from tuner.study.status import WorkerStatus

OPTIONS = [
    ("grpc.max_receive_message_length", limits.MESSAGE_BYTES),
    ("grpc.max_send_message_length", limits.MESSAGE_BYTES),
    ("grpc.max_metadata_size", limits.METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", 2 * limits.METADATA_BYTES),
    # by default gRPC waits up to two minutes before it reconnects, and leases expire meanwhile
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 3_000),
    # If the chief's node fails, its connections are not closed. Without pings, the kernel would continue to send for a
    # quarter of an hour. The last option is for the server; it is the shortest interval of pings that it accepts.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),  # the timeout that takes effect (gRPC 1.85); its default is a minute
    ("grpc.http2.max_pings_without_data", 0),  # no limit, because an idle worker's call may outlast two pings
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]

SERVER_OPTIONS = [
    *OPTIONS,
    # by default gRPC cancels calls at random if more than 1,000 wait for a coroutine
    ("grpc.server.max_pending_requests", 50_000),
    ("grpc.server.max_pending_requests_hard_limit", 50_000),
    ("grpc.max_concurrent_streams", limits.STREAMS),
    # a client that connects and sends nothing, or too slowly, is disconnected
    ("grpc.server_handshake_timeout_ms", 10_000),
]

REASON_CHARACTERS = limits.REASON_CHARACTERS
"""Maximum length of a reason. A worker keeps only the end of a traceback, at most half of this length."""


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a name must not contain control characters")
    return text


Name = Annotated[str, Field(min_length=1, max_length=limits.NAME_CHARACTERS), AfterValidator(_printable)]
DeviceText = Annotated[str, Field(max_length=limits.DEVICE_CHARACTERS), AfterValidator(_printable)]
PodName = Annotated[str, Field(max_length=limits.POD_NAME_CHARACTERS), AfterValidator(_printable)]
Number = Annotated[int, Field(ge=0, lt=limits.NUMBER)]


class Message(Versioned):
    """Base of all messages."""


class Greeting(Message):
    """Base of the messages that contain the sender's version of cifake-tune."""

    version: ProgramVersion = ABSENT


class Empty(Message):
    """A message without content."""


class Join(Greeting):
    """A worker's first call. All processes of a worker have the same name, and each has its own incarnation."""

    worker: Name
    incarnation: Name
    pod: PodName = ""
    """Name of the worker's pod. Empty outside Kubernetes."""


class Joined(Greeting):
    """The study that the worker trains for."""

    incarnation: str
    """Incarnation that the process must use from now on. It shows later chiefs when the process joined."""
    study: RecordedStudy
    data: str
    direction: Literal["max", "min"]
    """Direction of the objective."""


class Heartbeat(Greeting):
    """Renews the lease and carries the worker's progress."""

    worker: Name
    incarnation: Name
    trial: Name | None = None
    attempt: Number = 0
    epoch: Number = 0
    progress: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Fraction of the epoch that has been trained."""
    images_per_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    gpus: Number | None = None
    """Number of GPUs that Keras finds; None if the worker has not counted them yet."""
    device: DeviceText = ""
    """What the worker trains on, such as `GPU 1`, `NVIDIA H200` or `CPU`; empty if it has not looked yet."""
    pod: PodName = ""
    """Name of the worker's pod, which a chief needs if the worker joined an earlier chief."""
    problem: Annotated[str, Field(max_length=limits.PROBLEM_CHARACTERS)] = ""
    """Failure of bucket, disk or network because of which the worker waits; empty if it works."""


class Beat(Greeting):
    """Answer to a heartbeat. If `held` is false, the attempt is not the trial's newest; the worker must abandon it."""

    held: bool
    next_s: float
    """Seconds after which the next heartbeat must be sent."""


class GiveBack(AttemptEnd, Message):
    """Reports that an attempt has ended without finishing its trial."""

    worker: Name
    incarnation: Name
    trial: Name
    attempt: Number
    failing_s: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    reason: Annotated[str, Field(max_length=REASON_CHARACTERS)]
    """One sentence. If an exception was the reason, its traceback follows."""
    scope: FaultScope = FaultScope.TRIAL
    """Which trials have the fault, if the outcome is INVALID."""


class Status(Message):
    """The live state of the workers, which is not in the journal."""

    workers: list[WorkerStatus]
    wanted: Number | None = None
    """Number of workers that the search can use, with spare ones; None if it can use any number."""


Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

METHODS: dict[str, tuple[type[Message], type[Message]]] = {
    "Join": (Join, Joined),
    "Heartbeat": (Heartbeat, Beat),
    "GiveBack": (GiveBack, Empty),
    "Status": (Empty, Status),
}


def _encode(message: Message) -> bytes:
    return message.model_dump_json(by_alias=True).encode()


Handler = Callable[[Any, Any], Awaitable[Message]]
Call = Callable[[bytes, Any], Awaitable[bytes]]


def handlers(
    methods: dict[str, Handler], around: Callable[[str, Call], Call] = lambda _, call: call
) -> grpc.GenericRpcHandler:
    """Return the service's handlers for a grpc.aio server.

    A request that is not a valid message is answered with INVALID_ARGUMENT and does not reach the method, and so is one
    whose sender does not work with a chief of this version. If the reason is a version, the answer's METADATA_FORMAT
    contains the chief's format (`is_version_refusal`).

    Args:
        methods: Coroutine function of each method, by the method's name.
        around: Gets each method's name and handler, and returns the handler that is called instead.
    """

    def wrap(name: str, method: Handler) -> Any:
        async def call(data: bytes, context: Any) -> bytes:
            trailing = ((names.METADATA_FORMAT, FORMAT),)
            try:
                request = METHODS[name][0].model_validate_json(data)
                if isinstance(request, Greeting):
                    require_compatible(tuner.__version__, request.version)
            except NewerFormatError as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the {name} request {error}", trailing)
            except IncompatibleVersionError as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error), trailing)
            except ValueError:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the {name} request is not valid")
            return _encode(await method(request, context))

        return grpc.unary_unary_rpc_method_handler(around(name, call))

    return grpc.method_handlers_generic_handler(
        names.LEASE_SERVICE, {name: wrap(name, method) for name, method in methods.items()}
    )


def is_version_refusal(error: grpc.RpcError) -> bool:
    """Return whether the chief refused a call because of the version of the caller or of its format."""
    return any(key == names.METADATA_FORMAT for key, _ in error.trailing_metadata() or ())


class LeaseStub:
    """Client of the service.

    Every method raises grpc.RpcError if the call fails, NewerFormatError if the answer has a newer major version, and
    ValueError if the answer is not a valid message.
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self._calls = {
            name: channel.unary_unary(f"/{names.LEASE_SERVICE}/{name}", request_serializer=_encode) for name in METHODS
        }

    def join(self, request: Join, timeout_s: float) -> Joined:
        """Register this process, and end the leases of older processes of the same worker."""
        return Joined.model_validate_json(self._calls["Join"](request, timeout=timeout_s))

    def heartbeat(self, request: Heartbeat, timeout_s: float) -> Beat:
        """Renew the lease."""
        return Beat.model_validate_json(self._calls["Heartbeat"](request, timeout=timeout_s))

    def give_back(self, request: GiveBack, timeout_s: float) -> None:
        """End an attempt without finishing its trial."""
        self._calls["GiveBack"](request, timeout=timeout_s)

    def status(self, timeout_s: float) -> Status:
        """Return the live state of the workers."""
        return Status.model_validate_json(self._calls["Status"](Empty(), timeout=timeout_s))
