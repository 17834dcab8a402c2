/** Results as a table: sorted by a click on a column, a hundred rows at a time, each opened for its details. */

import { button, element, whole } from "./elements.ts";

const ROWS_AT_ONCE = 100;

export interface Column<Result> {
  name: string;
  className: string;
  cell: (result: Result) => Node | string;
  /** What the rows are sorted by; null where they cannot be. */
  order: ((result: Result) => string | number | null | undefined) | null;
  /** The first click puts the largest on top. */
  isLargestFirst?: boolean;
}

/** What an opened row shows; null for rows that cannot be opened. */
export type Details<Result> = ((number: number, result: Result) => Node[]) | null;

/** The first column names the row. */
export class ResultTable<Result extends { id: string }> {
  readonly element = element("div");
  private order = "";
  private isDescending = false;
  private rows = ROWS_AT_ONCE;
  private readonly open = new Set<number>();
  private columns: Column<Result>[] = [];
  private results: [number, Result][] = [];
  private details: Details<Result> = null;

  constructor(private readonly name: string) {}

  /** Forget what was opened and sorted for the run before. */
  reset(): void {
    this.sortBy("");
    this.rows = ROWS_AT_ONCE;
    this.open.clear();
  }

  /** Sort by the column of this name, the largest on top; without one by the order of the list. */
  sortBy(name: string): void {
    this.order = name;
    this.isDescending = true;
  }

  show(columns: Column<Result>[], results: ReadonlyMap<number, Result>, details: Details<Result>): void {
    this.columns = columns;
    this.results = [...results].sort(([one], [other]) => one - other);
    this.details = details;
    this.draw();
  }

  private draw(): void {
    const header = element("tr", {}, ...this.columns.map((column) => this.headerCell(column)));
    if (this.details !== null) header.append(element("th", { scope: "col" }, element("span", { class: "unseen" }, "Details")));
    const body = element("tbody");
    const sorted = this.sorted();
    for (const [number, result] of sorted.slice(0, this.rows)) body.append(...this.row(number, result));
    const table = element("table", { "aria-label": this.name }, element("thead", {}, header), body);
    this.element.replaceChildren(element("div", { class: "scroll", role: "group", tabindex: "0", "aria-label": this.name }, table));
    if (sorted.length <= this.rows) return;
    this.element.append(button(`Show more (${whole(sorted.length - this.rows)} left)`, () => {
      this.rows += ROWS_AT_ONCE * 5;
      this.draw();
    }, { class: "more" }));
  }

  private headerCell(column: Column<Result>): HTMLElement {
    const cell = element("th", { scope: "col", class: column.className });
    if (column.order === null) {
      cell.textContent = column.name;
      return cell;
    }
    const isSorted = this.order === column.name;
    if (isSorted) cell.setAttribute("aria-sort", this.isDescending ? "descending" : "ascending");
    cell.append(button(column.name, () => {
      this.isDescending = isSorted ? !this.isDescending : column.isLargestFirst === true;
      this.order = column.name;
      this.draw();
      this.element.querySelector<HTMLElement>("[aria-sort] button")?.focus();
    }));
    return cell;
  }

  private sorted(): [number, Result][] {
    const order = this.columns.find((column) => column.name === this.order)?.order;
    if (!order) return this.results;
    const sign = this.isDescending ? -1 : 1;
    return [...this.results].sort(([, one], [, other]) => sign * compare(order(one), order(other)));
  }

  private row(number: number, result: Result): HTMLElement[] {
    const row = element("tr");
    this.columns.forEach(({ className, cell }, index) => {
      row.append(index === 0 ? element("th", { scope: "row" }, cell(result)) : element("td", { class: className }, cell(result)));
    });
    if (this.details === null) return [row];
    const id = `${this.name}-${number}`;
    const isOpen = this.open.has(number);
    const toggle = button(isOpen ? "▾" : "▸", () => {
      if (!this.open.delete(number)) this.open.add(number);
      this.draw();
      this.element.querySelector<HTMLElement>(`[aria-controls="${id}"]`)?.focus();
    }, { class: "toggle", "aria-expanded": String(isOpen), "aria-controls": id, "aria-label": `Details of ${result.id}` });
    row.append(element("td", {}, toggle));
    if (!isOpen) return [row];
    const details = element("td", { colspan: String(this.columns.length + 1) }, ...this.details(number, result));
    return [row, element("tr", { class: "details", id }, details)];
  }
}

function compare(one: string | number | null | undefined, other: string | number | null | undefined): number {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one ?? "").localeCompare(String(other ?? ""), "en", { numeric: true });
}
