#!/usr/bin/env bash
# The whole path of the engine deepspeed on this machine, in about ten minutes, as a Markdown table: set-up, the demo's model,
# 20 steps by ONNX Runtime in fp32 and by DeepSpeed in fp32 and bf16, and once more with a rank killed on the way.
#
#   bench/gpu.sh [--cpu] [--model DIR --dataset FILE] [--steps N]
#
# Without a GPU, or with --cpu, DeepSpeed computes on the CPU. NOBODY HAS RUN THIS ON A GPU YET: on the CPU it was run.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  echo "usage: bench/gpu.sh [--cpu] [--model DIR --dataset FILE] [--steps N, at least 10]" >&2
  exit 2
}
say() { echo "bench/gpu.sh: $*" >&2; }
roslin() { node bin/roslin.js "$@"; }

cpu=false model="" dataset="" steps=20
while [ $# -gt 0 ]; do
  case "$1" in
    --cpu) cpu=true && shift && continue ;;
    --model | --dataset | --steps) [ $# -gt 1 ] || usage ;;
    *) usage ;;
  esac
  case "$1" in
    --model) model=$(realpath "$2") ;;
    --dataset) dataset=$(realpath "$2") ;;
    --steps) steps=$2 ;;
  esac
  shift 2
done
[ -z "$model" ] && [ -z "$dataset" ] || { [ -d "$model" ] && [ -f "$dataset" ]; } || usage
[[ "$steps" =~ ^[0-9]+$ ]] && [ "$steps" -ge 10 ] || usage
for program in node pgrep; do
  command -v "$program" >/dev/null || { say "this needs $program" && exit 2; }
done
if ! $cpu && ! gpus=$(nvidia-smi --list-gpus 2>&1); then
  say "no GPU is found, so DeepSpeed computes on the CPU: $gpus"
  cpu=true
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/roslin-gpu-XXXXXX")
sampler="" running=""
# a training that was interrupted saves into the directory that is removed here
finish() {
  local process
  for process in $running $sampler; do
    kill "$process" 2>/dev/null && wait "$process" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

roslin version >&2
before=$SECONDS
if $cpu; then
  device=(--workers 2)
  roslin setup --deepspeed >&2
else
  device=(--gpus)
  roslin setup --deepspeed --cuda >&2
fi
setup=$((SECONDS - before))
if ! $cpu; then
  # it ends with another code than 0 if anything on this machine is not as Roslin wants it
  findings=$(roslin doctor || true)
  echo "$findings" >&2
  if [[ ! "$findings" =~ "torch sees "[1-9] ]]; then
    say "torch sees no GPU: see above; with --cpu DeepSpeed computes on the CPU"
    exit 2
  fi
fi

if [ -z "$model" ]; then
  say "making the demo's model and rows"
  node -e 'import(process.argv[1]).then(({ makeDemoAssets }) => makeDemoAssets(process.argv[2]))' "$PWD/dist/demo/assets.js" "$work/demo"
  model=$work/demo/models/roslin/demo-gptj
  dataset=$work/demo/datasets/roslin/demo-questions/questions.json
fi

# writes the settings of a run: NAME ENGINE PRECISION
settings() {
  # shellcheck disable=SC2016
  node -e '
    const [file, model, dataset, engine, precision, steps] = process.argv.slice(1);
    const train = { engine, ...(precision === "fp32" ? {} : { precision }), microBatch: 4, maxSteps: Number(steps), epochs: 100,
      learningRate: 1e-4, checkpointEverySteps: 5 };
    const source = (path) => ({ source: require("node:url").pathToFileURL(path).href });
    const config = { model: source(model), dataset: source(dataset),
      preprocess: { maxLength: 256, testRows: 0 }, train };
    require("node:fs").writeFileSync(file, JSON.stringify(config));
  ' "$work/$1.json" "$model" "$dataset" "$2" "$3" "$steps"
}

# writes the most of any GPU's memory that was in use since it was started, in MiB: FILE
sample() {
  local most=0 now
  while sleep 0.5; do
    # a GPU that shares the memory of its machine says that it has none
    now=$(nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits 2>/dev/null | grep -x '[0-9]*' | sort -n | tail -n 1) || continue
    [ "$now" -le "$most" ] || { most=$now && echo "$most" >"$1"; }
  done
}

# kills a rank's compute process when the first checkpoint is there, and notes that it did: PID of the stage, DIRECTORY
kill_rank() {
  local rank compute
  until grep -qs '"kind": *"checkpoint"' "$2"/train/*/commits/*.json; do
    kill -0 "$1" 2>/dev/null || return 0
    sleep 0.1
  done
  # on a fast GPU the training may be over by now
  rank=$(pgrep -P "$1" | tail -n 1) || return 0
  compute=$(pgrep -P "$rank" | head -n 1) || return 0
  kill -9 "$compute" 2>/dev/null || return 0
  touch "$work/was-killed"
  say "killed a rank after its first checkpoint"
}

# trains, and keeps what the stage says at its end: NAME DIRECTORY OPTIONS…
train() {
  local name=$1 directory=$2 status=0
  shift 2
  say "training: $name"
  if ! $cpu; then
    sample "$work/$name.memory" &
    sampler=$!
  fi
  before=$SECONDS
  # in a process group of its own: Ctrl-C would reach it a second time, and a second time means at once
  set -m
  node bin/roslin.js stage train --config "$work/$name.json" --dir "$directory" --json "$@" \
    </dev/null >"$work/$name.out" 2>"$work/$name.log" &
  running=$!
  set +m
  [ "$name" != killed ] || kill_rank "$running" "$directory"
  wait "$running" || status=$?
  running=""
  echo $((SECONDS - before)) >"$work/$name.seconds"
  [ -z "$sampler" ] || { kill "$sampler" && wait "$sampler" 2>/dev/null || true; }
  sampler=""
  if [ "$status" -ne 0 ]; then
    tail -n 30 "$work/$name.log" >&2
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

if $cpu; then where="the CPU"; else where=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1); fi
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
console.log(`DeepSpeed on ${where}, ${bf16.metrics.fingerprint.ranks} ranks; ${steps} steps; set-up ${setup} s.\n`);
row("", ({ name }) => ({ onnx: "ONNX Runtime fp32, CPU", fp32: "DeepSpeed fp32", bf16: "DeepSpeed bf16", killed: "bf16, a rank killed" })[name]);
row("---", () => "---");
row("loss, first step", ({ metrics }) => metrics.losses[0].toFixed(5));
row("loss, last step", ({ metrics }) => metrics.losses.at(-1).toFixed(5));
row("largest difference from ONNX Runtime", (run) => (run === onnx ? "" : apart(run, onnx).toExponential(1)));
row("tokens a second", ({ metrics }) => Math.round(metrics.tokensPerSecond).toLocaleString("en"));
row("seconds, start to end", ({ wall }) => wall);
row("most memory in use on a GPU", ({ memory }) => memory);
if (!existsSync(`${work}/was-killed`)) console.log("\nThe last run was over before a rank could be killed: take more --steps.");
else console.log(`\nThe killed run ${killed.stateDigest === bf16.stateDigest ? "ended with the same bits" : `ended with other bits; losses differ by ${apart(killed, bf16).toExponential(1)}`} as the undisturbed one, and took ${killed.wall - bf16.wall} s longer.`);
const broken = [];
const limit = (run, other, most) => apart(run, other) <= most || broken.push(`${run.name} is ${apart(run, other).toExponential(1)} apart, more than ${most}`);
limit(runs[1], onnx, 5e-6);
limit(bf16, onnx, 2e-3);
limit(killed, bf16, 1e-6);
for (const line of broken) console.log(`NOT AS PROMISED: ${line}`);
process.exitCode = broken.length > 0 ? 1 : 0;
JS
