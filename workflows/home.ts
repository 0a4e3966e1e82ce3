import { proxyActivities } from "@temporalio/workflow";
import { stageQueue, type PipelineActivities } from "./contract.js";
import { isSilentHost } from "./failures.js";
import { SILENT_HOST, STAGE_OPTIONS } from "./options.js";

const { liveHost } = proxyActivities<Pick<PipelineActivities, "liveHost">>(STAGE_OPTIONS);

/** The machine that a run's stages are on. Only a shared run leaves it. */
export interface Home {
  host: string;
}

/**
 * Runs a stage's activity at home. If the run is shared and the machine takes nothing for a while, another one that lives
 * becomes the home. `moved` is called with both names.
 */
export async function atHome<T>(
  home: Home,
  shared: boolean,
  moved: (from: string, to: string) => void,
  call: (options: { readonly taskQueue: string; readonly scheduleToStartTimeout?: typeof SILENT_HOST }) => Promise<T>,
): Promise<T> {
  for (;;)
    try {
      return await call({ taskQueue: stageQueue(home.host), ...(shared && { scheduleToStartTimeout: SILENT_HOST }) });
    } catch (error) {
      if (!shared || !isSilentHost(error)) throw error;
      const silent = home.host;
      home.host = await liveHost.executeWithOptions({ summary: `which machine goes on, because ${silent} takes no stages` }, []);
      moved(silent, home.host);
    }
}
