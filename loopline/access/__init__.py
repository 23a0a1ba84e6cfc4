"""Who may do what: roles, scopes, callers, signed tokens and their revocation (docs/access.md)."""

from loopline.access.callers import Caller, local_caller
from loopline.access.roles import Role, Scope, may, scopes_of, validate_scopes
from loopline.access.tokens import KeySet, SigningKey, TokenIssuer, TokenVerifier
from loopline.errors import Forbidden, Unauthenticated

__all__ = [
    "Caller",
    "Forbidden",
    "KeySet",
    "Role",
    "Scope",
    "SigningKey",
    "TokenIssuer",
    "TokenVerifier",
    "Unauthenticated",
    "local_caller",
    "may",
    "scopes_of",
    "validate_scopes",
]
