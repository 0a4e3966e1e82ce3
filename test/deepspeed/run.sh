#!/usr/bin/env bash
# npm run test:deepspeed: sets DeepSpeed up, which takes minutes the first time, and runs the tests that need it.
# With `-- all` it runs those in test/deepspeed/long, too, which take twenty minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
case "${1:-}" in
  "") depth=1 ;;
  all) depth=9 ;;
  *)
    echo "test:deepspeed: expected nothing or all, got $1" >&2
    exit 2
    ;;
esac
if [ -z "${ROSLIN_HOME:-}" ] && [ ! -e .roslin/engines ]; then
  # clones share what was set up once
  kept="${XDG_CACHE_HOME:-$HOME/.cache}/roslin/engines"
  mkdir -p "$kept" .roslin
  ln -sfn "$kept" .roslin/engines
fi
node bin/roslin.js setup
node bin/roslin.js setup --deepspeed
export ORT_DISABLE_TELEMETRY=1
# two files at a time: one computes while the other waits for a process that is frozen, or for a worker that is gone
exec node --test --test-concurrency=2 --enable-source-maps --test-reporter=spec --test-timeout=1800000 $(find dist/test/deepspeed -maxdepth $depth -name '*.test.js' | sort)
