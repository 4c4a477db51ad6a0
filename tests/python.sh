# Sourced by ./check and ./demo: sets PYTHON to an interpreter with everything that the tests import.
# Debian's own bindings come from apt, the rest from PyPI into a virtual environment outside the tree, kept until its
# list of packages changes.
CACHE=${KVMONTAP_CACHE:-/var/cache/kvmontap}
export KVMONTAP_CACHE="$CACHE" PYTHONDONTWRITEBYTECODE=1 DEBIAN_FRONTEND=noninteractive
mkdir -p "$CACHE"

missing=
for package in python3 python3-venv python3-configobj python3-libvirt python3-pyudev python3-systemd openssl ca-certificates; do
    [ -e "/var/lib/dpkg/info/$package.list" ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "check: these packages are missing and only root can install them:$missing" >&2
        exit 2
    fi
    echo "installing$missing"
    { apt-get -qq update && apt-get -qq -y --no-install-recommends install $missing; } >"$CACHE/apt.log" 2>&1 || {
        echo "check: apt-get could not install$missing:" >&2
        tail -n 5 "$CACHE/apt.log" >&2
        exit 2
    }
fi

VENV=$CACHE/venv
want=$(cat tests/requirements.txt packaging/vendor.txt 2>/dev/null | cksum)
if [ "$(cat "$VENV/made-from" 2>/dev/null)" != "$want" ]; then
    echo "making the test environment in $VENV"
    [ -x "$VENV/bin/python" ] || /usr/bin/python3 -m venv --system-site-packages "$VENV"
    "$VENV/bin/python" -m pip --quiet --disable-pip-version-check install -r tests/requirements.txt >"$CACHE/pip.log" 2>&1 || {
        echo "check: pip could not install tests/requirements.txt:" >&2
        tail -n 5 "$CACHE/pip.log" >&2
        exit 2
    }
    printf %s "$want" >"$VENV/made-from"
fi
PYTHON=$VENV/bin/python
