export { BearAdapter } from "./adapter.js";
export type { BearAdapterOptions } from "./adapter.js";
export { Refusal } from "./refusal.js";
