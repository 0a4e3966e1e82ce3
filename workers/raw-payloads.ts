import type { Client, WorkflowExecutionDescription } from "@temporalio/client";
import { arrayFromPayloads, defaultPayloadConverter, type Payload } from "@temporalio/common";

/** Payloads of raw answers, which the client's library hands out as they are stored. */

/** Values of payloads, decrypted if they were encrypted. */
export async function decodedPayloads(
  client: Client,
  payloads: { readonly payloads?: Payload[] | null } | null | undefined,
): Promise<unknown[]> {
  return arrayFromPayloads(defaultPayloadConverter, await plain(client, payloads?.payloads ?? [])) ?? [];
}

type PendingActivity = NonNullable<NonNullable<WorkflowExecutionDescription["raw"]["pendingActivities"]>[number]>;

/** Pending activities with their heartbeats' details and their last failures' messages as they were before encryption. */
export async function plainPending(client: Client, pending: readonly PendingActivity[]): Promise<readonly PendingActivity[]> {
  return Promise.all(
    pending.map(async (activity): Promise<PendingActivity> => {
      const { heartbeatDetails, lastFailure } = activity;
      const payloads = await plain(client, heartbeatDetails?.payloads ?? []);
      const told = heartbeatDetails == null ? {} : { heartbeatDetails: { ...heartbeatDetails, payloads } };
      if (lastFailure?.encodedAttributes == null) return { ...activity, ...told };
      const [said] = await plain(client, [lastFailure.encodedAttributes]);
      const { message } = defaultPayloadConverter.fromPayload<{ readonly message: string }>(said!);
      return { ...activity, ...told, lastFailure: { ...lastFailure, message } };
    }),
  );
}

async function plain(client: Client, payloads: readonly Payload[]): Promise<Payload[]> {
  let decoded = [...payloads];
  for (const codec of client.options.loadedDataConverter.payloadCodecs) decoded = await codec.decode(decoded);
  return decoded;
}
