// What the catalog says of a section: which kinds of jobs it has, and their payloads as a JSON schema.
import { toFields, toList, toObject } from "../client/replies.js";
import type { Reply } from "../client/connection.js";

/** A JSON schema, of draft 7. */
export type Schema = Record<string, unknown>;

export interface Section {
  /** Names of the jobs that are applied to Postgres. */
  sql: ReadonlySet<string>;
  /** Names of those that workers claim. */
  claimed: ReadonlySet<string>;
  /** Any name is taken, for workers. */
  isOpen: boolean;
  schema: Schema | undefined;
}

/** The section of a space: `mail` of `{5}:mail`. */
export function sectionOf(space: string): string {
  return space.startsWith("{") ? space.slice(space.lastIndexOf("}:") + 2) : space;
}

/** Reads the reply of BEAR.CATALOG for a section, as the client gives it. */
export function toSection(fields: Record<string, unknown>): Section {
  const jobs = toList(fields["jobs"] as Reply).map((each) => toFields(each));
  const isOpen = fields["open"] !== null && fields["open"] !== undefined;
  const sql = new Set<string>();
  const claimed = new Set<string>();
  const schemas: Schema[] = [];
  for (const job of jobs) {
    const name = String(job["job"]);
    (job["claim"] === null || job["claim"] === undefined ? sql : claimed).add(name);
    schemas.push(schemaOf(name, toObject(job["data"] ?? [])));
  }
  if (isOpen) schemas.push({ title: "any name", description: "An open section takes any JSON." });
  const [only] = schemas;
  const schema = schemas.length > 1 ? { anyOf: schemas } : only;
  return { sql, claimed, isOpen, schema: schema === undefined ? undefined : { $schema: "http://json-schema.org/draft-07/schema#", ...schema } };
}

/** Types of the catalog as JSON has them: docs/catalog/jobs.md#payload. */
const TYPES: Record<string, Schema> = {
  int: { type: "integer" },
  float: { type: "number" },
  numeric: { anyOf: [{ type: "number" }, { type: "string", pattern: "^\\s*[+-]?([0-9]|\\.[0-9])" }] },
  bool: { type: "boolean" },
  text: { type: "string" },
  uuid: { type: "string", format: "uuid" },
  date: { type: "string", format: "date" },
  timestamp: { type: "string", description: "A date and time without a zone: 2026-11-28T21:00:00" },
  timestamptz: { type: "string", format: "date-time" },
  json: {},
};

function schemaOf(job: string, fields: Record<string, Reply>): Schema {
  const properties: Record<string, Schema> = {};
  const required: string[] = [];
  for (const [name, declared] of Object.entries(fields)) {
    const isOptional = String(declared).endsWith("?");
    const type = String(declared).replace(/\?$/, "");
    if (!isOptional) required.push(name);
    const schema = typeSchema(type);
    properties[name] = { title: `${name} ${declared}`, ...(isOptional && type !== "json" ? { anyOf: [schema, { type: "null" }] } : schema) };
  }
  return { title: job, type: "object", properties, additionalProperties: false, ...(required.length > 0 ? { required } : {}) };
}

function typeSchema(type: string): Schema {
  if (type.endsWith("[]")) return { type: "array", items: typeSchema(type.slice(0, -2)) };
  return TYPES[type] ?? {};
}
