/** Elements of the page: made with text only, found by id. */

type Child = Node | string | null;

/** An element with attributes and children. Text becomes text, never markup. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** An element of a drawing. */
export function shape(name: string, attributes: Record<string, string | number> = {}, text = ""): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text) made.textContent = text;
  return made;
}

/** The element of index.html with this id; its absence is our own mistake. */
export function find<Type extends HTMLElement>(id: string): Type {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element #${id}`);
  return found as Type;
}

export function button(text: string, action: () => void, attributes: Record<string, string> = {}): HTMLButtonElement {
  const made = element("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", action);
  return made;
}

const WHOLE = new Intl.NumberFormat("en-US");

/** `1 protein`, `1,200 proteins`. */
export function count(number: number, noun: string): string {
  return `${WHOLE.format(number)} ${noun}${number === 1 ? "" : "s"}`;
}

export function whole(number: number): string {
  return WHOLE.format(number);
}

/** The beginning of a text that is too long for its place. */
export function shortened(text: string, most: number): string {
  return text.length > most ? `${text.slice(0, most - 1).trimEnd()}…` : text;
}
