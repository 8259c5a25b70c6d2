# Sourced by the scripts that need a nightly toolchain. A check that cannot run here says why and exits with 77, so that
# the caller decides whether it may be skipped; `NIGHTLY` names the toolchain.
NIGHTLY="${NIGHTLY:-nightly}"
HOST="$(rustc -vV | sed -n 's/^host: //p')"

skip() {
  echo "skipped: $*"
  exit 77
}

# Continues only if there is a nightly with this component. Nothing is installed from here: toolchains are the machine's
# business, not a check's.
need_nightly_with() {
  rustc "+$NIGHTLY" --version 2>/dev/null || skip "there is no toolchain called $NIGHTLY"
  [ -z "${1:-}" ] || rustup component list --toolchain "$NIGHTLY" --installed | grep -q "^$1" ||
    skip "$NIGHTLY has no $1: rustup component add --toolchain $NIGHTLY $1"
}
