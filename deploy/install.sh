#!/bin/sh
# Makes a checkout from the bundle that contains this script; `make up` there starts the platform without any network.
# Usage: yeedu-prefect-VERSION/install.sh [FOLDER]      (by default yeedu-prefect, in the current folder)
set -eu
bundle=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
target=${1:-yeedu-prefect}

refuse() {
  echo "install.sh: $1" >&2
  exit 1
}
sums() { # compares every file in SHA256SUMS with its checksum
  if command -v sha256sum >/dev/null; then sha256sum --check --quiet --strict SHA256SUMS; else shasum --algorithm 256 --check --quiet --strict SHA256SUMS; fi
}

command -v git >/dev/null || refuse 'git is missing; install it from the medium of your system'
[ ! -e "$target" ] || refuse "$target is there already; name another folder: $0 FOLDER"
cd -- "$bundle"
for needed in bundle.json SHA256SUMS checkout.bundle; do
  [ -f "$needed" ] || refuse "$bundle is no whole bundle, it has no $needed; unpack it again"
done
# The files present must be exactly those listed, so that nothing else is ever installed.
listed=$(sed -n 's/^[0-9a-f]\{64\}  //p' SHA256SUMS | LC_ALL=C sort)
present=$(find . ! -type d ! -path ./SHA256SUMS | sed 's|^\./||' | LC_ALL=C sort)
[ "$listed" = "$present" ] || refuse "$bundle does not hold the files that its SHA256SUMS lists; unpack it again, into an empty folder"
wrong=$(sums 2>/dev/null) || refuse "$bundle is damaged: $(printf '%s' "$wrong" | head -n 1); unpack it again, or fetch it again"
cd -- "$OLDPWD"

git clone --quiet --origin origin "$bundle/checkout.bundle" "$target"
git -C "$target" remote remove origin # it is the file that was cloned
git -C "$target" symbolic-ref --quiet HEAD >/dev/null || git -C "$target" checkout --quiet -b main
# Hard links where the file system has them, since the bundle is large.
cp -Rl "$bundle" "$target/.bundle" 2>/dev/null || { rm -rf "$target/.bundle" && cp -R "$bundle" "$target/.bundle"; }
echo "$target is $(sed -n 's/^  "version": "\(.*\)",*$/\1/p' "$bundle/bundle.json"). Next: cd $target && make up"
