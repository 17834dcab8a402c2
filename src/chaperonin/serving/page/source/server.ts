/** What the page asks of its server: answers checked, busy moments waited out, long lists sent in chunks. */

import type { Protein } from "./sequences.ts";

export interface Limits {
  bodyBytes: number;
  sequences: number;
  texts: number;
  residues: number;
  tokens: number;
}

export interface Task {
  level: "sequence" | "residue" | "pairs";
  kind: "binary" | "multiclass" | "multilabel" | "regression";
  classes: string[];
}

export interface Model {
  name: string;
  task: Task | null;
  isDefault: boolean;
  /** It compares proteins with descriptions (ProtST). */
  readsText: boolean;
}

/** What a target has not is absent: a class has no value, a value no label. */
export interface Prediction {
  id: string;
  length: number;
  /** The class; several joined by `|`; one letter (or word) a residue; pairs as `3-17 5-20`. */
  label?: string | null;
  probability?: number | null;
  probabilities?: Record<string, number> | null;
  value?: number | null;
  /** Nine of ten true values lie within value ± interval. */
  interval?: number | null;
  in_domain?: boolean | null;
  /** Above 1 is outside the domain. */
  distance?: number | null;
}

/** How well each description agrees with a protein; a single one leaves no choice, so it has no share. */
export interface Agreement {
  id: string;
  /** The description that agrees best. */
  label: string;
  probability?: number;
  probabilities?: Record<string, number>;
  cosines: Record<string, number>;
}

/** The best description of a protein, as a search answers. */
export interface Hit {
  query: string;
  id: string;
  cosine: number;
}

export interface Embedding {
  id: string;
  length: number;
  embedding: number[];
}

export interface ContactMap {
  id: string;
  length: number;
  contacts: (number | null)[][];
}

export interface Score {
  mutant: string;
  score: number;
}

/** A protein without a result: what was wrong, where, and what to do. */
export interface Failure {
  id: string;
  error: string;
  where: string;
  advice: string;
}

/** The server refused or could not be reached; `status` 0 is the latter. */
export class ServerError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly requestId = "",
    readonly details: string[] = [],
    /** A description was refused: no protein is at fault. */
    readonly isOfText = false,
  ) {
    super(message);
  }
}

/** How a call is accompanied: it may be stopped, and it says when it waits for a busy server. */
export interface Call {
  signal: AbortSignal;
  onWait: (message: string) => void;
}

/** Letters of an id that the server takes. */
export const LONGEST_ID = 200;
/** How the server begins a sentence about one of the texts. */
const TEXT_PLACE = /^(?:body\.)?texts[.[](\d+)[^:]*/;
const MOST_ATTEMPTS = 8;
const LONGEST_WAIT_SECONDS = 60;
/** Smaller than a server allows, so that progress is seen. */
const CHUNK_SEQUENCES = 64;
const CHUNK_TOKENS = 16_384;

/** A JSON answer. 429 and 503 are tried again after what Retry-After says; other refusals are a ServerError. */
export async function request<Answer>(path: string, body: object | null, call: Call): Promise<Answer> {
  for (let attempt = 1; ; attempt++) {
    const response = await send(path, body, call.signal);
    if (response.ok) return (await response.json()) as Answer;
    const isBusy = response.status === 429 || response.status === 503;
    if (!isBusy || attempt === MOST_ATTEMPTS) throw await refusal(response);
    const asked = Number(response.headers.get("Retry-After") ?? "");
    const seconds = Math.min(Math.max(Number.isFinite(asked) ? asked : 0, 1), LONGEST_WAIT_SECONDS);
    const state = response.status === 429 ? "The server is busy" : "The server is not ready";
    call.onWait(`${state}: trying again in ${Math.ceil(seconds)} s (attempt ${attempt + 1} of ${MOST_ATTEMPTS}).`);
    await pause(seconds, call.signal);
    call.onWait("");
  }
}

async function send(path: string, body: object | null, signal: AbortSignal): Promise<Response> {
  const options: RequestInit = { signal, headers: { Accept: "application/json" } };
  if (body !== null) {
    options.method = "POST";
    options.headers = { Accept: "application/json", "Content-Type": "application/json" };
    options.body = JSON.stringify(body);
  }
  try {
    return await fetch(path, options);
  } catch (error) {
    if (signal.aborted) throw error;
    throw new ServerError("The server cannot be reached. Is it still running?", 0);
  }
}

/** The server's error body as an error; whatever else stands there is not shown. */
async function refusal(response: Response): Promise<ServerError> {
  let body: { error?: unknown; request_id?: unknown; details?: unknown } = {};
  try {
    body = (await response.json()) as typeof body;
  } catch {
    // A proxy's page, or a body cut off: the status has to do.
  }
  const message = typeof body.error === "string" ? body.error : `The server answered ${response.status}.`;
  const requestId = typeof body.request_id === "string" ? body.request_id : response.headers.get("X-Request-ID");
  const text = TEXT_PLACE.exec(message);
  if (text !== null) {
    const place = `Description ${Number(text[1]) + 1}`;
    return new ServerError(message.replace(TEXT_PLACE, place), response.status, requestId ?? "", [], true);
  }
  const details = Array.isArray(body.details) ? body.details.map(detailText) : [];
  return new ServerError(message, response.status, requestId ?? "", details);
}

function detailText(detail: unknown): string {
  if (typeof detail === "string") return detail;
  if (typeof detail !== "object" || detail === null) return String(detail);
  const fields = Object.entries(detail).filter(([, value]) => value !== null && value !== "");
  return fields.map(([key, value]) => `${key}: ${Array.isArray(value) ? value.join(" › ") : String(value)}`).join(" · ");
}

function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    }, { once: true });
  });
}

interface Answer<Result> {
  results?: Result[];
  /** What a search answers instead: here one hit a protein. */
  hits?: Result[];
  failures: { index: number; error: string; where?: string; advice?: string }[];
  notes?: string[];
}

/** Proteins by their number in the list. */
export type Numbered = readonly [number, Protein];

/**
 * Send the proteins in chunks within the limits; `onAnswer` gets each chunk's results and failures by number, and
 * what the server notes about the request.
 *
 * A chunk refused as a whole is halved until the protein at fault stands alone: that one becomes a failure.
 */
export async function forEachProtein<Result>(
  path: string,
  settings: object,
  proteins: readonly Numbered[],
  limits: Limits,
  call: Call,
  onAnswer: (results: [number, Result][], failures: [number, Failure][], notes: string[]) => void,
): Promise<void> {
  const { refused, chunks } = plan(proteins, limits);
  onAnswer([], refused, []);
  for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift()) {
    try {
      const sequences = chunk.map(([, { id, sequence }]) => ({ id: id.slice(0, LONGEST_ID), sequence }));
      const answer = await request<Answer<Result>>(path, { ...settings, sequences }, call);
      onAnswer(...byNumber(chunk, answer), answer.notes ?? []);
    } catch (error) {
      if (!(error instanceof ServerError) || error.isOfText || ![400, 413, 422].includes(error.status)) throw error;
      const [first] = chunk;
      if (chunk.length === 1 && first !== undefined) {
        onAnswer([], [[first[0], failure(first[1], error.message, "", error.details.join("; "))]], []);
      } else {
        const half = Math.ceil(chunk.length / 2);
        chunks.unshift(chunk.slice(0, half), chunk.slice(half));
      }
    }
  }
}

/** Chunks in the order of the list; proteins no request may hold are refused here. */
function plan(
  proteins: readonly Numbered[],
  limits: Limits,
): { refused: [number, Failure][]; chunks: Numbered[][] } {
  const refused: [number, Failure][] = [];
  const chunks: Numbered[][] = [];
  let tokens = 0;
  const mostTokens = Math.min(limits.tokens, CHUNK_TOKENS, limits.bodyBytes / 2);
  const mostSequences = Math.min(limits.sequences, CHUNK_SEQUENCES);
  for (const numbered of proteins) {
    const [number, protein] = numbered;
    const length = residues(protein.sequence);
    if (length > limits.residues) {
      const what = `${length.toLocaleString("en-US")} residues, the limit is ${limits.residues.toLocaleString("en-US")}`;
      refused.push([number, failure(protein, what, "", "Cut the protein into domains.")]);
      continue;
    }
    const size = length + 2 + protein.id.length;
    const last = chunks.at(-1);
    if (last === undefined || last.length === mostSequences || tokens + size > mostTokens) {
      chunks.push([numbered]);
      tokens = 0;
    } else {
      last.push(numbered);
    }
    tokens += size;
  }
  return { refused, chunks };
}

/** Residues of a sequence as written: blanks and the digits of numbered lines do not count. */
export function residues(sequence: string): number {
  return sequence.replaceAll(/[\s0-9]/g, "").length;
}

/** Results stand in the order of the request, without those that failed. */
function byNumber<Result>(chunk: Numbered[], answer: Answer<Result>): [[number, Result][], [number, Failure][]] {
  const failed = new Map(answer.failures.map((one) => [one.index, one]));
  const rest = chunk.filter((_, index) => !failed.has(index));
  const found = answer.results ?? answer.hits ?? [];
  if (rest.length !== found.length) throw new ServerError(`The server answered ${found.length} of ${rest.length} proteins.`, 200);
  const results = found.map((result, index): [number, Result] => [rest[index]?.[0] ?? 0, result]);
  const failures: [number, Failure][] = [];
  chunk.forEach(([number, protein], index) => {
    const one = failed.get(index);
    if (one === undefined) return;
    const where = (one.where ?? "").replace(/^sequences\[\d+\]/, `no. ${number + 1}`); // not of the chunk: of the list
    failures.push([number, failure(protein, one.error, where, one.advice ?? "")]);
  });
  return [results, failures];
}

export function failure(protein: Protein, error: string, where: string, advice: string): Failure {
  const sentence = /[.!?]$/.test(error) ? error : `${error}.`;
  return { id: protein.id, error: sentence, where, advice };
}
