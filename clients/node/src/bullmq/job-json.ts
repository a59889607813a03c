import type { JobJson, JobsOptions } from "bullmq";

/** Names and values in turn, as Redis answers HGETALL in a script. */
export function toRecord(flat: readonly string[]): Record<string, string> {
  const record: Record<string, string> = {};
  for (let at = 0; at + 1 < flat.length; at += 2) record[flat[at] as string] = flat[at + 1] as string;
  return record;
}

/** What follows the id in a payload. The data stand last, so that they can be cut out without being parsed. */
export function payloadTail(name: string, data: string): string {
  return `"name":${JSON.stringify(name)},"data":${data}}`;
}

/** The data of a job, as JSON. */
function dataOf(id: string, fields: Record<string, string>, payload: string): string {
  if (fields.foreign) return payload || "{}";
  const head = `{"id":${JSON.stringify(id)},"name":${JSON.stringify(fields.name)},"data":`;
  if (payload.startsWith(head)) return payload.slice(head.length, -1);
  if (!payload) return "{}";
  const { data } = JSON.parse(payload) as { data?: unknown };
  return JSON.stringify(data ?? {});
}

/** A job as BullMQ reads it, of its hash and its payload. */
export function toJobJson(id: string, fields: Record<string, string>, payload: string): JobJson {
  const number = (text: string | undefined) => (text === undefined || text === "" ? undefined : Number(text));
  const json = {
    id,
    name: fields.name ?? "",
    data: dataOf(id, fields, fields.payload || payload),
    opts: JSON.parse(fields.opts ?? "{}") as JobsOptions,
    progress: JSON.parse(fields.progress ?? "0") as JobJson["progress"],
    attemptsMade: Number(fields.made ?? 0),
    attemptsStarted: Number(fields.started ?? 0),
    stalledCounter: Number(fields.stalls ?? 0),
    timestamp: Number(fields.timestamp),
    delay: Number(fields.delay ?? 0),
    priority: Number(fields.priority ?? 0),
    finishedOn: number(fields.finishedOn),
    processedOn: number(fields.processedOn),
    failedReason: fields.failedReason,
    stacktrace: fields.stacktrace,
    returnvalue: fields.returnvalue,
    repeatJobKey: fields.scheduler,
    deduplicationId: fields.dedup,
    deferredFailure: fields.deferred,
    processedBy: fields.by,
    parentKey: fields.parentKey,
    parent: fields.parent ? (JSON.parse(fields.parent) as JobJson["parent"]) : undefined,
  };
  return json as unknown as JobJson;
}
