"""Handles the requests that users have written to the bucket (`tuner.control`), while the chief serves.

Each request is handled once. Its record is durable before the object is deleted, and a chief that finds the object of
a recorded request only deletes it.
"""

import asyncio
import logging

from tuner.bucket import Bucket
from tuner.chief.clock import now
from tuner.chief.service import Service
from tuner.config.formats import COMPATIBLE, FORMAT
from tuner.control import request as requests
from tuner.control.refusal import refusal
from tuner.control.request import Request
from tuner.errors import BucketError, ObjectNotFoundError, SpaceError, UsageError
from tuner.study.records import Action, Controlled

log = logging.getLogger(__name__)

POLL_S = 1.0
"""Seconds between two looks at the bucket. A day of them costs half a dollar in Google Cloud Storage."""


class RequestHandler:
    """Handles the requests to one study, in the event loop of its services."""

    def __init__(self, service: Service, bucket: Bucket) -> None:
        self._service = service
        self._bucket = bucket
        self._ignored: set[str] = set()
        """Names of objects that are no requests."""
        self._problem = ""
        """Why the bucket could not be read; empty if it could."""

    async def run(self) -> None:
        """Handle requests until the task is cancelled. Raises FencedError and other errors of the journal."""
        if self._service.state.control.is_paused:
            log.warning("the search is paused; run cifake-tune resume to continue it")
        while True:
            await self.handle_pending()
            await asyncio.sleep(POLL_S)

    async def handle_pending(self) -> None:
        """Handle all requests that are in the bucket now. If the bucket fails, the next call tries again."""
        try:
            for name in await asyncio.to_thread(requests.pending, self._bucket, self._service.study.name):
                if name not in self._ignored:
                    await self._handle(name)
            self._problem = ""
        except BucketError as error:
            if str(error) != self._problem:
                log.warning("requests cannot be read: %s", error)
            self._problem = str(error)

    async def _handle(self, name: str) -> None:
        try:
            request = await asyncio.to_thread(requests.read, self._bucket, name)
        except ObjectNotFoundError:
            return  # the user has withdrawn it
        except UsageError as error:
            log.warning("%s", error)
            self._ignored.add(name)
            return
        service = self._service
        if request.id not in service.state.control.handled:
            record = await self._record(request)
            about = requests.description(record.action, record.trials, record.hyperparameters)
            if record.refusal:
                log.warning("a user's request to %s is refused: %s", about, record.refusal)
            else:
                log.info("a user has requested to %s", about)
            await self._commit(record)
        await asyncio.to_thread(self._bucket.delete, name)

    async def _record(self, request: Request) -> Controlled:
        """Return the record of a request, with the refusal if it has no effect."""
        service = self._service
        refused, values = self._refusal(request), dict(request.hyperparameters)
        if request.action is Action.ENQUEUE and not refused:
            try:
                values = await service.dispatcher.enqueue(values)
            except SpaceError as error:
                refused = str(error)
            except Exception as error:  # of the user's own code, which search.constraints may call
                refused = f"the hyperparameters cannot be checked ({type(error).__name__}: {error})."
            refused = refused or self._refusal(request)  # the search has continued meanwhile
        adds = request.action is Action.ENQUEUE or (request.action is Action.STOP and not request.trials)
        return Controlled(
            format=FORMAT if adds and not refused else COMPATIBLE,
            at=now().at,
            request=request.id,
            action=request.action,
            trials=request.trials,
            hyperparameters=values,
            refusal=refused,
        )

    def _refusal(self, request: Request) -> str:
        """Return why the search does not allow a request now, as a sentence; empty if it does."""
        if request.action is Action.ENQUEUE and self._service.oracle.is_closing:
            return "the search only completes its best trials now, because a budget of hours is about to end."
        return refusal(self._service.state, request)

    async def _commit(self, record: Controlled) -> None:
        await self._service.commit(self._service.oracle.control(record, now()))
