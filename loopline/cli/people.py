"""`loopline user` and `loopline token`: who may use the platform."""

from __future__ import annotations

from typing import Annotated

import typer

from loopline.cli.options import AsJson, DataDir, connect, console, emit_json, emit_table

users = typer.Typer(no_args_is_help=True, help="People who may sign in at the console.")
tokens = typer.Typer(no_args_is_help=True, help="Tokens for programs.")

Name = Annotated[str, typer.Argument(help="The person's name.")]
Role = Annotated[str, typer.Option(help="viewer, labeler, reviewer, operator or admin.")]


@users.command("add")
def add_user(
    name: Name,
    role: Role = "viewer",
    email: Annotated[str, typer.Option(help="For the identity provider, if there is one.")] = "",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Add a person, and print a link that signs the person in, once."""
    with connect(data) as loopline:
        user = loopline.user.add(name, role, email=email)
        link = loopline.user.link(name)
    if as_json:
        emit_json({**user, "link": link})
        return
    console.print(f"added [bold]{name}[/bold] as {role}; for a first sign-in, within an hour:")
    typer.echo(link)


@users.command("list")
def list_users(data: DataDir = None, as_json: AsJson = False) -> None:
    """List everybody."""
    with connect(data) as loopline:
        found = loopline.user.list()
    if as_json:
        emit_json(found)
        return
    rows = (
        (u["name"], u["role"], u["email"], _state(u), u["signed_in_at"] or "never") for u in found
    )
    emit_table("users", ("name", "role", "e-mail", "state", "signed in"), rows)


@users.command("change")
def change_user(
    name: Name,
    role: Annotated[str, typer.Option(help="The new role.")] = "",
    disable: Annotated[bool | None, typer.Option("--disable/--enable", help="May sign in.")] = None,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Change a person's role, or let nobody sign in as that person."""
    with connect(data) as loopline:
        user = loopline.user.change(name, role=role, disabled=disable)
    if as_json:
        emit_json(user)
    else:
        console.print(f"{user['name']}: {user['role']}, {_state(user)}")


@users.command("remove")
def remove_user(name: Name, data: DataDir = None) -> None:
    """Remove a person, with sessions and tokens; what the person did stays in the log."""
    with connect(data) as loopline:
        loopline.user.remove(name)
    console.print(f"removed {name}")


@users.command("link")
def link_user(
    name: Annotated[str, typer.Argument(help="The person's name.")] = "admin",
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Print a link that signs a person in at the console, once, within an hour."""
    from loopline.cli.platform import DEFAULT_DATA_DIR, sign_in_link

    link = sign_in_link(data or DEFAULT_DATA_DIR, name) if name == "admin" else ""
    if not link:
        with connect(data) as loopline:
            link = loopline.user.link(name)
    if as_json:
        emit_json({"link": link})
    else:
        typer.echo(link)


@tokens.command("create")
def create_token(
    label: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[
        list[str],
        typer.Option(help="read, label, review, operate, admin, predict:MODEL; repeatable."),
    ],
    user: Annotated[str, typer.Option(help="Whose it is [default: this machine's].")] = "",
    days: Annotated[float, typer.Option(help="How long it is good.")] = 90,
    data: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it: it is shown once and kept nowhere."""
    with connect(data) as loopline:
        token = loopline.token.create(label, scope, user=user, days=days)
    if as_json:
        emit_json(token)
    else:
        typer.echo(token["secret"])


@tokens.command("list")
def list_tokens(data: DataDir = None, as_json: AsJson = False) -> None:
    """List tokens; their secrets are not kept."""
    with connect(data) as loopline:
        found = loopline.token.list()
    if as_json:
        emit_json(found)
        return
    rows = (
        (t["id"], t["owner"], t["label"], " ".join(t["scopes"]), t["expires_at"], t["revoked_at"])
        for t in found
    )
    emit_table("tokens", ("id", "owner", "label", "scopes", "good until", "revoked"), rows)


@tokens.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(help="Its id, as listed.")], data: DataDir = None
) -> None:
    """Revoke a token: no service takes it any more, a second later."""
    with connect(data) as loopline:
        loopline.token.revoke(token)
    console.print(f"revoked {token}")


def _state(user: dict[str, object]) -> str:
    return "disabled" if user["is_disabled"] else "active"
