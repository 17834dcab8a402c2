/** Proteins from what people paste or drop: FASTA, a table with a column `sequence`, or bare sequences. */

export interface Protein {
  /** Unique in the list. */
  id: string;
  /** As written, without line breaks: the server judges the letters. */
  sequence: string;
}

export interface Reading {
  proteins: Protein[];
  /** What the text was taken for. */
  format: string;
  /** Why nothing could be read, or empty. */
  problem: string;
}

const SEQUENCE_COLUMNS = ["sequence", "mutated_sequence", "protein", "seq"];
const ID_COLUMNS = ["id", "name", "acc", "entry"];

/** Every protein of the text in its order. A record without id is `protein_N`; a second `id` becomes `id_2`. */
export function readSequences(text: string): Reading {
  const clean = text.replace(/^\uFEFF/, "").replaceAll(/\r\n?/g, "\n");
  if (clean.trim() === "") return { proteins: [], format: "", problem: "" };
  if (clean.includes("\0")) {
    return { proteins: [], format: "", problem: "This is not text. A compressed file must be unpacked first." };
  }
  if (/^\s*[>;]/.test(clean)) return { proteins: unique(readFasta(clean)), format: "FASTA", problem: "" };
  const header = clean.trimStart().split("\n", 1)[0] ?? "";
  const delimiter = [",", ";", "\t"].find((mark) => header.includes(mark));
  return delimiter === undefined ? readPlain(clean) : readTable(clean.trimStart(), delimiter);
}

function readFasta(text: string): Protein[] {
  const proteins: Protein[] = [];
  for (const line of text.split("\n")) {
    const last = proteins.at(-1);
    if (line.startsWith(">")) proteins.push({ id: line.slice(1).trim().split(/\s/, 1)[0] ?? "", sequence: "" });
    else if (last !== undefined && !line.startsWith(";")) last.sequence += line.trim();
  }
  return proteins;
}

/** One protein a line; lines of one width (numbered or not) are one wrapped protein; blank lines part proteins. */
function readPlain(text: string): Reading {
  const proteins: Protein[] = [];
  for (const paragraph of text.split(/\n[ \t]*\n/)) {
    const lines = paragraph.split("\n").map((line) => line.trim()).filter((line) => line !== "");
    const widths = lines.map((line) => line.replaceAll(/[\s0-9]/g, "").length);
    const isWrapped = lines.length > 1 && widths.slice(0, -1).every((width) => width === widths[0])
      && (widths[0] ?? 0) >= 40 && (widths.at(-1) ?? 0) <= (widths[0] ?? 0);
    const sequences = isWrapped ? [lines.join("")] : lines;
    proteins.push(...sequences.map((sequence) => ({ id: "", sequence })));
  }
  const format = proteins.length > 1 ? "one sequence a line" : "plain sequence";
  return { proteins: unique(proteins), format, problem: "" };
}

function readTable(text: string, delimiter: string): Reading {
  const rows = splitTable(text, delimiter);
  if (rows === null) {
    return { proteins: [], format: "table", problem: 'A quote (") is opened and never closed.' };
  }
  const header = (rows[0] ?? []).map((name) => name.trim().toLowerCase());
  const column = (names: string[]) => names.map((name) => header.indexOf(name)).find((index) => index >= 0);
  const sequenceColumn = column(SEQUENCE_COLUMNS);
  const idColumn = column(ID_COLUMNS);
  if (sequenceColumn === undefined) {
    const names = header.slice(0, 8).map((name) => `“${name.slice(0, 40)}”`).join(", ");
    const problem = `The first line has no column “sequence”, only ${names}. Name the column of the sequences so.`;
    return { proteins: [], format: "table", problem };
  }
  const proteins = rows.slice(1).filter((row) => row.some((cell) => cell.trim() !== "")).map((row) => ({
    id: idColumn === undefined ? "" : (row[idColumn] ?? "").trim(),
    sequence: (row[sequenceColumn] ?? "").trim(),
  }));
  return { proteins: unique(proteins), format: "table", problem: "" };
}

/** Cells of every row; a quoted cell may hold delimiters, line ends and doubled quotes. Null: a quote never closes. */
function splitTable(text: string, delimiter: string): string[][] | null {
  const rows: string[][] = [[]];
  let at = 0;
  while (at < text.length) {
    let quoted = "";
    if (text[at] === '"') {
      const end = closingQuote(text, at);
      if (end < 0) return null;
      quoted = text.slice(at + 1, end).replaceAll('""', '"');
      at = end + 1;
    }
    const start = at;
    while (at < text.length && text[at] !== delimiter && text[at] !== "\n") at++;
    rows.at(-1)?.push(quoted + text.slice(start, at));
    if (text[at] === "\n") rows.push([]);
    at++;
  }
  return rows;
}

/** Where the quote opened at `start` closes, or -1. */
function closingQuote(text: string, start: number): number {
  let at = text.indexOf('"', start + 1);
  while (at >= 0 && text[at + 1] === '"') at = text.indexOf('"', at + 2);
  return at;
}

/** Gives every protein an id of its own, and no suffix the id of another one. */
function unique(proteins: Protein[]): Protein[] {
  const asked = new Set(proteins.map((protein) => protein.id));
  const given = new Set<string>();
  const last = new Map<string, number>();
  return proteins.map(({ id, sequence }, index) => {
    const wanted = id === "" ? `protein_${index + 1}` : id;
    let name = wanted;
    let number = last.get(wanted) ?? 1;
    while (given.has(name) || (name !== wanted && asked.has(name))) name = `${wanted}_${++number}`;
    last.set(wanted, number);
    given.add(name);
    return { id: name, sequence };
  });
}
