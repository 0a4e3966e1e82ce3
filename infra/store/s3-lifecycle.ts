import { isDeepStrictEqual } from "node:util";
import { GetBucketLifecycleConfigurationCommand, PutBucketLifecycleConfigurationCommand, type LifecycleRule } from "@aws-sdk/client-s3";
import type { RunConfig } from "../../core/config/schema.js";
import { UserError } from "../../core/errors.js";
import { parseS3 } from "./open-store.js";
import { s3Error, statusOf } from "./s3-errors.js";
import { clientOf, type S3Settings } from "./s3-store.js";

/**
 * Gives the bucket a lifecycle rule for everything below a target, beside the rules that it has; nothing is sent when it is
 * there. S3 has only all rules at once, and no condition for writing them.
 */
export async function setLifecycle(
  uri: string,
  settings: S3Settings,
  lifecycle: RunConfig["publish"]["lifecycle"],
  abortSignal: AbortSignal,
): Promise<void> {
  const { bucket: Bucket, prefix } = parseS3(uri);
  if (prefix === "" && lifecycle.expireAfterDays !== null)
    throw new UserError(
      "publish.lifecycle.expireAfterDays at a bucket's root would remove everything in the bucket, whoever put it there: publish below a prefix",
      { expected: `s3://${Bucket}/prefix`, got: uri },
    );
  const client = clientOf(settings, Bucket);
  const where = { bucket: Bucket, endpoint: settings.endpoint ?? "amazonaws.com" };
  const rule = ruleOf(prefix, lifecycle);
  const before = await client.send(new GetBucketLifecycleConfigurationCommand({ Bucket }), { abortSignal }).then(
    ({ Rules = [], TransitionDefaultMinimumObjectSize: least }) => ({ Rules, least }),
    (error: Error) => {
      if (error.name === "NoSuchLifecycleConfiguration") return { Rules: [], least: undefined };
      throw s3Error(error, { doing: "reading the bucket's lifecycle", right: "s3:GetLifecycleConfiguration" }, where);
    },
  );
  if (before.Rules.some((each) => isDeepStrictEqual(each, rule))) return;
  const Rules = [...before.Rules.filter(({ ID }) => ID !== rule.ID).map(filtered), rule];
  // settings that are left out go back to S3's defaults
  const kept = before.least === undefined ? {} : { TransitionDefaultMinimumObjectSize: before.least };
  const command = new PutBucketLifecycleConfigurationCommand({ Bucket, ...kept, LifecycleConfiguration: { Rules } });
  await client.send(command, { abortSignal }).catch((error: unknown) => {
    if ([400, 405, 501].includes(statusOf(error) ?? 0))
      throw new UserError(
        "this S3 server does not take the lifecycle rule that publish.lifecycle asks for: remove it, and clear old uploads by the server's own means",
        where,
        { cause: error },
      );
    throw s3Error(error, { doing: "setting the bucket's lifecycle", right: "s3:PutLifecycleConfiguration" }, where);
  });
}

/** The same rule with its prefix in a filter: S3 refuses those of the old form beside those of the new. */
function filtered({ Prefix, ...rule }: LifecycleRule): LifecycleRule {
  return Prefix === undefined ? rule : { ...rule, Filter: { Prefix } };
}

function ruleOf(prefix: string, { abortUploadsAfterDays, expireAfterDays }: RunConfig["publish"]["lifecycle"]): LifecycleRule {
  return {
    ID: `roslin ${prefix}`.trim().slice(0, 255),
    Status: "Enabled",
    Filter: { Prefix: prefix === "" ? "" : `${prefix}/` },
    ...(expireAfterDays === null ? {} : expiration(expireAfterDays)),
    ...(abortUploadsAfterDays === null ? {} : { AbortIncompleteMultipartUpload: { DaysAfterInitiation: abortUploadsAfterDays } }),
  };
}

/** In a bucket with versions the first rule alone would hide expired objects, and keep them for ever. */
function expiration(days: number): Pick<LifecycleRule, "Expiration" | "NoncurrentVersionExpiration"> {
  return { Expiration: { Days: days }, NoncurrentVersionExpiration: { NoncurrentDays: days } };
}
