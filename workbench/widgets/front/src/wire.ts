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
  | { label: string | null; top: [string, number][] }
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
export class Refused extends Error {}

/** A request that a later one has made superfluous: no error, and nothing to show. */
export class Superseded extends Error {}

export interface Wire {
  /** Asks for an action; `instead` drops requests of that name that have not been answered yet. */
  ask<T>(action: string, fields?: Record<string, unknown>, instead?: string): Promise<Reply<T>>;
  /** Calls back at each event of that name; returns how to end it. */
  on<T>(event: string, call: (event: T, buffers: DataView[]) => void): () => void;
  /** How many requests have no answer yet, and since when the oldest waits (milliseconds; 0 for none). */
  waiting(): { count: number; since: number };
  close(): void;
}

interface Pending {
  resolve: (reply: Reply<never>) => void;
  reject: (error: Error) => void;
  instead: string;
  since: number;
}

/** Speaks with the kernel through a model. */
export function connect(model: Model, changed: () => void = () => {}): Wire {
  // Several views of one model share its messages: each knows its own by numbers that no other has.
  const first = Math.floor(Math.random() * 2 ** 40) * 1000;
  let next = first;
  const pending = new Map<number, Pending>();
  const listeners = new Map<string, Set<(event: never, buffers: DataView[]) => void>>();

  function receive(message: { id?: number; ok?: unknown; error?: string; event?: string }, buffers: DataView[] = []) {
    if (message.event !== undefined) {
      for (const call of listeners.get(message.event) ?? []) call(message as never, buffers);
      return;
    }
    const asked = pending.get(message.id ?? -1);
    if (asked === undefined) return; // of another view, or superseded meanwhile
    pending.delete(message.id as number);
    changed();
    if (message.error !== undefined) asked.reject(new Refused(message.error));
    else asked.resolve({ ok: message.ok as never, buffers });
  }

  const listener = receive as (...what: never[]) => void;
  model.on("msg:custom", listener);
  return {
    ask<T>(action: string, fields: Record<string, unknown> = {}, instead = "") {
      if (instead !== "") {
        for (const [id, asked] of pending) {
          if (asked.instead !== instead) continue;
          pending.delete(id);
          asked.reject(new Superseded(action));
        }
      }
      const id = next++;
      return new Promise<Reply<T>>((resolve, reject) => {
        pending.set(id, { resolve: resolve as Pending["resolve"], reject, instead, since: performance.now() });
        model.send(instead === "" ? { ...fields, id, do: action } : { ...fields, id, do: action, instead });
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
    close() {
      model.off("msg:custom", listener);
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
