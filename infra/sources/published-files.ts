import type { ObjectStore } from "../store/store.js";

/** The files of a published model, by their names: what stores and repositories on the hub have in common. */
export interface PublishedFiles extends Pick<ObjectStore, "read"> {
  list(prefix: string): Promise<readonly { readonly key: string }[]>;
}
