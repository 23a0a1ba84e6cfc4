"""Configuration for servers that run elsewhere: the same users, identities and secrets, as files.

`python -m loopline.embedded.deployment DIR --nats nats://bus:4222 --s3 storage:8333` writes into
DIR:

- `auth.conf`: the users of the bus, to `include` in nats-server's configuration
- `s3.json`: the identities of storage, for SeaweedFS's `-s3.config`
- `security.toml`: keys between SeaweedFS's parts
- `<service>.env`: what each service is told; `admin.env` for `python -m
  loopline.embedded.administer`
- `connections.json`: customers' object storage, and the bucket of uploads
- `uploads.json`: that bucket alone, for the console
- `access/`: the key that signs tokens, and its public half
- `credentials.json`: the secrets; run it again and they stay

Subjects and areas come from the catalog and the table of grants: run it again after an upgrade.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from loopline.contracts.catalog import DEFAULT_POOL, SERVICES
from loopline.embedded.access_keys import AccessKeys
from loopline.embedded.files import private_folder, write_private, write_private_json
from loopline.embedded.identities import (
    ADMIN,
    API,
    UPLOADS,
    Credentials,
    nats_users,
    s3_identities,
    uploads_bucket,
)
from loopline.embedded.nats import authorization
from loopline.embedded.objects.weed import identities_config, internal_keys
from loopline.embedded.options import BUCKET
from loopline.embedded.services import CUSTOMER_FACING
from loopline.names import validate_name

HTTP_PORT = 8080  # inside a container every service has its own address
GRPC_PORT = 8001
REST_PORT = 8000
ASKS_MODELS = ("annotate", "inference")
"""Who asks models for predictions on demand, and who answers: they share a key."""


def write_deployment(
    folder: Path,
    *,
    nats_url: str,
    s3_endpoint: str,
    workspace: str = "default",
    pools: tuple[str, ...] = (DEFAULT_POOL,),
    mounted_at: str = "/run/loopline",
) -> None:
    """Write the files.

    Args:
        folder: Where to; made for its owner alone.
        nats_url: Where services find the bus.
        s3_endpoint: `host:port` where they find storage.
        workspace: The team's name space.
        pools: Pools that commands may be sent to.
        mounted_at: Where `connections.json` and `uploads.json` are for the services that read them.
    """
    validate_name("workspace", workspace)
    private_folder(folder)
    credentials = Credentials.load_or_generate(folder / "credentials.json")
    users = nats_users(credentials, workspace, pools)
    identities = s3_identities(credentials, BUCKET, workspace, ())
    write_private_json(folder / "auth.conf", {"authorization": authorization(users)})
    write_private_json(folder / "s3.json", identities_config(identities))
    if not (folder / "security.toml").exists():
        write_private(folder / "security.toml", internal_keys())
    _write_connections(folder, credentials, s3_endpoint)
    keys = AccessKeys.load_or_generate(folder / "access")
    for name in (ADMIN, *SERVICES):
        secret = credentials[name]
        told = {
            "LOOPLINE_WORKSPACE": workspace,
            "LOOPLINE_NATS_URL": nats_url,
            "LOOPLINE_NATS_USER": name,
            "LOOPLINE_NATS_PASSWORD": secret.password,
            "LOOPLINE_S3_ENDPOINT": s3_endpoint,
            "LOOPLINE_S3_BUCKET": BUCKET,
            "LOOPLINE_S3_ACCESS_KEY": secret.access_key,
            "LOOPLINE_S3_SECRET_KEY": secret.secret_key,
            **_listening(name),
            **_access(name, keys),
        }
        if name in ASKS_MODELS:
            told["LOOPLINE_API_TOKEN"] = credentials[API].password
        if name in CUSTOMER_FACING:
            told["LOOPLINE_CONNECTIONS_FILE"] = f"{mounted_at}/connections.json"
        if name == "console":
            told["LOOPLINE_CONNECTIONS_FILE"] = f"{mounted_at}/uploads.json"
            told["LOOPLINE_UPLOADS_BUCKET"] = uploads_bucket(BUCKET)
        write_private(folder / f"{name}.env", _lines(told))


def _write_connections(folder: Path, credentials: Credentials, s3_endpoint: str) -> None:
    """Put the bucket of uploads beside the connections that people wrote into the file."""
    path, own = folder / "connections.json", credentials[UPLOADS]
    uploads = {
        "endpoint": s3_endpoint,
        "access_key": own.access_key,
        "secret_key": own.secret_key,
        "secure": False,
    }
    connections = json.loads(path.read_text()) if path.exists() else {}
    write_private_json(path, {**connections, UPLOADS: uploads})
    write_private_json(folder / "uploads.json", {UPLOADS: uploads})


def _listening(name: str) -> dict[str, str]:
    if name == ADMIN:
        return {}
    told = {
        "LOOPLINE_DATA_DIR": "/data",
        "LOOPLINE_HTTP_HOST": "0.0.0.0",  # noqa: S104 - a container's own address
        "LOOPLINE_HTTP_PORT": str(HTTP_PORT),
    }
    if name == "inference":
        told |= {
            "LOOPLINE_GRPC_HOST": "0.0.0.0",  # noqa: S104
            "LOOPLINE_GRPC_PORT": str(GRPC_PORT),
            "LOOPLINE_REST_PORT": str(REST_PORT),
        }
    if name == "annotate":
        told["LOOPLINE_INFERENCE_GRPC"] = f"inference:{GRPC_PORT}"
    if name == "console":
        told["LOOPLINE_LINEAGE_URL"] = f"http://lineage:{HTTP_PORT}"
        told["LOOPLINE_ANNOTATE_URL"] = f"http://annotate:{HTTP_PORT}"
    return told


def _access(name: str, keys: AccessKeys) -> dict[str, str]:
    if name == ADMIN:
        return {}
    told = {"LOOPLINE_ACCESS_KEYS": _one_line(keys.public_file)}
    if name == "console":
        told["LOOPLINE_SIGNING_KEY"] = _one_line(keys.signing_file)
    return told


def _one_line(path: Path) -> str:
    return json.dumps(json.loads(path.read_text()))


def _lines(told: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in told.items())


def main() -> None:
    """Write the files that the command line asks for."""
    parser = argparse.ArgumentParser(description="Write configuration for servers elsewhere.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nats", default="nats://bus:4222", help="where services find the bus")
    parser.add_argument("--s3", default="storage:8333", help="where they find storage")
    parser.add_argument("--workspace", default="default")
    parser.add_argument("--pool", action="append", help="a pool that commands may be sent to")
    given = parser.parse_args()
    write_deployment(
        given.folder,
        nats_url=given.nats,
        s3_endpoint=given.s3,
        workspace=given.workspace,
        pools=tuple(given.pool or (DEFAULT_POOL,)),
    )


if __name__ == "__main__":
    main()
