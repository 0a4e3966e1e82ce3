import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { attemptPrefix } from "../../activities/train/run/leftovers.js";
import { STAGES, type StageName } from "../../core/stages/results.js";
import type { ChaosMachine } from "./machine.js";
import type { Moment } from "./plan.js";
import { SharedWeights } from "./update.js";

/** Runs seen from outside: by their pending activities, their files, and their requests to S3. */
export class View {
  /** ids of the activities that are under way, as of the last look */
  activities: readonly string[] = [];
  ended = false;
  /** the memory of the newest attempt that was seen */
  weights: SharedWeights | null = null;
  private weightsName = "";
  private readonly machine: ChaosMachine;
  private readonly home: string;
  private readonly runs: readonly string[];
  /** by run: activities under way, null when it has ended */
  private readonly looks = new Map<string, readonly string[] | null>();

  constructor(machine: ChaosMachine, runs: readonly string[]) {
    this.machine = machine;
    this.home = machine.home;
    this.runs = runs;
    for (const id of runs) this.looks.set(id, []);
  }

  /** Looks at the runs until `stop`. While the server does not answer, the last look counts. */
  async watch(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      for (const id of this.runs) this.looks.set(id, await this.look(id).catch(() => this.looks.get(id)!));
      this.activities = [...this.looks.values()].flatMap((ids) => ids ?? []);
      this.ended = this.runs.every((id) => this.looks.get(id) === null);
      this.shared();
      await sleep(50);
    }
    this.weights?.close();
  }

  /** Runs that have not ended. */
  running(): string[] {
    return this.runs.filter((id) => this.looks.get(id) !== null);
  }

  private async look(id: string): Promise<readonly string[] | null> {
    const { raw, status } = await (await this.machine.client()).workflow.getHandle(id).describe();
    return status.name === "RUNNING" ? (raw.pendingActivities ?? []).map(({ activityId }) => activityId ?? "") : null;
  }

  /** Whether every run is beyond a stage. */
  isBeyond(stage: StageName): boolean {
    const stageOf = (id: string): number => STAGES.indexOf(/^(train|ping)-/.test(id) ? "train" : (id as StageName));
    const now = [...this.looks.values()].map((ids) => (ids === null ? Infinity : Math.max(...ids.map(stageOf), -1)));
    return this.ended || Math.min(...now) > STAGES.indexOf(stage);
  }

  /** Directories of a stage. */
  stage(name: StageName): string[] {
    const root = join(this.home, "stages", name);
    return list(root).map((key) => join(root, key));
  }

  /** Paths of a stage's files, in the folder `below` of its directories, with names that match `fits`. */
  files(name: StageName, below: string, fits: RegExp): string[] {
    return this.stage(name).flatMap((directory) =>
      list(join(directory, below))
        .filter((file) => fits.test(file))
        .map((file) => join(directory, below, file)),
    );
  }

  /** Entries of training's commit log. */
  commits(): number {
    return this.files("train", "commits", /^\d+\.json$/).length;
  }

  /** Paths of the weights that were downloaded. */
  models(): string[] {
    return this.stage("download").flatMap((directory) =>
      list(directory)
        .filter((name) => name.startsWith("model"))
        .map((name) => join(directory, name, "model.safetensors")),
    );
  }

  /** Paths of the files that are being downloaded. */
  parts(): string[] {
    const cache = join(this.home, "hub-cache", "hub");
    return list(cache).flatMap((repository) =>
      list(join(cache, repository, "blobs"))
        .filter((file) => file.endsWith(".part"))
        .map((file) => join(cache, repository, "blobs", file)),
    );
  }

  /** Names of the shared memory of attempts that are about to begin, which loses its name later. Opens the newest. */
  shared(): string[] {
    const prefixes = this.stage("train").map(attemptPrefix);
    const names = list("/dev/shm").filter((name) => prefixes.some((prefix) => name.startsWith(prefix)));
    for (const name of names.filter((known) => known !== this.weightsName)) {
      try {
        const weights = new SharedWeights(name);
        this.weights?.close();
        this.weights = weights;
        this.weightsName = name;
      } catch {
        // it has just lost its name
      }
    }
    return names;
  }

  /** Whether S3 was asked for this, as "METHOD path?query". */
  asked(what: RegExp): boolean {
    return this.machine.toS3.requests.some((line) => what.test(line));
  }

  has(moment: Moment): boolean {
    return SIGNS[moment](this);
  }
}

const running = (view: View, id: string): boolean => view.activities.includes(id);
const journalLines = (view: View): number =>
  Math.max(0, ...view.files("publish", "uploads", /./).map((file) => read(file).split("\n").length - 1));

/** How each moment is recognised. */
const SIGNS: Readonly<Record<Moment, (view: View) => boolean>> = {
  "download begins": (view) => running(view, "download"),
  "part of a file is there": (view) => view.parts().some((part) => sizeOf(`${part}.journal`) > 0),
  "preprocessing begins": (view) => running(view, "preprocess"),
  "a chunk is there": (view) => view.files("preprocess", "chunks", /^\d+\.json$/).length > 0,
  "training begins": (view) => view.activities.some((id) => /^(ping|train)-/.test(id)),
  "memory is shared": (view) => view.shared().length > 0,
  "a shard is being written": (view) => view.files("train", "shards", /\.tmp$/).length > 0,
  "shards wait for their commit": (view) => {
    const committed = view
      .files("train", "commits", /^\d+\.json$/)
      .map(read)
      .join("");
    return view.files("train", "shards", /\.safetensors$/).some((file) => !committed.includes(file.split("/").at(-1)!));
  },
  "4 commits": (view) => view.commits() >= 4,
  // strike.ts finds the exact instant of the next three
  "weights are being updated": (view) => view.weights !== null && view.commits() >= 2,
  "a commit is read": (view) => view.commits() >= 3,
  "a checkpoint is read": (view) => view.commits() >= 3,
  "8 commits": (view) => view.commits() >= 8,
  "the model is being written": (view) => running(view, "train-finish") || view.files("train", "model", /\.tmp$/).length > 0,
  "evaluation begins": (view) => running(view, "evaluate"),
  "an item is evaluated": (view) => view.files("evaluate", "", /^journal/).some((file) => sizeOf(file) > 0),
  "publishing begins": (view) => running(view, "publish"),
  // a journal has a header, then a line for each part; the job's files have two parts
  "a part is sent": (view) => journalLines(view) >= 2,
  "all parts are sent": (view) => journalLines(view) >= 3,
  "completion is asked for": (view) => view.asked(/^POST .*[?&]uploadId=/),
  "the manifest is sent": (view) => view.asked(/^PUT .*\/manifest\.json/),
  "latest.json is read": (view) => view.asked(/^GET .*\/latest\.json/),
};

function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}
