"""What an admin's command does: (Snapshot, command, Moment) -> done and changes.

Rules: a command that names something unknown, or is not allowed, raises Refused and changes nothing. Every command
that is carried out is an audit row with its actor. Revoking, disabling, locking and a new password close the
user's open challenges in the same transaction. One file for each noun of the command line.
"""

from collections.abc import Callable
from typing import Any

from validation import requests
from validation.administer import (
    assigning,
    clients,
    guarding,
    importing,
    pairing,
    policies,
    pruning,
    replies,
    testing,
    tokens,
    user_list,
    users,
)
from validation.administer.rows import Outcome
from validation.model import Moment, Snapshot
from validation.requests import (
    AddClient,
    AddUser,
    AssignList,
    AssignTokens,
    ChangeUserState,
    Command,
    EnrollToken,
    ExportTokens,
    GiveBypass,
    ImportTokens,
    ImportUsers,
    IssueRecovery,
    IssueTicket,
    NoteBackup,
    PruneAudit,
    RaiseGuards,
    RememberSigner,
    RemoveClient,
    RemoveUser,
    ResyncToken,
    RevokeToken,
    RevokeUserTokens,
    SetClient,
    SetReplies,
    SetRule,
    SetText,
    SetTokenUse,
    SetUser,
    ShowKey,
    TryPasscode,
    UnsetRule,
)

__all__ = ["run"]


def run(snapshot: Snapshot, command: Command, moment: Moment) -> Outcome:
    """Carry out `command`. Raises Refused, BadInput, or Damaged if a row it needs cannot be trusted."""
    if snapshot.damage is not None and not isinstance(command, _MAY_TOUCH_DAMAGE):
        raise snapshot.damage
    return _HANDLERS[type(command)](snapshot, command, moment)


# Damage must not keep a user from being locked, disabled or removed, a token from being revoked, or a client from being
# repaired or removed.
_MAY_TOUCH_DAMAGE = (ChangeUserState, RemoveUser, RevokeToken, RevokeUserTokens, RemoveClient, SetClient)

_HANDLERS: dict[type[Command], Callable[[Snapshot, Any, Moment], Outcome]] = {
    AddUser: users.add_user,
    SetUser: users.set_user,
    ChangeUserState: users.change_user_state,
    RemoveUser: users.remove_user,
    EnrollToken: tokens.enroll_token,
    ImportTokens: importing.import_tokens,
    AssignTokens: assigning.assign_tokens,
    AssignList: assigning.assign_list,
    TryPasscode: testing.try_passcode,
    ExportTokens: testing.export_tokens,
    ImportUsers: user_list.import_users,
    RevokeToken: tokens.revoke_token,
    RevokeUserTokens: tokens.revoke_user_tokens,
    AddClient: clients.add_client,
    SetClient: clients.set_client,
    RemoveClient: clients.remove_client,
    SetReplies: replies.set_replies,
    requests.SetPairing: users.set_pairing,
    GiveBypass: users.give_bypass,
    SetTokenUse: tokens.set_token_use,
    ShowKey: tokens.show_key,
    ResyncToken: tokens.resync_token,
    IssueRecovery: pairing.issue_recovery,
    IssueTicket: pairing.issue_ticket,
    SetRule: policies.set_rule,
    UnsetRule: policies.unset_rule,
    SetText: policies.set_text,
    RememberSigner: clients.remember_signer,
    NoteBackup: guarding.note_backup,
    PruneAudit: pruning.prune_audit,
    RaiseGuards: guarding.raise_guards,
}
