/** Principal components and neighbours of embeddings: a few hundred lines of them in well under a second. */

export interface Projection {
  /** Coordinates on the first two components, one pair a protein. */
  points: [number, number][];
  /** Share of the variance of each component, 0 … 1. */
  explained: [number, number];
}

const MOST_ROUNDS = 500;
const TOLERANCE = 1e-10;

/**
 * The first two principal components of the rows, by orthogonal iteration on the centred rows.
 *
 * The sign of a component is chosen so that its largest weight is positive: the same rows, the same picture.
 */
export function principalComponents(rows: readonly Float64Array[]): Projection {
  const centred = centre(rows);
  const width = centred[0]?.length ?? 0;
  const total = centred.reduce((sum, row) => sum + dot(row, row), 0);
  const components: Float64Array[] = [];
  const variances: number[] = [];
  for (let index = 0; index < 2; index++) {
    const [component, variance] = leading(centred, components, width);
    components.push(component);
    variances.push(variance);
  }
  const points = centred.map((row): [number, number] => [
    dot(row, components[0] as Float64Array),
    dot(row, components[1] as Float64Array),
  ]);
  const share = (index: number) => (total > 0 ? (variances[index] ?? 0) / total : 0);
  return { points, explained: [share(0), share(1)] };
}

/** Cosine similarity of one row with every row, after the mean of all rows is taken off when there are three or more. */
export function similarities(rows: readonly Float64Array[], index: number): number[] {
  const compared = rows.length > 2 ? centre(rows) : rows;
  const one = compared[index] as Float64Array;
  return compared.map((row) => dot(row, one) / (Math.sqrt(dot(row, row) * dot(one, one)) || 1));
}

function centre(rows: readonly Float64Array[]): Float64Array[] {
  const mean = new Float64Array(rows[0]?.length ?? 0);
  for (const row of rows) row.forEach((value, column) => (mean[column] = (mean[column] ?? 0) + value / rows.length));
  return rows.map((row) => row.map((value, column) => value - (mean[column] ?? 0)));
}

/** The direction of most variance among those orthogonal to the `known` ones, and that variance. */
function leading(rows: Float64Array[], known: Float64Array[], width: number): [Float64Array, number] {
  let direction = longest(rows, known) ?? new Float64Array(width);
  let variance = 0;
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const next = new Float64Array(width);
    for (const row of rows) {
      const along = dot(row, direction);
      for (let column = 0; column < width; column++) next[column] = (next[column] ?? 0) + along * (row[column] ?? 0);
    }
    removeParts(next, known);
    const length = Math.sqrt(dot(next, next));
    if (length === 0) return [direction, 0];
    const turned = next.map((value) => value / length);
    const isSettled = Math.abs(length - variance) <= TOLERANCE * length && 1 - Math.abs(dot(turned, direction)) <= TOLERANCE;
    direction = turned;
    variance = length;
    if (isSettled) break;
  }
  const largest = direction.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
  return [largest < 0 ? direction.map((value) => -value) : direction, variance];
}

/** A direction to begin with: the longest row without its known parts, or null where nothing is left. */
function longest(rows: Float64Array[], known: Float64Array[]): Float64Array | null {
  let best: Float64Array | null = null;
  let bestLength = 0;
  for (const row of rows) {
    const rest = row.slice();
    removeParts(rest, known);
    const length = Math.sqrt(dot(rest, rest));
    if (length > bestLength) [best, bestLength] = [rest.map((value) => value / length), length];
  }
  return best;
}

function removeParts(vector: Float64Array, known: Float64Array[]): void {
  for (const part of known) {
    const along = dot(vector, part);
    vector.forEach((value, column) => (vector[column] = value - along * (part[column] ?? 0)));
  }
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let index = 0; index < a.length; index++) sum += (a[index] ?? 0) * (b[index] ?? 0);
  return sum;
}
