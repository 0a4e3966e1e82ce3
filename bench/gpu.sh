#!/usr/bin/env bash
# The whole path of the engine deepspeed on this machine, in about ten minutes, as a Markdown table: set-up, the demo's model,
# 20 steps by ONNX Runtime in fp32 and by DeepSpeed in fp32 and bf16, and once more with a rank killed on the way.
#
#   bench/gpu.sh [--cpu] [--model DIR --dataset FILE] [--steps N]
#
# Without a GPU, or with --cpu, DeepSpeed computes on the CPU. NOBODY HAS RUN THIS ON A GPU YET: on the CPU it was run.
set -euo pipefail
cd "$(dirname "$0")/.."

cpu=false model="" dataset="" steps=20
while [ $# -gt 0 ]; do
  case "$1" in
    --cpu) cpu=true ;;
    --model) model=$(realpath "$2") && shift ;;
    --dataset) dataset=$(realpath "$2") && shift ;;
    --steps) steps=$2 && shift ;;
    *) echo "usage: bench/gpu.sh [--cpu] [--model DIR --dataset FILE] [--steps N]" >&2 && exit 2 ;;
  esac
  shift
done
command -v nvidia-smi >/dev/null && nvidia-smi >/dev/null 2>&1 || cpu=true

work=$(mktemp -d "${TMPDIR:-/tmp}/roslin-gpu-XXXXXX")
sampler=""
trap '[ -z "$sampler" ] || kill "$sampler" 2>/dev/null || true; rm -rf "$work"' EXIT
say() { echo "bench/gpu.sh: $*" >&2; }
roslin() { node bin/roslin.js "$@"; }

roslin version >&2
before=$SECONDS
if $cpu; then
  workers=2 device=(--workers 2)
  roslin setup --deepspeed
else
  workers=$(nvidia-smi --list-gpus | grep -c '^GPU')
  [ "$workers" -le 8 ] || workers=8
  device=(--gpus --workers "$workers")
  roslin setup --deepspeed --cuda
fi
setup=$((SECONDS - before))
roslin doctor >&2 || true
if ! $cpu && ! roslin doctor --json | grep -q "torch sees [1-9][0-9]* of"; then
  say "torch sees no GPU: see above; with --cpu it computes on the CPU"
  exit 2
fi

if [ -z "$model" ] || [ -z "$dataset" ]; then
  say "making the demo's model and rows"
  node -e 'import(process.argv[1]).then(({ makeDemoAssets }) => makeDemoAssets(process.argv[2]))' "$PWD/dist/demo/assets.js" "$work/demo"
  model=$work/demo/models/roslin/demo-gptj
  dataset=$work/demo/datasets/roslin/demo-questions/questions.json
fi

# writes the settings of a run: NAME ENGINE PRECISION
settings() {
  node -e '
    const [file, model, dataset, engine, precision, steps] = process.argv.slice(1);
    const train = { engine, ...(precision === "fp32" ? {} : { precision }), microBatch: 4, maxSteps: Number(steps), epochs: 100,
      learningRate: 1e-4, checkpointEverySteps: 5 };
    const config = { model: { source: `file://${model}` }, dataset: { source: `file://${dataset}` },
      preprocess: { maxLength: 256, testRows: 0 }, train };
    require("node:fs").writeFileSync(file, JSON.stringify(config));
  ' "$work/$1.json" "$model" "$dataset" "$2" "$3" "$steps"
}

# writes the most of any GPU's memory that was in use since it was started, in MiB: FILE
sample() {
  local most=0 now
  while sleep 0.5; do
    now=$(nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits | sort -n | tail -n 1)
    [ "$now" -le "$most" ] || { most=$now && echo "$most" >"$1"; }
  done
}

# kills a rank's compute process when the first checkpoint is there: PID of the stage, DIRECTORY
kill_rank() {
  until grep -qs '"kind": *"checkpoint"' "$2"/train/*/commits/*.json; do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.1
  done
  local rank
  rank=$(pgrep -P "$1" | tail -n 1)
  say "killing a rank after its first checkpoint"
  kill -9 "$(pgrep -P "$rank" | head -n 1 || echo "$rank")"
}

# trains, and keeps what the stage says at its end: NAME DIRECTORY OPTIONS…
train() {
  local name=$1 directory=$2 status=0 pid
  shift 2
  say "training: $name"
  if ! $cpu; then
    sample "$work/$name.memory" &
    sampler=$!
  fi
  before=$SECONDS
  node bin/roslin.js stage train --config "$work/$name.json" --dir "$directory" --json "$@" >"$work/$name.out" 2>"$work/$name.log" &
  pid=$!
  [ "$name" != killed ] || kill_rank "$pid" "$directory"
  wait "$pid" || status=$?
  echo $((SECONDS - before)) >"$work/$name.seconds"
  [ -z "$sampler" ] || { kill "$sampler" && wait "$sampler" 2>/dev/null || true; }
  sampler=""
  if [ "$status" -ne 0 ]; then
    tail -n 5 "$work/$name.log" >&2
    say "$name failed"
    exit 1
  fi
  tail -n 1 "$work/$name.out" >"$work/$name.result"
}

for each in "onnx onnx fp32" "fp32 deepspeed fp32" "bf16 deepspeed bf16" "killed deepspeed bf16"; do
  # shellcheck disable=SC2086
  settings $each
done
say "reading the model, making tokens"
for directory in "$work/runs" "$work/again"; do
  for stage in download preprocess; do
    roslin stage $stage --config "$work/onnx.json" --dir "$directory" >/dev/null 2>"$work/log" || { cat "$work/log" >&2 && exit 1; }
  done
done
train onnx "$work/runs" --workers 2
train fp32 "$work/runs" "${device[@]}"
train bf16 "$work/runs" "${device[@]}"
train killed "$work/again" "${device[@]}"

if $cpu; then where="the CPU, $workers ranks over gloo"; else
  where="$workers x $(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1), NCCL"
fi
node - "$work" "$where" "$setup" "$steps" <<'JS'
const { existsSync, readFileSync } = require("node:fs");
const [, , work, where, setup, steps] = process.argv;
const read = (name, ending) => readFileSync(`${work}/${name}.${ending}`, "utf8").trim();
const runs = ["onnx", "fp32", "bf16", "killed"].map((name) => ({
  name,
  ...JSON.parse(read(name, "result")),
  wall: Number(read(name, "seconds")),
  memory: existsSync(`${work}/${name}.memory`) ? `${read(name, "memory")} MiB` : "",
}));
const [onnx, , bf16, killed] = runs;
const apart = ({ metrics }, { metrics: other }) =>
  Math.max(...metrics.losses.map((loss, step) => Math.abs(loss - other.losses[step]) / Math.abs(other.losses[step])));
const row = (title, value) => console.log(`| ${[title, ...runs.map(value)].join(" | ")} |`);
console.log(`DeepSpeed on ${where}; ${steps} steps; set-up ${setup} s.\n`);
row("", ({ name }) => ({ onnx: "ONNX Runtime fp32, CPU", fp32: "DeepSpeed fp32", bf16: "DeepSpeed bf16", killed: "bf16, a rank killed" })[name]);
row("---", () => "---");
row("loss, first step", ({ metrics }) => metrics.losses[0].toFixed(5));
row("loss, last step", ({ metrics }) => metrics.losses.at(-1).toFixed(5));
row("largest difference from ONNX Runtime", (run) => (run === onnx ? "" : apart(run, onnx).toExponential(1)));
row("tokens a second", ({ metrics }) => Math.round(metrics.tokensPerSecond).toLocaleString("en"));
row("seconds, start to end", ({ wall }) => wall);
row("most memory in use on a GPU", ({ memory }) => memory);
console.log(`\nThe killed run ${killed.stateDigest === bf16.stateDigest ? "ended with the same bits" : `ended with other bits; losses differ by ${apart(killed, bf16).toExponential(1)}`} as the undisturbed one, and took ${killed.wall - bf16.wall} s longer.`);
const broken = [];
const limit = (run, other, most) => apart(run, other) <= most || broken.push(`${run.name} is ${apart(run, other).toExponential(1)} apart, more than ${most}`);
limit(runs[1], onnx, 5e-6);
limit(bf16, onnx, 2e-3);
limit(killed, bf16, 1e-6);
for (const line of broken) console.log(`NOT AS PROMISED: ${line}`);
process.exitCode = broken.length > 0 ? 1 : 0;
JS
