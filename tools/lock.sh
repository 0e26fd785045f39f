#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Resolves the dependencies of pyproject.toml into the lock files, with hashes and for every platform.
set -eu
cd "$(dirname "$0")/.."
tool=$(mktemp -d)
trap 'rm -rf "$tool"' EXIT
python3 -m venv "$tool"
"$tool/bin/pip" install --quiet --disable-pip-version-check uv
resolve() {
    target=$1
    shift
    "$tool/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-header "$@" pyproject.toml -o "$target"
}
resolve requirements.lock --extra build --upgrade
resolve requirements-dev.lock --extra build --extra test --extra check --extra bench --upgrade -c requirements.lock
