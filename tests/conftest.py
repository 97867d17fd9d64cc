"""What all tests share."""

import signal
import threading

import pytest


@pytest.fixture(autouse=True)
def _interruptible() -> None:
    """Ctrl-C as in a terminal, for the tests that press it and the processes that they start.

    A shell starts what runs in the background deaf to it, and some libraries put handlers of their own in place.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
