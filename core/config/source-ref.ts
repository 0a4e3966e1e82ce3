import { UserError } from "../errors.js";

/** Where a model or a dataset comes from. The config keeps the text, because it travels through Temporal and decides stages' keys; this is the only place that takes it apart. */
export type SourceRef = (HubRef | S3Ref | FileRef) & {
  /** what the end of a dataset's source, `?config=NAME&split=NAME`, chooses; absent if it has no such end */
  readonly choice?: DatasetChoice;
};

/** Which rows of a dataset a run takes. */
export interface DatasetChoice {
  /** null: the default configuration, or the only one */
  readonly config: string | null;
  /** null: `train`, or the only one to train on */
  readonly split: string | null;
}

/** `hf://owner/name@revision`: a repository on the hub; of several GGUF files one is named by `/file.gguf` at the end. */
export interface HubRef {
  readonly kind: "hub";
  /** owner/name, or a bare name as a few old repositories have */
  readonly id: string;
  /** a branch, tag or commit; "main" if the source names none */
  readonly revision: string;
  /** a GGUF in the repository; absent if the source names none */
  readonly file?: string;
}

/** `s3://bucket/key`: an object, or what lies below a prefix. */
export interface S3Ref {
  readonly kind: "s3";
  readonly bucket: string;
  /** without slashes at its ends; "" for the whole bucket */
  readonly key: string;
  /** the key without a final `latest` or `latest.json`; null if it does not end so */
  readonly latest: string | null;
}

/** `file:///path`: a file or a directory on this machine. */
export interface FileRef {
  readonly kind: "file";
  /** absolute, decoded */
  readonly path: string;
  /** the path without a final `latest` or `latest.json`; null if it does not end so */
  readonly latest: string | null;
}

/** A repository on the hub, of models or of datasets, at a revision. */
export interface HubReference extends Pick<HubRef, "id" | "revision"> {
  readonly kind: "models" | "datasets";
}

/** A source that cannot be read: what is wrong with it, and what was expected. */
export interface SourceProblem {
  readonly problem: string;
  readonly expected: string;
}

const HUB = /^hf:\/\/((?:[\w][\w.-]*\/)?[\w][\w.-]*)(?:@([\w][\w./-]*))?$/;
/** A GGUF after an owner, a name and perhaps a revision. */
const HUB_FILE = /^(hf:\/\/[^/@]+\/[^/@]+(?:@.+)?)\/([^/]+\.gguf)$/i;
/** `latest` as the last part of a place, whole or with `.json`: the model that was published last there. */
const LATEST_END = /(?:(?<=[^/])\/|^)latest(?:\.json)?$/;

/** Takes a source apart, or says what is wrong with it. */
export function readSource(source: string): SourceRef | SourceProblem {
  const at = queryStart(source);
  if (at < 0) return readPlace(source);
  const place = readPlace(source.slice(0, at));
  if ("problem" in place || at === source.length - 1) return place;
  const choice = readChoice(source.slice(at + 1));
  return "problem" in choice ? choice : { ...place, choice };
}

/** Where the choice at a source's end begins; -1: it has none. In an object's key ? is a character as others, so only what looks like a choice is one. */
function queryStart(source: string): number {
  const at = source.startsWith("s3://") ? source.lastIndexOf("?") : source.indexOf("?");
  return source.startsWith("s3://") && !/^\?([^/]*=[^/]*)?$/.test(source.slice(at)) ? -1 : at;
}

const CHOICE = "?config=NAME&split=NAME, either or both";
const LITERAL = "in a file's path, ? and # are written %3F and %23; an S3 key that ends like a choice is followed by one more ?";

function readChoice(query: string): DatasetChoice | SourceProblem {
  const problem = (what: string): SourceProblem => ({
    problem: `the end of a source is not a choice: ${what}`,
    expected: `${CHOICE} (${LITERAL})`,
  });
  const choice: { config: string | null; split: string | null } = { config: null, split: null };
  if (query.includes("#")) return problem("# is written %23");
  for (const part of query.split("&")) {
    const [key, ...rest] = part.split("=");
    if (key !== "config" && key !== "split") return problem(`the key ${JSON.stringify(key)} is unknown`);
    if (choice[key] !== null) return problem(`it has ${key} twice`);
    try {
      choice[key] = decodeURIComponent(rest.join("="));
    } catch {
      return problem(`${key} has a % that does not begin a percent-encoded character`);
    }
    if (choice[key] === "") return problem(`${key} is empty`);
  }
  return choice;
}

const KEYS = ["config", "split"] as const;

/** Which of a dataset's two fields contradicts its source, which names another; null: neither does. */
export function contradiction(dataset: DatasetChoice & { readonly source: string }): keyof DatasetChoice | null {
  const read = readSource(dataset.source);
  if (!("choice" in read) || read.choice === undefined) return null;
  const { choice } = read;
  return KEYS.find((key) => choice[key] !== null && dataset[key] !== null && choice[key] !== dataset[key]) ?? null;
}

/** A dataset's source with what the config's own fields choose of it at its end, in one spelling. The two don't contradict: that is checked with the config. */
export function chosenSource(dataset: DatasetChoice & { readonly source: string }): string {
  const { choice } = parseSource(dataset.source);
  const entries = KEYS.flatMap((key) => {
    const value = choice?.[key] ?? dataset[key];
    return value == null ? [] : [`${key}=${encodeURIComponent(value)}`];
  });
  return entries.length === 0 ? dataset.source : `${placeOf(dataset.source)}?${entries.join("&")}`;
}

/** A source without the choice at its end. */
export function placeOf(source: string): string {
  const at = queryStart(source);
  return at < 0 ? source : source.slice(0, at);
}

/** Takes a place apart, in which ? is a character as others, or says what is wrong with it. */
export function readPlace(source: string): HubRef | S3Ref | FileRef | SourceProblem {
  if (source.startsWith("hf://")) return readHub(source);
  if (source.startsWith("s3://")) return readS3(source);
  // without a path it would mean the root of the file system
  if (source.startsWith("file://") && source !== "file://") return readFile(source);
  return { problem: "a source is malformed", expected: "hf://owner/name@revision, s3://bucket/prefix or file:///path" };
}

/** Takes a source apart; throws UserError with what was expected. */
export function parseSource(source: string): SourceRef {
  const read = readSource(source);
  if ("problem" in read) throw new UserError(read.problem, { expected: read.expected, got: source });
  return read;
}

function readHub(source: string): HubRef | SourceProblem {
  const [, repository = source, file] = HUB_FILE.exec(source) ?? [];
  const [, id, revision = "main"] = HUB.exec(repository) ?? [];
  if (id === undefined || source.includes(".."))
    return {
      problem: "a hub source is malformed",
      expected: "hf://owner/name or hf://owner/name@revision, for a GGUF with /file.gguf after it",
    };
  return { kind: "hub", id, revision, ...(file === undefined ? {} : { file }) };
}

function readS3(source: string): S3Ref | SourceProblem {
  const [, bucket, key] = /^s3:\/\/([^/]+)\/*(.*?)\/*$/s.exec(source) ?? [];
  if (bucket === undefined) return { problem: "an S3 source is malformed", expected: "s3://bucket/prefix" };
  return { kind: "s3", bucket, key: key!, latest: latestOf(key!) };
}

function readFile(source: string): FileRef | SourceProblem {
  const malformed = (why: string): SourceProblem => ({
    problem: `a source is not a file URL with an absolute path: ${why}`,
    expected: "file:///path",
  });
  if (!URL.canParse(source)) return malformed("it is not a URL");
  const url = new URL(source);
  let path: string;
  try {
    path = decodeURIComponent(url.pathname);
  } catch {
    return malformed("it is not a URL: a % in a path is written %25, unless it begins a percent-encoded character");
  }
  if (url.host !== "") return malformed("a host is named");
  if (url.search !== "" || url.hash !== "" || source.includes("?") || source.includes("#"))
    return malformed("? and # in a path are written %3F and %23");
  if (/%2f/i.test(url.pathname)) return malformed("a path has no encoded slash");
  return { kind: "file", path, latest: latestOf(path) };
}

function latestOf(place: string): string | null {
  const named = withoutSlashes(place);
  const target = named.replace(LATEST_END, "");
  return target === named ? null : target;
}

/** The address of a published model, or of the target below which `latest.json` names one: without `latest` or `latest.json` at its end. */
export function publishedAddress(uri: string): string {
  return withoutSlashes(uri).replace(LATEST_END, "");
}

/** Where a model is looked for that its descendant's manifest names without a place: beside the descendant, which on the hub means a tag of the same repository. */
export function besidePublished(uri: string, name: string): string {
  return uri.startsWith("hf:") ? `${uri.replace(/@[^@]*$/, "")}@${name}` : `${uri.replace(/\/[^/]*$/, "")}/${name}`;
}

/** An address or a path without slashes at its end, so that `s3://bucket/prefix/` and `s3://bucket/prefix` are one. */
export function withoutSlashes(place: string): string {
  return place.replace(/(?<=[^/:])\/+$/, "");
}
