"""Where the processes that share a training meet: torch's store, at one address and no other.

torch's own rendezvous listens on every interface of the machine.
"""

from __future__ import annotations

import socket
from typing import Final

from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.elastic.rendezvous import (
    RendezvousInfo,
    RendezvousParameters,
    rendezvous_handler_registry,
)
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous

BACKEND: Final = "loopline"


class Meeting(StaticTCPRendezvous):
    """torch's, for machines whose ranks are known; the first one's store listens at its address."""

    def get_backend(self) -> str:
        """Return what it is registered as."""
        return BACKEND

    def next_rendezvous(self) -> RendezvousInfo:
        """Return the store and this machine's rank, once the first one listens."""
        if self.rank == 0 and self._store is None:
            listening = socket.create_server((self.master_addr, self.master_port))
            self.master_port = listening.getsockname()[1]
            self._store = TCPStore(
                self.master_addr,
                self.master_port,
                self.world_size,
                is_master=True,
                timeout=self.timeout,
                master_listen_fd=listening.detach(),
            )
        return super().next_rendezvous()


def _meeting(told: RendezvousParameters) -> Meeting:
    host, _, port = told.endpoint.rpartition(":")
    rank, timeout_s = told.config["rank"], told.config["timeout"]
    return Meeting(host, int(port), rank, told.max_nodes, told.run_id, timeout_s)


rendezvous_handler_registry.register(BACKEND, _meeting)
