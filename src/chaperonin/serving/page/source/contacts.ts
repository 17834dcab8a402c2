/** The contact map of one protein: a square of residue pairs, its strongest contacts, and its files. */

import { type Palette, PALETTES, currentTheme, table } from "./colours.ts";
import { button, element } from "./elements.ts";
import { csv, fileName, savePicture, saveText } from "./files.ts";
import type { ContactMap } from "./server.ts";
import { type State, letters } from "./state.ts";
import { Readout, explore, nothing, onResize, proteinChoice, residueCount, sharpen, tickStep } from "./widgets.ts";

/** Residues at least so far apart in the sequence make a long-range contact, as in CASP. */
const LONG_RANGE = 24;
const LISTED = 10;
const AXIS = 34;
const LARGEST_SIDE = 640;
const SAVED_SIDE = 900;

export class ContactPanel {
  private redraw: () => void = () => undefined;

  constructor(
    private readonly panel: HTMLElement,
    private readonly onSelect: (number: number) => void,
  ) {}

  /** Draw again in the colours of the theme. */
  recolour(): void {
    this.redraw();
  }

  show(state: State, message: string): void {
    this.redraw = () => undefined;
    const map = state.contacts.get(state.selected);
    this.panel.classList.toggle("filled", map !== undefined);
    if (state.proteins.length === 0) {
      this.panel.replaceChildren(nothing("No contact map yet", "For each pair of residues: how probable it is that they touch in the fold."));
      return;
    }
    const choice = element("div", { class: "choice" }, proteinChoice("contact-protein", state, this.onSelect));
    if (map === undefined) {
      this.panel.replaceChildren(element("div", { class: "head" }, choice), nothing("Contact map", message));
      return;
    }
    const sequence = letters(state, state.selected);
    const save = element("div", { class: "row" },
      button("Picture, PNG", () => savePicture(fileName(map.id, "contacts.png"), picture(map, sequence)), { id: "save-contacts-png" }),
      button("CSV", () => saveText(fileName(map.id, "contacts.csv"), contactsCsv(map, sequence)), { id: "save-contacts-csv", "aria-label": "Contact map, CSV" }));
    this.panel.replaceChildren(element("div", { class: "head" }, choice, save), this.body(map, sequence));
  }

  private body(map: ContactMap, sequence: string): HTMLElement {
    const canvas = element("canvas", { class: "picture", id: "contact-map", tabindex: "0", role: "img",
      "aria-label": `Contact map of ${map.id}, ${residueCount(map.length)}, probabilities from 0 to 1. Arrow keys move over the pairs.` });
    const readout = new Readout("Point at the map, or move over it with the arrow keys.");
    const main = element("div", {}, readout.element, canvas);
    let width = 0;
    let cell: [number, number] | null = null;
    this.redraw = () => {
      if (width === 0) return;
      canvas.style.width = canvas.style.height = `${width}px`;
      drawMap(sharpen(canvas, width, width), width, map, sequence, PALETTES[currentTheme()], cell);
    };
    onResize(main, (available) => {
      width = Math.min(available, LARGEST_SIDE);
      this.redraw();
    });
    const cellAt = (x: number, y: number): [number, number] | null => {
      const unit = (width - AXIS) / map.length;
      const [column, row] = [Math.floor((x - AXIS) / unit), Math.floor(y / unit)];
      return column >= 0 && row >= 0 && column < map.length && row < map.length ? [column, row] : null;
    };
    explore(canvas, { columns: map.length, rows: map.length }, cellAt, (next) => {
      cell = next;
      this.redraw();
      if (next === null) readout.show("", "");
      else readout.show(...pairText(map, sequence, next));
    });
    const aside = element("div", { class: "aside" }, scale(), strongest(map, sequence));
    return element("div", { class: "beside" }, main, aside);
  }
}

function pairText(map: ContactMap, sequence: string, [column, row]: [number, number]): [string, string] {
  const probability = map.contacts[row]?.[column];
  const pair = `${residue(sequence, row)} – ${residue(sequence, column)}`;
  const apart = `${pair}, ${Math.abs(row - column)} apart`;
  return [probability === null || probability === undefined ? "–" : probability.toFixed(3), apart];
}

function residue(sequence: string, index: number): string {
  return `${sequence[index] ?? ""}${index + 1}`;
}

function scale(): HTMLElement {
  return element("div", {}, element("h3", {}, "Probability of contact"), element("div", { class: "scale" }),
    element("div", { class: "ends" }, element("span", {}, "0"), element("span", {}, "1")));
}

function strongest(map: ContactMap, sequence: string): HTMLElement {
  const pairs: [number, number, number][] = [];
  for (let row = 0; row < map.length; row++) {
    for (let column = row + LONG_RANGE; column < map.length; column++) {
      const probability = map.contacts[row]?.[column];
      if (typeof probability === "number") pairs.push([row, column, probability]);
    }
  }
  if (pairs.length === 0) {
    return element("p", { class: "hint" }, `No pair of residues is ${LONG_RANGE} or more apart.`);
  }
  pairs.sort((one, other) => other[2] - one[2]);
  const rows = pairs.slice(0, LISTED).map(([row, column, probability]) => element("tr", {},
    element("th", { scope: "row" }, `${residue(sequence, row)} – ${residue(sequence, column)}`),
    element("td", { class: "number" }, probability.toFixed(3))));
  const fifth = pairs.slice(0, Math.max(1, Math.floor(map.length / 5)));
  const mean = fifth.reduce((sum, pair) => sum + pair[2], 0) / fifth.length;
  const note = `Residues ${LONG_RANGE} or more apart decide the fold. The strongest L/5 = ${fifth.length} have mean probability ${mean.toFixed(2)}. The map is the base model's.`;
  return element("div", {}, element("h3", {}, "Long-range contacts"),
    element("table", { "aria-label": "Strongest long-range contacts" }, element("tbody", {}, ...rows)), element("p", { class: "hint" }, note));
}

/** Residue 1 stands in the upper left corner; axes at the left and below count residues from 1. */
function drawMap(
  context: CanvasRenderingContext2D,
  side: number,
  map: ContactMap,
  sequence: string,
  palette: Palette,
  cell: [number, number] | null,
): void {
  const inner = side - AXIS;
  const unit = inner / map.length;
  context.fillStyle = palette.paper;
  context.fillRect(0, 0, side, side);
  context.imageSmoothingEnabled = unit < 1;
  context.drawImage(cells(map, palette), AXIS, 0, inner, inner);
  context.strokeStyle = palette.line;
  context.lineWidth = 1;
  context.strokeRect(AXIS + 0.5, 0.5, inner - 1, inner - 1);
  if (cell !== null) {
    const [column, row] = cell;
    context.strokeStyle = palette.accent;
    context.strokeRect(AXIS + column * unit - 0.5, row * unit - 0.5, unit + 1, unit + 1);
    context.globalAlpha = 0.45;
    context.fillStyle = palette.accent;
    context.fillRect(AXIS, (row + 0.5) * unit, column * unit, 1);
    context.fillRect(AXIS + (column + 0.5) * unit, (row + 1) * unit, 1, inner - (row + 1) * unit);
    context.globalAlpha = 1;
  }
  drawAxes(context, side, map.length, sequence, palette, cell);
}

function drawAxes(
  context: CanvasRenderingContext2D,
  side: number,
  length: number,
  sequence: string,
  palette: Palette,
  cell: [number, number] | null,
): void {
  const inner = side - AXIS;
  const unit = inner / length;
  const withLetters = unit >= 7;
  const step = tickStep(length, Math.max(3, Math.floor(inner / 60)));
  context.textBaseline = "middle";
  const put = (index: number, text: string, colour: string, offset: number) => {
    context.fillStyle = colour;
    const place = (index + 0.5) * unit;
    context.textAlign = "right";
    context.fillText(text, AXIS - 5 - offset, place);
    context.textAlign = "center";
    context.fillText(text, AXIS + place, inner + 11 + offset);
  };
  if (withLetters) {
    context.font = `${Math.min(Math.floor(unit + 1), 11)}px ui-monospace, Menlo, Consolas, monospace`;
    for (let index = 0; index < length; index++) put(index, sequence[index] ?? "", palette.ink, 0);
  }
  context.font = "11px system-ui, sans-serif";
  for (let residue = step; residue <= length; residue += step) {
    put(residue - 1, String(residue), palette.muted, withLetters ? 12 : 0);
  }
  if (cell !== null) drawCellNames(context, side, length, sequence, palette, cell, withLetters ? 12 : 0);
}

/** The residues under the pointer, on both axes. */
function drawCellNames(
  context: CanvasRenderingContext2D,
  side: number,
  length: number,
  sequence: string,
  palette: Palette,
  [column, row]: [number, number],
  offset: number,
): void {
  const inner = side - AXIS;
  const unit = inner / length;
  context.font = "600 11px system-ui, sans-serif";
  const box = (text: string, x: number, y: number) => {
    const width = context.measureText(text).width + 4;
    context.fillStyle = palette.paper;
    context.fillRect(x - width / 2, y - 7, width, 14);
    context.fillStyle = palette.accent;
    context.textAlign = "center";
    context.fillText(text, x, y);
  };
  box(residue(sequence, row), AXIS - 16 - offset / 4, Math.min(Math.max((row + 0.5) * unit, 8), inner - 8));
  box(residue(sequence, column), Math.min(Math.max(AXIS + (column + 0.5) * unit, AXIS + 12), side - 16), inner + 11 + offset);
}

/** One pixel a pair. */
function cells(map: ContactMap, palette: Palette): HTMLCanvasElement {
  const canvas = element("canvas", { width: String(map.length), height: String(map.length) });
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("this browser draws no canvas");
  const image = context.createImageData(map.length, map.length);
  const colours = table(palette.depth);
  const missing = [palette.missing.slice(1, 3), palette.missing.slice(3, 5), palette.missing.slice(5)].map((hex) => Number.parseInt(hex, 16));
  map.contacts.flat().forEach((probability, index) => {
    const start = probability === null ? 0 : Math.round(Math.min(Math.max(probability, 0), 1) * 255) * 3;
    const colour = probability === null ? missing : colours.subarray(start, start + 3);
    image.data.set(colour, index * 4);
    image.data[index * 4 + 3] = 255;
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

/** The map on white paper with its name, for a file. */
function picture(map: ContactMap, sequence: string): HTMLCanvasElement {
  const whole = element("canvas");
  const context = sharpen(whole, SAVED_SIDE, SAVED_SIDE + 40, 2);
  const part = element("canvas");
  drawMap(sharpen(part, SAVED_SIDE, SAVED_SIDE, 2), SAVED_SIDE, map, sequence, PALETTES.light, null);
  context.fillStyle = PALETTES.light.paper;
  context.fillRect(0, 0, SAVED_SIDE, SAVED_SIDE + 40);
  context.fillStyle = PALETTES.light.ink;
  context.font = "600 15px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.fillText(`${map.id} · ${residueCount(map.length)} · probability of contact, 0 white to 1 dark`, AXIS, 20, SAVED_SIDE - AXIS);
  context.drawImage(part, 0, 40, SAVED_SIDE, SAVED_SIDE);
  return whole;
}

/** One line a pair, each pair once. */
function contactsCsv(map: ContactMap, sequence: string): string {
  const rows: (string | number)[][] = [["i", "residue_i", "j", "residue_j", "probability"]];
  for (let row = 0; row < map.length; row++) {
    for (let column = row + 1; column < map.length; column++) {
      rows.push([row + 1, sequence[row] ?? "", column + 1, sequence[column] ?? "", map.contacts[row]?.[column] ?? ""]);
    }
  }
  return csv(rows);
}
