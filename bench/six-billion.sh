#!/usr/bin/env bash
# GPT-J's real shape on this machine's CPU: 6,050,882,784 made parameters in a 12 GB fp16 file, from download to a published
# adapter, with a kill on the way. Prints seconds and peak memory of each stage as a table. Takes about 14 GB of disk.
#
#   bench/six-billion.sh [--dir DIR] [--layers N] [--workers N] [--steps N]
set -euo pipefail
cd "$(dirname "$0")/.."
# installs and builds what is stale
node bin/roslin.js version >&2
exec node --enable-source-maps dist/bench/six-billion.js "$@"
