// The state of a view: what is in the kernel's traits, what its events tell, and what is only of this page.

import { type ReadonlySignal, type Signal, computed, signal } from "@preact/signals";
import { type Facet, type Job, type Model, type Wire, connect, told } from "./wire";

export type ViewName = "gallery" | "table" | "map";

export interface Layout {
  view: ViewName;
  tile: number;
  overlay: boolean;
  opacity: number;
  method: string;
  target: string;
  sort: { by: string; ascending: boolean } | null;
  colour: string | null;
  map: string | null;
  columns: string[];
  height: number;
}

export interface ColumnAbout {
  name: string;
  kind: string;
  computed: boolean;
  facet: "bars" | "histogram" | null;
}

export interface About {
  rows: number;
  on: string | null;
  columns: ColumnAbout[];
  classes: string[];
  label: string | null;
  can: { predict: boolean; explain: boolean; annotate: boolean; train: boolean };
  methods: string[];
  losses: string[];
  weights: string[];
  size: [number, number] | null;
  author: string;
  annotating: boolean;
  data: number;
}

export type Brush = { low: number; high: number } | { values: string[] };

export interface SliceRow {
  name: string;
  size: number;
  accuracy: number | null;
  low: number | null;
  high: number | null;
  where: string | null;
}

export interface Shown {
  version: number;
  count: number;
  of: number;
  error: string | null;
}

/** Figures of a fine-tune while it runs, and after it. */
export interface RunFigures {
  job: number;
  of: number;
  steps: [number, number, number, number][];
  checks: [number, number][];
  compared: Compared | null;
  settled: "" | "kept" | "discarded";
}

export interface Compared {
  job: number;
  figures: [string, number | null, number | null][];
  fixed: number;
  broken: number;
  slices: { name: string; rows: number; before: number | null; after: number | null }[];
}

export type Tool = "brush" | "erase" | "rectangle" | "lasso" | "fill";
export type Role = "irrelevant" | "relevant";

/** What the foot of the view says about the log: nothing yet, on its way, on the disk, or refused. */
export type Saved = { state: "none" | "saving" | "saved" | "failed"; words: string; again?: boolean };

export interface Store {
  /** Begins the ids of this view's elements: a page may show several. */
  name: string;
  wire: Wire;
  about: ReadonlySignal<About>;
  slices: ReadonlySignal<SliceRow[]>;
  filter: Trait<string>;
  brushes: Trait<Record<string, Brush>>;
  selection: Trait<Uint32Array>;
  focus: Trait<number | null>;
  layout: ReadonlySignal<Layout>;
  setLayout(changes: Partial<Layout>): void;
  selected: ReadonlySignal<Set<number>>;
  shown: Signal<Shown>;
  facets: Signal<Facet[]>;
  jobs: Signal<Job[]>;
  runs: Signal<RunFigures[]>;
  saved: Signal<Saved>;
  /** Grows whenever marks may have changed, here or elsewhere. */
  marked: Signal<number>;
  tool: Signal<Tool>;
  role: Signal<Role>;
  brush: Signal<number>;
  open: Signal<"" | "facets" | "slices" | "runs" | "help">;
  busy: Signal<boolean>;
  /** Whether the kernel is known to be gone, and for how many seconds it has not answered if that is long. */
  gone: Signal<boolean>;
  late: Signal<number>;
  notice: Signal<string>;
  say(words: string): void;
  /** Runs something that asks the kernel; words of a refusal are shown at the foot. */
  attempt(work: () => Promise<unknown>): void;
  close(): void;
}

export interface Trait<T> extends ReadonlySignal<T> {
  /** Sets the trait here and in the kernel. */
  put(value: T): void;
}

const IDLE_MS = 1500; // a kernel that is busy for longer is worth a word
const LATE_MS = 12_000; // and one that is silent for so long may be gone

/** Ties signals to a model's traits and events. */
export function openStore(model: Model): Store {
  const ends: (() => void)[] = [];
  const busy = signal(false);
  const gone = signal(false);
  const late = signal(0);
  const wire = connect(
    model,
    () => (busy.value = busy.value && wire.waiting().count > 0),
    (live) => (gone.value = !live),
  );
  const clock = setInterval(() => {
    const { count, since } = wire.waiting();
    const waited = count > 0 ? performance.now() - since : 0;
    busy.value = waited > IDLE_MS;
    late.value = waited > LATE_MS ? Math.round(waited / 5000) * 5 : 0;
  }, 500);
  ends.push(() => clearInterval(clock));

  function trait<T>(name: string, read: (value: unknown) => T, write: (value: T) => unknown): Trait<T> {
    const inner = signal(read(model.get(name)));
    let ours = false;
    const follow = () => {
      const told = read(model.get(name));
      if (!ours && !same(told, inner.peek())) inner.value = told; // the kernel may tell us our own again
    };
    model.on(`change:${name}`, follow);
    ends.push(() => model.off(`change:${name}`, follow));
    return Object.assign(computed(() => inner.value), {
      put(value: T) {
        ours = true;
        try {
          model.set(name, write(value));
        } finally {
          ours = false;
        }
        if (!gone.value) {
          try {
            model.save_changes(); // first of all: what follows here may draw a million points
          } catch {
            gone.value = true; // the connection is closed
          }
        }
        inner.value = value;
      },
    });
  }
  const plain = <T,>(name: string) => trait<T>(name, (value) => value as T, (value) => value);

  const layout = plain<Layout>("view_layout"); // "layout" is what widgets call their CSS
  const selection = trait("selection", asRows, (rows) => new DataView(rows.buffer, rows.byteOffset, rows.byteLength));
  const about = plain<About>("about");
  const shown = signal<Shown>({ version: 0, count: about.value.rows, of: about.value.rows, error: null });
  const facets = signal<Facet[]>([]);
  const jobs = signal<Job[]>([]);
  const runs = signal<RunFigures[]>([]);
  const marked = signal(0);
  const notice = signal("");

  function change(job: number, figures: Partial<RunFigures>) {
    const before = runs.value.find((run) => run.job === job) ?? { job, of: 0, steps: [], checks: [], compared: null, settled: "" };
    runs.value = [...runs.value.filter((run) => run.job !== job), { ...before, ...figures }].sort((a, b) => a.job - b.job);
  }

  ends.push(
    wire.on<Shown>("shown", ({ version, count, of, error }) => (shown.value = { version, count, of, error })),
    wire.on<{ facets: Facet[] }>("facets", (event) => (facets.value = event.facets)),
    wire.on<Job>("job", (job) => {
      jobs.value = [...jobs.value.filter((other) => other.job !== job.job), job].sort((a, b) => a.job - b.job).slice(-12);
    }),
    wire.on<{ job: number; of: number; steps: RunFigures["steps"]; checks: RunFigures["checks"] }>("steps", (event) => {
      const before = runs.value.find((run) => run.job === event.job);
      change(event.job, {
        of: event.of,
        steps: together(before?.steps ?? [], event.steps),
        checks: together(before?.checks ?? [], event.checks),
      });
    }),
    wire.on<Compared>("compared", (compared) => change(compared.job, { compared })),
    wire.on<{ job: number; how: "kept" | "discarded" }>("settled", ({ job, how }) => change(job, { settled: how })),
  );

  const store: Store = {
    name: `wb${Math.random().toString(36).slice(2, 8)}`,
    wire,
    about,
    slices: plain<SliceRow[]>("slices"),
    filter: plain<string>("filter"),
    brushes: plain<Record<string, Brush>>("brushes"),
    selection,
    focus: plain<number | null>("focus"),
    layout,
    setLayout: (changes) => layout.put({ ...layout.value, ...changes }),
    selected: computed(() => new Set(selection.value)),
    shown,
    facets,
    jobs,
    runs,
    marked,
    saved: signal<Saved>({ state: "none", words: "" }),
    tool: signal<Tool>("brush"),
    role: signal<Role>("irrelevant"),
    brush: signal(1.5),
    open: signal<"" | "facets" | "slices" | "runs" | "help">(""),
    busy,
    gone,
    late,
    notice,
    say: (words) => (notice.value = words),
    attempt(work) {
      work().catch((error: unknown) => told(error, (words) => (notice.value = words)));
    },
    close() {
      for (const end of ends) end();
      wire.close();
    },
  };
  // What was shown before this page was loaded: the kernel tells it again.
  store.attempt(() => wire.ask("figures"));
  return store;
}

/** Puts steps together by their numbers: what is told twice is there once. */
export function together<T extends [number, ...number[]]>(before: T[], more: T[]): T[] {
  const [last, first] = [before.at(-1), more[0]];
  if (last === undefined || first === undefined || last[0] < first[0]) return [...before, ...more];
  return [...new Map([...before, ...more].map((step) => [step[0], step])).values()].sort((a, b) => a[0] - b[0]);
}

/** Reads row numbers from the bytes of a trait. */
export function asRows(value: unknown): Uint32Array {
  if (!(value instanceof DataView)) return new Uint32Array();
  // A copy: a view of bytes need not begin where a number may.
  return new Uint32Array(value.buffer.slice(value.byteOffset, value.byteOffset + value.byteLength));
}

function same(one: unknown, other: unknown): boolean {
  if (!(one instanceof Uint32Array && other instanceof Uint32Array)) return one === other;
  return one.length === other.length && one.every((value, at) => value === other[at]);
}
