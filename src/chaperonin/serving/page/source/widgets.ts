/** Parts that several panels use: a plain word instead of a result, failures, shares, canvases, readouts. */

import { count, element, shortened, whole } from "./elements.ts";
import { type State, colourClass, usable } from "./state.ts";

/** More labels than these are not counted above a table. */
const MOST_COUNTED = 4;
const LONGEST_COUNTED = 28;

/** What stands in a panel that has no result (yet): a few words and what to do. */
export function nothing(title: string, text: string, ...more: Node[]): HTMLElement {
  return element("div", { class: "nothing" }, element("strong", {}, title), element("p", {}, text), ...more);
}

/** The proteins that have no result, and what to do about each. */
export function failureList(state: State): HTMLElement {
  const failures = [...state.failures.values()];
  const list = element("ul", {}, ...failures.map(({ id, error, where, advice }) => {
    const place = where && where !== id ? ` (${where})` : "";
    return element("li", {}, element("b", {}, id), `${place}: ${error} `, element("span", { class: "hint" }, advice));
  }));
  const title = element("h3", {}, `${whole(failures.length)} of ${count(state.proteins.length, "protein")} could not be used`);
  return element("div", { class: "attention failures" }, title, list);
}

/** Labels with their counts, the commonest first; an empty one is none. */
export function countsOf(labels: Iterable<string>): [string, number][] {
  const counts = new Map<string, number>();
  for (const label of labels) if (label !== "") counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts].sort((one, other) => other[1] - one[1]);
}

/** How many proteins have a result, and how many of them each label; `numbers` gives the colours. */
export function labelSummary(proteins: number, counts: [string, number][], numbers: Map<string, number>): HTMLElement {
  const summary = element("p", { class: "summary" }, element("b", {}, whole(proteins)), proteins === 1 ? " protein" : " proteins");
  if (counts.length > MOST_COUNTED) summary.append(` · ${count(counts.length, "label")}`);
  else for (const [name, amount] of counts) {
    summary.append(" · ", element("span", {}, colourKey(numbers.get(name)), `${shortened(name, LONGEST_COUNTED)} `, element("b", {}, whole(amount))));
  }
  return summary;
}

/** The colour of a class. */
export function colourKey(number: number | undefined): HTMLElement {
  return element("span", { class: `key ${colourClass(number)}` });
}

/** A probability as a bar and a number. */
export function share(probability: number): HTMLElement {
  const fill = element("span");
  fill.style.width = `${Math.min(Math.max(probability, 0), 1) * 100}%`;
  return element("span", { class: "share" }, element("span", { class: "bar", "aria-hidden": "true" }, fill), fixed(probability));
}

export function fixed(value: number): string {
  return value.toFixed(3);
}

/** A select of the proteins that did not fail. */
export function proteinChoice(id: string, state: State, onChange: (number: number) => void): HTMLElement {
  const select = element("select", { id });
  for (const number of usable(state)) {
    const option = element("option", { value: String(number) }, state.proteins[number]?.id ?? "");
    option.selected = number === state.selected;
    select.append(option);
  }
  select.addEventListener("change", () => onChange(Number(select.value)));
  return element("div", {}, element("label", { for: id }, "Protein"), select);
}

/** A canvas of so many CSS pixels, as sharp as the screen is; `density` overrides it for a saved picture. */
export function sharpen(
  canvas: HTMLCanvasElement,
  width: number,
  height: number,
  density = window.devicePixelRatio || 1,
): CanvasRenderingContext2D {
  canvas.width = Math.round(width * density);
  canvas.height = Math.round(height * density);
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("this browser draws no canvas");
  context.setTransform(density, 0, 0, density, 0, 0);
  return context;
}

/** A round step that makes at most `most` ticks up to `length`. */
export function tickStep(length: number, most: number): number {
  for (let unit = 1; ; unit *= 10) {
    for (const factor of [1, 2, 5]) if (length / (unit * factor) <= most) return unit * factor;
  }
}

/**
 * Pointer and arrow keys move over the cells of a map. `cellAt` turns a place in CSS pixels into a cell or null,
 * `onCell` shows it; `columns` and `rows` bound the keys.
 */
export function explore(
  canvas: HTMLCanvasElement,
  size: { columns: number; rows: number },
  cellAt: (x: number, y: number) => [number, number] | null,
  onCell: (cell: [number, number] | null) => void,
): void {
  let cell: [number, number] | null = null;
  const show = (next: [number, number] | null) => {
    cell = next;
    onCell(next);
  };
  canvas.onpointermove = canvas.onpointerdown = (event) => show(cellAt(event.offsetX, event.offsetY));
  canvas.onpointerleave = () => show(null);
  canvas.onkeydown = (event) => {
    const step = event.shiftKey ? 10 : 1;
    const moves: Record<string, [number, number]> = {
      ArrowLeft: [-step, 0],
      ArrowRight: [step, 0],
      ArrowUp: [0, -step],
      ArrowDown: [0, step],
    };
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const [column, row] = cell ?? [0, 0];
    const bounded = (value: number, limit: number) => Math.min(Math.max(value, 0), limit - 1);
    show([bounded(column + move[0], size.columns), bounded(row + move[1], size.rows)]);
  };
}

/** The value under the pointer, in large letters, and what it means; read aloud as it changes. */
export class Readout {
  readonly element = element("div", { class: "readout", role: "status" });

  constructor(private readonly hint: string) {
    this.show("", hint);
  }

  show(value: string, meaning: string): void {
    this.element.replaceChildren(
      ...(value === "" ? [] : [element("b", {}, value)]),
      element("span", {}, value === "" ? this.hint : meaning),
    );
  }
}

/** Draw again whenever the width of the box changes. */
export function onResize(box: HTMLElement, draw: (width: number) => void): void {
  let width = 0;
  new ResizeObserver(() => {
    const now = Math.floor(box.clientWidth);
    if (now === 0 || now === width) return;
    width = now;
    draw(now);
  }).observe(box);
}

export function residueCount(length: number): string {
  return count(length, "residue");
}
