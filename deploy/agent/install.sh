#!/bin/sh
# Installs the agent of this folder on this device, with no network: docs/agent-install.md.
#
#   ./install.sh [--python PYTHON] [--prefix FOLDER]
#
# --prefix: the programs into FOLDER, and nothing else: no user, no unit, no rights of root. Without it they go into
# /opt/deepseek-agent. Run out of a later folder, it installs that version beside the one that runs, switches to it, and
# keeps the one before; `systemctl restart deepseek-agent` starts it. Only environments that it made itself are removed:
# they hold the file .deepseek-agent. A folder that holds other things, and none of them, is refused.
set -eu
umask 022
cd "$(dirname "$0")"

fail() {
  echo "install.sh: $*" >&2
  exit 2
}

has_environment() { # one that an earlier run made
  for mark in "$prefix"/*/"$marker"; do
    [ ! -f "$mark" ] || return 0
  done
  return 1
}

marker=.deepseek-agent
python=python3
prefix=
while [ $# -gt 0 ]; do
  case $1 in
    --python) python=${2:?} ;;
    --prefix) prefix=${2:?} ;;
    *) fail "$1 is no option: --python PYTHON, --prefix FOLDER" ;;
  esac
  shift 2
done

architecture=$(cat architecture)
[ "$(uname -m)" = "$architecture" ] || fail "this folder is for $architecture, and this machine is $(uname -m)"
[ -n "$prefix" ] || [ "$(id -u)" = 0 ] || fail "run it as root, or give --prefix FOLDER"
command -v "$python" >/dev/null || fail "there is no $python; name one with --python"
found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
grep -qx "$found" pythons || fail "this folder is for Python $(paste -sd' ' pythons), and $python is $found"
sha256sum --check --quiet --strict SHA256SUMS || fail "the folder did not come whole: copy it again"

is_system=$([ -n "$prefix" ] || echo yes)
prefix=${prefix:-/opt/deepseek-agent}
if [ -e "$prefix" ] && [ -n "$(ls -A "$prefix")" ] && ! has_environment; then
  fail "$prefix holds other files, and no deepseek-agent: name an empty or a new folder with --prefix, or move them away"
fi
mkdir -p "$prefix"
prefix=$(cd "$prefix" && pwd)
version=$(cat version)
name=$version
number=1
while [ -e "$prefix/$name" ]; do # an environment of its own each time: the one that runs stays as it is
  number=$((number + 1))
  name=$version-$number
done
new=$prefix/$name
mkdir "$new"
: >"$new/$marker" # first of all: what is left of an installation that fails is removed by the next one
"$python" -m venv --without-pip "$new" # pip comes out of its wheel: Debian's venv lacks it
pip() {
  "$new/bin/python" "$(echo "$PWD"/wheels/pip-*.whl)/pip" "$@"
}
packages=deepseek-agent
[ -z "$(ls wheels/deepseek_tvm_runtime-*.whl 2>/dev/null)" ] || packages="$packages deepseek-tvm-runtime"
# shellcheck disable=SC2086  # several packages
pip install --quiet --disable-pip-version-check --no-cache-dir --no-index --find-links wheels $packages
before=$(readlink "$prefix/current" || true)
ln -sfn "$name" "$prefix/next"
mv -fT "$prefix/next" "$prefix/current"
for folder in "$prefix"/*/; do # environments that neither run now nor ran before
  folder=${folder%/}
  case $(basename "$folder") in
    "$name" | "$before") continue ;;
  esac
  if [ -f "$folder/$marker" ] && [ ! -L "$folder" ]; then
    rm -rf "$folder"
  fi
done

if [ -n "$is_system" ]; then
  getent passwd deepseek-agent >/dev/null ||
    useradd --system --home-dir /var/lib/deepseek-agent --shell /usr/sbin/nologin deepseek-agent
  install -d -m 0755 /etc/deepseek-agent /etc/systemd/system
  install -m 0644 deepseek-agent.service /etc/systemd/system/deepseek-agent.service
  [ -e /etc/deepseek-agent/agent.conf ] || install -m 0644 agent.conf /etc/deepseek-agent/agent.conf
  [ ! -d /run/systemd/system ] || systemctl daemon-reload
fi
echo "Installed deepseek-agent $version in $new"
