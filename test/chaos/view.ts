import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { attemptPrefix } from "../../activities/train/index.js";
import { STAGES, type StageName } from "../../core/stage.js";
import type { ChaosMachine } from "./machine.js";
import type { Moment } from "./plan.js";

/** A run as it is seen from outside: by its pending activities, and by the files that appear. */
export class View {
  /** ids of the activities that are under way, as of the last look */
  activities: readonly string[] = [];
  ended = false;
  private readonly machine: ChaosMachine;
  private readonly home: string;

  constructor(machine: ChaosMachine) {
    this.machine = machine;
    this.home = machine.home;
  }

  /** Looks at the run until it has ended; a server that is away is asked again. */
  async watch(workflowId: string): Promise<void> {
    const look = async () => (await this.machine.client()).workflow.getHandle(workflowId).describe();
    while (!this.ended) {
      const description = await look().catch(() => null);
      this.activities = description?.raw.pendingActivities?.map(({ activityId }) => activityId ?? "") ?? this.activities;
      if (description !== null && description.status.name !== "RUNNING") this.ended = true;
      await sleep(50);
    }
  }

  /** Whether the run is beyond a stage. */
  isBeyond(stage: StageName): boolean {
    const now = Math.max(...this.activities.map((id) => STAGES.indexOf(/^(train|ping)-/.test(id) ? "train" : (id as StageName))), -1);
    return this.ended || now > STAGES.indexOf(stage);
  }

  /** Directories of a stage's work. */
  stage(name: StageName): string[] {
    const root = join(this.home, "stages", name);
    return list(root).map((key) => join(root, key));
  }

  /** Paths of the files of a stage that fit. */
  files(name: StageName, below: string, fits: RegExp): string[] {
    return this.stage(name).flatMap((directory) =>
      list(join(directory, below))
        .filter((file) => fits.test(file))
        .map((file) => join(directory, below, file)),
    );
  }

  /** Weights that were downloaded. */
  models(): string[] {
    return this.stage("download").flatMap((directory) =>
      list(directory)
        .filter((name) => name.startsWith("model"))
        .map((name) => join(directory, name, "model.safetensors")),
    );
  }

  /** Files that are being downloaded. */
  parts(): string[] {
    const cache = join(this.home, "hub-cache", "hub");
    return list(cache).flatMap((repository) =>
      list(join(cache, repository, "blobs"))
        .filter((file) => file.endsWith(".part"))
        .map((file) => join(cache, repository, "blobs", file)),
    );
  }

  has(moment: Moment): boolean {
    return MOMENTS[moment](this);
  }
}

const running = (view: View, id: string): boolean => view.activities.includes(id);
const commits = (view: View): number => view.files("train", "commits", /^\d+\.json$/).length;
const journalLines = (view: View): number =>
  Math.max(0, ...view.files("publish", "uploads", /./).map((file) => read(file).split("\n").length - 1));

/** How each moment is seen. */
const MOMENTS: Readonly<Record<Moment, (view: View) => boolean>> = {
  "download begins": (view) => running(view, "download"),
  "part of a file is there": (view) => view.parts().some((part) => sizeOf(`${part}.journal`) > 0),
  "preprocessing begins": (view) => running(view, "preprocess"),
  "a chunk is there": (view) => view.files("preprocess", "chunks", /^\d+\.json$/).length > 0,
  "training begins": (view) => view.activities.some((id) => /^(ping|train)-/.test(id)),
  "memory is shared": (view) => {
    const prefixes = view.stage("train").map(attemptPrefix);
    return list("/dev/shm").some((name) => prefixes.some((prefix) => name.startsWith(prefix)));
  },
  "a shard is being written": (view) => view.files("train", "shards", /\.tmp$/).length > 0,
  "shards wait for their commit": (view) => {
    const committed = view
      .files("train", "commits", /^\d+\.json$/)
      .map(read)
      .join("");
    return view.files("train", "shards", /\.safetensors$/).some((file) => !committed.includes(file.split("/").at(-1)!));
  },
  "4 commits": (view) => commits(view) >= 4,
  "8 commits": (view) => commits(view) >= 8,
  "the model is being written": (view) => running(view, "train-finish") || view.files("train", "model", /\.tmp$/).length > 0,
  "evaluation begins": (view) => running(view, "evaluate"),
  "an item is evaluated": (view) => view.files("evaluate", "", /^journal/).some((file) => sizeOf(file) > 0),
  "publishing begins": (view) => running(view, "publish"),
  // the header, then a line for each part; the job's files have two
  "a part is sent": (view) => journalLines(view) >= 2,
  "all parts are sent": (view) => journalLines(view) >= 3,
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
