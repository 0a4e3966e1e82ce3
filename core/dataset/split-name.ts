/** What a part of a path says of splits: `train` wins over the others if it names both. */
export interface NamedSplit {
  /** `train`, `validation` or `test` for every spelling of these; else the part without its numbers, such as `train_sft` */
  readonly name: string;
  readonly isTraining: boolean;
}

const TRAIN = ["train", "training"];
const OTHERS = ["test", "valid", "validation", "dev", "val", "eval"];
const STANDARD: Readonly<Record<string, string>> = {
  ...{ training: "train", valid: "validation", dev: "validation", val: "validation", eval: "test" },
};

/** The split that a part of a path speaks of, a folder's name or a file's without its ending; null: it speaks of none. */
export function splitIn(part: string): NamedSplit | null {
  const words = part.toLowerCase().split(/[^a-z]+/);
  const isTraining = words.some((word) => TRAIN.includes(word));
  if (!isTraining && !words.some((word) => OTHERS.includes(word))) return null;
  // such a shard's name is the split's, numbers and all
  const [, sharded] = SHARDED.exec(part) ?? [];
  return { name: standardName(sharded ?? withoutNumbers(part)), isTraining };
}

/** A split's name as `datasets` has it: `dev` and `val` mean `validation`. */
export function standardName(name: string): string {
  const lower = name.toLowerCase();
  return STANDARD[lower] ?? (TRAIN.includes(lower) || ["validation", "test"].includes(lower) ? lower : name);
}

/** `train-00000-of-00003-a09b` and the like: the name, and five digits twice. */
const SHARDED = /^(.+)-\d{5}-of-\d{5}/;
/** Names of shards that say nothing of a split. */
const SHARD_WORDS = /^(data|part|shard|chunk|file|batch|rows?)$/i;

/** The split of a shard whose name has no word for it, such as `sft-00000-of-00003`; null: the name is not such a shard's. */
export function shardedSplit(stem: string): string | null {
  const [, name] = SHARDED.exec(stem) ?? [];
  return name === undefined || SHARD_WORDS.test(name) ? null : name;
}

/** What tools put around a name to tell its files apart: numbers of shards, a digest, a compression. */
const AROUND: readonly RegExp[] = [
  // Spark: part-00000-<uuid>-c000.snappy
  /[-._ ]*(?:part[-._]\d+)?[-._]?[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}.*$/i,
  /[-._ ]*\d+[-._ ]*of[-._ ]*\d+(?:[-._ ].*)?$/i,
  /[-._][\da-f]{16,}$/i,
  /\.(?:snappy|zstd|zst|gz|gzip|lz4|brotli|bz2|xz)$/i,
  /[-._ ]+(?:(?:part|shard|chunk|file|batch|worker|rank)[-._ ]*)?\d+$/i,
  /^(?:(?:part|shard|chunk|file|batch|worker|rank)[-._ ]*)?\d+[-._ ]+/i,
  /(?<=^(?:train|training|test|valid|validation|dev|val|eval))\d+$/i,
  // the hub's conversion of a part of a large split, and a partition by split
  /^(?:partial-|split=)/i,
];

/** A path whose last part is without what tells one file of several apart, and without the marks of a partial conversion. */
export function withoutNumbers(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1);
  let rest = name;
  for (let before = ""; before !== rest;) {
    before = rest;
    for (const pattern of AROUND) rest = rest.replace(pattern, "") || rest;
  }
  return path.slice(0, path.length - name.length) + rest;
}
