"""What a browser may do with the page, and under which names it may reach it."""

from __future__ import annotations

from collections.abc import Collection

HEADERS = {
    # Nothing but our own files, and nobody may frame the page.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
        # What a person is about to upload, and what the page draws itself, is shown from memory.
        "img-src 'self' blob: data:; connect-src 'self'; frame-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",  # an upgrade shows at once; entity tags spare the bytes
}
"""Sent with every answer that does not set them itself."""

OPEN_PATHS = ("/healthz", "/readyz", "/metrics")
"""Answered under any host name: probes use the address of the machine."""

ANY_HOST = "*"


def is_allowed(path: str, host: str, allowed: Collection[str]) -> bool:
    """Tell whether a request may be answered.

    Args:
        path: What it asks for.
        host: Its Host header.
        allowed: Host names in lower case; "*" for any.
    """
    return path in OPEN_PATHS or ANY_HOST in allowed or host_name(host) in allowed


def host_name(host: str) -> str:
    """Return the name of a Host header, without port and brackets, in lower case.

    >>> host_name("[::1]:8080"), host_name("LocalHost:80")
    ('::1', 'localhost')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def is_page(path: str) -> bool:
    """Tell whether an address is one of the page's own, which finds what it means by itself.

    >>> is_page("/datasets/catalogue/3"), is_page("/api/nothing"), is_page("/favicon.ico")
    (True, False, False)
    """
    if path.startswith(("/api/", "/static/")) or path in ("/api", "/static", *OPEN_PATHS):
        return False
    return "." not in path.rpartition("/")[2] or "@" in path


def is_plain(path: str) -> bool:
    """Tell whether a path names what is below it only: no `.` or `..` segments."""
    return not {".", ".."} & set(path.split("/"))
