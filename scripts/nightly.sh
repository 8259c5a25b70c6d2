# Sourced by the scripts that need a nightly toolchain. A check that cannot run here says why and exits
# with 77, so that a caller has to decide that it may be skipped; `NIGHTLY` names the toolchain.
NIGHTLY="${NIGHTLY:-nightly}"
HOST="$(rustc -vV | sed -n 's/^host: //p')"

skip() {
  echo "skipped: $*"
  exit 77
}

# Goes on with a nightly that has this component. None is installed from here: a toolchain belongs to the
# machine, and not to a check.
need_nightly_with() {
  rustc "+$NIGHTLY" --version 2>/dev/null || skip "there is no toolchain called $NIGHTLY"
  [ -z "${1:-}" ] || rustup component list --toolchain "$NIGHTLY" --installed | grep -q "^$1" ||
    skip "$NIGHTLY has no $1: rustup component add --toolchain $NIGHTLY $1"
}
