"""SeaweedFS (`weed mini`): the S3 server of the embedded platform.

Master, volume server, filer and S3 gateway run in one process. What the flags below hold, each
learned from running it (docs/adr/0004-embedded-servers.md):

- Every port is given, with its gRPC port, and bound to loopback. The admin gRPC port must be the
  HTTP port plus 10,000: the built-in maintenance worker assumes it whatever the flag says.
- `mini.options` in the data folder is sticky and outranks flags: it is deleted before each start.
- `-disableHttp` and the keys in `security.toml` close the filer's and volume server's HTTP ports,
  which else read and delete without any authentication.
- Telemetry is on unless told otherwise.
- The master's folder carries its port in its name: it is renamed when the port changes.
"""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from minio import Minio
from minio.error import S3Error

from loopline.embedded import ports
from loopline.embedded.binaries import WEED, locate
from loopline.embedded.command import Command
from loopline.embedded.files import private_folder, write_private, write_private_json

ADMIN_GRPC_OFFSET = 10_000
MEMORY_LIMIT = "512MiB"
PROBE_TIMEOUT_S = 5.0
PROBE_KEY = ".ready"
REGION = "us-east-1"
ALREADY_MINE = "BucketAlreadyOwnedByYou"
PREFERRED_PORTS: Mapping[str, int] = {
    "s3": 8333,
    "s3_grpc": 8334,
    "weed_master": 9333,
    "weed_master_grpc": 9334,
    "weed_volume": 9340,
    "weed_volume_grpc": 9341,
    "weed_filer": 8888,
    "weed_filer_grpc": 8889,
}
PARTS = ("master", "volume", "filer", "s3", "admin")
WRITING = ("master", "volume", "filer")
"""The parts without which nothing is written: their sockets are there once a write succeeded."""
PREFERRED_ADMIN_PORT = 11_646


@dataclass(frozen=True)
class S3Identity:
    """A key pair and what it may do.

    Attributes:
        name: Who it is.
        access_key: Public half.
        secret_key: Secret half.
        actions: SeaweedFS actions, `Read:<bucket>/<prefix>/*` and so on; `Admin` may do everything.
    """

    name: str
    access_key: str
    secret_key: str
    actions: tuple[str, ...]


@dataclass(frozen=True)
class WeedServer:
    """One SeaweedFS process: its data folder, ports and identities."""

    folder: Path
    ports: Mapping[str, int]
    identities: Sequence[S3Identity]
    host: str = "127.0.0.1"

    @property
    def endpoint(self) -> str:
        """`host:port` of the S3 gateway."""
        return f"{self.host}:{self.ports['s3']}"

    def prepare(self) -> Command:
        """Write the configuration and return the command; call it before each start."""
        private_folder(self.folder)
        private_folder(self._config_folder)
        (self.folder / "mini.options").unlink(missing_ok=True)
        remove_sockets(self.ports)
        self._adopt_master_folder()
        self._write_identities()
        self._write_internal_keys()
        return Command(
            name="weed",
            argv=(str(locate(WEED)), *self._arguments()),
            cwd=self.folder,
            env={"GOMEMLIMIT": MEMORY_LIMIT},
        )

    @property
    def _config_folder(self) -> Path:
        return self.folder / "config"

    def _arguments(self) -> list[str]:
        return [
            # Its own log files would go to the system's temporary folder.
            "-logtostderr=true",
            "-log_json",
            f"-config_dir={self._config_folder}",
            "mini",
            f"-dir={self.folder}",
            f"-ip={self.host}",
            f"-ip.bind={self.host}",
            *self._port_arguments(),
            f"-s3.config={self._config_folder / 's3.json'}",
            # Relative to the working folder: a Unix socket's path is at most 107 bytes.
            "-filer.localSocket=filer.sock",
            "-s3.localFilerSocket=filer.sock",
            "-s3.localSocket=s3.sock",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
            "-disableHttp",
        ]

    def _port_arguments(self) -> list[str]:
        flags = {
            "s3": "s3.port",
            "s3_grpc": "s3.port.grpc",
            "weed_master": "master.port",
            "weed_master_grpc": "master.port.grpc",
            "weed_volume": "volume.port",
            "weed_volume_grpc": "volume.port.grpc",
            "weed_filer": "filer.port",
            "weed_filer_grpc": "filer.port.grpc",
            "weed_admin": "admin.port",
            "weed_admin_grpc": "admin.port.grpc",
        }
        return [f"-{flag}={self.ports[name]}" for name, flag in flags.items()]

    def _adopt_master_folder(self) -> None:
        wanted = self.folder / f"m{self.ports['weed_master']}"
        if wanted.exists():
            return
        earlier = sorted(self.folder.glob("m[0-9]*"), key=lambda path: path.stat().st_mtime)
        if earlier:
            earlier[-1].rename(wanted)

    def _write_identities(self) -> None:
        write_private_json(self._config_folder / "s3.json", identities_config(self.identities))

    def _write_internal_keys(self) -> None:
        """Write keys for the HTTP ports between the parts: new ones, since nobody keeps them."""
        write_private(self._config_folder / "security.toml", internal_keys())


def identities_config(identities: Iterable[S3Identity]) -> dict[str, Any]:
    """Return identities as SeaweedFS's `-s3.config` has them."""
    return {
        "identities": [
            {
                "name": identity.name,
                "credentials": [
                    {"accessKey": identity.access_key, "secretKey": identity.secret_key}
                ],
                "actions": list(identity.actions),
            }
            for identity in identities
        ]
    }


def internal_keys() -> str:
    """Return a `security.toml` with fresh keys for the HTTP ports between SeaweedFS's parts."""
    sections = ("signing", "signing.read", "filer_signing", "filer_signing.read")
    return "".join(f'[jwt.{name}]\nkey = "{secrets.token_hex(32)}"\n' for name in sections)


def choose_ports(
    preferred: Mapping[str, int], *, host: str = "127.0.0.1", taken: Iterable[int] = ()
) -> dict[str, int]:
    """Choose the ports of a server.

    Args:
        preferred: Ports to take if they are free, by the names of `PREFERRED_PORTS` and
            `weed_admin`.
        host: The address to listen on.
        taken: Ports not to give out.

    Raises:
        PlatformError: No free ports were found.
    """
    chosen = ports.choose(
        {name: preferred.get(name, 0) for name in PREFERRED_PORTS}, host=host, taken=taken
    )
    admin, admin_grpc = ports.choose_pair(
        preferred.get("weed_admin", PREFERRED_ADMIN_PORT),
        ADMIN_GRPC_OFFSET,
        host=host,
        taken={*taken, *chosen.values()},
    )
    return {**chosen, "weed_admin": admin, "weed_admin_grpc": admin_grpc}


def client(
    endpoint: str,
    access_key: str,
    secret_key: str,
    *,
    timeout_s: float = PROBE_TIMEOUT_S,
    retries: int = 0,
    secure: bool = False,
) -> Minio:
    """Return a client that answers soon: no retries, short timeouts."""
    http = urllib3.PoolManager(timeout=timeout_s, retries=urllib3.Retry(total=retries))
    return Minio(
        endpoint,
        access_key=access_key,
        secret_key=secret_key,
        secure=secure,
        region=REGION,
        http_client=http,
    )


def is_writable(s3: Minio, bucket: str) -> bool:
    """Tell whether the server takes a real write; its health page says yes long before that."""
    try:
        ensure_buckets(s3, [bucket])
        s3.put_object(bucket, PROBE_KEY, io.BytesIO(b"ready"), length=5)
        s3.remove_object(bucket, PROBE_KEY)
    except (S3Error, urllib3.exceptions.HTTPError, OSError, ValueError):
        return False
    return True


def ensure_buckets(s3: Minio, buckets: Iterable[str]) -> None:
    """Make the buckets that are not there."""
    for bucket in buckets:
        if s3.bucket_exists(bucket):
            continue
        try:
            s3.make_bucket(bucket)
        except S3Error as error:
            if error.code != ALREADY_MINE:
                raise


def sockets(chosen: Mapping[str, int], parts: Iterable[str] = PARTS) -> list[Path]:
    """Return where the parts of a server on these ports have their sockets.

    The parts talk through them, never through TCP instead; their place in /tmp cannot be changed.
    """
    names = {part: "s3_grpc" if part == "s3" else f"weed_{part}_grpc" for part in parts}
    return [
        Path(f"/tmp/seaweedfs-{part}-grpc-{chosen[name]}.sock")  # noqa: S108
        for part, name in names.items()
        if name in chosen
    ]


def remove_sockets(chosen: Mapping[str, int]) -> None:
    """Remove what a killed server leaves in /tmp; one that lives on these ports keeps its own."""
    for path in sockets(chosen):
        port = int(path.stem.rsplit("-", 1)[1])
        if ports.is_free(port):
            path.unlink(missing_ok=True)
