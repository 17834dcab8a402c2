/** Descriptions of proteins as they are typed: one a line; a label and a tab before it are its short name. */

import { shortened } from "./elements.ts";

export interface Prompt {
  /** Unique in the list. */
  label: string;
  text: string;
}

export interface PromptReading {
  prompts: Prompt[];
  /** Why they cannot be used, or empty. */
  problem: string;
}

/** The first line of a file of prompts, as examples/places.tsv has it. */
const HEADER = /^(label|class)\t(prompt|text|name)$/i;
/** Letters of a label that the server takes: of a longer text the beginning is its name. */
const LONGEST_LABEL = 200;
const LONGEST_QUOTED = 40;

/** Every line that is not empty; at most `most`, each label once. A line without a tab names itself. */
export function readPrompts(typed: string, most: number): PromptReading {
  const lines = typed.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  if (HEADER.test(lines[0] ?? "")) lines.shift();
  const prompts = lines.map(readLine);
  const labels = new Set<string>();
  for (const { label } of prompts) {
    if (labels.has(label)) return { prompts, problem: `“${shortened(label, LONGEST_QUOTED)}” is there twice: give each once.` };
    labels.add(label);
  }
  const problem = prompts.length > most ? `${prompts.length} descriptions, and the server takes ${most} at most.` : "";
  return { prompts, problem };
}

function readLine(line: string): Prompt {
  const tab = line.indexOf("\t");
  const [label, text] = tab < 0 ? [line, line] : [line.slice(0, tab), line.slice(tab + 1).trim()];
  return { label: label.slice(0, LONGEST_LABEL).trim(), text };
}

/** As requests hold it. */
export function sentText({ label, text }: Prompt): string | Prompt {
  return label === text ? text : { label, text };
}
