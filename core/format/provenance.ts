import { z } from "zod";
import { CorruptError } from "../errors.js";
import { envelopeOf, envelopeSchema, openEnvelope, parseSigned, STATEMENT, type Envelope } from "./dsse.js";
import { MANIFEST, type ChainEntry, type Manifest } from "./manifest.js";
import type { SignedFile } from "./model-signature.js";

/** The provenance of a published model: an in-toto statement with a SLSA provenance predicate, made of its manifest alone. */

/** Name of the signed provenance among the published files: a bundle of one attestation. */
export const PROVENANCE = "provenance.intoto.jsonl";

const PREDICATE = "https://slsa.dev/provenance/v1";
/** What the parameters and dependencies mean; docs/signing.md describes it. */
const BUILD_TYPE = "urn:roslin:build:finetune:v1";
const BUILDER = "urn:roslin:builder";

/** SHA-256 in hex of a text. */
type Sha256 = (text: string) => string;

/** in-toto's description of something with a digest */
interface Resource {
  readonly name: string;
  readonly uri?: string;
  readonly digest: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

const statementSchema = z.object({
  _type: z.literal(STATEMENT),
  subject: z.array(z.object({ name: z.string(), digest: z.object({ sha256: z.string() }) })),
  predicateType: z.literal(PREDICATE),
});

/** The statement about a published model whose manifest has this digest: the same manifest gives the same text. */
export function provenanceStatement(manifest: Manifest, manifestDigest: string, sha256: Sha256): string {
  const { chain, files, publishVersion, fingerprint, merged } = manifest;
  const made = chain.filter(({ stage }) => stage !== "download");
  const predicate = {
    buildDefinition: {
      buildType: BUILD_TYPE,
      externalParameters: {
        ...Object.fromEntries(chain.map(({ stage, settings }) => [stage, withoutPaths(settings, sha256)])),
        publish: { merge: merged === true },
      },
      internalParameters: {
        versions: Object.fromEntries([...chain.map(({ stage, version }) => [stage, version]), ["publish", publishVersion]]),
        fingerprint,
      },
      resolvedDependencies: chain.filter(({ stage }) => stage === "download").flatMap(dependencies),
    },
    runDetails: {
      builder: { id: BUILDER },
      byproducts: made.flatMap(({ outputs, stateDigest }) => [
        ...outputs.map(({ name, sha256: digest }) => ({ name, digest: { sha256: digest } })),
        ...(stateDigest === undefined ? [] : [{ name: "training state", digest: { sha256: stateDigest } }]),
      ]),
    },
  };
  const subject = subjectsOf(files, manifestDigest).map(({ name, sha256: digest }) => ({ name, digest: { sha256: digest } }));
  return JSON.stringify({ _type: STATEMENT, subject, predicateType: PREDICATE, predicate });
}

/** What a statement is about: the published files, and the manifest that lists them. */
export function subjectsOf(files: readonly SignedFile[], manifestDigest: string): readonly SignedFile[] {
  return [...files.map(({ name, sha256 }) => ({ name, sha256 })), { name: MANIFEST, sha256: manifestDigest }];
}

/** The signed statement, as its file holds it: one line. */
export function provenanceText(envelope: Envelope): string {
  return `${JSON.stringify(envelopeOf(envelope))}\n`;
}

/** Reads the file. Throws CorruptError that says what is wrong with it. */
export function parseProvenance(text: string, where: string): Envelope {
  return openEnvelope(parseSigned(envelopeSchema, text, where), where);
}

/** The files that a statement is about. Throws CorruptError if it is not a statement of provenance. */
export function readSubjects(payload: string, where: string): readonly SignedFile[] {
  const { subject } = parseSigned(statementSchema, payload, where);
  const subjects = subject.map(({ name, digest }) => ({ name, sha256: digest.sha256 }));
  const names = new Set(subjects.map(({ name }) => name));
  if (names.size < subjects.length) throw new CorruptError("a statement names a file twice", { file: where });
  return subjects;
}

/** What was downloaded: where it came from, at which version, with which digest. */
function dependencies({ outputs, settings }: ChainEntry): Resource[] {
  const sources = new Map(Object.entries(settings ?? {}));
  return outputs.flatMap(({ name, sha256: digest, origin }): Resource[] => {
    // a local source has no address that means something elsewhere
    const uri = origin?.uri ?? String(sources.get(name) ?? "");
    const { base } = origin ?? {};
    return [
      { name, ...located(uri), digest: { sha256: digest, ...commitOf(uri) }, ...annotated(origin) },
      ...(origin?.manifest === undefined
        ? []
        : [{ name: `manifest of ${name}`, ...located(origin.uri), digest: { sha256: origin.manifest } }]),
      ...(base?.manifest === undefined
        ? []
        : [{ name: `manifest of the base of ${name}`, ...located(base.uri), digest: { sha256: base.manifest } }]),
    ];
  });
}

function annotated(origin: ChainEntry["outputs"][number]["origin"]): Pick<Resource, "annotations"> {
  const { gguf, base } = origin ?? {};
  const said = {
    ...(gguf !== undefined && { gguf: gguf.file, ggufSha256: gguf.sha256 }),
    ...(base !== undefined && { base: base.uri }),
  };
  return Object.keys(said).length === 0 ? {} : { annotations: said };
}

const located = (uri: string): Pick<Resource, "uri"> => (uri === "" ? {} : { uri });

/** The commit that a source on the hub was at. */
function commitOf(uri: string): Readonly<Record<string, string>> {
  const commit = /^hf:\/\/[^@]+@([0-9a-f]{40})$/.exec(uri)?.[1];
  return commit === undefined ? {} : { gitCommit: commit };
}

/** Settings with a digest in place of each local path, which tells of its owner. */
function withoutPaths(value: unknown, sha256: Sha256): unknown {
  if (typeof value === "string") return value.startsWith("file://") ? `file:sha256-${sha256(value)}` : value;
  if (Array.isArray(value)) return value.map((each) => withoutPaths(each, sha256));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, withoutPaths(each, sha256)]));
}
