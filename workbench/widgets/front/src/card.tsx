// Card: one row in the gallery: its picture or text, what the model looked at, and a line of words.

import { useEffect, useRef } from "preact/hooks";
import { paintHeat } from "./colours";
import type { HeatMap } from "./heat";
import type { Tile } from "./pages";
import { visible } from "./spans";
import type { Caption } from "./cells";
import type { Cell } from "./wire";

const COARSE = 48; // cells across up to which each is one pixel of the picture, and drawn as one
const MARKS = ["", "marked by hand", "marked by propagation"];

interface Props {
  id: string;
  place: number;
  of: number;
  tile: Tile | undefined;
  caption: Caption | "";
  text: Cell | undefined;
  style: Record<string, string>;
  height: number;
  /** Whether there is room for a long caption. */
  roomy: boolean;
  selected: boolean;
  focused: boolean;
  heat: HeatMap | undefined;
  opacity: number;
  choose: (event: MouseEvent) => void;
}

/** One row of the gallery; grey until it has arrived. */
export function Card({ id, place, of, tile, caption, text, style, height, roomy, selected, focused, heat, opacity, choose }: Props) {
  const words = caption === "" ? "" : caption.words;
  const state = `${selected ? " wb-selected" : ""}${focused ? " wb-focused" : ""}${tile === undefined ? " wb-waiting" : ""}`;
  const mark = MARKS[tile?.mark ?? 0] ?? "";
  return (
    <div
      id={id}
      class={`wb-card${state}`}
      style={style}
      role="option"
      aria-selected={selected}
      aria-setsize={of}
      aria-posinset={place + 1}
      data-testid={`card-${place}`}
      data-row={tile?.row}
      onClick={choose}
    >
      <span class="wb-hidden">{tile === undefined ? "on its way" : `row ${tile.row} `}</span>
      <div class="wb-card-picture" style={{ height: `${height}px` }}>
        {text !== undefined && text !== null ? (
          <p class="wb-card-text">{visible(typeof text === "object" && "text" in text ? text.text : String(text))}</p>
        ) : tile?.url ? (
          <img src={tile.url} alt="" draggable={false} />
        ) : tile === undefined ? null : (
          <span class="wb-card-none">–</span>
        )}
        {heat !== undefined && <HeatLayer heat={heat} opacity={opacity} />}
        {mark !== "" && <span class={`wb-card-mark wb-mark-${tile?.mark}`} title={mark}><span class="wb-hidden"> {mark} </span></span>}
      </div>
      <p class={`wb-caption${caption !== "" && caption.wrong ? " wb-wrong" : ""}`} title={words}>
        {roomy ? words : caption === "" ? "" : caption.short}
      </p>
    </div>
  );
}

/** Attribution over a picture: its own canvas, stretched as the picture is. */
export function HeatLayer({ heat, opacity }: { heat: HeatMap; opacity: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    if (canvas.current !== null) paintHeat(canvas.current, heat);
  }, [heat]);
  return <canvas ref={canvas} class={heat.width <= COARSE ? "wb-heat wb-pixels" : "wb-heat"} style={{ opacity }} aria-hidden="true" />;
}
