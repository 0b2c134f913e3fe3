#!/bin/sh
# Puts the files of this folder into a FreeRADIUS 3.2 of Debian, takes them out again, and looks whether all is well.
#
#   install.sh pap | eap | pin    that site answers on port 1812 from now on
#   install.sh undo               as it was before
#   install.sh --check            names everything that is wrong; exit status 1 if anything is
#
# Rules: nothing is overwritten or removed that was not ours: it is moved to twofold-replaced/, and `undo` moves it back.
# twofold.conf is the administrator's from the first run on. FreeRADIUS is not restarted here: first `--check`.

set -eu
umask 027
export LC_ALL=C

RADDB=${RADDB:-/etc/freeradius/3.0}
PROGRAM=/usr/local/sbin/twofold-freeradius
GROUP=freerad
REPLACED=$RADDB/twofold-replaced
SETTINGS=$RADDB/twofold.conf
SITES='twofold-pap twofold-eap twofold-inner twofold-pin'
MODULES='twofold_eap twofold_exec twofold_filter'
OURS='mods-available/twofold_eap mods-available/twofold_exec mods-available/twofold_filter
    mods-config/attr_filter/twofold_inner policy.d/twofold twofold/home_server.conf twofold/realm.conf
    twofold/servers-1.conf twofold/servers-2.conf sites-available/twofold-pap sites-available/twofold-eap
    sites-available/twofold-inner sites-available/twofold-pin'
# These listen on the same port, or take EAP that can carry no PIN.
THEIRS='sites-enabled/default sites-enabled/inner-tunnel mods-enabled/eap'
# The line in proxy.conf by which all of it is read.
INCLUDE='$INCLUDE ${raddbdir}/twofold.conf # contrib/freeradius/install.sh of Twofold'

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

say() { printf '%s\n' "$*"; }
fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

freeradius_program() {
    for name in freeradius radiusd; do
        for path in /usr/sbin/$name "$(command -v "$name" || true)"; do
            [ -x "$path" ] && say "$path" && return
        done
    done
    return 1
}

# --- installing

keep() { # keep NAME: moves it aside; what was kept first stays
    mkdir -p "$REPLACED/$(dirname "$1")"
    if [ -e "$REPLACED/$1" ] || [ -L "$REPLACED/$1" ]; then
        rm -f "$RADDB/$1"
    else
        mv "$RADDB/$1" "$REPLACED/$1"
        say "kept: $REPLACED/$1"
    fi
}

place() { # place NAME: our file of this name
    mkdir -p "$RADDB/$(dirname "$1")"
    if [ -e "$RADDB/$1" ] && ! cmp -s "$here/raddb/$1" "$RADDB/$1"; then
        keep "$1"
    fi
    install -o root -g "$GROUP" -m 640 "$here/raddb/$1" "$RADDB/$1"
}

link() { ln -sfn "../$1-available/$2" "$RADDB/$1-enabled/$2"; }

unlink_all() {
    for name in $SITES; do rm -f "$RADDB/sites-enabled/$name"; done
    for name in $MODULES; do rm -f "$RADDB/mods-enabled/$name"; done
}

helper() {
    for path in "$here/twofold-freeradius" "$here/../../build/twofold-freeradius"; do
        [ -f "$path" ] && say "$path" && return
    done
    fail "twofold-freeradius is missing: run \`make gateways\`, and put build/twofold-freeradius beside this script"
}

install_site() { # install_site pap|eap|pin
    program=$(helper)
    freeradius_program >/dev/null || fail "FreeRADIUS is not installed: apt install freeradius"
    [ -d "$RADDB/sites-enabled" ] || fail "$RADDB is no configuration of FreeRADIUS 3; name its folder with RADDB=..."
    install -o root -g root -m 755 "$program" "$PROGRAM"
    for name in $OURS; do place "$name"; done
    chown "root:$GROUP" "$RADDB/twofold" && chmod 750 "$RADDB/twofold"
    [ -e "$SETTINGS" ] || install -o root -g "$GROUP" -m 640 "$here/raddb/twofold.conf" "$SETTINGS"
    for name in $THEIRS; do
        if [ -e "$RADDB/$name" ] || [ -L "$RADDB/$name" ]; then keep "$name"; fi
    done
    grep -qxF "$INCLUDE" "$RADDB/proxy.conf" || printf '%s\n' "$INCLUDE" >>"$RADDB/proxy.conf"
    unlink_all
    link sites "twofold-$1"
    if [ "$1" = eap ]; then
        link sites twofold-inner
        for name in $MODULES; do link mods "$name"; done
    fi
    say "The site twofold-$1 is in place. Edit $SETTINGS, then: $0 --check && systemctl restart freeradius"
}

undo() {
    unlink_all
    for name in $OURS; do rm -f "$RADDB/$name"; done
    rmdir "$RADDB/twofold" 2>/dev/null || true
    rm -f "$PROGRAM"
    [ ! -f "$RADDB/proxy.conf" ] || { # in place, so that owner and rights stay
        rest=$(grep -vxF "$INCLUDE" "$RADDB/proxy.conf"; say x)
        printf '%s' "${rest%x}" >"$RADDB/proxy.conf"
    }
    if [ -d "$REPLACED" ]; then
        (cd "$REPLACED" && find . \( -type f -o -type l \)) | while read -r name; do
            mv "$REPLACED/$name" "$RADDB/$name"
            say "put back: $RADDB/${name#./}"
        done
        find "$REPLACED" -depth -type d -exec rmdir {} +
    fi
    [ ! -e "$SETTINGS" ] || say "$SETTINGS holds secrets and is left; remove it when you need it no more"
}

# --- checking

faults=0
fault() {
    say "WRONG: $*"
    faults=$((faults + 1))
}
well() { say "ok: $*"; }

# As freerad, so that what FreeRADIUS cannot read is found.
as_server() { setpriv --reuid="$GROUP" --regid="$GROUP" --init-groups -- "$@"; }

setting() { sed -n "s/^twofold_$1 = \"\\([^\"]*\\)\".*/\\1/p" "$SETTINGS" | head -n 1; }

check_version() {
    program=$(freeradius_program) || { fault "FreeRADIUS is not installed: apt install freeradius"; return; }
    version=$("$program" -v | sed -n 's/.*FreeRADIUS Version \([0-9][0-9.]*\).*/\1/p' | head -n 1)
    case $version in
        3.2.*) well "FreeRADIUS $version" ;;
        *) fault "FreeRADIUS ${version:-of an unknown version}: these files are for 3.2; one before that does not look" \
            "at require_message_authenticator, so answers can be forged (CVE-2024-3596)" ;;
    esac
}

check_rights() { # check_rights FILE OWNER:GROUP MODE
    if [ ! -f "$1" ]; then
        fault "$1 is missing: run install.sh again"
    elif [ "$(stat -c '%U:%G %a' "$1")" != "$2 $3" ]; then
        fault "$1 is $(stat -c '%U:%G %a' "$1"): chown $2 $1; chmod $3 $1"
    fi
}

check_files() {
    before=$faults
    check_rights "$PROGRAM" root:root 755
    check_rights "$SETTINGS" "root:$GROUP" 640
    for name in $OURS; do check_rights "$RADDB/$name" "root:$GROUP" 640; done
    for name in $OURS; do
        [ ! -f "$here/raddb/$name" ] || cmp -s "$here/raddb/$name" "$RADDB/$name" || say "note: $RADDB/$name was changed"
    done
    [ "$faults" -ne "$before" ] || well "owners and rights of the files"
}

enabled_site() {
    found=''
    for name in twofold-pap twofold-eap twofold-pin; do
        [ ! -e "$RADDB/sites-enabled/$name" ] || found="$found $name"
    done
    say "${found# }"
}

check_enabled() {
    site=$(enabled_site)
    case $site in
        '') fault "no site of Twofold is in $RADDB/sites-enabled: install.sh pap, eap or pin" ;;
        *' '*) fault "more than one site of Twofold is in $RADDB/sites-enabled: $site; install.sh pap, eap or pin" ;;
        *) well "site $site" ;;
    esac
    for name in $THEIRS; do
        [ ! -e "$RADDB/$name" ] || case $name in
            mods-enabled/eap) check_no_md5 "$RADDB/$name" ;;
            *) fault "$RADDB/$name answers logins without Twofold: rm $RADDB/$name" ;;
        esac
    done
    grep -qxF "$INCLUDE" "$RADDB/proxy.conf" || fault "$RADDB/proxy.conf does not read $SETTINGS: run install.sh again"
}

check_no_md5() {
    if grep -Eq '^[[:space:]]*(md5|mschapv2|leap|pwd)[[:space:]]*\{|^[[:space:]]*default_eap_type[[:space:]]*=[[:space:]]*(md5|mschapv2|leap|pwd)' "$1"; then
        fault "$1 still allows EAP-MD5 or another EAP that carries no PIN: rm $1"
    else
        fault "$1 is FreeRADIUS's own EAP beside ours: rm $1"
    fi
}

check_settings() {
    [ -f "$SETTINGS" ] || return 0
    before=$faults
    [ "$(setting secret)" != put-the-secret-of-twofold-here ] ||
        fault "$SETTINGS: twofold_secret is still that of the example; put in what \`twofold client add\` has shown"
    ! grep -Eq '^[^#]*secret[[:space:]]*=[[:space:]]*"?(put-the-secret-of-the-gateway-here|testing123)' "$SETTINGS" ||
        fault "$SETTINGS: the secret of a gateway is still that of the example"
    ! grep -Eq '^[^#]*require_message_authenticator[[:space:]]*=[[:space:]]*(no|false)' "$SETTINGS" ||
        fault "$SETTINGS: require_message_authenticator = no: on the path of that gateway accepts can be forged"
    [ "$faults" -ne "$before" ] || well "the secrets are your own"
}

check_certificate() {
    [ "$(enabled_site)" = twofold-eap ] || return 0
    before=$faults
    certificate=$(setting certificate) key=$(setting private_key)
    case $certificate in
        *snakeoil*) fault "$SETTINGS: twofold_certificate is Debian's own, which no device can check" ;;
    esac
    for file in "$certificate" "$key"; do
        as_server test -r "$file" || fault "$file cannot be read by $GROUP"
    done
    [ ! -f "$key" ] || [ "$(stat -Lc '%a' "$key" | sed 's/.*\(.\)$/\1/')" = 0 ] || fault "$key may be read by others: chmod o= $key"
    [ ! -r "$certificate" ] || openssl x509 -in "$certificate" -noout -checkend 0 >/dev/null 2>&1 ||
        fault "$certificate has ended, or is no certificate"
    [ "$faults" -ne "$before" ] || well "the certificate"
}

check_servers() {
    if [ ! -x "$PROGRAM" ] || [ ! -f "$SETTINGS" ]; then return 0; fi
    if said=$(as_server "$PROGRAM" "$SETTINGS" status 2>&1); then
        well "every Twofold server answers Status-Server"
    else
        for line in "$(say "$said" | grep -v ' answers$')"; do fault "$line"; done
        say "  a server that does not answer is never asked again once it was silent. Is it running, is this host's"
        say "  address that of the client there, is the secret the same, is its status_server on?"
    fi
}

check_configuration() {
    program=$(freeradius_program) || return 0
    if said=$(as_server "$program" -d "$RADDB" -XC 2>&1); then
        well "$program -XC accepts the configuration"
    else
        fault "$program -XC does not accept the configuration: $(say "$said" | tail -n 2 | tr '\n' ' ')"
    fi
}

check() {
    check_version
    check_files
    check_enabled
    check_settings
    check_certificate
    check_servers
    check_configuration
    if [ "$faults" -ne 0 ]; then
        say "$faults wrong"
        exit 1
    fi
    say "all is well"
}

case "${1:-}" in
    pap | eap | pin | undo | --check) ;;
    *) fail "usage: install.sh pap | eap | pin | undo | --check" ;;
esac
[ "$(id -u)" -eq 0 ] || fail "this needs root"
case $1 in
    undo) undo ;;
    --check) check ;;
    *) install_site "$1" ;;
esac
