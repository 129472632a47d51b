/** The norm of a row in double precision, for the reference bindings. */
export function normalize(
  out: Float64Array | Float32Array,
  row: Float32Array,
  norm: 'rms' | 'layer' | 'none',
  eps: number,
  weight?: Float32Array,
  bias?: Float32Array,
): void {
  const n = row.length;
  const mean = norm === 'layer' ? row.reduce((sum, value) => sum + value, 0) / n : 0;
  let squares = 0;
  for (let d = 0; d < n; d++) squares += (row[d]! - mean) ** 2;
  const scale = norm === 'none' ? 1 : 1 / Math.sqrt(squares / n + eps);
  for (let d = 0; d < n; d++) {
    const value = (row[d]! - mean) * scale * (weight ? weight[d]! : 1);
    out[d] = bias ? value + bias[d]! : value;
  }
}
