/* Two servers, one store, one PIN: snapshot, decide, commit, answer.
 *
 *   spin -a login.pml && cc -DSAFETY -o pan pan.c && ./pan
 *
 * Without a define it is what the product does. Each define plants one fault, and each must violate an assertion:
 *
 *   RACE            the snapshot is read outside the transaction, and the update asks for nothing
 *   REPLY_FIRST     the answer leaves before the commit
 *   LATE_AUDIT      the audit row is written in a transaction of its own, after the answer
 *   FAIL_OPEN       a commit that fails lets its decision out
 *   FORGET          no answer is recorded: only the server that gave it knows of it, until it restarts
 *   RECORD_OUTSIDE  the answer is recorded in a transaction of its own, before the one that it speaks of
 *   RECORD_KEPT     a revocation leaves recorded answers standing
 *   LAG             the store fails over to a replica that lacks the last commits
 *
 * (REACHED is no fault: it shows that an Accept is given at all, and one out of the record.)
 *
 * The owner's login (OURS) is sent up to three times to whichever server; somebody else sends the same PIN once (OTHER).
 * Servers crash and come back, commits fail, or are done and look as if they had failed; an admin revokes the token.
 * A copy of a reply that a server sends again from its memory is that reply: it could as well have been late.
 */

#ifndef COPIES
#define COPIES 3       /* of the owner's request */
#endif
#define OURS 0
#define OTHER 1
#define NONE 0
#define ACCEPTED 1
#define REFUSED 2

byte copies[2];          /* of each request, still to come */
byte crashes = 2;        /* that may still happen */
byte failures = 1;       /* of a commit, likewise */

/* The store. It survives a crash. */
bool locked;             /* SQLite's write lock, or the lock on the user's row */
bool used;               /* the moving factor is past the PIN */
bool revoked;
bool audited[2];         /* the audit row of this login's Accept */
bool recorded[2];        /* its answer, for retransmissions */

/* What is true of the world. */
bool answered[2];        /* an Accept of this login has left */
bool decided[2];         /* ... or is committed */
bool revoke_returned;

/* What must never be. */
bool accepted_twice;
bool accepted_unrecorded;
bool accepted_after_revocation;
bool first_decision_lost;

inline check()
{
    assert(!accepted_twice);
    assert(!accepted_unrecorded);
    assert(!accepted_after_revocation);
    assert(!first_decision_lost);
}

/* An Accept leaves. `late`: the revocation had returned before this server took up the request. */
inline accept(login, late)
{
    atomic {
        answered[login] = true;
        accepted_twice = accepted_twice || answered[1 - login];
        accepted_unrecorded = accepted_unrecorded || !audited[login];
        accepted_after_revocation = accepted_after_revocation || late;
        check()
    }
}

/* A Reject leaves. */
inline refuse(login)
{
    atomic {
        first_decision_lost = first_decision_lost || (decided[login] && !revoked);
        check()
    }
}

/* The server may die here: what it holds in its memory is gone, and its transaction is undone. */
#define MAY_CRASH if :: crashes > 0 -> crashes--; goto crashed :: skip fi

#ifdef RACE
#define TAKE_LOCK skip
#define NOT_USED_YET true
#else
#define TAKE_LOCK !locked -> locked = true; holds = true
#define NOT_USED_YET (!used && !revoked)
#endif
#define RELEASE locked = locked && !holds; holds = false

/* All changes of the login at once. */
inline apply(login)
{
    used = true;
    decided[login] = true;
#ifndef LATE_AUDIT
    audited[login] = true;
#endif
#ifndef FORGET
    recorded[login] = true;
#endif
}

active [2] proctype Server()
{
    byte memory[2];      /* the replies it has sent: its own duplicate cache */
    bit login;
    bool holds, late, right, again, out;

end_idle:
    atomic {
        if
        :: copies[OURS] > 0 -> login = OURS
        :: copies[OTHER] > 0 -> login = OTHER
        fi;
        copies[login]--;
        late = revoke_returned;
        right = false; again = false; out = false
    }
    if
    :: memory[login] != NONE -> goto end_idle       /* the same reply again */
    :: else
    fi;
    MAY_CRASH;

    /* begin and read */
    atomic { TAKE_LOCK }
    atomic { right = !used && !revoked; again = recorded[login] }
    MAY_CRASH;
    if
    :: again -> atomic { RELEASE }; out = true; goto answer
    :: else
    fi;
#ifdef RECORD_OUTSIDE
    if :: right -> recorded[login] = true :: else fi;
    MAY_CRASH;
#endif
#ifdef REPLY_FIRST
    if :: right -> accept(login, late) :: else fi;
    MAY_CRASH;
#endif

    /* commit: it is done; it fails; or it is done and the server does not hear of it */
    if
    :: atomic { right && NOT_USED_YET -> apply(login); RELEASE }; out = true
    :: atomic { right && failures > 0 -> failures--; RELEASE };
#ifdef FAIL_OPEN
       out = true
#else
       goto end_idle                                /* silence */
#endif
    :: atomic { right && NOT_USED_YET && failures > 0 -> failures--; apply(login); RELEASE };
       goto end_idle
    :: atomic { !right -> RELEASE }             /* the refusal is committed */
    fi;

answer:
    MAY_CRASH;
#ifdef REACHED
    assert(!(out && !again));
    assert(!(out && again));
#endif
    if
    :: out -> memory[login] = ACCEPTED; accept(login, late)
    :: else -> memory[login] = REFUSED; refuse(login)
    fi;
#ifdef LATE_AUDIT
    MAY_CRASH;
    if :: out -> audited[login] = true :: else fi;
#endif
    goto end_idle;

crashed:
    atomic {
        RELEASE;
        memory[OURS] = NONE;
        memory[OTHER] = NONE
    }
    goto end_idle
}

active proctype Admin()
{
    atomic {
        !locked ->
        revoked = true;
#ifndef RECORD_KEPT
        recorded[OURS] = false;
        recorded[OTHER] = false
#endif
    }
    revoke_returned = true
}

#ifdef LAG
active proctype Replica()
{
    bool its_used, its_revoked, its_audited[2], its_recorded[2];

    do
    :: atomic {
           !locked ->
           its_used = used; its_revoked = revoked;
           its_audited[OURS] = audited[OURS]; its_audited[OTHER] = audited[OTHER];
           its_recorded[OURS] = recorded[OURS]; its_recorded[OTHER] = recorded[OTHER]
       }
    :: atomic {
           !locked ->
           used = its_used; revoked = its_revoked;
           audited[OURS] = its_audited[OURS]; audited[OTHER] = its_audited[OTHER];
           recorded[OURS] = its_recorded[OURS]; recorded[OTHER] = its_recorded[OTHER];
           accepted_unrecorded = (answered[OURS] && !audited[OURS]) || (answered[OTHER] && !audited[OTHER]);
           check();
           break
       }
    od
}
#endif

init { atomic { copies[OURS] = COPIES; copies[OTHER] = 1 } }
