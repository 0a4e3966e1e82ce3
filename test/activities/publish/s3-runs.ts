import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { ListMultipartUploadsCommand, type S3Client } from "@aws-sdk/client-s3";
import { publish } from "../../../activities/publish/publish.js";
import type { StageContext, StageRequest } from "../../../activities/common/stage.js";
import type { StageResult } from "../../../core/stages/results.js";
import { s3Client, type S3Settings } from "../../../infra/store/s3-store.js";
import { startProxy } from "../../infra/store/proxy.js";
import { startTestS3 } from "../../infra/store/weed.js";
import { finishedRun, publishDependencies } from "./run.js";

/** What the tests of publishing to S3 share: a server, and runs that have only to be published there. */

/** Starts a server before a file's tests, and removes it and all runs after them. */
export class S3Runs {
  readonly root: string = mkdtempSync(join(tmpdir(), "roslin-publish-s3-"));
  private started: Awaited<ReturnType<typeof startTestS3>> | undefined;
  private opened: S3Client | undefined;
  private count = 0;

  constructor() {
    before(async () => {
      this.started = await startTestS3();
      this.opened = s3Client(this.settings);
    });
    after(async () => {
      this.opened?.destroy();
      await this.started?.stop();
      rmSync(this.root, { recursive: true });
    });
  }

  get settings(): Awaited<ReturnType<typeof startTestS3>>["settings"] {
    return this.started!.settings;
  }

  get client(): S3Client {
    return this.opened!;
  }

  /** A run whose model is large enough to go up in parts. */
  async bigRun(target: string, settings: object = {}): Promise<StageRequest> {
    const at = join(this.root, `run-${this.count++}`);
    const request = await finishedRun(at, target, true, { "vocab.json": Buffer.alloc(17 << 20, randomBytes(1 << 16)) });
    return { ...request, config: { ...request.config, publish: { ...request.config.publish, ...settings } } };
  }

  /** Publishes. */
  go(request: StageRequest, settings: S3Settings = this.settings, how: StageContext = context()): Promise<StageResult<"publish">> {
    return publish(publishDependencies(settings), request, how);
  }

  /** How many uploads are open below a prefix. */
  async strays(prefix: string): Promise<number> {
    return (await this.client.send(new ListMultipartUploadsCommand({ Bucket: "roslin", Prefix: prefix }))).Uploads?.length ?? 0;
  }

  /** Publishes, and stops when the second part is on its way. */
  async goAndStop(request: StageRequest, settings: S3Settings & { readonly endpoint: string }): Promise<void> {
    const stop = new AbortController();
    const proxy = await startProxy(settings.endpoint, ({ part }) => {
      if (part === "2") stop.abort(new Error("stopped by the test"));
      return null;
    });
    try {
      await assert.rejects(this.go(request, { ...settings, endpoint: proxy.endpoint }, context(stop.signal)), /stopped by the test/);
    } finally {
      await proxy.stop();
    }
  }
}

/** A stage's context that shows nothing. */
export function context(signal: AbortSignal = new AbortController().signal): StageContext {
  return { signal, progress: () => undefined };
}
