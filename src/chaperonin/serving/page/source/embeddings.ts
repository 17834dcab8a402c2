/** Embeddings as a picture: the proteins on their first two principal components, and who stands near whom. */

import { button, count, element, shape, whole } from "./elements.ts";
import { csv, saveText } from "./files.ts";
import { type Projection, principalComponents, similarities } from "./projection.ts";
import { type State, classNumbers, colourClass, proteinLabel } from "./state.ts";
import { labelCounts } from "./predictions.ts";
import { colourKey, nothing, onResize, proteinChoice, tickStep } from "./widgets.ts";

const MARGIN = { left: 12, right: 12, top: 10, bottom: 30 };
/** Width of a picture that is drawn before it is seen: a printed page shows it. */
const HIDDEN_WIDTH = 640;
const MOST_NAMED = 40;
const NEIGHBOURS = 6;
const MOST_LABELS = 12;

export class EmbeddingPanel {
  private projection: Projection | null = null;
  private numbers: number[] = [];

  constructor(
    private readonly panel: HTMLElement,
    private readonly onSelect: (number: number) => void,
  ) {}

  show(state: State): void {
    this.panel.classList.toggle("filled", state.embeddings.size > 0);
    if (state.embeddings.size === 0) {
      const title = state.isRunning ? "Embedding…" : "No embeddings yet";
      this.panel.replaceChildren(nothing(title, "Each protein becomes one vector, the mean over its residues. Three or more are drawn on a plane."));
      return;
    }
    this.numbers = [...state.embeddings.keys()].sort((one, other) => one - other);
    const rows = this.numbers.map((number) => Float64Array.from(state.embeddings.get(number)?.embedding ?? []));
    const isDrawn = rows.length >= 3 && !state.isRunning;
    this.projection = isDrawn ? principalComponents(rows) : null;
    this.panel.replaceChildren(this.head(state, rows[0]?.length ?? 0), this.body(state, rows));
  }

  private head(state: State, width: number): HTMLElement {
    const summary = element("p", { class: "summary" });
    summary.append(element("b", {}, whole(this.numbers.length)), ` ${this.numbers.length === 1 ? "vector" : "vectors"} of `,
      element("b", {}, whole(width)), ` numbers · ${state.model?.name ?? ""}`);
    const row = element("div", { class: "row" },
      button("Embeddings, CSV", () => saveText("embeddings.csv", this.embeddingsCsv(state)), { id: "save-embeddings-csv" }),
      button("JSON", () => saveText("embeddings.json", this.embeddingsJson(state), "application/json"), { id: "save-embeddings-json", "aria-label": "Embeddings, JSON" }));
    if (this.projection !== null) {
      row.append(button("Projection, CSV", () => saveText("projection.csv", this.projectionCsv(state)), { id: "save-projection" }));
    }
    return element("div", { class: "head" }, summary, row);
  }

  private body(state: State, rows: Float64Array[]): HTMLElement {
    const main = element("div");
    if (this.projection === null) {
      const text = state.isRunning ? "The picture is drawn when all embeddings are there."
        : "Two components need three proteins. The vectors can be saved all the same.";
      main.append(nothing(state.isRunning ? "Embedding…" : "Too few for a projection", text));
    } else {
      main.append(this.plot(state, HIDDEN_WIDTH));
      onResize(main, (width) => main.replaceChildren(this.plot(state, Math.min(width, 720))));
    }
    const aside = element("div", { class: "aside" });
    const legend = this.legend(state);
    if (legend !== null) aside.append(legend);
    if (rows.length > 1 && !state.isRunning) aside.append(this.neighbours(state, rows));
    return element("div", { class: "beside" }, main, aside);
  }

  private plot(state: State, width: number): SVGElement {
    const { points, explained } = this.projection as Projection;
    const height = Math.round(Math.min(width * 0.78, 520));
    const [toX, toY] = scales(points, width, height);
    const svg = shape("svg", { class: "picture", viewBox: `0 0 ${width} ${height}`, width, height, role: "group", id: "projection",
      "aria-label": `${count(points.length, "protein")} on the first two principal components of their embeddings` });
    svg.append(...axes(points, width, height, toX, toY, explained));
    const numbers = classNumbers(state);
    const names: SVGElement[] = [];
    const taken = points.map(([x, y]): Box => ({ left: toX(x) - 6, right: toX(x) + 6, top: toY(y) - 6, bottom: toY(y) + 6 }));
    points.forEach(([x, y], index) => {
      const number = this.numbers[index] as number;
      const prediction = state.predictions.get(number);
      const named = proteinLabel(state, prediction);
      const id = state.proteins[number]?.id ?? "";
      const isSelected = number === state.selected;
      const dot = shape("circle", { class: `point ${colourClass(numbers.get(named))}${isSelected ? " selected" : ""}`,
        cx: toX(x).toFixed(2), cy: toY(y).toFixed(2), r: points.length > 300 ? 3.5 : 6 });
      dot.append(shape("title", {}, named === "" ? id : `${id} · ${named}`));
      dot.addEventListener("click", () => this.onSelect(number));
      svg.append(dot);
      const name = points.length <= MOST_NAMED || isSelected ? nameAt(id, toX(x), toY(y), width, taken) : null;
      if (name !== null) names.push(name);
    });
    svg.append(...names);
    return svg;
  }

  private legend(state: State): HTMLElement | null {
    const counts = labelCounts(state);
    if (counts.length === 0) return null;
    const numbers = classNumbers(state);
    const items = counts.slice(0, MOST_LABELS).map(([name, amount]) => element("li", {},
      colourKey(numbers.get(name)), name, element("span", { class: "number" }, whole(amount))));
    return element("div", {}, element("h3", {}, "Predicted label"), element("ul", { class: "legend" }, ...items));
  }

  private neighbours(state: State, rows: Float64Array[]): HTMLElement {
    const choice = proteinChoice("near", state, this.onSelect);
    const box = element("div", {}, element("div", { class: "choice" }, choice));
    const index = this.numbers.indexOf(state.selected);
    if (index < 0) return box;
    const nearest = similarities(rows, index)
      .map((similarity, other): [number, number] => [other, similarity])
      .filter(([other]) => other !== index)
      .sort((one, other) => other[1] - one[1])
      .slice(0, NEIGHBOURS);
    const body = element("tbody", {}, ...nearest.map(([other, similarity]) => element("tr", {},
      element("th", { scope: "row" }, state.proteins[this.numbers[other] ?? 0]?.id ?? ""),
      element("td", { class: "number" }, similarity.toFixed(2)))));
    const header = element("tr", {}, element("th", { scope: "col" }, "Nearest"), element("th", { scope: "col", class: "number" }, "cosine"));
    const note = rows.length > 2 ? "Cosine of the vectors after the mean of all is taken off: 1 alike, −1 opposite." : "Cosine of the vectors.";
    box.append(element("table", {}, element("thead", {}, header), body), element("p", { class: "hint" }, note));
    return box;
  }

  private embeddingsCsv(state: State): string {
    const width = state.embeddings.get(this.numbers[0] ?? 0)?.embedding.length ?? 0;
    const header = ["id", "length", ...Array.from({ length: width }, (_, column) => `e${column + 1}`)];
    const rows = this.numbers.map((number) => {
      const embedding = state.embeddings.get(number);
      return [state.proteins[number]?.id ?? "", embedding?.length ?? 0, ...(embedding?.embedding ?? [])];
    });
    return csv([header, ...rows]);
  }

  private embeddingsJson(state: State): string {
    const results = this.numbers.map((number) => state.embeddings.get(number));
    return JSON.stringify({ model: state.model?.name ?? "", level: "protein", results });
  }

  private projectionCsv(state: State): string {
    const points = this.projection?.points ?? [];
    const rows = this.numbers.map((number, index) => [
      state.proteins[number]?.id ?? "", proteinLabel(state, state.predictions.get(number)), ...(points[index] ?? []),
    ]);
    return csv([["id", "label", "component_1", "component_2"], ...rows]);
  }
}

type Scale = (value: number) => number;

/** Both axes in the same unit, so that distances are true. */
function scales(points: [number, number][], width: number, height: number): [Scale, Scale] {
  const [xs, ys] = [points.map((point) => point[0]), points.map((point) => point[1])];
  const middle = (values: number[]) => (extreme(values, Math.max) + extreme(values, Math.min)) / 2;
  const span = (values: number[]) => (extreme(values, Math.max) - extreme(values, Math.min)) * 1.16 || 1;
  const [innerWidth, innerHeight] = [width - MARGIN.left - MARGIN.right, height - MARGIN.top - MARGIN.bottom];
  const unit = Math.min(innerWidth / span(xs), innerHeight / span(ys));
  const [centreX, centreY] = [middle(xs), middle(ys)];
  return [
    (x) => MARGIN.left + innerWidth / 2 + (x - centreX) * unit,
    (y) => MARGIN.top + innerHeight / 2 - (y - centreY) * unit,
  ];
}

function extreme(values: number[], choose: (one: number, other: number) => number): number {
  return values.reduce((best, value) => choose(best, value));
}

/** Hairlines at the origin, a line as long as a round distance, and how much each axis explains. */
function axes(points: [number, number][], width: number, height: number, toX: Scale, toY: Scale, explained: [number, number]): SVGElement[] {
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const base = height - MARGIN.bottom;
  const largest = extreme(points.flat().map(Math.abs), Math.max) || 1;
  const unit = 10 ** Math.floor(Math.log10(largest));
  const distance = tickStep(Math.ceil(largest / unit), 4) * unit;
  const end = width - MARGIN.right;
  const start = end - (toX(distance) - toX(0));
  return [
    shape("rect", { class: "axis", x: 0.5, y: 0.5, width: width - 1, height: base - 0.5, fill: "none", rx: 4 }),
    shape("line", { class: "axis", x1: 0, x2: width, y1: toY(0), y2: toY(0) }),
    shape("line", { class: "axis", x1: toX(0), x2: toX(0), y1: 0, y2: base }),
    shape("text", { class: "axis-text", x: 0, y: height - 9 }, `→ component 1, ${percent(explained[0])} · ↑ component 2, ${percent(explained[1])} of the variance`),
    ...(width > 520 ? [
      shape("line", { class: "axis ruler", x1: start, x2: end, y1: height - 13, y2: height - 13 }),
      shape("text", { class: "axis-text", x: start - 6, y: height - 9, "text-anchor": "end" }, String(Number(distance.toPrecision(2)))),
    ] : []),
  ];
}

interface Box { left: number; right: number; top: number; bottom: number }

/** The name right, left, above or below its point, where nothing else stands; else null. */
function nameAt(id: string, x: number, y: number, width: number, taken: Box[]): SVGElement | null {
  const text = id.length > 24 ? `${id.slice(0, 23)}…` : id;
  const length = text.length * 7;
  const places: [number, number][] = [[x + 10, y], [x - 10 - length, y], [x - length / 2, y - 14], [x - length / 2, y + 14]];
  for (const [left, middle] of places) {
    const box = { left, right: left + length, top: middle - 6, bottom: middle + 6 };
    if (left < 2 || box.right > width - 2 || taken.some((other) => overlap(box, other))) continue;
    taken.push(box);
    return shape("text", { class: "point-text", x: left + length / 2, y: middle + 4, "text-anchor": "middle" }, text);
  }
  return null;
}

function overlap(one: Box, other: Box): boolean {
  return one.left < other.right && other.left < one.right && one.top < other.bottom && other.top < one.bottom;
}
