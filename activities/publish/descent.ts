import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { publishedAddress } from "../../core/config/source-ref.js";
import { UserError } from "../../core/errors.js";
import { MANIFEST, parseManifest, type Manifest } from "../../core/format/manifest.js";
import { outputNamed } from "../../core/stages/results.js";
import { sha256 } from "../../infra/disk/files.js";
import { readAll } from "../../infra/store/store.js";
import { hasAdapter, readAdapterConfig } from "../../infra/weights/adapter-files.js";
import type { StageRequest } from "../common/stage.js";
import { namedBase } from "../download/adapter-base.js";
import { descentOfSources } from "../report/descent-of-sources.js";
import type { Descent } from "../report/story.js";
import type { PublishDependencies } from "./deps.js";

/** The descent of a run's model: what its own sources say, else what its base says, where Roslin published that. */
export async function descentOf(dependencies: PublishDependencies, request: StageRequest, signal: AbortSignal): Promise<Descent> {
  const { model, dataset } = request.config;
  const base = await readBase(dependencies, request, signal);
  // an adapter's base is not what the source names
  const { origin } = outputNamed(request.inputs, "model");
  return descentOfSources(origin?.base?.uri ?? model.source, dataset.source, base === null ? null : handedOn(base));
}

function handedOn({ licence, baseModel = null, chain }: Manifest): Descent {
  if (licence !== undefined) return { licence, baseModel };
  // an older one has the sources in its chain, unless they were local
  const settings = chain.find(({ stage }) => stage === "download")?.settings as Readonly<Record<string, unknown>> | undefined;
  return descentOfSources(String(settings?.["model"]), String(settings?.["dataset"]), null);
}

/** The manifest of the published model that this one was tuned from; null: Roslin did not publish its base. Throws UserError if it is missing. */
async function readBase(
  { openPublished }: PublishDependencies,
  { config, inputs }: StageRequest,
  signal: AbortSignal,
): Promise<Manifest | null> {
  const { origin: whole, uri } = outputNamed(inputs, "model");
  const origin = whole?.manifest === undefined ? whole?.base : whole;
  if (origin?.manifest === undefined) return null;
  // of a model on this machine the origin is just the name: it lies where the source says, below, beside an adapter, or where that says
  const source = publishedAddress(config.model.source);
  const places = origin.uri.includes("://")
    ? [origin.uri]
    : [source, ...[source, dirname(source)].map((place) => `${place}/${origin.uri}`), ...namedPlaces(fileURLToPath(uri), origin.uri)];
  for (const place of places) {
    const bytes = await readAll(openPublished(place, config.publish, signal), MANIFEST);
    if (bytes !== null && sha256(bytes) === origin.manifest) return parseManifest(Buffer.from(bytes).toString(), `${place}/${MANIFEST}`);
  }
  throw new UserError(
    "the manifest of the published model that this one was tuned from is gone or has changed, so its licence is not known: publish that model again, then start this run again",
    { uri: places.at(-1), expected: origin.manifest },
  );
}

/** Where the config of the adapter in a directory says that its base lies on this machine, and the model `published` below. */
function namedPlaces(directory: string, published: string): string[] {
  const source = hasAdapter(directory) ? namedBase(readAdapterConfig(directory).base, directory, true)?.source : undefined;
  if (source?.startsWith("file:") !== true) return [];
  const place = publishedAddress(source);
  return [place, `${place}/${published}`];
}
