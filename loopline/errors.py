"""The error tree.

Adapters turn library errors into these, `raise ... from`; only the runtime turns these into ack,
nak, term or a gRPC status.
"""

from __future__ import annotations


class LooplineError(Exception):
    """Base of every error of ours.

    Args:
        message: One sentence for people that names the input and the reason.
        **ids: What it is about (`dataset="catalogue"`), logged as keys and kept as `ids`.
    """

    def __init__(self, message: str, **ids: object) -> None:
        super().__init__(message)
        self.message = message
        self.ids = ids


class Rejected(LooplineError):
    """The input is wrong: trying again gives the same answer."""


class NotFound(Rejected):
    """What the input names is not there."""


class Unauthenticated(Rejected):
    """Who calls shows no token or session, or one that is not good."""


class Forbidden(Rejected):
    """Who calls is known, and may not do this."""


class Corrupt(Rejected):
    """Stored bytes do not hash to their name."""


class Transient(LooplineError):
    """Something else is wrong for now: try again.

    Args:
        message: As in `LooplineError`.
        retry_after_s: When to try again; the runtime's backoff decides if it is None.
        **ids: As in `LooplineError`.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None, **ids: object) -> None:
        super().__init__(message, **ids)
        self.retry_after_s = retry_after_s


class Cancelled(LooplineError):
    """Someone asked for the work to be stopped: it is neither done nor tried again."""


class Conflict(LooplineError):
    """Another writer won the compare-and-set on a subject."""

    def __init__(self, subject: str, expected_sequence: int) -> None:
        super().__init__(
            f"{subject} moved on: its last commit is no longer at sequence {expected_sequence}",
            subject=subject,
            expected_sequence=expected_sequence,
        )
        self.subject = subject
        self.expected_sequence = expected_sequence
