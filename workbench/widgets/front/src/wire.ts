// Asking the kernel: numbered requests and their replies, and events that nobody asked for.

/** What anywidget gives a view: traits with change events, and messages with binary buffers. */
export interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, call: (...what: never[]) => void): void;
  off(event: string, call?: (...what: never[]) => void): void;
  send(content: unknown, callbacks?: unknown, buffers?: ArrayBuffer[]): void;
}

export interface MaskRegion {
  height: number;
  width: number;
  counts: number[];
}

export interface SpanRegion {
  spans: [number, number][];
}

export type Region = MaskRegion | SpanRegion;

export type Cell =
  | null
  | number
  | boolean
  | string
  | { text: string; length: number }
  | { label: string | null; top: [string, number | string][] } // a chance that is no number is told in words: NaN
  | { spark: (number | null)[]; of: number }
  | { lazy: true }
  | { failed: string };

export interface RowsReply {
  version: number;
  start?: number;
  rows: number[];
  marks: number[];
  cells: Record<string, Cell[]>;
  pictures?: { offsets: number[]; types: (string | null)[] };
}

export interface Facet {
  column: string;
  kind: "bars" | "histogram";
  labels: string[] | null;
  edges: number[] | null;
  counts: number[];
  total: number[];
  null: number;
}

export interface Job {
  job: number;
  kind: string;
  state: "running" | "done" | "stopped" | "failed";
  done: number;
  of: number;
  words: string;
}

export interface Reply<T> {
  ok: T;
  buffers: DataView[];
}

/** An error whose words are meant for the person who looks at the page. */
export class Refused extends Error {
  /** `again` where the same may well succeed in a while: a log that somebody else writes to, a disk that is full. */
  constructor(words: string, readonly again = false) {
    super(words);
  }
}

const ANSWER_MS = 2000; // within which a kernel that was asked whether it is there says so
const GONE = "The kernel of this view is gone, restarted or ended. What was saved is on the disk: run the cell again to go on.";

/** A request that a later one has made superfluous: no error, and nothing to show. */
export class Superseded extends Error {}

export interface Wire {
  /** Asks for an action; `instead` drops requests of that name that have not been answered yet. */
  ask<T>(action: string, fields?: Record<string, unknown>, instead?: string): Promise<Reply<T>>;
  /** Calls back at each event of that name; returns how to end it. */
  on<T>(event: string, call: (event: T, buffers: DataView[]) => void): () => void;
  /** How many requests have no answer yet, and since when the oldest waits (milliseconds; 0 for none). */
  waiting(): { count: number; since: number };
  /** Whether a request of that number is one of this view. */
  asked(id: number | null): boolean;
  close(): void;
}

interface Pending {
  resolve: (reply: Reply<never>) => void;
  reject: (error: Error) => void;
  instead: string;
  since: number;
}

/** Speaks with the kernel through a model. */
export function connect(model: Model, changed: () => void = () => {}, live: (live: boolean) => void = () => {}): Wire {
  // Several views of one model share its messages: each knows its own by numbers that no other has.
  const first = Math.floor(Math.random() * 2 ** 40) * 1000;
  const mine = first.toString(36); // another view's wish must not take the place of this one's
  let next = first;
  let gone = false;
  const pending = new Map<number, Pending>();
  const listeners = new Map<string, Set<(event: never, buffers: DataView[]) => void>>();

  function receive(message: { id?: number; ok?: unknown; error?: string; again?: boolean; event?: string }, buffers: DataView[] = []) {
    clearTimeout(silence);
    if (gone) live(!(gone = false));
    if (message.event !== undefined) {
      for (const call of listeners.get(message.event) ?? []) call(message as never, buffers);
      return;
    }
    const asked = pending.get(message.id ?? -1);
    if (asked === undefined) return; // of another view, or superseded meanwhile
    pending.delete(message.id as number);
    changed();
    if (message.error !== undefined) asked.reject(new Refused(message.error, message.again === true));
    else asked.resolve({ ok: message.ok as never, buffers });
  }

  const listener = receive as (...what: never[]) => void;
  model.on("msg:custom", listener);

  /** The other end is gone: a kernel that was restarted, or ended. What waits for it is told so. */
  function hangUp() {
    if (!gone) live(!(gone = true));
    for (const asked of pending.values()) asked.reject(new Refused(GONE));
    pending.clear();
    changed();
  }
  // Widget managers say that a connection has changed, not how: one that has ended does not answer.
  let silence: ReturnType<typeof setTimeout> | undefined;
  function onLive() {
    clearTimeout(silence);
    silence = setTimeout(hangUp, ANSWER_MS);
    post("alive", {});
  }
  model.on("comm_live_update", onLive);

  function post(action: string, fields: Record<string, unknown>): number {
    const id = next++;
    try {
      model.send({ ...fields, id, do: action });
    } catch {
      hangUp(); // the connection itself is closed
    }
    return id;
  }

  return {
    ask<T>(action: string, fields: Record<string, unknown> = {}, instead = "") {
      if (instead !== "") {
        for (const [id, asked] of pending) {
          if (asked.instead !== instead) continue;
          pending.delete(id);
          asked.reject(new Superseded(action));
        }
      }
      if (gone) return Promise.reject(new Refused(GONE));
      return new Promise<Reply<T>>((resolve, reject) => {
        pending.set(next, { resolve: resolve as Pending["resolve"], reject, instead, since: performance.now() });
        post(action, instead === "" ? fields : { ...fields, instead: `${instead} ${mine}` });
        changed();
      });
    },
    on<T>(event: string, call: (event: T, buffers: DataView[]) => void) {
      const calls = listeners.get(event) ?? new Set();
      listeners.set(event, calls.add(call as (event: never, buffers: DataView[]) => void));
      return () => void calls.delete(call as (event: never, buffers: DataView[]) => void);
    },
    waiting() {
      const oldest = Math.min(...[...pending.values()].map((asked) => asked.since));
      return { count: pending.size, since: pending.size ? oldest : 0 };
    },
    asked: (id) => id !== null && id >= first && id < next,
    close() {
      if (!gone) post("leave", {});
      model.off("msg:custom", listener);
      model.off("comm_live_update", onLive);
      clearTimeout(silence);
      for (const asked of pending.values()) asked.reject(new Superseded("closed"));
      pending.clear();
      listeners.clear();
    },
  };
}

/** Calls a function with the words of an error that a person should read; passes over what was superseded. */
export function told(error: unknown, say: (words: string) => void): void {
  if (error instanceof Superseded) return;
  if (error instanceof Refused) say(error.message);
  else throw error;
}
