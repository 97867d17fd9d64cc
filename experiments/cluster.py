"""Runs on a Dask cluster, by the address of its scheduler."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from .sweep import Outcome, Run, perform_on_one_thread

CONNECT = 20  # s: a scheduler that does not answer by then is not there


class DaskWorkers:
    """The workers of a Dask cluster (https://distributed.dask.org).

    A worker that dies has its run taken up by another. Where more workers die than the scheduler allows
    (``distributed.scheduler.allowed-failures``, 3 where nobody changed it), it blames all runs that waited on them;
    those are done again, one at a time after all others, and the one that still kills its workers is given up. This
    package must be installed where the workers are, in the same version.

    Args:
        address: Of the scheduler, ``"tcp://host:8786"``, or the path of the JSON file that it wrote about itself.

    Raises:
        ImportError: ``distributed`` is not installed.
    """

    def __init__(self, address: str) -> None:
        self.distributed = distributed()
        self.address = address

    @property
    def name(self) -> str:
        """For a progress bar."""
        return self.address

    def outcomes(self, runs: Sequence[Run]) -> Iterator[Outcome]:
        """Do all runs; see :class:`experiments.sweep.Workers`. Left early, it takes back what has not begun.

        Raises:
            ValueError: No scheduler answers at the address.
            ConnectionError: It is gone before all are done, or somebody restarts the cluster or takes runs back.
        """
        with _silent("distributed.client"), self._client() as client:  # what it would log is raised
            blamed = yield from self._together(client, runs, final=False)
            for run in blamed:
                yield from self._together(client, [run], final=True)

    def _together(self, client: Any, runs: Sequence[Run], *, final: bool) -> Generator[Outcome, None, list[Run]]:
        """Outcomes of all runs; returns those that are blamed for dead workers, unless that is ``final``."""
        # Names of their own: nothing of another sweep on the same cluster is taken for one of these.
        futures = {client.submit(_perform, run, pure=False): run for run in runs}
        blamed = []
        for future in self.distributed.as_completed(list(futures), loop=client.loop, raise_errors=False):
            run = futures.pop(future)
            try:
                error = future.exception()
                result = future.result() if error is None else None
            except (CancelledError, OSError) as lost:  # which no run raises here, and nobody here cancels
                raise ConnectionError(
                    f"the cluster at {self.address} must go on until the runs are done, got {_lost(lost)}. What is "
                    "done is kept: see that scheduler and workers run, and then do this again."
                ) from lost
            if error is None:
                yield result
            elif isinstance(error, self.distributed.KilledWorker) and not final:
                blamed.append(run)
            else:
                yield Outcome(run.key, error=_in_words(error))
        return blamed

    def _client(self) -> Any:
        try:
            where = self._where()
            return self.distributed.Client(**where, timeout=CONNECT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"cluster must be the address of a Dask scheduler that runs, got {self.address!r}: {error}. "
                "Start one with: dask scheduler"
            ) from error

    def _where(self) -> dict[str, str]:
        """The address for a client, which would give up one that is none with a traceback when Python ends."""
        if not self.address.endswith(".json"):
            if not self.address.startswith("inproc://"):  # of this process, without a port
                self.distributed.comm.get_address_host_port(self.address)
            return {"address": self.address}
        until = time.monotonic() + CONNECT
        while True:  # a scheduler that has just been started writes its file a moment later
            try:
                written = json.loads(Path(self.address).read_text(encoding="utf-8"))
                address = written.get("address") if isinstance(written, dict) else None
                self.distributed.comm.get_address_host_port(str(address or ""))
            except (OSError, ValueError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)
            else:
                return {"scheduler_file": self.address}


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Nothing but what is critical is logged under this name."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def distributed() -> ModuleType:
    """The library ``distributed``.

    Raises:
        ImportError: It is not installed.
    """
    try:
        return import_module("distributed")
    except ImportError as error:
        raise ImportError(
            "dask.distributed must be installed for --cluster, got none. Run in the checkout: pip install '.[cluster]'"
        ) from error


def _perform(run: Run) -> Outcome:
    return perform_on_one_thread(run, distributed().get_worker().address)


def _lost(error: BaseException) -> str:
    if isinstance(error, OSError) or "connection-lost" in str(error):
        return "no answer from its scheduler any more"
    return f"runs that somebody else cancelled ({' '.join(str(error).split())[:100]})"


def _in_words(error: BaseException) -> str:
    if type(error).__name__ == "KilledWorker":
        return f"{error.allowed_failures + 1} workers died of it, as they do for want of memory"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
