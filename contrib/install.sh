#!/bin/sh
# Puts Twofold into a system, and takes it out again. Called by `make install` and `make uninstall`, which see to it
# that the module is built.
#
# Rules: no PAM stack of a login is touched, so nobody's login changes by installing; the one file placed in /etc/pam.d
# is a service of our own, under which the helper checks passwords. Running it again is an upgrade in place: the
# programs are replaced, the store is migrated, configuration, key and store stay. With DESTDIR only files are placed:
# no user is made, no store, and nothing is started.

set -eu
umask 022

PREFIX=${PREFIX:-/opt/twofold}
DESTDIR=${DESTDIR:-}
PYTHON=${PYTHON:-/usr/bin/python3}
PAM_MODULE=${PAM_MODULE:-build/pam_twofold.so}
BINDIR=${BINDIR:-/usr/local/bin}
UNITDIR=${UNITDIR:-/etc/systemd/system}
PURGE=${PURGE:-}
WITH=${WITH:-} # extras of the package, such as postgresql

# Where they are is known to programs and documents, so they cannot be chosen.
CONFIG=/etc/twofold
STATE=/var/lib/twofold
ACCOUNT=twofold
SERVICE=twofold-first-factor
OURS=.twofold # in PREFIX: whatever is in there, we have put it there
UNITS='twofold-pam.socket twofold-pam.service twofold-radius.service'

source=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

say() { printf '%s\n' "$*"; }
fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

# --- looking around

check_place() {
    while [ "$PREFIX" != "${PREFIX%/}" ]; do PREFIX=${PREFIX%/}; done
    while [ "$DESTDIR" != "${DESTDIR%/}" ]; do DESTDIR=${DESTDIR%/}; done
    root=$DESTDIR$PREFIX
    case $PREFIX in
        '' | [!/]* | *//* | */./* | */../* | */. | */..) fail "PREFIX=$PREFIX must be a plain absolute path" ;;
        *[!A-Za-z0-9/._+-]*) fail "PREFIX may hold letters, digits and / . _ + - alone" ;;
    esac
    case $DESTDIR in
        '' | /*) ;;
        *) fail "DESTDIR=$DESTDIR must be an absolute path" ;;
    esac
    # It is emptied for a new version and removed at the end, so it must be ours alone.
    [ ! -L "$root" ] || fail "PREFIX=$PREFIX is a link; name the directory it leads to"
    if [ -d "$root" ] && [ -n "$(ls -A "$root")" ] && [ ! -e "$root/$OURS" ] && [ ! -e "$root/bin/twofold" ]; then
        fail "PREFIX=$PREFIX holds something else; name a directory of its own"
    fi
    if [ -z "$DESTDIR" ] && [ "$(id -u)" -ne 0 ]; then
        fail "this needs root: sudo make $1"
    fi
}

# One that is a person's, or root by another name, must not get the store, nor be removed with it.
account_is_ours() {
    least=$(awk '$1 == "UID_MIN" { print $2 }' /etc/login.defs 2>/dev/null)
    number=$(id -u "$ACCOUNT") && [ "$number" -gt 0 ] && [ "$number" -lt "${least:-1000}" ] &&
        [ "$(id -gn "$ACCOUNT")" = "$ACCOUNT" ]
}

check_account() {
    if id -u "$ACCOUNT" >/dev/null 2>&1 && ! account_is_ours; then
        fail "there is an account $ACCOUNT that is no system account with a group of its own; rename or remove it first"
    fi
}

# The directory libpam loads modules from is the one pam_unix.so is in, for the architecture of this system.
pam_directory() {
    if [ -n "${PAMDIR:-}" ]; then
        say "$PAMDIR"
        return
    fi
    triplet=$( (dpkg-architecture -qDEB_HOST_MULTIARCH || gcc -print-multiarch) 2>/dev/null) || triplet=''
    [ -n "$triplet" ] || triplet=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_config_var("MULTIARCH") or "")')
    for directory in ${triplet:+"/usr/lib/$triplet/security"} /usr/lib64/security /usr/lib/security; do
        if [ -e "$directory/pam_unix.so" ]; then
            say "$directory"
            return
        fi
    done
    fail "pam_unix.so was not found; name the directory of PAM modules with PAMDIR=..."
}

running_systemd() { [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; }

stacks_that_name_us() {
    grep -ls '^[^#]*pam_twofold' "$DESTDIR"/etc/pam.d/* "$DESTDIR"/etc/pam.conf "$DESTDIR"/usr/lib/pam.d/* \
        "$DESTDIR"/usr/etc/pam.d/* 2>/dev/null || true
}

# --- installing

install_program() {
    "$PYTHON" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "$PYTHON must be Python 3.11 or newer, with venv: apt install python3-venv"
    version=$("$PYTHON" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    mkdir -p "$root"
    : >"$root/$OURS"
    # Anew for another Python, and where an earlier run was cut short.
    if [ ! -d "$root/lib/$version/site-packages" ] || ! "$root/bin/python" -I -m pip --version >/dev/null 2>&1; then
        find "$root" -mindepth 1 -maxdepth 1 ! -name "$OURS" -exec rm -rf {} +
        "$PYTHON" -m venv "$root"
    fi
    "$root/bin/python" -I -m pip install --quiet --disable-pip-version-check --no-input \
        --only-binary :all: -c "$source/constraints.txt" "$source${WITH:+[$WITH]}"
    # Scripts of other packages name the place they were made in.
    if [ -n "$DESTDIR" ]; then
        "$root/bin/python" -I -c '
import pathlib, sys
here, there = (text.encode() for text in sys.argv[1:])
for script in [*pathlib.Path(sys.argv[1], "bin").iterdir(), pathlib.Path(sys.argv[1], "pyvenv.cfg")]:
    if not script.is_symlink():
        script.write_bytes(script.read_bytes().replace(here, there))
' "$root" "$PREFIX"
    fi
    rm -rf "$root/share/doc/twofold" "$root/share/twofold"
    mkdir -p "$root/share/doc" "$root/share/twofold"
    cp -R "$source/docs" "$root/share/doc/twofold"
    cp -R "$source/contrib/pam" "$root/share/twofold/pam"
    cp -R "$source/contrib/udev" "$root/share/twofold/udev"
    chmod -R u=rwX,go=rX "$root/share"
}

# Root's commands on the store run with the rights of its user, so that no file in there becomes root's. What speaks to
# the helper, or looks at the whole host, runs as whoever calls it.
install_command() {
    mkdir -p "$DESTDIR$BINDIR"
    cat >"$DESTDIR$BINDIR/twofold.new" <<END
#!/bin/sh
# Made by make install of Twofold.
noun=''
skip=''
for word in "\$@"; do
    case \$skip\$word in
        --config) skip=- ;;
        -*) skip='' ;;
        *) noun=\$word && break ;;
    esac
done
set -- $PREFIX/bin/python -I $PREFIX/bin/twofold "\$@"
case \$noun in
    pam | doctor | profile) ;;
    *)
        if [ "\$(id -u)" -eq 0 ] && [ "\$(id -u $ACCOUNT 2>/dev/null || echo 0)" -ne 0 ]; then
            set -- setpriv --reuid $ACCOUNT --regid $ACCOUNT --init-groups -- "\$@"
        fi
        ;;
esac
exec "\$@"
END
    chmod 755 "$DESTDIR$BINDIR/twofold.new"
    mv -f "$DESTDIR$BINDIR/twofold.new" "$DESTDIR$BINDIR/twofold"
}

# Never written over in place: a login that has the old one loaded would read half of each.
install_module() {
    mkdir -p "$DESTDIR$pam_dir"
    cp "$PAM_MODULE" "$DESTDIR$pam_dir/.pam_twofold.so.new"
    chmod 644 "$DESTDIR$pam_dir/.pam_twofold.so.new"
    mv -f "$DESTDIR$pam_dir/.pam_twofold.so.new" "$DESTDIR$pam_dir/pam_twofold.so"
}

# An administrator may have changed it, for SSSD for example.
install_service() {
    mkdir -p "$DESTDIR/etc/pam.d"
    [ -e "$DESTDIR/etc/pam.d/$SERVICE" ] || cp "$source/contrib/pam/$SERVICE" "$DESTDIR/etc/pam.d/$SERVICE"
    chmod 644 "$DESTDIR/etc/pam.d/$SERVICE"
}

install_units() {
    mkdir -p "$DESTDIR$UNITDIR"
    for unit in $UNITS; do
        sed "s|/opt/twofold/|$PREFIX/|g" "$source/contrib/systemd/$unit" >"$DESTDIR$UNITDIR/$unit"
        chmod 644 "$DESTDIR$UNITDIR/$unit"
    done
}

make_directories() {
    mkdir -p "$DESTDIR$CONFIG" "$DESTDIR$STATE"
    chmod 750 "$DESTDIR$CONFIG"
    chmod 700 "$DESTDIR$STATE"
}

make_account() {
    getent group "$ACCOUNT" >/dev/null || groupadd --system "$ACCOUNT"
    id -u "$ACCOUNT" >/dev/null 2>&1 ||
        useradd --system --gid "$ACCOUNT" --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin "$ACCOUNT"
}

# The configuration is root's, since root's helper believes it. A store that was made by hand beside it stays there;
# its user may then make files in there (SQLite does), but put none in the place of root's.
make_store() {
    chown root:"$ACCOUNT" "$CONFIG/"
    chown -Rh "$ACCOUNT:$ACCOUNT" "$STATE/"
    if [ ! -e "$CONFIG/twofold.toml" ]; then
        "$PREFIX/bin/python" -I -c '
import socket, sys
from store.config import template
state = sys.argv[1]
text = template(socket.gethostname())
print(text.replace("\"twofold.db\"", f"\"{state}/twofold.db\"").replace("\"master.key\"", f"\"{state}/master.key\""), end="")
' "$STATE" >"$CONFIG/.twofold.toml.new"
        chmod 640 "$CONFIG/.twofold.toml.new"
        chown root:"$ACCOUNT" "$CONFIG/.twofold.toml.new"
        mv "$CONFIG/.twofold.toml.new" "$CONFIG/twofold.toml"
    else
        if [ -e "$CONFIG/twofold.db" ]; then
            chmod 1770 "$CONFIG"
            for file in "$CONFIG"/twofold.db* "$CONFIG/master.key"; do
                [ ! -e "$file" ] || chown -h "$ACCOUNT:$ACCOUNT" "$file"
            done
        fi
        chown -h root:"$ACCOUNT" "$CONFIG/twofold.toml"
    fi
    "$DESTDIR$BINDIR/twofold" --config "$CONFIG/twofold.toml" init
}

# What runs is stopped while programs and schema change, and started again, whatever happens in between.
stop_running() {
    running=''
    running_systemd || return 0
    for unit in $UNITS; do
        if systemctl --quiet is-active "$unit"; then
            running="$running $unit"
        fi
    done
    if [ -n "$running" ]; then
        trap start_again EXIT
        # shellcheck disable=SC2086  # one word per unit
        systemctl stop $running
    fi
}

start_again() {
    systemctl daemon-reload || true
    # shellcheck disable=SC2086  # one word per unit
    systemctl start $running
}

what_next() {
    say "Twofold is in $PREFIX. No login has changed yet: no PAM stack names it, nothing is enabled."
    say
    say "Next:"
    say "  systemctl enable --now twofold-pam.socket twofold-pam.service   logins on this host (PAM)"
    say "  systemctl enable --now twofold-radius.service                   logins over RADIUS"
    say "                                     (for passwords of this host's accounts, the two above as well)"
    say "  twofold user add NAME --first-factor system                     whoever logs in"
    say "  twofold doctor                                                  what is still missing"
    say "Then, step by step, with a second session kept open: $PREFIX/share/doc/twofold/pam/README.md"
}

install_all() {
    check_place install
    [ -f "$PAM_MODULE" ] || fail "the module $PAM_MODULE is not there; build it first: make module"
    pam_dir=$(pam_directory)
    [ -n "$DESTDIR" ] || check_account
    stop_running
    install_program
    install_command
    install_module
    install_service
    install_units
    make_directories
    if [ -z "$DESTDIR" ]; then
        make_account
        make_store
        if running_systemd; then
            systemctl daemon-reload
        fi
        what_next
    fi
}

# --- taking it out

uninstall_all() {
    check_place uninstall
    pam_dir=$(pam_directory)
    named=$(stacks_that_name_us)
    if [ -n "$named" ]; then
        # A stack that names a module that is not there refuses every login, root's too.
        say "$named" >&2
        fail "these files still name pam_twofold.so. Take the lines out first, try a login, then run this again"
    fi
    if running_systemd; then
        # shellcheck disable=SC2086  # one word per unit
        systemctl --quiet disable --now $UNITS 2>/dev/null || true
    fi
    for unit in $UNITS; do
        rm -f "$DESTDIR$UNITDIR/$unit"
        [ -z "$PURGE" ] || rm -rf "$DESTDIR$UNITDIR/$unit.d"
    done
    if running_systemd; then
        systemctl daemon-reload
    fi
    rm -f "$DESTDIR$pam_dir/pam_twofold.so" "$DESTDIR$BINDIR/twofold"
    remove_service
    rm -rf "$root"
    if [ -n "$PURGE" ]; then
        for place in "$DESTDIR$CONFIG" "$DESTDIR$STATE"; do
            # What else it leads to nobody knows.
            [ -L "$place" ] || rm -rf "$place"
        done
    else
        rmdir "$DESTDIR$CONFIG" "$DESTDIR$STATE" 2>/dev/null || true
    fi
    if [ -z "$DESTDIR" ]; then
        rm -rf /run/twofold
        remove_account
    fi
    if [ -d "$DESTDIR$CONFIG" ] || [ -d "$DESTDIR$STATE" ]; then
        what_is_kept
    fi
}

# One that an administrator has changed, for SSSD for example, is configuration; nobody is let in by it.
remove_service() {
    place=$DESTDIR/etc/pam.d/$SERVICE
    if [ -z "$PURGE" ] && [ -e "$place" ] && ! cmp -s "$source/contrib/pam/$SERVICE" "$place"; then
        say "Kept: /etc/pam.d/$SERVICE, which is not as it was installed. PURGE=1 removes it, too."
        return
    fi
    rm -f "$place"
}

what_is_kept() {
    if [ -z "$PURGE" ]; then
        say "Kept: configuration, key and store, in $CONFIG and $STATE. PURGE=1 removes them for good."
        return
    fi
    for place in "$DESTDIR$CONFIG" "$DESTDIR$STATE"; do
        [ ! -L "$place" ] || say "Kept: $place is a link. Look at $(readlink "$place") and remove both by hand."
    done
}

# Whoever gets the number next must not own key and store.
remove_account() {
    for kept in "$CONFIG" "$STATE"; do
        [ ! -d "$kept" ] || chown -Rh root:root "$kept/"
    done
    if id -u "$ACCOUNT" >/dev/null 2>&1 && ! account_is_ours; then
        say "Kept: the account $ACCOUNT, which is not ours."
        return
    fi
    if id -u "$ACCOUNT" >/dev/null 2>&1; then
        userdel "$ACCOUNT"
    fi
    if getent group "$ACCOUNT" >/dev/null; then
        groupdel "$ACCOUNT"
    fi
}

case ${1:-} in
    install) install_all ;;
    uninstall) uninstall_all ;;
    *) fail "usage: install.sh install | uninstall" ;;
esac
