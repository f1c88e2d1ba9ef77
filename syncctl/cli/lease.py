"""syncctl lease: status, release."""

from typing import Annotated, Any

import typer

from syncctl.cli import output
from syncctl.cli.asking import confirm
from syncctl.cli.options import DATABASE, Format, Output, ShardOption, with_settings
from syncctl.cli.output import Column, View
from syncctl.core.documents import moment
from syncctl.core.shard import parse_shard
from syncctl.operations.connect import open_engine
from syncctl.operations.lease import Lease, lease_status, list_leases, revoke_lease
from syncctl.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Show or end the lease that lets one pass run at a time.",
)


def _state(lease: Lease) -> str:
    if lease.holder is None:
        return "free"
    return "expired" if lease.expired else "held"


def _data(lease: Lease) -> dict[str, Any]:
    return {
        "shard": str(lease.shard),
        "state": _state(lease),
        "holder": lease.holder,
        "token": lease.token,
        "acquired_at": moment(lease.acquired_at),
        "expires_at": moment(lease.expires_at),
    }


VIEW = View[Lease](
    columns=(
        Column("SHARD", lambda lease: lease.shard),
        Column("STATE", _state),
        Column("HOLDER", lambda lease: lease.holder),
        Column("TOKEN", lambda lease: lease.token),
        Column("SINCE", lambda lease: moment(lease.acquired_at) if lease.holder else None),
        Column("UNTIL", lambda lease: moment(lease.expires_at) if lease.holder else None),
    ),
    data=_data,
    name=_state,
)


@app.command()
@with_settings(*DATABASE)
def status(settings: Settings, output_format: Output = Format.TABLE) -> None:
    """Show who holds the lease, since when and until when. 0/1 is the whole fleet; shards have leases of their own.

    \b
    Example:
      syncctl lease status
    """
    output.show_list(VIEW, list_leases(open_engine(settings)), output_format)


@app.command()
@with_settings(*DATABASE)
def release(
    settings: Settings,
    shard: ShardOption = "0/1",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
) -> None:
    """Take the lease away from whoever holds it. A pass that is at work stops writing.

    A lease ends by itself within a minute of its holder's death, so this is for those who cannot wait.

    \b
    Example:
      syncctl lease release
    """
    engine, part = open_engine(settings), parse_shard(shard)
    lease = lease_status(engine, part)
    if not lease.held:
        output.say(f"Nobody holds the lease of shard {part}.")
        return
    output.say(f"{lease.holder} holds the lease ({_state(lease)}); if it is at work, it will stop half-way")
    confirm(yes)
    output.say(f"Taken from {revoke_lease(engine, part).holder}. The next pass may begin.")
