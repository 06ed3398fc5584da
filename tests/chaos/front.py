"""The chief's address as workers know it: what a Kubernetes Service is to them, for chiefs that come and go."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

BLOCK_BYTES = 1 << 16


class Front:
    """Passes each connection on to the newest chief that takes it, and refuses it where none does."""

    def __init__(self, listen: Callable[[bytes], None]) -> None:
        self.port = 0
        self._listen = listen
        self._backends: list[int] = []

    def add(self, port: int) -> None:
        """A chief is going to listen there."""
        self._backends.insert(0, port)

    def remove(self, port: int) -> None:
        """The chief there has ended."""
        self._backends.remove(port)

    async def start(self) -> asyncio.Server:
        """Listen."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in list(self._backends):
            try:
                theirs, sending = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
            await asyncio.gather(self._pump(reader, sending), self._pump(theirs, writer))
            return
        writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while block := await reader.read(BLOCK_BYTES):
                self._listen(block)
                writer.write(block)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()


@contextlib.contextmanager
def running_front(listen: Callable[[bytes], None] = lambda block: None) -> Iterator[Front]:
    """Run a front in a thread of its own; `listen` gets, in that thread, whatever passes either way."""
    front = Front(listen)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="front", daemon=True)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(front.start(), loop).result(timeout=10)
        try:
            yield front
        finally:
            asyncio.run_coroutine_threadsafe(_stop(server), loop).result(timeout=10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


async def _stop(server: asyncio.Server) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)
