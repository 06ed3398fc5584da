"""The gRPC server of the chief's two services, Keras Tuner's and the lease service."""

from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from keras_tuner.src import protos

from tuner import limits
from tuner.chief.refusals import abort
from tuner.chief.service import Service
from tuner.errors import CifakeTuneError
from tuner.rpc import lease_service
from tuner.rpc.lease_service import Call

_service = protos.get_service()


def make_server(service: Service) -> grpc.aio.Server:
    """Return a server of both services. The caller must add a port to the server."""
    server = grpc.aio.server(options=lease_service.SERVER_OPTIONS, maximum_concurrent_rpcs=limits.CALLS)

    def measured(name: str, call: Call) -> Call:
        return service.metrics.timed(name, _without_traceback(call))

    server.add_generic_rpc_handlers(
        (
            _keras_tuners(service, measured),
            lease_service.handlers(
                {
                    "Join": service.join,
                    "Heartbeat": service.heartbeat,
                    "GiveBack": service.give_back,
                    "Status": service.status,
                },
                measured,
            ),
        )
    )
    return server


def _keras_tuners(service: Service, measured: Callable[[str, Call], Call]) -> grpc.GenericRpcHandler:
    """Return the handlers of Keras Tuner's service, which answer malformed requests with INVALID_ARGUMENT.

    The generated code would answer UNKNOWN, as for an internal error, and log a traceback.
    """

    def wrap(method: Any) -> Any:
        message_type, handle = getattr(_service, method.input_type.name), getattr(service, method.name)

        async def call(data: bytes, context: Any) -> bytes:
            try:
                request = message_type.FromString(data)
            except DecodeError:
                await abort(context, grpc.StatusCode.INVALID_ARGUMENT, f"the {method.name} request is not valid")
            answer: bytes = (await handle(request, context)).SerializeToString()
            return answer

        return grpc.unary_unary_rpc_method_handler(measured(method.name, call))

    oracle = _service.DESCRIPTOR.services_by_name["Oracle"]
    return grpc.method_handlers_generic_handler(oracle.full_name, {m.name: wrap(m) for m in oracle.methods})


def _without_traceback(call: Call) -> Call:
    """Return a handler that answers UNKNOWN if the journal fails. The chief ends with that error and reports it once.

    grpc would answer UNKNOWN, too, and would log a traceback for each call.
    """

    async def quiet(data: bytes, context: Any) -> bytes:
        try:
            return await call(data, context)
        except CifakeTuneError as error:
            await abort(context, grpc.StatusCode.UNKNOWN, str(error))

    return quiet
