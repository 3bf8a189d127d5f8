"""The clock of the operating system."""

import time


class SystemClock:
    """:class:`evergrant.ports.Clock` by the operating system."""

    @staticmethod
    def now() -> float:
        return time.time()

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(seconds)
