import * as field from '../backend/fields.ts';

/** Activation functions of the FFN and of `linear`; kernels know them by their index. Names and formulas as in the Hugging Face configs. */
export const ACTIVATIONS = ['none', 'silu', 'gelu', 'gelu_tanh', 'quick_gelu', 'relu'] as const;
export type Activation = (typeof ACTIVATIONS)[number];
/** An attribute. Behind a call, as bundlers keep whatever spreads a list at the top level. */
export const ACTIVATION: field.Required<Activation> = /* @__PURE__ */ (() => field.oneOf(...ACTIVATIONS))();

/** The functions by name, for the reference bindings. */
export const ACTIVATION_FUNCTIONS: Readonly<Record<Activation, (x: number) => number>> = {
  none: (x) => x,
  silu: (x) => x * sigmoid(x),
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  gelu_tanh: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  quick_gelu: (x) => x * sigmoid(1.702 * x),
  relu: (x) => (x <= 0 ? 0 : x), // NaN passes through
};

/** exp of a non-positive number only: no overflow, so x = -infinity gives 0 * x = NaN like every backend. */
function sigmoid(x: number): number {
  const e = Math.exp(-Math.abs(x));
  return (x >= 0 ? 1 : e) / (1 + e);
}

/** Error function to about 1e-15: Taylor series below 3, continued fraction of erfc above. */
export function erf(x: number): number {
  const a = Math.abs(x);
  if (Number.isNaN(x)) return x;
  if (a > 6) return Math.sign(x);
  if (a < 3) {
    let term = a;
    let sum = a;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
      if (sum === 0) break;
    }
    return Math.sign(x) * sum * (2 / Math.sqrt(Math.PI));
  }
  let fraction = 0;
  for (let n = 60; n >= 1; n--) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}
