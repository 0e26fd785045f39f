#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes .venv from the lock files, so that every make target works on a fresh machine.
#   tools/setup.sh            what the hub needs
#   tools/setup.sh dev        also what tests and checks need
#   tools/setup.sh programs   system programs that tests start
#   tools/setup.sh bench      system programs that measurements start
#   tools/setup.sh clients [NAME]   an environment in .venv-clients for each client that tests run, or for one
set -eu
cd "$(dirname "$0")/.."

refuse() {
    echo "madang: $1" >&2
    exit 1
}

# need PROGRAM PACKAGE WHAT-FOR: installs a Debian package where we may, and says what to do where we may not.
need() {
    PATH="$PATH:/usr/sbin:/usr/local/sbin"
    command -v "$1" >/dev/null 2>&1 && return 0
    install_package "$2" "$3 needs the program $1"
}

install_package() {
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "madang: installing the system package $1" >&2
        { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$1"; } \
            >/dev/null 2>&1 || refuse "$2; apt-get could not install $1"
    else
        refuse "$2, which is missing; get it with: sudo apt-get install $1"
    fi
}

# need_postgresql: the server's programs and PostGIS. Tests make clusters of their own in temporary folders: the one that
# the package would make and start is kept from being made, and whatever is there already is left as it is.
need_postgresql() {
    [ -n "$(postgis_of_an_installed_server)" ] && return 0
    version=$(ls /usr/lib/postgresql 2>/dev/null | sort -n | tail -n 1)
    if [ -z "$version" ] && command -v initdb >/dev/null 2>&1; then
        return 0 # not from Debian's packages; what it lacks it will say itself
    fi
    if [ -z "$version" ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        clusters=/etc/postgresql-common/createcluster.conf
        [ -e "$clusters" ] || install_package postgresql-common "testing on PostgreSQL needs a server"
        sed -i 's/^#create_main_cluster = true/create_main_cluster = false/' "$clusters"
    fi
    version=${version:-$(packaged_postgresql)}
    install_package "postgresql-$version" "testing on PostgreSQL needs its server"
    install_package "postgresql-$version-postgis-3" "testing on PostgreSQL needs PostGIS"
}

postgis_of_an_installed_server() {
    for control in /usr/share/postgresql/*/extension/postgis.control; do
        version=${control#/usr/share/postgresql/}
        [ -x "/usr/lib/postgresql/${version%%/*}/bin/initdb" ] && echo "$control"
    done
    return 0
}

# 15 is the oldest that the hub runs on, so it is what tests take where there is a choice.
packaged_postgresql() {
    for version in 15 16 17; do
        if apt-cache show "postgresql-$version" >/dev/null 2>&1; then
            echo "$version"
            return 0
        fi
    done
    echo 15
}

find_python() {
    for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

make_environment() {
    [ -x .venv/bin/python ] && .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return 0
    python=$(find_python) || {
        install_package python3 "Madang needs Python 3.11 or newer"
        python=$(find_python) || refuse "Madang needs Python 3.11 or newer; name one with: PYTHON=/path/to/python make setup"
    }
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_package python3-venv "making .venv needs the Python module venv"
    rm -rf .venv
    "$python" -m venv .venv || refuse "$python could not make .venv"
}

# install LOCK: does nothing when the environment was already made from this very lock.
install() {
    stamp=".venv/.$1.sum"
    sum=$(cat "$1" pyproject.toml | sha256sum)
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$sum" ] && [ -x .venv/bin/madang ] && return 0
    echo "madang: installing from $1" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$1" \
        || refuse "the packages of $1 could not be installed (is the package registry within reach?)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . \
        || refuse "the project itself could not be installed"
    echo "$sum" >"$stamp"
}

# client NAME: does nothing when the environment was already made from this very lock.
client() {
    lock="tests/system/clients/$1.lock"
    home=".venv-clients/$1"
    sum=$(sha256sum "$lock")
    [ -f "$home/.sum" ] && [ "$(cat "$home/.sum")" = "$sum" ] && return 0
    echo "madang: installing from $lock" >&2
    rm -rf "$home"
    .venv/bin/python -m venv "$home" || refuse "$home could not be made"
    # Some of these packages are sources only, of a time before setuptools 81.
    PIP_CONSTRAINT=tests/system/clients/build-constraints.txt "$home/bin/python" -m pip install --quiet --no-deps \
        --disable-pip-version-check --require-hashes -r "$lock" \
        || refuse "the packages of $lock could not be installed (is the package registry within reach?)"
    echo "$sum" >"$home/.sum"
}

case "${1:-}" in
"")
    make_environment
    [ -f .venv/.requirements-dev.lock.sum ] && lock=requirements-dev.lock || lock=requirements.lock
    install "$lock"
    ;;
dev)
    make_environment
    install requirements-dev.lock
    ;;
programs)
    need_postgresql
    need mosquitto mosquitto "testing notifications over MQTT"
    ;;
bench)
    need wrk wrk "measuring"
    ;;
clients)
    make_environment
    for name in ${2:-ngsildclient filip pyngsild}; do
        client "$name"
    done
    ;;
*) refuse "tools/setup.sh does not know $1" ;;
esac
