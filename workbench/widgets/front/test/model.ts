// A model as anywidget gives one, without a kernel: what is sent is kept, and answered by hand.

import type { Model } from "../src/wire";

export interface FakeModel extends Model {
  sent: Record<string, unknown>[];
  /** Calls back whoever listens to messages, as a message of the kernel does. */
  hear(message: unknown, buffers?: DataView[]): void;
  listeners(): number;
}

export function fakeModel(traits: Record<string, unknown> = {}): FakeModel {
  const heard = new Map<string, Set<(...what: never[]) => void>>();
  const sent: Record<string, unknown>[] = [];
  return {
    sent,
    get: (name) => traits[name],
    set: (name, value) => void (traits[name] = value),
    save_changes: () => undefined,
    send: (content) => void sent.push(content as Record<string, unknown>),
    on: (event, call) => void heard.set(event, (heard.get(event) ?? new Set()).add(call)),
    off: (event, call) => void (call === undefined ? heard.delete(event) : heard.get(event)?.delete(call)),
    hear: (message, buffers = []) => heard.get("msg:custom")?.forEach((call) => call(...([message, buffers] as never[]))),
    listeners: () => [...heard.values()].reduce((count, calls) => count + calls.size, 0),
  };
}

/** Lets everything that waits for answered promises go on. */
export const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
