"""A worker of ours in front of Keras Tuner's own chief."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from keras_tuner.src import protos

from tuner.errors import ExitCode, UsageError
from tuner.rpc import lease_service
from tuner.worker.chief_client import ChiefClient


def test_a_stock_chief_is_recognised_and_what_to_start_is_said() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    service = protos.get_service_grpc()
    service.add_OracleServicer_to_server(service.OracleServicer(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        with grpc.insecure_channel(address, lease_service.OPTIONS) as channel:
            chief = ChiefClient(channel, address, "worker-0", "1", lambda: None)
            with pytest.raises(UsageError) as caught:
                chief.join()
    finally:
        server.stop(0)
    assert caught.value.exit_code is ExitCode.USAGE
    assert str(caught.value).startswith(
        f"the process at {address} is not a chief of cifake-tune: it has no lease service"
    )
    assert "Start `cifake-tune chief` at this address, or start the script itself as a worker" in str(caught.value)
