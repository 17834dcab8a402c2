/** The colours of maps: the report's scales on paper, the same meanings on a dark screen. */

export type Theme = "light" | "dark";

export interface Palette {
  paper: string;
  ink: string;
  muted: string;
  line: string;
  missing: string;
  accent: string;
  /** From 0 to 1. */
  depth: readonly string[];
  /** From harmful through neutral to favoured. */
  effect: readonly string[];
}

export const PALETTES: Record<Theme, Palette> = {
  light: {
    paper: "#ffffff",
    ink: "#22303c",
    muted: "#586875",
    line: "#dbe2e7",
    missing: "#cbced1",
    accent: "#c9772b",
    depth: ["#ffffff", "#d3e4ee", "#8fbbd3", "#3f86ad", "#1b557c", "#0b2b45"],
    effect: [
      "#8e1c2c", "#c8473f", "#e9967c", "#f8dccf", "#ffffff", "#d3e4ef", "#86b6d5", "#3a80b3", "#16466f",
    ],
  },
  dark: {
    paper: "#12181d",
    ink: "#dfe6eb",
    muted: "#97a6b2",
    line: "#2c3841",
    missing: "#3a444c",
    accent: "#f0b27a",
    depth: ["#161e25", "#1d3a4e", "#23618a", "#3d95c4", "#8cc8e8", "#eaf6fd"],
    effect: [
      "#ffb3a1", "#e2705c", "#a33d36", "#55292a", "#1c252c", "#1f3d53", "#2a6b9a", "#4fa0d2", "#b0daf6",
    ],
  },
};

const DARK = matchMedia("(prefers-color-scheme: dark)");

export function currentTheme(): Theme {
  return DARK.matches ? "dark" : "light";
}

export function onThemeChange(action: () => void): void {
  DARK.addEventListener("change", action);
}

/** Red, green, blue (0 … 255) of a share 0 … 1 of the way along the colours. */
export function along(colours: readonly string[], share: number): [number, number, number] {
  const place = Math.min(Math.max(share, 0), 1) * (colours.length - 1);
  const index = Math.min(Math.floor(place), colours.length - 2);
  const [from, to] = [channels(colours[index] ?? "#000000"), channels(colours[index + 1] ?? "#000000")];
  const mix = (one: number, other: number) => Math.round(one + (other - one) * (place - index));
  return [mix(from[0], to[0]), mix(from[1], to[1]), mix(from[2], to[2])];
}

/** The scale in 256 steps, three bytes each: for pictures of many cells. */
export function table(colours: readonly string[]): Uint8Array {
  const bytes = new Uint8Array(768);
  for (let step = 0; step < 256; step++) bytes.set(along(colours, step / 255), step * 3);
  return bytes;
}

function channels(colour: string): [number, number, number] {
  const number = Number.parseInt(colour.slice(1), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}
