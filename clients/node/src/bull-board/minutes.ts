// How many jobs settled in each minute. The module keeps counters and no history: what is told of the time before this
// process looked first is what records say, and after it the differences of the counters.
const MINUTE_MS = 60_000;
/** A week. */
const KEPT_MINUTES = 7 * 24 * 60;

export interface MinuteMetrics {
  meta: { count: number; prevTS: number; prevCount: number };
  data: number[];
  count: number;
}

export class Minutes {
  private readonly counts = new Map<number, number>();
  private total = 0;
  private last: { value: number; at: number } | undefined;
  /** When the counter was read first. */
  since = 0;

  /** `n` settled at this time. */
  add(atMs: number, n = 1): void {
    const minute = Math.floor(atMs / MINUTE_MS);
    this.counts.set(minute, (this.counts.get(minute) ?? 0) + n);
    this.total += n;
  }

  /** What a counter shows now. What was counted since it was read last is laid evenly over that time. */
  read(value: number, nowMs: number): void {
    const { last } = this;
    if (last === undefined) this.since = nowMs;
    this.last = { value, at: nowMs };
    const grown = last === undefined ? 0 : value - last.value; // less: the queue was flushed
    if (last === undefined || grown <= 0) return;
    const first = Math.floor(last.at / MINUTE_MS);
    const newest = Math.floor(nowMs / MINUTE_MS);
    const span = nowMs - last.at;
    if (newest - first < 1 || newest - first > KEPT_MINUTES || span <= 0) {
      this.add(nowMs, grown);
    } else {
      let laid = 0;
      for (let minute = first; minute <= newest; minute++) {
        const upTo = minute === newest ? grown : Math.round((grown * ((minute + 1) * MINUTE_MS - last.at)) / span);
        if (upTo > laid) this.add(minute * MINUTE_MS, upTo - laid);
        laid = Math.max(laid, upTo);
      }
    }
    for (const minute of this.counts.keys()) if (minute < newest - KEPT_MINUTES) this.counts.delete(minute);
  }

  /** As BullMQ tells them: `data` by whole minutes, the newest first; the one under way is `meta.count - meta.prevCount`. */
  metrics(nowMs: number, start = 0, end = -1): MinuteMetrics {
    const minute = Math.floor(nowMs / MINUTE_MS);
    const oldest = Math.min(minute, ...this.counts.keys());
    const data: number[] = [];
    for (let each = minute - 1; each >= oldest; each--) data.push(this.counts.get(each) ?? 0);
    const shown = data.slice(start, end < 0 ? data.length + end + 1 : end + 1);
    const live = this.counts.get(minute) ?? 0;
    return { meta: { count: this.total, prevTS: this.total === 0 ? 0 : nowMs, prevCount: this.total - live }, data: shown, count: data.length };
  }
}
