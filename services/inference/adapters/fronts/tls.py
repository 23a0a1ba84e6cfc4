"""TLS and mutual TLS of the fronts, from files."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import grpc
import structlog

from loopline.errors import Rejected

LOOK_EVERY_S: Final = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Who the server is, and whose clients it takes.

    Args:
        certificate: PEM: the server's certificate and what leads to its issuer.
        key: PEM: its private key, without a passphrase.
        client_ca: PEM: who issues clients' certificates; with it every client must show one. None
            for clients without.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Return the credentials of a gRPC server; files that change are read again.

        Raises:
            Rejected: A file is not there, or key and certificate do not belong together.
        """
        self.ssl_context()  # gRPC says of a wrong file only that it cannot listen
        seen = self._written()

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal seen
            try:
                if (now := self._written()) == seen:
                    return None
                self.ssl_context()
                seen = now
                log.info("certificate_read_again", certificate=str(self.certificate))
                return self._configuration()
            except (OSError, Rejected) as error:
                log.warning("certificate_unreadable", reason=str(error))
                return None

        return grpc.dynamic_ssl_server_credentials(
            self._configuration(),
            cast("Callable[[], grpc.ServerCertificateConfiguration]", fetch),  # None is no change
            require_client_authentication=self.client_ca is not None,
        )

    def ssl_context(self, protocol: str = "http/1.1") -> ssl.SSLContext:
        """Return the context of a server of HTTP.

        Args:
            protocol: Which, as ALPN names it.

        Raises:
            Rejected: A file is not there, or key and certificate do not belong together.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A session that is taken up again would not show its certificate again.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        context.set_alpn_protocols([protocol])
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.client_ca is not None:
                context.load_verify_locations(self.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            raise Rejected(
                f"TLS with certificate {self.certificate}, key {self.key}"
                f"{f' and clients of {self.client_ca}' if self.client_ca else ''}: {error}"
            ) from error
        return context

    async def keep_fresh(self, context: ssl.SSLContext, protocol: str = "http/1.1") -> None:
        """Have new connections of a context use the files as they are now, for ever.

        Connections that are open keep what they began with. A context only ever learns authorities,
        and forgets none: each connection is given the newest one as it begins.
        """
        newest, seen = context, self._written()
        context.sni_callback = lambda connection, _name, _context: _give(connection, newest)
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                if (now := self._written()) == seen:
                    continue
                newest = self.ssl_context(protocol)
            except (OSError, Rejected) as error:
                log.warning("certificate_unreadable", reason=str(error))
            else:
                seen = now
                log.info("certificate_read_again", certificate=str(self.certificate))

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration(
            [(self.key.read_bytes(), self.certificate.read_bytes())],
            root_certificates=self.client_ca.read_bytes() if self.client_ca else None,
        )

    def _written(self) -> tuple[int, ...]:
        files = (self.certificate, self.key, *((self.client_ca,) if self.client_ca else ()))
        return tuple(file.stat().st_mtime_ns for file in files)


def identity_of(transport: asyncio.BaseTransport) -> str:
    """Return the name in a client's certificate; "" where it showed none."""
    certificate = transport.get_extra_info("peercert") or {}
    for part in certificate.get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return str(value)
    return ""


def _give(connection: ssl.SSLSocket | ssl.SSLObject, context: ssl.SSLContext) -> None:
    connection.context = context
