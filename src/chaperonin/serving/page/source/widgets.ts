/** Parts that several panels use: the choice of a protein, a plain word instead of a result, canvases, readouts. */

import { count, element } from "./elements.ts";
import { type State, usable } from "./state.ts";

/** What stands in a panel that has no result (yet): a few words and what to do. */
export function nothing(title: string, text: string, ...more: Node[]): HTMLElement {
  return element("div", { class: "nothing" }, element("strong", {}, title), element("p", {}, text), ...more);
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
