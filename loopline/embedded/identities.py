"""Who may do what on this machine's bus and object storage: least privilege, made once, kept 0600.

Every service has its own NATS user (subjects derived from the catalog) and its own S3 identity
(areas from the table below). `user` is the SDK and the command line; `external` may publish public
commands and nothing else; `customer` owns the customer's buckets and nothing of ours.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loopline.contracts.catalog import SERVICES
from loopline.contracts.permissions import permissions
from loopline.embedded.files import write_private_json
from loopline.embedded.nats import NatsUser
from loopline.embedded.objects.weed import S3Identity
from loopline.store.objects import Area

PASSWORD_BYTES = 24
ACCESS_KEY_BYTES = 10
ADMIN = "admin"
USER = "user"
EXTERNAL = "external"
CUSTOMER = "customer"
UPLOADS = "uploads"
"""The bucket for files that people upload in the console: the console writes, ingest reads."""
API = "api"
"""Not an identity: its password is the bearer token of the HTTP APIs."""
EVERY_AREA = tuple(Area)


@dataclass(frozen=True)
class S3Grant:
    """What an identity may do with the areas of its workspace.

    Attributes:
        read: Areas whose objects it may get.
        write: Areas whose objects it may put; it may read them too.
        lists: Areas it may list.

    Storage has one right for writing and deleting. What holds deletion back is that an object
    reached by a commit is never deleted by any code but the collector of garbage.
    """

    read: tuple[Area, ...] = ()
    write: tuple[Area, ...] = ()
    lists: tuple[Area, ...] = ()

    def actions(self, bucket: str, workspace: str) -> tuple[str, ...]:
        """Return the grant as SeaweedFS actions."""
        readable = dict.fromkeys((*self.read, *self.write))
        return (
            *(f"Read:{bucket}/{workspace}/{area}/*" for area in readable),
            *(f"Write:{bucket}/{workspace}/{area}/*" for area in self.write),
            *(f"List:{bucket}/{workspace}/{area}/*" for area in self.lists),
        )


S3_GRANTS: Mapping[str, S3Grant] = {
    "ingest": S3Grant(write=(Area.ASSETS, Area.TREES, Area.PLANS, Area.REPORTS)),
    # It writes the lists of items of jobs that are opened through its API.
    "annotate": S3Grant(read=(Area.ASSETS,), write=(Area.PLANS, Area.TREES, Area.REPORTS)),
    "trainer": S3Grant(
        read=(Area.ASSETS, Area.TREES), write=(Area.MODELS, Area.CHECKPOINTS, Area.REPORTS)
    ),
    "inference": S3Grant(
        # Images of requests that are recorded become assets.
        read=(Area.MODELS,),
        write=(Area.ASSETS, Area.TREES, Area.PLANS, Area.REPORTS),
    ),
    "router": S3Grant(write=(Area.TREES, Area.PLANS, Area.REPORTS)),
    # It reads the log alone; nothing in storage is its to see.
    "lineage": S3Grant(),
    # It shows what is there, and makes nothing: a restored version has the tree that it had.
    "console": S3Grant(read=(Area.ASSETS, Area.TREES, Area.MODELS, Area.REPORTS)),
    # The person at the command line owns the workspace: fsck reads and lists all, gc deletes.
    USER: S3Grant(write=EVERY_AREA, lists=EVERY_AREA),
}
"""What each identity may do; no service may list, and none but the trainer writes models."""


@dataclass(frozen=True)
class Secret:
    """One user's secrets, for the bus and for storage."""

    password: str
    access_key: str
    secret_key: str

    @classmethod
    def generate(cls) -> Secret:
        """Return fresh random ones."""
        return cls(
            password=secrets.token_urlsafe(PASSWORD_BYTES),
            access_key=secrets.token_hex(ACCESS_KEY_BYTES).upper(),
            secret_key=secrets.token_urlsafe(PASSWORD_BYTES),
        )


@dataclass(frozen=True)
class Credentials:
    """Everybody's secrets, by name."""

    secrets: Mapping[str, Secret] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Secret:
        return self.secrets[name]

    @classmethod
    def load_or_generate(cls, path: Path) -> Credentials:
        """Return what the file holds, with secrets made for whoever has none yet."""
        stored = json.loads(path.read_text()) if path.exists() else {}
        names = (ADMIN, USER, EXTERNAL, CUSTOMER, UPLOADS, API, *SERVICES)
        known = {name: Secret(**stored[name]) for name in names if name in stored}
        complete = {name: known.get(name) or Secret.generate() for name in names}
        if complete != known:
            write_private_json(path, {name: vars(secret) for name, secret in complete.items()})
        return cls(complete)


def uploads_bucket(bucket: str) -> str:
    """Return the name of the bucket for uploads beside the platform's own."""
    return f"{bucket}-uploads"


def nats_users(
    credentials: Credentials,
    workspace: str,
    pools: tuple[str, ...],
    agents: tuple[str, ...] = (),
) -> tuple[NatsUser, ...]:
    """Return the users of the bus; `admin`, who declares streams, may do everything."""
    users = [NatsUser(ADMIN, credentials[ADMIN].password)]
    for name in (*SERVICES, USER, EXTERNAL):
        allowed = permissions(name, pools, workspace, agents)
        users.append(NatsUser(name, credentials[name].password, allowed.publish, allowed.subscribe))
    return tuple(users)


def s3_identities(
    credentials: Credentials, bucket: str, workspace: str, customer_buckets: Iterable[str]
) -> tuple[S3Identity, ...]:
    """Return the identities of storage; `customer` is one only if it has buckets."""
    actions = {ADMIN: (("Admin",))} | {
        name: grant.actions(bucket, workspace) for name, grant in S3_GRANTS.items()
    }
    uploads = uploads_bucket(bucket)
    actions[UPLOADS] = tuple(f"{verb}:{uploads}" for verb in ("Read", "Write", "List"))
    owned = [f"{verb}:{name}" for name in customer_buckets for verb in ("Read", "Write", "List")]
    if owned:
        actions[CUSTOMER] = tuple(owned)
    return tuple(
        S3Identity(name, credentials[name].access_key, credentials[name].secret_key, allowed)
        for name, allowed in actions.items()
    )
