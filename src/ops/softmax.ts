import type { Fail } from '../backend/op.ts';

/** What `attention` and `attentionScores` ask of their keys. */
export function checkKeys({ H, Hkv, S, C }: Readonly<Record<'H' | 'Hkv' | 'S' | 'C', number>>, fail: Fail): void {
  if (Hkv === 0 || H % Hkv !== 0) fail('k', `${Hkv} key/value heads`, `a divisor of the ${H} query heads`);
  if (S > C) fail('kPositions', `[${S}]`, `at most the ${C} rows of k`);
}

/** Softmax over the keys for which `logit` is defined; zeros elsewhere, and everywhere when there is none. */
export function softmaxRow(out: Float64Array, logit: (key: number) => number | undefined): void {
  let peak = Number.NEGATIVE_INFINITY;
  const logits = Array.from(out, (_, key) => logit(key));
  for (const value of logits) if (value !== undefined && !(value <= peak)) peak = value;
  const weights = logits.map((value) => (value === undefined ? 0 : Math.exp(value - peak)));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  // an invisible key stays 0 also when the total is NaN
  logits.forEach((value, key) => {
    out[key] = value === undefined || total === 0 ? 0 : weights[key]! / total;
  });
}
