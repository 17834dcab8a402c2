/** Tabs with the keys that people expect of them. */

import { find } from "./elements.ts";

export class Tabs {
  current: string;

  constructor(
    private readonly names: readonly string[],
    private readonly onOpen: () => void,
  ) {
    this.current = names[0] ?? "";
    for (const name of names) {
      this.tab(name).addEventListener("click", () => this.open(name));
      this.tab(name).addEventListener("keydown", (event) => this.onKey(event));
      find(name).dataset["title"] = this.tab(name).textContent ?? "";
    }
  }

  open(name: string): void {
    this.current = name;
    for (const other of this.names) {
      const isOpen = other === name;
      this.tab(other).setAttribute("aria-selected", String(isOpen));
      this.tab(other).tabIndex = isOpen ? 0 : -1;
      find(other).hidden = !isOpen;
    }
    this.onOpen();
  }

  private onKey(event: KeyboardEvent): void {
    const names = this.names.filter((name) => !this.tab(name).hidden);
    const index = names.indexOf(this.current);
    const last = names.length - 1;
    const goals: Record<string, number> = {
      ArrowRight: index === last ? 0 : index + 1,
      ArrowLeft: index === 0 ? last : index - 1,
      Home: 0,
      End: last,
    };
    const name = names[goals[event.key] ?? -1];
    if (name === undefined) return;
    event.preventDefault();
    this.open(name);
    this.tab(name).focus();
  }

  private tab(name: string): HTMLElement {
    return find(`tab-${name}`);
  }
}
