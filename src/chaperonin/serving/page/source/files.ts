/** Files the page hands out: tables and pictures. */

import { element } from "./elements.ts";

/** A table as CSV that no spreadsheet runs as a formula. */
export function csv(rows: Iterable<readonly (string | number)[]>): string {
  let text = "";
  for (const row of rows) text += `${row.map(cell).join(",")}\r\n`;
  return text;
}

/** `'` goes before `=`, `+`, `-` and `@` unless the cell is a number; quotes where the format needs them. */
function cell(value: string | number): string {
  if (typeof value === "number") return String(value);
  const isFormula = /^[=+\-@\t\r]/.test(value) && (value.trim() === "" || Number.isNaN(Number(value)));
  const safe = isFormula ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function saveText(name: string, text: string, type = "text/csv"): void {
  save(name, new Blob([text], { type: `${type};charset=utf-8` }));
}

export function savePicture(name: string, canvas: HTMLCanvasElement): void {
  canvas.toBlob((blob) => {
    if (blob !== null) save(name, blob);
  }, "image/png");
}

/** A name of a file out of the id of a protein. */
export function fileName(id: string, ending: string): string {
  return `${id.replaceAll(/[^A-Za-z0-9._-]+/g, "_").slice(0, 80) || "protein"}_${ending}`;
}

function save(name: string, blob: Blob): void {
  const address = URL.createObjectURL(blob);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
