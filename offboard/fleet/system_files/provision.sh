# Run on a unit, as root, by offboard/fleet/provision.py: an overlay comes in on standard input.
# $1: root directory, $2: interpreter it needs. Nothing is changed before everything was checked.
set -eu
umask 077
root=${1%/}
staging=$root/opt/wombet/.overlay

fail() {
    echo "not provisioned: $1" >&2
    exit 1
}

[ -x "/usr/bin/$2" ] || fail "there is no /usr/bin/$2; is \`system\` in the fleet file right?"
! systemctl is-active --quiet wombet-control ||
    fail "the robot runs; when it is safe: systemctl stop wombet-control wombet-agent"

# Who installs a release holds this lock; where the runtime never was, nobody does.
if [ -d "$root/var/opt/wombet" ]; then
    exec 9>>"$root/var/opt/wombet/lock"
    flock -n 9 || fail "a release is being installed there; try again in some minutes"
fi

rm -rf "$staging"
mkdir -p "$staging"
trap 'rm -rf "$staging"' EXIT
chmod 755 "$root/opt/wombet"
tar -C "$staging" -xpf - || fail "the overlay did not arrive; is the disk full?"
(cd "$staging" && sha256sum --check --strict --quiet etc/wombet/overlay.sha256) ||
    fail "the overlay was damaged on its way"
# Compiled once, for everybody, as releases are that come later (onboard/releases/bytecode.py).
(umask 022 && "/usr/bin/$2" -I -m compileall -qq --invalidation-mode unchecked-hash \
    -s "$staging" -p / "$staging"/opt/wombet/releases/*/lib) || true
"$staging"/opt/wombet/current/bin/wombet-onboard --help >/dev/null ||
    fail "wombet-onboard does not start here"

(cd "$staging" && tar -cf - etc opt) |
    tar -C "$root/" -xpf - --no-overwrite-dir --keep-directory-symlink
# What is in force is what was just laid down; older releases go when the next one is installed.
rm -f "$root/opt/wombet/previous" "$root/var/opt/wombet/journal.json"
systemd-sysusers wombet.conf
cmp -s "$root/etc/wombet/identity/keys/robot.secret" "$root/var/lib/wombet/keys/robot.secret" ||
    rm -rf "$root/var/lib/wombet/keys"
systemd-tmpfiles --create wombet.conf
sync
udevadm control --reload && udevadm trigger --subsystem-match=tty --subsystem-match=usb-serial || true
systemctl daemon-reload
exec 9>&-
systemctl enable --now wombet-release-boot wombet-release-install.path wombet-control wombet-agent
echo "provisioned"
