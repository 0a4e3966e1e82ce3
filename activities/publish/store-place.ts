import type { RunConfig } from "../../core/config/schema.js";
import type { ObjectStore } from "../../infra/store/store.js";
import { adopt } from "./adopt.js";
import { checkLiveStill, moveLatest, readLatest } from "./move-latest.js";
import type { PublishingPlace } from "./place.js";
import { upload } from "./upload.js";

/** A bucket or a directory: a model lies in `<target>/<name>/…`, its manifest last, and `<target>/latest.json` names the live one. */
export function storePlace(store: ObjectStore, target: string, wanted: RunConfig["publish"]): PublishingPlace {
  return {
    files: store,
    async checkLive(name, live) {
      checkLiveStill(await readLatest(store), name, live);
    },
    adopt: (made, directory, say) => adopt(store, made, directory, say),
    async send(model, { closed, live }, directory, context) {
      const { name } = model.manifest;
      const { sent, bytes } = await upload(store, model, directory, context);
      const say = (note: string): void =>
        context.progress({ stage: "publish", done: bytes, total: bytes, unit: "bytes", note, lasting: true });
      const isLive = closed === null && (await moveLatest(store, target, name, { wanted, live }, say));
      if (closed !== null) say(`${closed}: latest.json stays`);
      return { uri: `${target}/${name}`, bytes, sent, live: isLive };
    },
    async seals(keys) {
      return Object.fromEntries(await Promise.all(keys.map(async (key) => [key, await store.seal(key)] as const)));
    },
  };
}
