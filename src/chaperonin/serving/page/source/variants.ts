/** The effect of every single substitution in one protein: positions × 20 residues. */

import { type Palette, PALETTES, along, currentTheme } from "./colours.ts";
import { button, element, whole } from "./elements.ts";
import { csv, fileName, savePicture, saveText } from "./files.ts";
import type { Score } from "./server.ts";
import { type Protocol, type State, letters } from "./state.ts";
import { Readout, explore, nothing, onResize, proteinChoice, residueCount, sharpen } from "./widgets.ts";

/** More residues than these are left to the command line. */
export const LONGEST_SCANNED = 300;

/** Positive, negative, polar, special, aliphatic, aromatic. */
const ROWS = "KRHDENQSTCGPAVILMFYW";
const STANDARD = "ACDEFGHIKLMNPQRSTVWY";
/** Tokens of one request while masked positions are scored: small enough that progress is seen. */
const PART_TOKENS = 20_000;
const AXIS = 16;
const CELL = { width: 8, height: 9 };
const LINE_GAP = 26;
const LISTED = 8;
const SAVED_WIDTH = 920;

/** Scores as a table: `null` where the residue is the wild type or has no score. */
interface Scan {
  id: string;
  sequence: string;
  values: (number | null)[][];
  /** The largest distance from 0 that the colours show: the 98th percentile of all. */
  limit: number;
}

export class VariantPanel {
  private redraw: () => void = () => undefined;

  constructor(
    private readonly panel: HTMLElement,
    private readonly onSelect: (number: number) => void,
    private readonly onScan: (protocol: Protocol) => void,
  ) {}

  recolour(): void {
    this.redraw();
  }

  show(state: State, message: string, isBusy: boolean): void {
    this.redraw = () => undefined;
    const found = state.scores.get(state.selected);
    this.panel.classList.toggle("filled", found !== undefined);
    if (state.proteins.length === 0) {
      this.panel.replaceChildren(nothing("No variants yet", "For each position and each of the 20 residues: how well the model thinks it fits, against the wild type."));
      return;
    }
    const sequence = letters(state, state.selected);
    const choice = element("div", { class: "choice" }, proteinChoice("variant-protein", state, this.onSelect));
    if (sequence.length > LONGEST_SCANNED) {
      const text = `${residueCount(sequence.length)}; this page scans up to ${LONGEST_SCANNED}. The command chaperonin score has no such limit.`;
      this.panel.replaceChildren(element("div", { class: "head" }, choice), nothing("Too long for this page", text));
      return;
    }
    choice.append(...this.order(found?.protocol ?? "masked-marginal", sequence.length, isBusy));
    const head = element("div", { class: "head" }, choice);
    if (found === undefined) {
      const text = message || "Log-odds of each substitution against the wild type: below 0 the model likes it less.";
      this.panel.replaceChildren(head, nothing(isBusy ? "Scoring…" : "Scan every position", text));
      return;
    }
    const id = state.proteins[state.selected]?.id ?? "";
    const scan = readScan(id, sequence, found.scores);
    head.append(element("div", { class: "row" },
      button("Picture, PNG", () => savePicture(fileName(id, "variants.png"), picture(scan)), { id: "save-variants-png" }),
      button("CSV", () => saveText(fileName(id, "variants.csv"), csv([["mutant", "score"], ...found.scores.map((one) => [one.mutant, one.score])])), { id: "save-variants-csv", "aria-label": "Variant scores, CSV" })));
    this.panel.replaceChildren(head, this.body(scan));
  }

  private order(protocol: Protocol, length: number, isBusy: boolean): HTMLElement[] {
    const select = element("select", { id: "protocol" },
      element("option", { value: "masked-marginal" }, "masked marginal"),
      element("option", { value: "wt-marginal" }, "wild-type marginal (fast)"));
    select.value = protocol;
    const start = button(`Score ${whole(length * 19)} substitutions`, () => this.onScan(select.value as Protocol), { id: "scan" });
    start.disabled = isBusy;
    return [element("div", {}, element("label", { for: "protocol" }, "Protocol"), select), start];
  }

  private body(scan: Scan): HTMLElement {
    const canvas = element("canvas", { class: "picture", id: "variant-map", tabindex: "0", role: "img",
      "aria-label": `Scores of every substitution in ${scan.id}, ${residueCount(scan.sequence.length)}. Arrow keys move over the cells.` });
    const readout = new Readout("Point at the map, or move over it with the arrow keys. Dots mark the wild type.");
    const main = element("div", {}, readout.element, canvas);
    let layout: Layout = layOut(0, scan.sequence.length);
    let cell: [number, number] | null = null;
    this.redraw = () => {
      if (layout.width === 0) return;
      canvas.style.width = `${layout.width}px`;
      canvas.style.height = `${layout.height}px`;
      drawScan(sharpen(canvas, layout.width, layout.height), layout, scan, PALETTES[currentTheme()], cell);
    };
    onResize(main, (width) => {
      layout = layOut(width, scan.sequence.length);
      this.redraw();
    });
    explore(canvas, { columns: scan.sequence.length, rows: ROWS.length }, (x, y) => cellAt(layout, x, y, scan.sequence.length), (next) => {
      cell = next;
      this.redraw();
      if (next === null) readout.show("", "");
      else readout.show(...cellText(scan, next));
    });
    const aside = element("div", { class: "aside" }, scale(scan.limit), sensitive(scan));
    return element("div", { class: "beside" }, main, aside);
  }
}

/**
 * The variants of each request of a scan; `null` means every substitution at once.
 *
 * A masked position costs a pass over the whole protein, so masked scans are cut by the tokens of their passes.
 */
export function scanParts(sequence: string, protocol: Protocol, mostTokens: number): (string[] | null)[] {
  if (protocol === "wt-marginal") return [null];
  const positions = [...sequence].map((from, index) => ({ from, index })).filter(({ from }) => STANDARD.includes(from));
  const each = Math.max(1, Math.floor(Math.min(PART_TOKENS, mostTokens) / (sequence.length + 2)));
  const parts: string[][] = [];
  for (let start = 0; start < positions.length; start += each) {
    parts.push(positions.slice(start, start + each).flatMap(({ from, index }) =>
      [...STANDARD].filter((to) => to !== from).map((to) => `${from}${index + 1}${to}`)));
  }
  return parts;
}

function readScan(id: string, sequence: string, scores: Score[]): Scan {
  const values = Array.from(sequence, () => Array.from(ROWS, (): number | null => null));
  for (const { mutant, score } of scores) {
    const [, position, to] = /^[A-Z](\d+)([A-Z])$/.exec(mutant) ?? [];
    const row = values[Number(position) - 1];
    if (row !== undefined && to !== undefined && ROWS.includes(to)) row[ROWS.indexOf(to)] = score;
  }
  const sizes = scores.map((one) => Math.abs(one.score)).sort((one, other) => one - other);
  return { id, sequence, values, limit: sizes[Math.floor(sizes.length * 0.98)] || 1 };
}

function cellText(scan: Scan, [column, row]: [number, number]): [string, string] {
  const from = scan.sequence[column] ?? "";
  const to = ROWS[row] ?? "";
  const score = scan.values[column]?.[row];
  if (from === to) return ["0", `${from}${column + 1} is the wild type`];
  if (score === null || score === undefined) return ["–", `${from}${column + 1}${to} has no score`];
  const meaning = score < 0 ? "the model likes it less than the wild type" : "the model likes it better than the wild type";
  return [signed(score), `${from}${column + 1}${to}: ${meaning}`];
}

function signed(score: number): string {
  return `${score < 0 ? "−" : "+"}${Math.abs(score).toFixed(2)}`;
}

function scale(limit: number): HTMLElement {
  return element("div", {}, element("h3", {}, "Score, log-odds"), element("div", { class: "scale effect" }),
    element("div", { class: "ends" }, element("span", {}, signed(-limit)), element("span", {}, "0"), element("span", {}, signed(limit))));
}

/** Positions whose substitutions the model likes least on average. */
function sensitive(scan: Scan): HTMLElement {
  const means = scan.values.map((values, position): [number, number] => {
    const known = values.filter((value) => value !== null);
    return [position, known.length > 0 ? known.reduce((sum, value) => sum + value, 0) / known.length : Number.POSITIVE_INFINITY];
  });
  const rows = means.filter(([, mean]) => Number.isFinite(mean)).sort((one, other) => one[1] - other[1]).slice(0, LISTED);
  return element("div", {}, element("h3", {}, "Least tolerant positions"),
    element("table", { "aria-label": "Least tolerant positions" }, element("tbody", {}, ...rows.map(([position, mean]) => element("tr", {},
      element("th", { scope: "row" }, `${scan.sequence[position] ?? ""}${position + 1}`),
      element("td", { class: "number" }, signed(mean)))))),
    element("p", { class: "hint" }, "Mean score over the 19 substitutions. Scores are the base model's."));
}

interface Layout {
  width: number;
  height: number;
  /** Width of a cell in CSS pixels. */
  unit: number;
  /** Positions in one line. */
  columns: number;
  lines: number;
}

function layOut(width: number, length: number): Layout {
  const inner = width - AXIS - 8; // the last number stands out a little
  const fitting = Math.floor(inner / CELL.width);
  const columns = Math.max(1, Math.min(length, fitting >= 20 ? Math.floor(fitting / 10) * 10 : fitting));
  const lines = Math.ceil(length / columns);
  const unit = Math.min(Math.max(inner / columns, 1), CELL.width * 2);
  return { width, columns, lines, unit, height: lines * (ROWS.length * CELL.height + LINE_GAP) };
}

function cellAt(layout: Layout, x: number, y: number, length: number): [number, number] | null {
  const lineHeight = ROWS.length * CELL.height + LINE_GAP;
  const line = Math.floor(y / lineHeight);
  const row = Math.floor((y - line * lineHeight) / CELL.height);
  const column = Math.floor((x - AXIS) / layout.unit);
  const position = line * layout.columns + column;
  const isInside = column >= 0 && column < layout.columns && row >= 0 && row < ROWS.length && position < length;
  return isInside ? [position, row] : null;
}

function drawScan(
  context: CanvasRenderingContext2D,
  layout: Layout,
  scan: Scan,
  palette: Palette,
  cell: [number, number] | null,
): void {
  context.fillStyle = palette.paper;
  context.fillRect(0, 0, layout.width, layout.height);
  context.textBaseline = "middle";
  context.textAlign = "center";
  scan.values.forEach((values, position) => drawPosition(context, layout, scan, palette, position, values));
  context.font = "9px ui-monospace, Menlo, Consolas, monospace";
  context.fillStyle = palette.ink;
  for (let line = 0; line < layout.lines; line++) {
    for (let row = 0; row < ROWS.length; row++) {
      context.fillText(ROWS[row] ?? "", AXIS / 2 - 1, top(line) + (row + 0.5) * CELL.height);
    }
  }
  if (cell !== null) {
    const [position, row] = cell;
    const [x, y] = corner(layout, position);
    context.strokeStyle = palette.accent;
    context.lineWidth = 2;
    context.strokeRect(x, y + row * CELL.height, layout.unit, CELL.height);
  }
}

function drawPosition(
  context: CanvasRenderingContext2D,
  layout: Layout,
  scan: Scan,
  palette: Palette,
  position: number,
  values: (number | null)[],
): void {
  const [x, y] = corner(layout, position);
  values.forEach((value, row) => {
    const isWildType = ROWS[row] === scan.sequence[position];
    const share = value === null ? 0.5 : 0.5 + value / scan.limit / 2;
    context.fillStyle = value === null && !isWildType ? palette.missing : `rgb(${along(palette.effect, share).join(" ")})`;
    context.fillRect(x, y + row * CELL.height, layout.unit + 0.3, CELL.height + 0.3);
    if (!isWildType) return;
    context.fillStyle = palette.ink;
    context.beginPath();
    context.arc(x + layout.unit / 2, y + (row + 0.5) * CELL.height, 1.7, 0, 2 * Math.PI);
    context.fill();
  });
  const below = y + ROWS.length * CELL.height;
  if (layout.unit >= 6) {
    context.fillStyle = palette.ink;
    context.font = "9px ui-monospace, Menlo, Consolas, monospace";
    context.fillText(scan.sequence[position] ?? "", x + layout.unit / 2, below + 6);
  }
  if ((position + 1) % 10 === 0) {
    context.fillStyle = palette.muted;
    context.font = "10px system-ui, sans-serif";
    context.fillText(String(position + 1), x + layout.unit / 2, below + 16);
  }
}

function corner(layout: Layout, position: number): [number, number] {
  const line = Math.floor(position / layout.columns);
  return [AXIS + (position - line * layout.columns) * layout.unit, top(line)];
}

function top(line: number): number {
  return line * (ROWS.length * CELL.height + LINE_GAP);
}

function picture(scan: Scan): HTMLCanvasElement {
  const layout = layOut(SAVED_WIDTH, scan.sequence.length);
  const whole = element("canvas");
  const context = sharpen(whole, layout.width, layout.height + 40, 2);
  const part = element("canvas");
  drawScan(sharpen(part, layout.width, layout.height, 2), layout, scan, PALETTES.light, null);
  context.fillStyle = PALETTES.light.paper;
  context.fillRect(0, 0, layout.width, layout.height + 40);
  context.fillStyle = PALETTES.light.ink;
  context.font = "600 15px system-ui, sans-serif";
  context.textBaseline = "middle";
  const legend = `log-odds from ${signed(-scan.limit)} (red) over 0 (white) to ${signed(scan.limit)} (blue); dots: wild type`;
  context.fillText(`${scan.id} · ${legend}`, AXIS, 20, layout.width - AXIS);
  context.drawImage(part, 0, 40, layout.width, layout.height);
  return whole;
}
