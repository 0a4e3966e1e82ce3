import type { RunConfig } from "../../core/config/schema.js";
import { ForbiddenError } from "../../core/errors.js";
import { MANIFEST } from "../../core/format/manifest.js";
import { readAll, type ObjectStore } from "../../infra/store/store.js";
import { adopt } from "./adopt.js";
import { checkLiveStill, moveLatest, readLatest } from "./move-latest.js";
import type { PublishingPlace } from "./place.js";
import { readableManifest } from "./readable-manifest.js";
import { upload } from "./upload.js";

/** A bucket or a directory: a model lies in `<target>/<name>/…`, its manifest last, and `<target>/latest.json` names the live one. */
export function storePlace(store: ObjectStore, target: string, wanted: RunConfig["publish"]): PublishingPlace {
  return {
    files: store,
    async manifestOf(name) {
      // without the right to list, S3 calls a missing object forbidden
      const bytes = await readAll(store, `${name}/${MANIFEST}`).catch((error: unknown) => {
        if (!(error instanceof ForbiddenError)) throw error;
        return null;
      });
      return bytes === null ? null : readableManifest(bytes, `${target}/${name}/${MANIFEST}`);
    },
    async checkLive(name, compared) {
      checkLiveStill(await readLatest(store), name, compared);
    },
    adopt: (made, directory, say) => adopt(store, made, directory, say),
    async send(model, { opens, compared }, directory, context) {
      const { name } = model.manifest;
      const { sent, bytes } = await upload(store, model, directory, context);
      const say = (note: string): void =>
        context.progress({ stage: "publish", done: bytes, total: bytes, unit: "bytes", note, lasting: true });
      const live = opens && (await moveLatest(store, target, name, { wanted, live: compared }, say));
      if (!opens) say("the gate was not passed: latest.json stays");
      return { uri: `${target}/${name}`, bytes, sent, live };
    },
    async seals(keys) {
      return Object.fromEntries(await Promise.all(keys.map(async (key) => [key, await store.seal(key)] as const)));
    },
  };
}
